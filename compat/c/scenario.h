/* How scenarios are run, fail, wait, and ask the runner and the server; see ../README.md for names and output. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

/* Every wait ends by this deadline at the latest, in milliseconds; a healthy run is far quicker. */
#define DEADLINE_MS 30000

/* One behaviour, told from the client's side. It fails by calling fail. */
struct scenario {
    const char *name;
    void (*run)(void);
};

/* Runs those that were asked for, each in a process of its own; returns the exit code. */
int run_all(const struct scenario *scenarios, int count);

/* Ends the scenario with a reason. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* The value of an environment variable, or "". */
const char *environment(const char *name);

/* Nanoseconds since the Unix epoch. */
int64_t now_ns(void);

/* Waits for a moment between two looks at something that no callback announces. */
void look_again(void);

/* Asks the runner to "kill", "start" or "restart" the server. */
void server_control(const char *command);

/* Asks the monitoring endpoints whether the server knows something. */
void expect_status(const char *path, int wanted);

#endif
