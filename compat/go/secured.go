package main

import (
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/nats-io/stan.go"
)

// The server of this suite asks for a client certificate and for the credentials of one of its users (see
// xtask/src/secured.rs, which writes its configuration file).
var securedScenarios = []scenario{
	{"password", passwordUser},
	{"hashed-password", hashedPassword},
	{"wrong-password", wrongPassword},
	{"nkey", nkeyUser},
	{"no-certificate", noCertificate},
	{"permissions", permissions},
	{"streaming", securedStreaming},
	{"streaming-permissions", streamingPermissions},
	{"reconnect", securedReconnect},
}

// The key whose public half the server knows.
const userSeed = "SUAHM6AVQD4FDOPDBULEYXCL3HYJ7XKAFOW5OF26HRDBRI26QJIQFEYGBE"

func secret(name string) string {
	return filepath.Join(environment("SEAWAY_SECRETS"), name)
}

func withAuthority() nats.Option {
	return nats.RootCAs(secret("ca.pem"))
}

func withCertificate() nats.Option {
	return nats.ClientCert(secret("client.pem"), secret("client-key.pem"))
}

func dialAs(user, password string, options ...nats.Option) *nats.Conn {
	return dial(append([]nats.Option{withAuthority(), withCertificate(), nats.UserInfo(user, password)}, options...)...)
}

// roundTrip shows that a connection works in both directions.
func roundTrip(connection *nats.Conn, subject string) {
	subscription := value(connection.SubscribeSync(subject))
	must(connection.Publish(subject, []byte("ping")), "publish")
	expectText(subscription, "ping")
	must(subscription.Unsubscribe(), "unsubscribe")
}

func passwordUser() {
	connection := dialAs("all", "pw-all")
	defer connection.Close()
	if state := value(connection.TLSConnectionState()); !state.HandshakeComplete {
		failf("there is no TLS")
	}
	roundTrip(connection, "secured.plain")
	large := make([]byte, 900_000)
	subscription := value(connection.SubscribeSync("secured.large"))
	for range 20 {
		must(connection.Publish("secured.large", large), "publish")
	}
	for range 20 {
		if got := value(subscription.NextMsg(deadline)); len(got.Data) != len(large) {
			failf("%d bytes arrived", len(got.Data))
		}
	}
}

func hashedPassword() {
	connection := dialAs("limited", "pw-limited")
	defer connection.Close()
	roundTrip(connection, "secured.hashed")
}

func wrongPassword() {
	for _, password := range []string{"", "pw", "pw-limited"} {
		_, err := nats.Connect(environment("SEAWAY_URL"), withAuthority(), withCertificate(), nats.UserInfo("all", password))
		if !errors.Is(err, nats.ErrAuthorization) {
			failf("with password %q: %v", password, err)
		}
	}
}

func nkeyUser() {
	pair := value(nkeys.FromSeed([]byte(userSeed)))
	public := value(pair.PublicKey())
	connection := dial(withAuthority(), withCertificate(), nats.Nkey(public, pair.Sign))
	defer connection.Close()
	roundTrip(connection, "secured.nkey")

	stranger := value(nkeys.CreateUser())
	_, err := nats.Connect(environment("SEAWAY_URL"), withAuthority(), withCertificate(), nats.Nkey(public, stranger.Sign))
	if !errors.Is(err, nats.ErrAuthorization) {
		failf("with a stranger's signature: %v", err)
	}
}

func noCertificate() {
	connection, err := nats.Connect(environment("SEAWAY_URL"), withAuthority(), nats.UserInfo("all", "pw-all"))
	if err == nil {
		connection.Close()
		failf("let in without a certificate")
	}
}

func permissions() {
	problems := make(chan error, 16)
	note := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { problems <- err })
	limited, all := dialAs("limited", "pw-limited", note), dialAs("all", "pw-all")
	defer limited.Close()
	defer all.Close()
	observed := value(all.SubscribeSync("secured.>"))
	must(all.Flush(), "flush")
	expectProblem := func(text string) {
		if got := receive(problems, text); !strings.Contains(strings.ToLower(got.Error()), strings.ToLower(text)) {
			failf("the error is %q, not %q", got, text)
		}
	}
	must(limited.Publish("secured.denied", []byte("no")), "publish")
	expectProblem(`Permissions Violation for Publish to "secured.denied"`)
	value(limited.SubscribeSync("private.x"))
	must(limited.Flush(), "flush")
	expectProblem(`Permissions Violation for Subscription to "private.x"`)
	// A subscription that only overlaps what is denied gets the rest.
	wide := value(limited.SubscribeSync(">"))
	must(limited.Flush(), "flush")
	must(all.Publish("private.y", []byte("hidden")), "publish")
	must(all.Publish("secured.open", []byte("seen")), "publish")
	expectText(wide, "seen")
	expectText(observed, "seen")
}

func securedOptions(user, password string) stan.Option {
	return stan.NatsOptions(withAuthority(), withCertificate(), nats.UserInfo(user, password),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1), nats.Timeout(deadline))
}

func securedStreaming() {
	connection := open("secured", securedOptions("all", "pw-all"))
	defer connection.Close()
	publish(connection, "secured-orders", "one", "two", "three")
	received := make(chan string, 16)
	subscription := value(connection.Subscribe("secured-orders", func(message *stan.Msg) {
		must(message.Ack(), "ack")
		received <- string(message.Data)
	}, stan.DeliverAllAvailable(), stan.SetManualAckMode(), stan.AckWait(longAckWait)))
	for _, want := range []string{"one", "two", "three"} {
		if got := receive(received, want); got != want {
			failf("received %q, not %q", got, want)
		}
	}
	must(subscription.Close(), "close the subscription")
}

func streamingPermissions() {
	problems := make(chan error, 16)
	options := stan.NatsOptions(withAuthority(), withCertificate(), nats.UserInfo("limited", "pw-limited"), nats.Timeout(deadline),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { problems <- err }))
	connection := open("limited", options, stan.PubAckWait(time.Second))
	defer connection.Close()
	publish(connection, "open-orders", "fine")
	if err := connection.Publish("closed-orders", []byte("no")); !errors.Is(err, stan.ErrTimeout) {
		failf("publish to a denied channel: %v", err)
	}
	want := "permissions violation for publish to \"_stan.pub." + environment("SEAWAY_CLUSTER") + ".closed-orders\""
	if got := receive(problems, "the violation"); !strings.Contains(strings.ToLower(got.Error()), want) {
		failf("the error is %q, not %q", got, want)
	}
	publish(connection, "open-orders", "still fine")
}

func securedReconnect() {
	connection := open("returning", securedOptions("all", "pw-all"))
	defer connection.Close()
	publish(connection, "returning-orders", "before")
	serverControl("restart")
	waitFor("the connection to be back", func() bool { return connection.NatsConn().IsConnected() })
	publish(connection, "returning-orders", "after")
}
