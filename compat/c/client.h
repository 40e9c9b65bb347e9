/* The C client as scenarios use it: connections, subscriptions that gather, clients that crash. */
#ifndef CLIENT_H
#define CLIENT_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DELIVERIES_MAX 20000

/* A message as a subscriber saw it. */
struct delivery {
    stanMsg *message;
    stanSubscription *subscription;
    const char *member;
    uint64_t sequence;
    bool is_redelivered;
    char payload[32];
};

/* What subscriptions received and nobody took yet. */
struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    int taken, count;
    struct delivery deliveries[DELIVERIES_MAX];
};

/* A subscription's name and inbox, for the callback. */
struct member {
    const char *name;
    struct inbox *inbox;
};

/* A client in a process of its own, for a crash that a program cannot prepare. */
struct doomed {
    pid_t process;
    /* What the process has to say: a sequence per delivery, 0 once it is ready. */
    int reports;
    struct inbox *inbox;
    const char *name;
};

/* Fails the scenario unless the status says success. */
void must(natsStatus status, const char *doing);

/* Fails the scenario unless the call was refused with these words. */
void expect_refusal(natsStatus status, const char *words);

natsStatus try_open(stanConnection **connection, const char *client);
stanConnection *open_as(const char *client);
void close_down(stanConnection *connection);
void wait_until_connected(stanConnection *connection, bool wanted);

void publish(stanConnection *connection, const char *channel, const char *payload);

/* Publishes the numbers first to last, each as its payload. */
void publish_range(stanConnection *connection, const char *channel, int first, int last);

struct inbox *new_inbox(void);
void on_message(stanConnection *connection, stanSubscription *subscription, const char *channel, stanMsg *message,
                void *closure);
struct delivery *receive(struct inbox *inbox, const char *what);

/* Takes the next delivery and holds it against sequence, payload and redelivery flag. */
struct delivery *expect(struct inbox *inbox, uint64_t sequence, const char *payload, bool redelivered);
struct delivery *expect_number(struct inbox *inbox, int number, bool redelivered);
void expect_range(struct inbox *inbox, int first, int last);
void ack(struct delivery *delivery);

stanSubOptions *new_options(void);

/* Options of a subscription with manual acks. */
stanSubOptions *manual(int64_t ack_wait_ms);

/* Options of the durable "keeper", from the beginning. */
stanSubOptions *keeper(int64_t ack_wait_ms);

/* Subscribes and gathers the deliveries; takes the options. An empty group means none. */
stanSubscription *subscribe_into(struct inbox *inbox, stanConnection *connection, const char *channel, const char *group,
                                 const char *name, stanSubOptions *options);
struct inbox *subscribe(stanConnection *connection, const char *channel, stanSubOptions *options);
struct inbox *subscribe_from_first(stanConnection *connection, const char *channel);

/* Starts a client that will crash; to be called before the library is used, as that does not survive a fork. */
struct doomed *start_doomed(const char *name, void (*live)(const char *name, int reports));

/* What its life reports: 0 once it is ready, then a sequence per delivery. */
void report(int reports, uint64_t sequence);
void wait_until_ready(struct doomed *doomed);

/* A thread that passes its deliveries on into its inbox, as long as it lives. */
void *listen_to(void *doomed);
void die(struct doomed *doomed);

#endif
