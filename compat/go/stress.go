package main

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

// Scenarios of one party that is slow or late, and what the others get meanwhile.
var stressScenarios = []scenario{
	{"queue-slow-member-idle-member", queueSlowMemberIdleMember},
	{"due-at-restart", dueAtRestart},
}

// dam is a connection whose owner can stop reading from it.
type dam struct {
	net.Conn
	gate *sync.RWMutex
}

func (d dam) Read(bytes []byte) (int, error) {
	d.gate.RLock()
	defer d.gate.RUnlock()
	return d.Conn.Read(bytes)
}

// damming dials connections that read nothing while the gate is locked. A read that has begun is finished first.
type damming struct{ gate *sync.RWMutex }

func (d damming) Dial(network, address string) (net.Conn, error) {
	connection, err := net.DialTimeout(network, address, deadline)
	if err != nil {
		return nil, err
	}
	return dam{connection, d.gate}, nil
}

// A durable group has a long backlog. One member reads nothing; the other gets what the first one may not have in flight.
func queueSlowMemberIdleMember() {
	const channel, group, count, held = "queue.slow.go", "workers", 12_000, 8_000
	publisher := open("queue-slow-publisher-go")
	defer publisher.Close()
	options := func(inFlight int) []stan.SubscriptionOption {
		return []stan.SubscriptionOption{
			stan.DurableName("place"), stan.DeliverAllAvailable(), stan.SetManualAckMode(),
			stan.AckWait(longAckWait), stan.MaxInflight(inFlight),
		}
	}
	// The group is there, and has gone: its place stays.
	into := make(chan delivery, count)
	first := subscribeInto(publisher, channel, group, "first", into, options(1)...)
	must(first.Close(), "close the first member")
	payload := make([]byte, 2_000)
	var pending sync.WaitGroup
	for number := range count {
		pending.Add(1)
		_, err := publisher.PublishAsync(channel, payload, func(_ string, err error) {
			defer pending.Done()
			if err != nil {
				fmt.Printf("publish %d: %v\n", number, err)
			}
		})
		must(err, "publish")
	}
	pending.Wait()

	var gate sync.RWMutex
	slow := open("queue-slow-go", stan.NatsOptions(
		nats.SetCustomDialer(damming{&gate}), nats.Timeout(deadline), nats.ReconnectWait(20*time.Millisecond)))
	defer slow.Close()
	slowly := make(chan delivery, count)
	subscribeInto(slow, channel, group, "slow", slowly, options(held)...)
	gate.Lock()
	idle := open("queue-idle-go")
	defer idle.Close()
	quickly := make(chan delivery, count)
	subscribeInto(idle, channel, group, "idle", quickly, options(count)...)
	seen := map[uint64]bool{}
	take := func(from chan delivery, what string) {
		got := receive(from, what)
		if seen[got.Sequence] {
			failf("%v came twice", got)
		}
		seen[got.Sequence] = true
		ack(got)
	}
	for range count - held {
		take(quickly, "what the slow member may not have, while it reads nothing")
	}
	gate.Unlock()
	for len(seen) < count {
		select {
		case got := <-slowly:
			seen[got.Sequence] = true
			ack(got)
		case got := <-quickly:
			seen[got.Sequence] = true
			ack(got)
		case <-time.After(deadline):
			failf("%d of %d messages came, once the slow member reads", len(seen), count)
		}
	}
}

// A message falls due while the server is down. The client that comes back gets it as its first redelivery: nothing was sent to
// nobody before.
func dueAtRestart() {
	const channel, wait = "due.go", 3 * time.Second
	client := open("due-go")
	defer client.Close()
	_, received := subscribe(client, channel, stan.DurableName("keeper"), stan.SetManualAckMode(), stan.AckWait(wait))
	publish(client, channel, "1")
	expect(received, 1, "1", false)
	due := time.Now().Add(wait)
	// What was delivered is recorded at the latest with the commit after the one under way.
	publish(client, "due.go.barrier", "one", "two")
	serverControl("kill")
	waitFor("the message to fall due", func() bool { return time.Now().After(due) })
	serverControl("start")
	got := expect(received, 1, "1", true)
	if got.RedeliveryCount != 1 {
		failf("it was sent %d times before anybody could take it: %v", got.RedeliveryCount-1, got)
	}
	ack(got)
}
