// The Go program of the README, run by the test command as it stands.
package main

import (
	"fmt"
	"log"

	stan "github.com/nats-io/stan.go"
)

func main() {
	sc, err := stan.Connect("test-cluster", "hello")
	if err != nil {
		log.Fatal(err)
	}
	defer sc.Close()
	if err := sc.Publish("orders", []byte("a pot of tea")); err != nil {
		log.Fatal(err)
	}
	received := make(chan *stan.Msg, 16)
	_, err = sc.Subscribe("orders", func(m *stan.Msg) { received <- m },
		stan.DeliverAllAvailable(), stan.DurableName("go-printer"))
	if err != nil {
		log.Fatal(err)
	}
	for m := range received {
		fmt.Println(m.Sequence, string(m.Data))
		if string(m.Data) == "a pot of tea" {
			return
		}
	}
}
