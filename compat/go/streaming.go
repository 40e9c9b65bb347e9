package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

// What the clients under test must be told word for word (specification section 3).
const duplicateClient = "stan: clientID already registered"

// longAckWait keeps redelivery out of scenarios that are about something else.
const longAckWait = time.Minute

var streamingScenarios = []scenario{
	{"connect", streamingConnect},
	{"publish", streamingPublish},
	{"publish-async-10000", publishAsync},
	{"start-new-only", startNewOnly},
	{"start-last-received", startLastReceived},
	{"start-all-available", startAllAvailable},
	{"start-sequence", startSequence},
	{"start-time", startTime},
	{"start-time-delta", startTimeDelta},
	{"durable-resume-client-restart", durableResumeClientRestart},
	{"durable-resume-server-kill", durableResumeServerKill},
	{"queue-group-member-dies", queueGroupMemberDies},
	{"manual-ack-redelivery", manualAckRedelivery},
	{"max-inflight-one", maxInflightOne},
	{"duplicate-client-refused", duplicateClientRefused},
	{"durable-unsubscribe-vs-close", durableUnsubscribeVersusClose},
}

// open starts a streaming connection. The caller closes it.
func open(clientID string, options ...stan.Option) stan.Conn {
	connection, err := tryOpen(clientID, options...)
	must(err, "connect as "+clientID)
	return connection
}

func tryOpen(clientID string, options ...stan.Option) (stan.Conn, error) {
	options = append([]stan.Option{
		stan.NatsURL(environment("SEAWAY_URL")),
		stan.ConnectWait(deadline),
		stan.NatsOptions(nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(deadline)),
	}, options...)
	return stan.Connect(environment("SEAWAY_CLUSTER"), clientID, options...)
}

// die cuts the client's connection without a goodbye, as a crash would.
func die(connection stan.Conn) {
	connection.NatsConn().Close()
}

func publish(connection stan.Conn, channel string, payloads ...string) {
	for _, payload := range payloads {
		must(connection.Publish(channel, []byte(payload)), "publish "+payload)
	}
}

// delivery is a message as a subscriber saw it.
type delivery struct {
	*stan.Msg
	member string
}

func (d delivery) String() string {
	return fmt.Sprintf("sequence %d, %q, redelivered %v, count %d", d.Sequence, d.Data, d.Redelivered, d.RedeliveryCount)
}

// subscribe gathers a subscription's deliveries into a channel.
func subscribe(connection stan.Conn, channel string, options ...stan.SubscriptionOption) (stan.Subscription, chan delivery) {
	into := make(chan delivery, 20_000)
	return subscribeInto(connection, channel, "", "", into, options...), into
}

func subscribeInto(connection stan.Conn, channel, group, member string, into chan delivery, options ...stan.SubscriptionOption) stan.Subscription {
	subscription, err := connection.QueueSubscribe(channel, group, func(message *stan.Msg) {
		into <- delivery{message, member}
	}, options...)
	must(err, "subscribe to "+channel)
	return subscription
}

// expect takes the next delivery and holds it against sequence, payload and redelivery flag.
func expect(from chan delivery, sequence uint64, payload string, redelivered bool) delivery {
	want := fmt.Sprintf("sequence %d, %q, redelivered %v", sequence, payload, redelivered)
	got := receive(from, want)
	if got.Sequence != sequence || string(got.Data) != payload || got.Redelivered != redelivered {
		failf("received %v; expected %s", got, want)
	}
	if got.Redelivered != (got.RedeliveryCount > 0) {
		failf("flag and count disagree: %v", got)
	}
	return got
}

func ack(message delivery) {
	must(message.Ack(), "acknowledge")
}

// expectStatus asks the monitoring endpoints whether the server knows something.
func expectStatus(path string, want int) {
	response, err := http.Get(environment("SEAWAY_HTTP") + path)
	must(err, "ask "+path)
	defer response.Body.Close()
	if response.StatusCode != want {
		failf("%s answered with status %d, not %d", path, response.StatusCode, want)
	}
}

func streamingConnect() {
	connection := open("connect-go")
	expectStatus("/streaming/clientsz?client=connect-go", http.StatusOK)
	must(connection.Close(), "close")
	expectStatus("/streaming/clientsz?client=connect-go", http.StatusNotFound)
	again := open("connect-go")
	must(again.Close(), "close the second connection of the same name")
	if _, err := tryOpen("connect go"); err == nil {
		failf("a client ID with a space was accepted")
	}
}

func streamingPublish() {
	connection := open("publish-go")
	defer connection.Close()
	_, received := subscribe(connection, "publish.go")
	before := time.Now().UnixNano()
	publish(connection, "publish.go", "one", "", "three")
	for index, payload := range []string{"one", "", "three"} {
		got := expect(received, uint64(index+1), payload, false)
		if got.Timestamp < before || got.Timestamp > time.Now().UnixNano() || got.Subject != "publish.go" {
			failf("timestamp %d or subject %q is wrong", got.Timestamp, got.Subject)
		}
	}
	if err := connection.Publish("publish.*", []byte("nowhere")); err == nil || err.Error() != "stan: invalid publish request" {
		failf("a publish to a wildcard ended with %v", err)
	}
}

func publishAsync() {
	const count = 10_000
	connection := open("async-go")
	defer connection.Close()
	acknowledged := make(chan error, count)
	var lock sync.Mutex
	waiting := map[string]bool{}
	for number := range count {
		lock.Lock()
		guid, err := connection.PublishAsync("async.go", fmt.Appendf(nil, "message %d", number), func(guid string, err error) {
			lock.Lock()
			defer lock.Unlock()
			if !waiting[guid] && err == nil {
				err = fmt.Errorf("acknowledged unknown guid %q", guid)
			}
			delete(waiting, guid)
			acknowledged <- err
		})
		waiting[guid] = true
		lock.Unlock()
		must(err, "publish asynchronously")
	}
	for range count {
		must(receive(acknowledged, "an acknowledgement"), "acknowledgement")
	}
	_, received := subscribe(connection, "async.go", stan.DeliverAllAvailable())
	for number := range count {
		expect(received, uint64(number+1), fmt.Sprintf("message %d", number), false)
	}
}

func startNewOnly() {
	connection := open("new-only-go")
	defer connection.Close()
	publish(connection, "new.only.go", "1", "2", "3")
	_, received := subscribe(connection, "new.only.go")
	publish(connection, "new.only.go", "4", "5")
	expect(received, 4, "4", false)
	expect(received, 5, "5", false)
}

func startLastReceived() {
	connection := open("last-go")
	defer connection.Close()
	publish(connection, "last.go", "1", "2", "3")
	_, received := subscribe(connection, "last.go", stan.StartWithLastReceived())
	expect(received, 3, "3", false)
	publish(connection, "last.go", "4")
	expect(received, 4, "4", false)
}

func startAllAvailable() {
	connection := open("all-go")
	defer connection.Close()
	publish(connection, "all.go", "1", "2", "3")
	_, received := subscribe(connection, "all.go", stan.DeliverAllAvailable())
	publish(connection, "all.go", "4")
	for number := range 4 {
		expect(received, uint64(number+1), fmt.Sprint(number+1), false)
	}
}

func startSequence() {
	connection := open("sequence-go")
	defer connection.Close()
	publish(connection, "sequence.go", "1", "2", "3", "4")
	_, inside := subscribe(connection, "sequence.go", stan.StartAtSequence(3))
	_, beyond := subscribe(connection, "sequence.go", stan.StartAtSequence(100))
	_, below := subscribe(connection, "sequence.go", stan.StartAtSequence(0))
	publish(connection, "sequence.go", "5")
	for number := 3; number <= 5; number++ {
		expect(inside, uint64(number), fmt.Sprint(number), false)
	}
	expect(beyond, 5, "5", false)
	for number := 1; number <= 5; number++ {
		expect(below, uint64(number), fmt.Sprint(number), false)
	}
}

// timeGap publishes 1 and 2, lets the clock run for more than a second, publishes 3 and 4, and returns an instant in the gap.
func timeGap(connection stan.Conn, channel string) time.Time {
	publish(connection, channel, "1", "2")
	old := time.Now()
	waitFor("the clock", func() bool { return time.Since(old) > 1100*time.Millisecond })
	publish(connection, channel, "3", "4")
	return old.Add(550 * time.Millisecond)
}

func startTime() {
	connection := open("time-go")
	defer connection.Close()
	instant := timeGap(connection, "time.go")
	_, received := subscribe(connection, "time.go", stan.StartAtTime(instant))
	_, early := subscribe(connection, "time.go", stan.StartAtTime(instant.Add(-time.Hour)))
	_, future := subscribe(connection, "time.go", stan.StartAtTime(time.Now().Add(time.Hour)))
	publish(connection, "time.go", "5")
	for number := 3; number <= 5; number++ {
		expect(received, uint64(number), fmt.Sprint(number), false)
	}
	expect(early, 1, "1", false)
	expect(future, 5, "5", false)
}

func startTimeDelta() {
	connection := open("delta-go")
	defer connection.Close()
	instant := timeGap(connection, "delta.go")
	_, received := subscribe(connection, "delta.go", stan.StartAtTimeDelta(time.Since(instant)))
	_, early := subscribe(connection, "delta.go", stan.StartAtTimeDelta(time.Hour))
	expect(received, 3, "3", false)
	expect(received, 4, "4", false)
	expect(early, 1, "1", false)
}

func durableResumeClientRestart() {
	publisher := open("durable-publisher-go")
	defer publisher.Close()
	first := open("durable-go")
	options := []stan.SubscriptionOption{
		stan.DurableName("keeper"), stan.DeliverAllAvailable(), stan.SetManualAckMode(), stan.AckWait(longAckWait),
	}
	_, received := subscribe(first, "durable.go", options...)
	publish(publisher, "durable.go", "1", "2", "3", "4", "5")
	for number := range 5 {
		got := expect(received, uint64(number+1), fmt.Sprint(number+1), false)
		if number < 3 {
			ack(got)
		}
	}
	must(first.Close(), "close the first connection")
	publish(publisher, "durable.go", "6")

	second := open("durable-go")
	defer second.Close()
	_, resumed := subscribe(second, "durable.go", options...)
	ack(expect(resumed, 4, "4", true))
	ack(expect(resumed, 5, "5", true))
	ack(expect(resumed, 6, "6", false))
	publish(publisher, "durable.go", "7")
	ack(expect(resumed, 7, "7", false))
}

func durableResumeServerKill() {
	const channel = "durable.kill.go"
	client := open("durable-kill-go")
	options := []stan.SubscriptionOption{
		stan.DurableName("keeper"), stan.DeliverAllAvailable(), stan.SetManualAckMode(), stan.AckWait(2 * time.Second),
	}
	_, received := subscribe(client, channel, options...)
	publish(client, channel, "1", "2", "3", "4", "5")
	for number := range 5 {
		got := expect(received, uint64(number+1), fmt.Sprint(number+1), false)
		if number < 3 {
			ack(got)
		}
	}
	publish(client, channel, "6", "7")
	ack(expect(received, 6, "6", false))
	ack(expect(received, 7, "7", false))
	// Acks are recorded at the latest with the commit after the one under way: after two more publishes nothing may undo them.
	publish(client, "durable.kill.go.barrier", "one", "two")

	serverControl("kill")
	waitFor("the client to notice", func() bool { return !client.NatsConn().IsConnected() })
	serverControl("start")
	waitFor("the client to come back", client.NatsConn().IsConnected)

	// The same connection and subscription go on without a new request; what was not acknowledged comes again.
	publish(client, channel, "8")
	pending := map[uint64]bool{4: true, 5: true, 8: true}
	for len(pending) > 0 {
		got := receive(received, "4, 5 and 8 after the restart")
		if got.Sequence < 8 && (got.Sequence != 4 && got.Sequence != 5 || !got.Redelivered) {
			failf("after the restart: %v", got)
		}
		delete(pending, got.Sequence)
		if got.Sequence != 5 {
			ack(got)
		}
	}
	must(client.Close(), "close after the restart")

	// A new connection resumes the durable, over a second kill.
	serverControl("restart")
	again := open("durable-kill-go")
	defer again.Close()
	_, resumed := subscribe(again, channel, options...)
	ack(expect(resumed, 5, "5", true))
	publish(again, channel, "9")
	ack(expect(resumed, 9, "9", false))

	_, everything := subscribe(again, channel, stan.DeliverAllAvailable())
	for number := 1; number <= 9; number++ {
		expect(everything, uint64(number), fmt.Sprint(number), false)
	}
}

func queueGroupMemberDies() {
	const channel, count = "queue.go", 60
	publisher := open("queue-publisher-go")
	defer publisher.Close()
	received := make(chan delivery, 10*count)
	members := map[string]stan.Conn{}
	for _, name := range []string{"queue-a-go", "queue-b-go", "queue-c-go"} {
		members[name] = open(name)
		subscribeInto(members[name], channel, "workers", name, received, stan.SetManualAckMode(), stan.AckWait(longAckWait))
	}
	defer members["queue-a-go"].Close()
	defer members["queue-b-go"].Close()
	for number := range count {
		publish(publisher, channel, fmt.Sprint(number+1))
	}
	seen := map[uint64]string{}
	share := map[string]int{}
	var lost []uint64
	for range count {
		got := receive(received, "every message at one member")
		if seen[got.Sequence] != "" || got.Redelivered {
			failf("%v came to %s after %s", got, got.member, seen[got.Sequence])
		}
		seen[got.Sequence] = got.member
		share[got.member]++
		if got.member == "queue-c-go" {
			lost = append(lost, got.Sequence)
		} else {
			ack(got)
		}
	}
	if len(share) != 3 {
		failf("the work was not shared by three members: %v", share)
	}
	// The third member dies with unacknowledged messages: once the server has given it up, the others get them, flagged.
	die(members["queue-c-go"])
	missing := map[uint64]bool{}
	for _, sequence := range lost {
		missing[sequence] = true
	}
	for len(missing) > 0 {
		got := receive(received, fmt.Sprintf("the dead member's %d messages", len(missing)))
		if !got.Redelivered || !missing[got.Sequence] {
			failf("unexpected %v at %s", got, got.member)
		}
		delete(missing, got.Sequence)
		ack(got)
	}
	publish(publisher, channel, "last")
	if got := receive(received, "work goes on with two members"); string(got.Data) != "last" {
		failf("unexpected %v", got)
	}
}

func manualAckRedelivery() {
	const channel = "redelivery.go"
	connection := open("redelivery-go")
	defer connection.Close()
	_, received := subscribe(connection, channel, stan.SetManualAckMode(), stan.AckWait(time.Second))
	start := time.Now()
	publish(connection, channel, "1")
	first := expect(received, 1, "1", false)
	for count := uint32(1); count <= 2; count++ {
		again := expect(received, 1, "1", true)
		if again.RedeliveryCount != count {
			failf("redelivery %d carries count %d", count, again.RedeliveryCount)
		}
		if waited := time.Since(start); waited < time.Duration(count)*900*time.Millisecond {
			failf("redelivery %d came after %v", count, waited)
		}
	}
	ack(first)
	// Message 2 is left alone for two more ack waits; message 1 must not come back meanwhile.
	publish(connection, channel, "2")
	expect(received, 2, "2", false)
	expect(received, 2, "2", true)
	ack(expect(received, 2, "2", true))
}

func maxInflightOne() {
	const channel = "inflight.go"
	connection := open("inflight-go")
	defer connection.Close()
	publish(connection, channel, "1", "2", "3", "4", "5")
	_, received := subscribe(connection, channel,
		stan.DeliverAllAvailable(), stan.SetManualAckMode(), stan.MaxInflight(1), stan.AckWait(time.Second))
	// Until it is acknowledged, the first message comes again rather than the second.
	first := expect(received, 1, "1", false)
	expect(received, 1, "1", true)
	ack(first)
	for number := 2; number <= 5; number++ {
		ack(expect(received, uint64(number), fmt.Sprint(number), false))
	}
}

func duplicateClientRefused() {
	first := open("duplicate-go")
	_, err := tryOpen("duplicate-go")
	if err == nil || err.Error() != duplicateClient {
		failf("the second connection ended with %v", err)
	}
	publish(first, "duplicate.go", "the first one still works")
	// A dead client's name is free again at once.
	die(first)
	second := open("duplicate-go")
	publish(second, "duplicate.go", "so does its successor")
	must(second.Close(), "close")
}

func durableUnsubscribeVersusClose() {
	const channel = "durable.end.go"
	connection := open("durable-end-go")
	defer connection.Close()
	durable := func() (stan.Subscription, chan delivery) {
		return subscribe(connection, channel, stan.DurableName("keeper"), stan.DeliverAllAvailable(), stan.SetManualAckMode())
	}
	subscription, received := durable()
	if _, err := connection.Subscribe(channel, func(*stan.Msg) {}, stan.DurableName("keeper")); err == nil ||
		err.Error() != "stan: duplicate durable registration" {
		failf("a second active durable of the same name ended with %v", err)
	}
	publish(connection, channel, "1", "2")
	ack(expect(received, 1, "1", false))
	ack(expect(received, 2, "2", false))
	must(subscription.Close(), "close the durable")
	publish(connection, channel, "3")

	subscription, received = durable()
	ack(expect(received, 3, "3", false))
	must(subscription.Unsubscribe(), "unsubscribe the durable")

	_, received = durable()
	for number := 1; number <= 3; number++ {
		ack(expect(received, uint64(number), fmt.Sprint(number), false))
	}
}
