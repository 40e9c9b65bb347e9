package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// serverSideMaxPayload sends an oversized message past the client library's own check: the server must answer in words and hang up.
func serverSideMaxPayload(limit int64) {
	address := strings.TrimPrefix(environment("SEAWAY_URL"), "nats://")
	connection, err := net.Dial("tcp", address)
	must(err, "connect")
	defer connection.Close()
	must(connection.SetDeadline(time.Now().Add(deadline)), "set a deadline")
	fmt.Fprintf(connection, "CONNECT {\"verbose\":false}\r\nPUB core.large %d\r\n", limit+1)
	reader := bufio.NewReader(connection)
	for {
		line, err := reader.ReadString('\n')
		must(err, "wait for the server's error")
		if strings.HasPrefix(line, "-ERR") {
			if want := "-ERR 'Maximum Payload Violation'"; strings.TrimSpace(line) != want {
				failf("%q, not %q", strings.TrimSpace(line), want)
			}
			break
		}
	}
	for {
		if _, err := reader.ReadByte(); err != nil {
			return
		}
	}
}
