package main

import (
	"fmt"
	"os"
	"strconv"
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

// crashPublish publishes numbered messages to SEAWAY_CHANNELS channels without end, until its input is closed, and prints
// "acked CHANNEL NUMBER" for every publish the server acknowledged. The runner kills the server meanwhile.
func crashPublish() {
	channels, err := strconv.Atoi(environment("SEAWAY_CHANNELS"))
	must(err, "read SEAWAY_CHANNELS")
	clientID := environment("SEAWAY_CLIENT")
	connection := open(clientID,
		stan.PubAckWait(crashAckWait), stan.Pings(5, 88),
		stan.NatsOptions(nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(deadline),
			// Connections break all the time here; the library would print each.
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})))
	stop := make(chan struct{})
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		close(stop)
	}()
	inflight := make(chan struct{}, crashInflight)
	var output sync.Mutex
	pace := time.NewTicker(time.Millisecond)
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
		// A burst per tick, so that batches form at the server.
		for range 8 {
			channel := fmt.Sprintf("crash.%s.%d", clientID, number%channels)
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
