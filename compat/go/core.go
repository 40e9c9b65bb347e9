package main

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

var coreScenarios = []scenario{
	{"publish-subscribe", publishSubscribe},
	{"wildcards", wildcards},
	{"queue-groups", queueGroups},
	{"request-reply", requestReply},
	{"no-responders", noResponders},
	{"headers", headers},
	{"auto-unsubscribe", autoUnsubscribe},
	{"drain", drain},
	{"max-payload", maxPayload},
	{"fan-10000", fan},
}

// dial opens a core connection that finds its way back after a server restart at once.
func dial(options ...nats.Option) *nats.Conn {
	options = append([]nats.Option{
		nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1), nats.Timeout(deadline),
	}, options...)
	connection, err := nats.Connect(environment("SEAWAY_URL"), options...)
	must(err, "connect")
	return connection
}

func expectText(subscription *nats.Subscription, want string) *nats.Msg {
	message, err := subscription.NextMsg(deadline)
	must(err, fmt.Sprintf("wait for %q", want))
	if string(message.Data) != want {
		failf("received %q, not %q", message.Data, want)
	}
	return message
}

func publishSubscribe() {
	publisher, subscriber := dial(), dial()
	defer publisher.Close()
	defer subscriber.Close()
	subscription := value(subscriber.SubscribeSync("core.plain"))
	must(subscriber.Flush(), "flush")
	payload := bytes.Repeat([]byte{0, 1, 13, 10, 255}, 1000)
	must(publisher.Publish("core.plain", payload), "publish")
	must(publisher.Publish("core.plain", nil), "publish an empty message")
	must(publisher.Publish("core.other", []byte("not for us")), "publish")
	must(publisher.PublishRequest("core.plain", "answers.here", []byte("last")), "publish with a reply subject")
	if got := value(subscription.NextMsg(deadline)); !bytes.Equal(got.Data, payload) {
		failf("%d bytes came back differently", len(payload))
	}
	expectText(subscription, "")
	if last := expectText(subscription, "last"); last.Reply != "answers.here" || last.Subject != "core.plain" {
		failf("subject %q, reply %q", last.Subject, last.Reply)
	}
	// No echo: a connection that asked for it does not hear itself.
	quiet := dial(nats.NoEcho())
	defer quiet.Close()
	own := value(quiet.SubscribeSync("core.echo"))
	must(quiet.Publish("core.echo", []byte("own")), "publish")
	must(quiet.Flush(), "flush")
	must(publisher.Publish("core.echo", []byte("foreign")), "publish")
	expectText(own, "foreign")
}

func wildcards() {
	connection := dial()
	defer connection.Close()
	star := value(connection.SubscribeSync("wild.*.end"))
	tail := value(connection.SubscribeSync("wild.>"))
	literal := value(connection.SubscribeSync("wild.a.end"))
	for _, subject := range []string{"wild", "wild.a.end", "wild.a.b.end", "wild.b.end", "wild.done"} {
		must(connection.Publish(subject, []byte(subject)), "publish")
	}
	expectText(star, "wild.a.end")
	expectText(star, "wild.b.end")
	for _, want := range []string{"wild.a.end", "wild.a.b.end", "wild.b.end", "wild.done"} {
		if got := expectText(tail, want); got.Subject != want {
			failf("subject %q, not %q", got.Subject, want)
		}
	}
	expectText(literal, "wild.a.end")
	must(connection.Flush(), "flush")
	for _, subscription := range []*nats.Subscription{star, tail, literal} {
		if left, _, _ := subscription.Pending(); left != 0 {
			failf("%d messages too many on %s", left, subscription.Subject)
		}
	}
}

func queueGroups() {
	const count = 300
	publisher := dial()
	defer publisher.Close()
	var lock sync.Mutex
	seen := map[string]int{}
	perMember := make([]int, 3)
	total := 0
	for member := range perMember {
		connection := dial()
		defer connection.Close()
		value(connection.QueueSubscribe("queue.work", "workers", func(message *nats.Msg) {
			lock.Lock()
			defer lock.Unlock()
			seen[string(message.Data)]++
			perMember[member]++
			total++
		}))
		must(connection.Flush(), "flush")
	}
	other := value(publisher.QueueSubscribeSync("queue.*", "auditors"))
	for number := range count {
		must(publisher.Publish("queue.work", fmt.Appendf(nil, "%d", number)), "publish")
	}
	for number := range count {
		expectText(other, fmt.Sprint(number))
	}
	waitFor("every message to reach one worker", func() bool {
		lock.Lock()
		defer lock.Unlock()
		return total >= count
	})
	lock.Lock()
	defer lock.Unlock()
	if total != count || len(seen) != count {
		failf("%d deliveries of %d different messages, not %d", total, len(seen), count)
	}
	for member, received := range perMember {
		if received == 0 {
			failf("member %d of 3 received none of %d messages", member, count)
		}
	}
}

func requestReply() {
	server, client := dial(), dial()
	defer server.Close()
	defer client.Close()
	value(server.Subscribe("service.upper", func(message *nats.Msg) {
		_ = message.Respond(bytes.ToUpper(message.Data))
	}))
	must(server.Flush(), "flush")
	for number := range 100 {
		answer := value(client.Request("service.upper", fmt.Appendf(nil, "call %d", number), deadline))
		if want := fmt.Sprintf("CALL %d", number); string(answer.Data) != want {
			failf("answered %q, not %q", answer.Data, want)
		}
	}
}

func noResponders() {
	connection := dial()
	defer connection.Close()
	_, err := connection.Request("service.nobody", nil, deadline)
	if !errors.Is(err, nats.ErrNoResponders) {
		failf("a request nobody serves ended with %v", err)
	}
}

func headers() {
	publisher, subscriber := dial(), dial()
	defer publisher.Close()
	defer subscriber.Close()
	if !publisher.HeadersSupported() {
		failf("the server does not offer headers")
	}
	subscription := value(subscriber.SubscribeSync("core.headers"))
	must(subscriber.Flush(), "flush")
	message := nats.NewMsg("core.headers")
	message.Data = []byte("body")
	message.Header.Add("Trace", "one")
	message.Header.Add("Trace", "two")
	message.Header.Set("Empty", "")
	must(publisher.PublishMsg(message), "publish with headers")
	got := expectText(subscription, "body")
	if values := got.Header.Values("Trace"); len(values) != 2 || values[0] != "one" || values[1] != "two" {
		failf("header values %q", values)
	}
	if _, present := got.Header["Empty"]; !present {
		failf("the empty header is gone: %v", got.Header)
	}
}

func autoUnsubscribe() {
	connection := dial()
	defer connection.Close()
	limited := value(connection.SubscribeSync("core.limited"))
	must(limited.AutoUnsubscribe(3), "limit the subscription")
	all := value(connection.SubscribeSync("core.limited"))
	for number := range 10 {
		must(connection.Publish("core.limited", fmt.Appendf(nil, "%d", number)), "publish")
	}
	for number := range 10 {
		expectText(all, fmt.Sprint(number))
	}
	for number := range 3 {
		expectText(limited, fmt.Sprint(number))
	}
	if _, err := limited.NextMsg(time.Millisecond); !errors.Is(err, nats.ErrMaxMessages) && !errors.Is(err, nats.ErrBadSubscription) {
		failf("after three messages the subscription said %v", err)
	}
}

func drain() {
	const count = 1000
	closed := make(chan struct{})
	publisher := dial()
	defer publisher.Close()
	subscriber := dial(nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	var lock sync.Mutex
	received := 0
	value(subscriber.Subscribe("core.drain", func(*nats.Msg) {
		lock.Lock()
		received++
		lock.Unlock()
	}))
	must(subscriber.Flush(), "flush")
	for range count {
		must(publisher.Publish("core.drain", []byte("work")), "publish")
	}
	must(publisher.Flush(), "flush")
	must(subscriber.Drain(), "drain")
	receive(closed, "the drained connection to close")
	if received != count {
		failf("%d of %d messages were handled before the drained connection closed", received, count)
	}
}

func maxPayload() {
	connection := dial()
	defer connection.Close()
	limit := connection.MaxPayload()
	if limit != 1024*1024 {
		failf("max_payload is %d", limit)
	}
	subscription := value(connection.SubscribeSync("core.large"))
	must(connection.Publish("core.large", make([]byte, limit)), "publish the largest message allowed")
	if got := value(subscription.NextMsg(deadline)); int64(len(got.Data)) != limit {
		failf("%d bytes came back of %d", len(got.Data), limit)
	}
	if err := connection.Publish("core.large", make([]byte, limit+1)); !errors.Is(err, nats.ErrMaxPayload) {
		failf("one byte too many was answered with %v", err)
	}
	serverSideMaxPayload(limit)
}

func fan() {
	const count, subscribers = 10_000, 10
	var lock sync.Mutex
	next := make([]int, subscribers)
	disorder := ""
	for index := range subscribers {
		connection := dial()
		defer connection.Close()
		subscription := value(connection.Subscribe("core.fan", func(message *nats.Msg) {
			lock.Lock()
			defer lock.Unlock()
			if want := fmt.Sprint(next[index]); string(message.Data) != want && disorder == "" {
				disorder = fmt.Sprintf("subscriber %d received %q, not %q", index, message.Data, want)
			}
			next[index]++
		}))
		must(subscription.SetPendingLimits(-1, -1), "lift the client's own limits")
		must(connection.Flush(), "flush")
	}
	publisher := dial()
	defer publisher.Close()
	for number := range count {
		must(publisher.Publish("core.fan", fmt.Appendf(nil, "%d", number)), "publish")
	}
	waitFor("all subscribers to receive everything", func() bool {
		lock.Lock()
		defer lock.Unlock()
		for _, received := range next {
			if received < count {
				return false
			}
		}
		return true
	})
	lock.Lock()
	defer lock.Unlock()
	if disorder != "" {
		failf("%s", disorder)
	}
}
