package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

// How many publishes may be under way, and how long one waits for its acknowledgement before it counts as lost.
const (
	crashInflight = 256
	crashAckWait  = 2 * time.Second
)

// crashPace says how often how many numbers are published: SEAWAY_PACE names the milliseconds for one; otherwise they come in
// bursts, so that batches form at the server.
func crashPace() (time.Duration, int) {
	if pace := os.Getenv("SEAWAY_PACE"); pace != "" {
		return time.Duration(value(strconv.Atoi(pace))) * time.Millisecond, 1
	}
	return time.Millisecond, 8
}

// crashOptions keep a connection alive over server restarts of any number and length.
func crashOptions() []stan.Option {
	return []stan.Option{
		stan.PubAckWait(crashAckWait), stan.Pings(5, 88),
		stan.NatsOptions(nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(deadline),
			nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
			// Connections break all the time here; the library would print each.
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})),
	}
}

// untilInputCloses is closed once the runner wants the process to come to an end.
func untilInputCloses() chan struct{} {
	stop := make(chan struct{})
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		close(stop)
	}()
	return stop
}

// crashPublish publishes numbered messages to the SEAWAY_CHANNELS without end, until its input is closed, and prints
// "acked CHANNEL NUMBER" for every publish the server acknowledged. The runner kills the server meanwhile.
func crashPublish() {
	channels := strings.Split(environment("SEAWAY_CHANNELS"), ",")
	connection := open(environment("SEAWAY_CLIENT"), crashOptions()...)
	stop := untilInputCloses()
	inflight := make(chan struct{}, crashInflight)
	var output sync.Mutex
	every, burst := crashPace()
	pace := time.NewTicker(every)
	defer pace.Stop()
	for number := 0; ; {
		select {
		case <-stop:
			for range crashInflight {
				inflight <- struct{}{}
			}
			fmt.Println("done")
			return
		case <-pace.C:
		}
		for range burst {
			channel := channels[number%len(channels)]
			mine := number
			number++
			inflight <- struct{}{}
			_, err := connection.PublishAsync(channel, fmt.Appendf(nil, "%d", mine), func(_ string, err error) {
				if err == nil {
					output.Lock()
					fmt.Printf("acked %s %d\n", channel, mine)
					output.Unlock()
				}
				<-inflight
			})
			if err != nil {
				// While the server is away nothing was sent; its number is simply never used again.
				<-inflight
				break
			}
		}
	}
}

// crashRead prints "message SEQUENCE PAYLOAD" for everything a channel holds, from sequence 1 to a final message it adds itself.
func crashRead() {
	connection := open(environment("SEAWAY_CLIENT"))
	defer connection.Close()
	channel := environment("SEAWAY_CHANNEL")
	publish(connection, channel, "end")
	_, received := subscribe(connection, channel, stan.StartAtSequence(1))
	for {
		got := receive(received, "the end of "+channel)
		fmt.Printf("message %d %s\n", got.Sequence, got.Data)
		if string(got.Data) == "end" {
			return
		}
	}
}

// crashWork receives the SEAWAY_CHANNELS twice over, by a durable and by a durable queue group of two members on connections of
// their own, acknowledges, and prints "got NAME CHANNEL SEQUENCE PAYLOAD" for each delivery, until its input is closed. The
// runner kills the server, and now and then this process.
func crashWork() {
	channels := strings.Split(environment("SEAWAY_CHANNELS"), ",")
	stop := untilInputCloses()
	var output sync.Mutex
	work := func(client, name, group string) stan.Conn {
		connection := openPatiently(client)
		for _, channel := range channels {
			_, err := connection.QueueSubscribe(channel, group, func(message *stan.Msg) {
				output.Lock()
				fmt.Printf("got %s %s %d %s\n", name, channel, message.Sequence, message.Data)
				output.Unlock()
				// An acknowledgement that meets a broken connection is lost, and the message comes again.
				_ = message.Ack()
			}, stan.DurableName("keeper"), stan.DeliverAllAvailable(), stan.SetManualAckMode(), stan.AckWait(time.Second),
				stan.MaxInflight(64))
			must(err, "subscribe to "+channel)
		}
		return connection
	}
	connections := []stan.Conn{
		work("worker-durable", "durable", ""), work("worker-member-1", "group", "workers"), work("worker-member-2", "group", "workers"),
	}
	fmt.Println("ready")
	<-stop
	for _, connection := range connections {
		must(connection.Close(), "close")
	}
	fmt.Println("done")
}

// openPatiently connects as a client whose earlier process was killed: the server may be down, and its name may still be taken.
func openPatiently(client string) stan.Conn {
	var connection stan.Conn
	waitFor("a connection as "+client, func() bool {
		var err error
		connection, err = tryOpen(client, append(crashOptions(), stan.ConnectWait(crashAckWait))...)
		return err == nil
	})
	return connection
}
