#include "client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario.h"

void must(natsStatus status, const char *doing) {
    if (status != NATS_OK) {
        fail("%s: %s (%s)", doing, natsStatus_GetText(status), nats_GetLastError(NULL));
    }
}

void expect_refusal(natsStatus status, const char *words) {
    const char *reason = status == NATS_OK ? "success" : nats_GetLastError(NULL);
    if (status == NATS_OK || reason == NULL || strstr(reason, words) == NULL) {
        fail("ended with %s instead of %s", reason == NULL ? natsStatus_GetText(status) : reason, words);
    }
}

/* ---- Connections ---- */

natsStatus try_open(stanConnection **connection, const char *client) {
    natsOptions *nats = NULL;
    stanConnOptions *options = NULL;
    must(natsOptions_Create(&nats), "create the options");
    must(natsOptions_SetURL(nats, environment("SEAWAY_URL")), "set the address");
    must(natsOptions_SetReconnectWait(nats, 20), "set the reconnect wait");
    must(natsOptions_SetReconnectJitter(nats, 0, 0), "set the jitter");
    must(natsOptions_SetMaxReconnect(nats, -1), "set the reconnects");
    must(natsOptions_SetTimeout(nats, DEADLINE_MS), "set the timeout");
    must(stanConnOptions_Create(&options), "create the streaming options");
    must(stanConnOptions_SetNATSOptions(options, nats), "set the options");
    must(stanConnOptions_SetConnectionWait(options, DEADLINE_MS), "set the wait");
    natsStatus status = stanConnection_Connect(connection, environment("SEAWAY_CLUSTER"), client, options);
    stanConnOptions_Destroy(options);
    natsOptions_Destroy(nats);
    return status;
}

stanConnection *open_as(const char *client) {
    stanConnection *connection = NULL;
    must(try_open(&connection, client), client);
    return connection;
}

void close_down(stanConnection *connection) {
    must(stanConnection_Close(connection), "close the connection");
    stanConnection_Destroy(connection);
}

static bool is_connected(stanConnection *connection) {
    natsConnection *nats = NULL;
    must(stanConnection_GetNATSConnection(connection, &nats), "get the NATS connection");
    bool connected = natsConnection_Status(nats) == NATS_CONN_STATUS_CONNECTED;
    stanConnection_ReleaseNATSConnection(connection);
    return connected;
}

void wait_until_connected(stanConnection *connection, bool wanted) {
    int64_t end = now_ns() + DEADLINE_MS * INT64_C(1000000);
    while (is_connected(connection) != wanted) {
        if (now_ns() > end) {
            fail("waited for the connection to be %s", wanted ? "back" : "gone");
        }
        look_again();
    }
}

void publish(stanConnection *connection, const char *channel, const char *payload) {
    must(stanConnection_Publish(connection, channel, payload, (int)strlen(payload)), payload);
}

/* Publishes the numbers first to last, each as its payload. */
void publish_range(stanConnection *connection, const char *channel, int first, int last) {
    char payload[16];
    for (int number = first; number <= last; number++) {
        snprintf(payload, sizeof payload, "%d", number);
        publish(connection, channel, payload);
    }
}

/* ---- Subscriptions ---- */

struct inbox *new_inbox(void) {
    struct inbox *inbox = calloc(1, sizeof *inbox);
    if (inbox == NULL) {
        fail("no memory");
    }
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_cond_init(&inbox->arrived, NULL);
    return inbox;
}

static void arrive(struct inbox *inbox, struct delivery delivery) {
    pthread_mutex_lock(&inbox->lock);
    if (inbox->count < DELIVERIES_MAX) {
        inbox->deliveries[inbox->count++] = delivery;
    }
    pthread_cond_signal(&inbox->arrived);
    pthread_mutex_unlock(&inbox->lock);
}

void on_message(stanConnection *connection, stanSubscription *subscription, const char *channel, stanMsg *message,
                       void *closure) {
    (void)connection;
    (void)channel;
    struct member *member = closure;
    struct delivery delivery = {.message = message, .subscription = subscription, .member = member->name};
    delivery.sequence = stanMsg_GetSequence(message);
    delivery.is_redelivered = stanMsg_IsRedelivered(message);
    snprintf(delivery.payload, sizeof delivery.payload, "%.*s", stanMsg_GetDataLength(message), stanMsg_GetData(message));
    arrive(member->inbox, delivery);
}

struct delivery *receive(struct inbox *inbox, const char *what) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&inbox->lock);
    while (inbox->taken == inbox->count) {
        if (pthread_cond_timedwait(&inbox->arrived, &inbox->lock, &end) != 0) {
            fail("waited for %s", what);
        }
    }
    struct delivery *got = &inbox->deliveries[inbox->taken++];
    pthread_mutex_unlock(&inbox->lock);
    return got;
}

/* Takes the next delivery and holds it against sequence, payload and redelivery flag. */
struct delivery *expect(struct inbox *inbox, uint64_t sequence, const char *payload, bool redelivered) {
    struct delivery *got = receive(inbox, payload);
    if (got->sequence != sequence || strcmp(got->payload, payload) != 0 || got->is_redelivered != redelivered) {
        fail("received sequence %llu, %s, redelivered %d; expected %llu, %s, %d", (unsigned long long)got->sequence,
             got->payload, got->is_redelivered, (unsigned long long)sequence, payload, redelivered);
    }
    return got;
}

struct delivery *expect_number(struct inbox *inbox, int number, bool redelivered) {
    char payload[16];
    snprintf(payload, sizeof payload, "%d", number);
    return expect(inbox, (uint64_t)number, payload, redelivered);
}

void expect_range(struct inbox *inbox, int first, int last) {
    for (int number = first; number <= last; number++) {
        expect_number(inbox, number, false);
    }
}

void ack(struct delivery *delivery) {
    must(stanSubscription_AckMsg(delivery->subscription, delivery->message), "acknowledge");
}

stanSubOptions *new_options(void) {
    stanSubOptions *options = NULL;
    must(stanSubOptions_Create(&options), "create the subscription options");
    return options;
}

/* Options of a subscription with manual acks. */
stanSubOptions *manual(int64_t ack_wait_ms) {
    stanSubOptions *options = new_options();
    must(stanSubOptions_SetManualAckMode(options, true), "set manual acks");
    must(stanSubOptions_SetAckWait(options, ack_wait_ms), "set AckWait");
    return options;
}

/* Options of the durable "keeper", from the beginning. */
stanSubOptions *keeper(int64_t ack_wait_ms) {
    stanSubOptions *options = manual(ack_wait_ms);
    must(stanSubOptions_SetDurableName(options, "keeper"), "set the durable name");
    must(stanSubOptions_DeliverAllAvailable(options), "set the start");
    return options;
}

/* Subscribes and gathers the deliveries; takes the options. An empty group means none. */
stanSubscription *subscribe_into(struct inbox *inbox, stanConnection *connection, const char *channel,
                                        const char *group, const char *name, stanSubOptions *options) {
    struct member *member = malloc(sizeof *member);
    if (member == NULL) {
        fail("no memory");
    }
    *member = (struct member){.name = name, .inbox = inbox};
    stanSubscription *subscription = NULL;
    natsStatus status =
        group[0] == '\0' ? stanConnection_Subscribe(&subscription, connection, channel, on_message, member, options)
                         : stanConnection_QueueSubscribe(&subscription, connection, channel, group, on_message, member, options);
    must(status, channel);
    stanSubOptions_Destroy(options);
    return subscription;
}

struct inbox *subscribe(stanConnection *connection, const char *channel, stanSubOptions *options) {
    struct inbox *inbox = new_inbox();
    subscribe_into(inbox, connection, channel, "", "", options);
    return inbox;
}

struct inbox *subscribe_from_first(stanConnection *connection, const char *channel) {
    stanSubOptions *options = new_options();
    must(stanSubOptions_DeliverAllAvailable(options), "set the start");
    return subscribe(connection, channel, options);
}

/* ---- Clients that crash ---- */

/* Starts it; to be called before the library is used, as it does not survive a fork. */
struct doomed *start_doomed(const char *name, void (*live)(const char *name, int reports)) {
    int ends[2];
    struct doomed *doomed = calloc(1, sizeof *doomed);
    if (doomed == NULL || pipe(ends) != 0 || (doomed->process = fork()) < 0) {
        fail("no process for %s", name);
    }
    if (doomed->process == 0) {
        /* Nor does it outlive a scenario that fails. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        live(name, ends[1]);
        fail("%s outlived its story", name);
    }
    close(ends[1]);
    doomed->reports = ends[0];
    doomed->name = name;
    return doomed;
}

void report(int reports, uint64_t sequence) {
    if (write(reports, &sequence, sizeof sequence) != sizeof sequence) {
        fail("nobody listens to a doomed client");
    }
}

void wait_until_ready(struct doomed *doomed) {
    uint64_t ready = 1;
    if (read(doomed->reports, &ready, sizeof ready) != sizeof ready || ready != 0) {
        fail("%s did not start", doomed->name);
    }
}

/* Passes its deliveries on into an inbox, as long as it lives. */
void *listen_to(void *closure) {
    struct doomed *doomed = closure;
    uint64_t sequence;
    while (read(doomed->reports, &sequence, sizeof sequence) == sizeof sequence) {
        arrive(doomed->inbox, (struct delivery){.member = doomed->name, .sequence = sequence});
    }
    return NULL;
}

void die(struct doomed *doomed) {
    kill(doomed->process, SIGKILL);
    waitpid(doomed->process, NULL, 0);
}

