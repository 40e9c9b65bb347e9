#include "scenario.h"

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *running;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("FAIL %s: ", running);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
    /* Threads of the client library may still be running: nothing is unwound. */
    _exit(1);
}

const char *environment(const char *name) {
    const char *value = getenv(name);
    return value == NULL ? "" : value;
}

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void look_again(void) {
    struct timespec moment = {.tv_sec = 0, .tv_nsec = 2000000};
    nanosleep(&moment, NULL);
}

static bool is_wanted(const char *name) {
    char list[4096], wanted[256];
    if (environment("SEAWAY_SCENARIOS")[0] == '\0') {
        return true;
    }
    snprintf(list, sizeof list, ",%s,", environment("SEAWAY_SCENARIOS"));
    snprintf(wanted, sizeof wanted, ",%s,", name);
    return strstr(list, wanted) != NULL;
}

int run_all(const struct scenario *scenarios, int count) {
    int failures = 0;
    for (int index = 0; index < count; index++) {
        running = scenarios[index].name;
        if (!is_wanted(running)) {
            continue;
        }
        fflush(stdout);
        /* The library keeps threads and state per process, and a failed scenario leaves them as they are. */
        pid_t child = fork();
        if (child == 0) {
            scenarios[index].run();
            printf("ok %s\n", running);
            fflush(stdout);
            _exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
            failures++;
            if (child >= 0 && WIFSIGNALED(status)) {
                printf("FAIL %s: ended by signal %d\n", running, WTERMSIG(status));
            }
        }
    }
    fflush(stdout);
    return failures > 0 ? 1 : 0;
}

/* Connects to "host:port", where a port may be followed by anything that is not a digit. */
static FILE *dial(const char *address) {
    char host[256], port[16];
    if (sscanf(address, "%255[^:]:%15[0-9]", host, port) != 2) {
        fail("%s is not an address", address);
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        fail("%s is unknown", address);
    }
    int descriptor = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    if (descriptor < 0 || connect(descriptor, found->ai_addr, found->ai_addrlen) != 0) {
        fail("nobody answers at %s", address);
    }
    freeaddrinfo(found);
    FILE *stream = fdopen(descriptor, "r+");
    if (stream == NULL) {
        fail("no stream to %s", address);
    }
    return stream;
}

/* Sends a request and reads the first line of the answer. */
static void ask(const char *address, const char *request, char *answer, int size) {
    FILE *stream = dial(address);
    fputs(request, stream);
    fflush(stream);
    if (fgets(answer, size, stream) == NULL) {
        fail("%s said nothing to %s", address, request);
    }
    fclose(stream);
    answer[strcspn(answer, "\r\n")] = '\0';
}

void server_control(const char *command) {
    char request[64], answer[512];
    snprintf(request, sizeof request, "%s\n", command);
    ask(environment("SEAWAY_CONTROL"), request, answer, sizeof answer);
    if (strcmp(answer, "ok") != 0) {
        fail("the runner answered %s to %s", answer, command);
    }
}

void expect_status(const char *path, int wanted) {
    char request[512], answer[512];
    const char *address = environment("SEAWAY_HTTP") + strlen("http://");
    snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: seaway\r\n\r\n", path);
    ask(address, request, answer, sizeof answer);
    int status = 0;
    if (sscanf(answer, "HTTP/%*s %d", &status) != 1 || status != wanted) {
        fail("%s answered %s, not %d", path, answer, wanted);
    }
}
