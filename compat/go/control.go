package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
)

// serverControl asks the runner to do something to the server process: "kill" (SIGKILL, returns when it is gone), "start" (same
// port, same data, returns when it is ready) or "restart" (both).
func serverControl(command string) {
	connection, err := net.Dial("tcp", environment("SEAWAY_CONTROL"))
	must(err, "reach the runner")
	defer connection.Close()
	fmt.Fprintf(connection, "%s\n", command)
	answer, err := bufio.NewReader(connection).ReadString('\n')
	must(err, "read the runner's answer")
	if strings.TrimSpace(answer) != "ok" {
		failf("the runner answered %q to %q", strings.TrimSpace(answer), command)
	}
}
