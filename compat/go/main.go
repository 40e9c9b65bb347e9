// Command scenarios runs the compatibility scenarios with the Go clients (nats.go and stan.go) against a running server.
//
// Usage: scenarios streaming | core | secured | crash-publish | crash-work | crash-read. The server's addresses come from the environment; see
// ../README.md for the names, the control channel and the output format.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Every wait in the scenarios ends by this deadline at the latest; a healthy run is far quicker.
const deadline = 30 * time.Second

// A scenario is one behaviour, told from the client's side. It fails by calling failf (or must).
type scenario struct {
	name string
	run  func()
}

// failure is what failf panics with, so that a scenario can be written as a straight story.
type failure struct{ reason string }

// Error shows it where no scenario catches it.
func (f failure) Error() string { return f.reason }

func failf(format string, arguments ...any) {
	panic(failure{fmt.Sprintf(format, arguments...)})
}

func must(err error, doing string) {
	if err != nil {
		failf("%s: %v", doing, err)
	}
}

func value[T any](result T, err error) T {
	if err != nil {
		failf("%v", err)
	}
	return result
}

// waitFor polls a condition that no callback announces.
func waitFor(what string, condition func() bool) {
	end := time.Now().Add(deadline)
	for !condition() {
		if time.Now().After(end) {
			failf("waited %v for %s", deadline, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// receive takes the next value of a channel, or fails.
func receive[T any](from <-chan T, what string) T {
	select {
	case got := <-from:
		return got
	case <-time.After(deadline):
		failf("waited %v for %s", deadline, what)
		panic("unreachable")
	}
}

func environment(name string) string {
	found := os.Getenv(name)
	if found == "" {
		fmt.Fprintf(os.Stderr, "%s is not set\n", name)
		os.Exit(2)
	}
	return found
}

func runOne(s scenario) (failed string) {
	defer func() {
		switch caught := recover().(type) {
		case nil:
		case failure:
			failed = caught.reason
		default:
			panic(caught)
		}
	}()
	s.run()
	return ""
}

func runAll(scenarios []scenario) {
	only := strings.FieldsFunc(os.Getenv("SEAWAY_SCENARIOS"), func(r rune) bool { return r == ',' })
	failures := 0
	for _, s := range scenarios {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		if reason := runOne(s); reason != "" {
			failures++
			fmt.Printf("FAIL %s: %s\n", s.name, strings.ReplaceAll(reason, "\n", " "))
		} else {
			fmt.Printf("ok %s\n", s.name)
		}
	}
	if failures > 0 {
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: scenarios streaming | core | secured | crash-publish | crash-work | crash-read")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "streaming":
		runAll(append(streamingScenarios, stressScenarios...))
	case "core":
		runAll(coreScenarios)
	case "secured":
		runAll(securedScenarios)
	case "crash-publish":
		crashPublish()
	case "crash-work":
		crashWork()
	case "crash-read":
		crashRead()
	default:
		fmt.Fprintf(os.Stderr, "unknown suite %q\n", os.Args[1])
		os.Exit(2)
	}
}
