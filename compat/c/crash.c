/* The C side of the take-over test: publishes numbers without end and prints "acked CHANNEL NUMBER" for every publish that the server
   acknowledged, until its input is closed. Servers go and come meanwhile. */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "scenario.h"

/* How long one waits for an acknowledgement before it counts as lost, and how many may be waited for. */
#define ACK_WAIT_MS 2000
#define INFLIGHT 256

static atomic_int outstanding;
static atomic_bool is_over;
static const char *channel;

static void *watch_input(void *closure) {
    (void)closure;
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    atomic_store(&is_over, true);
    return NULL;
}

static void on_ack(const char *guid, const char *error, void *closure) {
    (void)guid;
    if (error == NULL) {
        printf("acked %s %ld\n", channel, (long)(intptr_t)closure);
    }
    atomic_fetch_sub(&outstanding, 1);
}

static stanConnection *open_for_long(void) {
    natsOptions *nats = NULL;
    stanConnOptions *options = NULL;
    stanConnection *connection = NULL;
    must(natsOptions_Create(&nats), "create the options");
    must(natsOptions_SetURL(nats, environment("SEAWAY_URL")), "set the address");
    must(natsOptions_SetReconnectWait(nats, 20), "set the reconnect wait");
    must(natsOptions_SetReconnectJitter(nats, 0, 0), "set the jitter");
    must(natsOptions_SetMaxReconnect(nats, -1), "set the reconnects");
    must(natsOptions_SetTimeout(nats, DEADLINE_MS), "set the timeout");
    must(stanConnOptions_Create(&options), "create the streaming options");
    must(stanConnOptions_SetNATSOptions(options, nats), "set the options");
    must(stanConnOptions_SetConnectionWait(options, DEADLINE_MS), "set the wait");
    must(stanConnOptions_SetPubAckWait(options, ACK_WAIT_MS), "set the wait for acknowledgements");
    must(stanConnOptions_SetPings(options, 5, 88), "set the pings");
    must(stanConnection_Connect(&connection, environment("SEAWAY_CLUSTER"), environment("SEAWAY_CLIENT"), options), "connect");
    stanConnOptions_Destroy(options);
    natsOptions_Destroy(nats);
    return connection;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    channel = environment("SEAWAY_CHANNELS");
    long pace_ms = atol(environment("SEAWAY_PACE"));
    struct timespec pace = {.tv_sec = pace_ms / 1000, .tv_nsec = pace_ms % 1000 * 1000000};
    stanConnection *connection = open_for_long();
    pthread_t input;
    if (pthread_create(&input, NULL, watch_input, NULL) != 0) {
        fail("no thread");
    }
    for (long number = 0; !atomic_load(&is_over); nanosleep(&pace, NULL)) {
        if (atomic_load(&outstanding) >= INFLIGHT) {
            continue;
        }
        char payload[24];
        snprintf(payload, sizeof payload, "%ld", number);
        atomic_fetch_add(&outstanding, 1);
        natsStatus status = stanConnection_PublishAsync(connection, channel, payload, (int)strlen(payload), on_ack,
                                                        (void *)(intptr_t)number);
        if (status != NATS_OK) {
            /* Nothing was sent; its number is simply never used again. */
            atomic_fetch_sub(&outstanding, 1);
        }
        number++;
    }
    while (atomic_load(&outstanding) > 0) {
        look_again();
    }
    printf("done\n");
    fflush(stdout);
    /* Threads of the library may still be running. */
    _exit(0);
}
