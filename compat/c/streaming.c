/* The streaming scenarios with the C client. It shows no redelivery count, only the flag. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "scenario.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* Keeps redelivery out of scenarios that are about something else. */
#define LONG_ACK_WAIT_MS 60000

static void scenario_connect(void) {
    stanConnection *connection = open_as("connect-c");
    expect_status("/streaming/clientsz?client=connect-c", 200);
    close_down(connection);
    expect_status("/streaming/clientsz?client=connect-c", 404);
    close_down(open_as("connect-c"));
    expect_refusal(try_open(&connection, "connect c"), "stan: invalid clientID");
}

static void scenario_publish(void) {
    stanConnection *connection = open_as("publish-c");
    struct inbox *received = subscribe(connection, "publish.c", new_options());
    int64_t before = now_ns();
    const char *payloads[] = {"one", "", "three"};
    for (int index = 0; index < COUNT(payloads); index++) {
        publish(connection, "publish.c", payloads[index]);
    }
    for (int index = 0; index < COUNT(payloads); index++) {
        struct delivery *got = expect(received, (uint64_t)index + 1, payloads[index], false);
        int64_t stored = stanMsg_GetTimestamp(got->message);
        if (stored < before || stored > now_ns()) {
            fail("timestamp %lld", (long long)stored);
        }
    }
    expect_refusal(stanConnection_Publish(connection, "publish.*", "x", 1), "stan: invalid publish request");
    close_down(connection);
}

/* How many asynchronous publishes were acknowledged, and how many of those with an error. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int acknowledged, failed;
} async_publishes = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_ack(const char *guid, const char *error, void *closure) {
    (void)guid;
    (void)closure;
    pthread_mutex_lock(&async_publishes.lock);
    async_publishes.acknowledged++;
    async_publishes.failed += error != NULL;
    pthread_cond_signal(&async_publishes.changed);
    pthread_mutex_unlock(&async_publishes.lock);
}

static void scenario_publish_async(void) {
    const int count = 10000;
    stanConnection *connection = open_as("async-c");
    char payload[16];
    for (int number = 1; number <= count; number++) {
        int length = snprintf(payload, sizeof payload, "%d", number);
        must(stanConnection_PublishAsync(connection, "async.c", payload, length, on_ack, NULL), "publish asynchronously");
    }
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&async_publishes.lock);
    while (async_publishes.acknowledged < count) {
        if (pthread_cond_timedwait(&async_publishes.changed, &async_publishes.lock, &end) != 0) {
            fail("%d of %d publishes were acknowledged", async_publishes.acknowledged, count);
        }
    }
    if (async_publishes.failed > 0) {
        fail("%d publishes failed", async_publishes.failed);
    }
    pthread_mutex_unlock(&async_publishes.lock);
    expect_range(subscribe_from_first(connection, "async.c"), 1, count);
    close_down(connection);
}

static void scenario_start_new_only(void) {
    stanConnection *connection = open_as("new-only-c");
    publish_range(connection, "new.only.c", 1, 3);
    struct inbox *received = subscribe(connection, "new.only.c", new_options());
    publish_range(connection, "new.only.c", 4, 5);
    expect_range(received, 4, 5);
    close_down(connection);
}

static void scenario_start_last_received(void) {
    stanConnection *connection = open_as("last-c");
    publish_range(connection, "last.c", 1, 3);
    stanSubOptions *options = new_options();
    must(stanSubOptions_StartWithLastReceived(options), "set the start");
    struct inbox *received = subscribe(connection, "last.c", options);
    expect_range(received, 3, 3);
    publish_range(connection, "last.c", 4, 4);
    expect_range(received, 4, 4);
    close_down(connection);
}

static void scenario_start_all_available(void) {
    stanConnection *connection = open_as("all-c");
    publish_range(connection, "all.c", 1, 3);
    struct inbox *received = subscribe_from_first(connection, "all.c");
    publish_range(connection, "all.c", 4, 4);
    expect_range(received, 1, 4);
    close_down(connection);
}

static struct inbox *subscribe_at_sequence(stanConnection *connection, const char *channel, uint64_t sequence) {
    stanSubOptions *options = new_options();
    must(stanSubOptions_StartAtSequence(options, sequence), "set the start");
    return subscribe(connection, channel, options);
}

static void scenario_start_sequence(void) {
    stanConnection *connection = open_as("sequence-c");
    publish_range(connection, "sequence.c", 1, 4);
    struct inbox *inside = subscribe_at_sequence(connection, "sequence.c", 3);
    struct inbox *beyond = subscribe_at_sequence(connection, "sequence.c", 100);
    struct inbox *lowest = subscribe_at_sequence(connection, "sequence.c", 1);
    publish_range(connection, "sequence.c", 5, 5);
    expect_range(inside, 3, 5);
    expect_range(beyond, 5, 5);
    expect_range(lowest, 1, 5);
    close_down(connection);
}

/* Publishes 1 and 2, lets the clock run for more than a second, publishes 3 and 4; returns an instant in the gap, in ms. */
static int64_t time_gap(stanConnection *connection, const char *channel) {
    publish_range(connection, channel, 1, 2);
    int64_t old = now_ns() / 1000000;
    while (now_ns() / 1000000 <= old + 1100) {
        look_again();
    }
    publish_range(connection, channel, 3, 4);
    return old + 550;
}

static struct inbox *subscribe_at_time(stanConnection *connection, const char *channel, int64_t milliseconds) {
    stanSubOptions *options = new_options();
    must(stanSubOptions_StartAtTime(options, milliseconds), "set the start");
    return subscribe(connection, channel, options);
}

static void scenario_start_time(void) {
    stanConnection *connection = open_as("time-c");
    int64_t instant = time_gap(connection, "time.c");
    struct inbox *received = subscribe_at_time(connection, "time.c", instant);
    struct inbox *early = subscribe_at_time(connection, "time.c", instant - 3600000);
    struct inbox *future = subscribe_at_time(connection, "time.c", now_ns() / 1000000 + 3600000);
    publish_range(connection, "time.c", 5, 5);
    expect_range(received, 3, 5);
    expect_range(early, 1, 5);
    expect_range(future, 5, 5);
    close_down(connection);
}

static struct inbox *subscribe_since(stanConnection *connection, const char *channel, int64_t milliseconds) {
    stanSubOptions *options = new_options();
    must(stanSubOptions_StartAtTimeDelta(options, milliseconds), "set the start");
    return subscribe(connection, channel, options);
}

static void scenario_start_time_delta(void) {
    stanConnection *connection = open_as("delta-c");
    int64_t instant = time_gap(connection, "delta.c");
    expect_range(subscribe_since(connection, "delta.c", now_ns() / 1000000 - instant), 3, 4);
    expect_range(subscribe_since(connection, "delta.c", 3600000), 1, 4);
    close_down(connection);
}

static void scenario_durable_resume_client_restart(void) {
    const char *channel = "durable.c";
    stanConnection *publisher = open_as("durable-publisher-c");
    stanConnection *first = open_as("durable-c");
    struct inbox *received = subscribe(first, channel, keeper(LONG_ACK_WAIT_MS));
    publish_range(publisher, channel, 1, 5);
    for (int number = 1; number <= 5; number++) {
        struct delivery *got = expect_number(received, number, false);
        if (number <= 3) {
            ack(got);
        }
    }
    close_down(first);
    publish_range(publisher, channel, 6, 6);

    stanConnection *second = open_as("durable-c");
    struct inbox *resumed = subscribe(second, channel, keeper(LONG_ACK_WAIT_MS));
    ack(expect_number(resumed, 4, true));
    ack(expect_number(resumed, 5, true));
    ack(expect_number(resumed, 6, false));
    publish_range(publisher, channel, 7, 7);
    ack(expect_number(resumed, 7, false));
    close_down(second);
    close_down(publisher);
}

static void scenario_durable_resume_server_kill(void) {
    const char *channel = "durable.kill.c";
    stanConnection *client = open_as("durable-kill-c");
    struct inbox *received = subscribe(client, channel, keeper(2000));
    publish_range(client, channel, 1, 5);
    for (int number = 1; number <= 5; number++) {
        struct delivery *got = expect_number(received, number, false);
        if (number <= 3) {
            ack(got);
        }
    }
    publish_range(client, channel, 6, 7);
    ack(expect_number(received, 6, false));
    ack(expect_number(received, 7, false));
    /* Acks are recorded at the latest with the commit after the one under way: after two more publishes nothing may undo them. */
    publish_range(client, "durable.kill.c.barrier", 1, 2);

    server_control("kill");
    wait_until_connected(client, false);
    server_control("start");
    wait_until_connected(client, true);

    /* The same connection and subscription go on without a new request; what was not acknowledged comes again. */
    publish_range(client, channel, 8, 8);
    bool has_come[9] = {false};
    while (!has_come[4] || !has_come[5] || !has_come[8]) {
        struct delivery *got = receive(received, "4, 5 and 8 after the restart");
        bool is_pending = (got->sequence == 4 || got->sequence == 5) && got->is_redelivered;
        if (!is_pending && got->sequence != 8) {
            fail("after the restart: sequence %llu, redelivered %d", (unsigned long long)got->sequence, got->is_redelivered);
        }
        has_come[got->sequence] = true;
        if (got->sequence != 5) {
            ack(got);
        }
    }
    close_down(client);

    /* A new connection resumes the durable, over a second kill. */
    server_control("restart");
    stanConnection *again = open_as("durable-kill-c");
    struct inbox *resumed = subscribe(again, channel, keeper(2000));
    ack(expect_number(resumed, 5, true));
    publish_range(again, channel, 9, 9);
    ack(expect_number(resumed, 9, false));
    expect_range(subscribe_from_first(again, channel), 1, 9);
    close_down(again);
}

/* Hands out 1 to count; returns in lost what the third member got and did not acknowledge. */
static int share_work(struct inbox *received, int count, bool *lost) {
    bool seen[64] = {false};
    const char *names[] = {"queue-a-c", "queue-b-c", "queue-c-c"};
    int share[COUNT(names)] = {0};
    for (int taken = 0; taken < count; taken++) {
        struct delivery *got = receive(received, "every message at one member");
        if (got->sequence >= (uint64_t)COUNT(seen) || seen[got->sequence] || got->is_redelivered) {
            fail("sequence %llu came twice", (unsigned long long)got->sequence);
        }
        seen[got->sequence] = true;
        for (int name = 0; name < COUNT(names); name++) {
            share[name] += strcmp(got->member, names[name]) == 0;
        }
        if (strcmp(got->member, names[2]) == 0) {
            lost[got->sequence] = true;
        } else {
            ack(got);
        }
    }
    if (share[0] == 0 || share[1] == 0 || share[2] == 0) {
        fail("the work was shared %d, %d, %d", share[0], share[1], share[2]);
    }
    return share[2];
}

static void live_as_worker(const char *name, int reports) {
    stanConnection *connection = open_as(name);
    struct inbox *received = new_inbox();
    subscribe_into(received, connection, "queue.c", "workers", name, manual(LONG_ACK_WAIT_MS));
    report(reports, 0);
    for (;;) {
        report(reports, receive(received, "work")->sequence);
    }
}

static void scenario_queue_group_member_dies(void) {
    const char *channel = "queue.c";
    const int count = 60;
    struct inbox *received = new_inbox();
    struct doomed *third = start_doomed("queue-c-c", live_as_worker);
    third->inbox = received;
    wait_until_ready(third);
    pthread_t listener;
    if (pthread_create(&listener, NULL, listen_to, third) != 0) {
        fail("no thread for the third member");
    }
    stanConnection *publisher = open_as("queue-publisher-c");
    const char *names[] = {"queue-a-c", "queue-b-c"};
    stanConnection *members[COUNT(names)];
    for (int index = 0; index < COUNT(names); index++) {
        members[index] = open_as(names[index]);
        subscribe_into(received, members[index], channel, "workers", names[index], manual(LONG_ACK_WAIT_MS));
    }
    publish_range(publisher, channel, 1, count);
    bool lost[64] = {false};
    int missing = share_work(received, count, lost);
    /* The third member dies with unacknowledged messages: once the server has given it up, the others get them, flagged. */
    die(third);
    for (; missing > 0; missing--) {
        struct delivery *got = receive(received, "the dead member's messages");
        if (!got->is_redelivered || !lost[got->sequence]) {
            fail("unexpected sequence %llu at %s", (unsigned long long)got->sequence, got->member);
        }
        lost[got->sequence] = false;
        ack(got);
    }
    publish(publisher, channel, "last");
    ack(expect(received, (uint64_t)count + 1, "last", false));
    close_down(members[0]);
    close_down(members[1]);
    close_down(publisher);
}

static void scenario_manual_ack_redelivery(void) {
    const char *channel = "redelivery.c";
    stanConnection *connection = open_as("redelivery-c");
    struct inbox *received = subscribe(connection, channel, manual(1000));
    int64_t start = now_ns();
    publish_range(connection, channel, 1, 1);
    struct delivery *first = expect_number(received, 1, false);
    for (int count = 1; count <= 2; count++) {
        expect_number(received, 1, true);
        int64_t waited_ms = (now_ns() - start) / 1000000;
        if (waited_ms < count * 900) {
            fail("redelivery %d came after %lld ms", count, (long long)waited_ms);
        }
    }
    ack(first);
    /* Message 2 is left alone for two more ack waits; message 1 must not come back meanwhile. */
    publish_range(connection, channel, 2, 2);
    expect_number(received, 2, false);
    expect_number(received, 2, true);
    ack(expect_number(received, 2, true));
    close_down(connection);
}

static void scenario_max_inflight_one(void) {
    const char *channel = "inflight.c";
    stanConnection *connection = open_as("inflight-c");
    publish_range(connection, channel, 1, 5);
    stanSubOptions *options = manual(1000);
    must(stanSubOptions_DeliverAllAvailable(options), "set the start");
    must(stanSubOptions_SetMaxInflight(options, 1), "set MaxInflight");
    struct inbox *received = subscribe(connection, channel, options);
    /* Until it is acknowledged, the first message comes again rather than the second. */
    struct delivery *first = expect_number(received, 1, false);
    expect_number(received, 1, true);
    ack(first);
    for (int number = 2; number <= 5; number++) {
        ack(expect_number(received, number, false));
    }
    close_down(connection);
}

static void live_as_publisher(const char *name, int reports) {
    stanConnection *connection = open_as(name);
    publish(connection, "duplicate.c", "the first one works");
    report(reports, 0);
    for (;;) {
        pause();
    }
}

static void scenario_duplicate_client_refused(void) {
    struct doomed *first = start_doomed("duplicate-c", live_as_publisher);
    wait_until_ready(first);
    stanConnection *second = NULL;
    expect_refusal(try_open(&second, "duplicate-c"), "stan: clientID already registered");
    /* A dead client's name is free again at once. */
    die(first);
    second = open_as("duplicate-c");
    publish(second, "duplicate.c", "so does its successor");
    close_down(second);
}

static void scenario_durable_unsubscribe_versus_close(void) {
    const char *channel = "durable.end.c";
    stanConnection *connection = open_as("durable-end-c");
    struct inbox *received = new_inbox();
    stanSubscription *subscription = subscribe_into(received, connection, channel, "", "", keeper(LONG_ACK_WAIT_MS));
    stanSubscription *duplicate = NULL;
    struct member nobody = {.name = "", .inbox = received};
    stanSubOptions *options = keeper(LONG_ACK_WAIT_MS);
    expect_refusal(stanConnection_Subscribe(&duplicate, connection, channel, on_message, &nobody, options),
                   "stan: duplicate durable registration");
    stanSubOptions_Destroy(options);
    publish_range(connection, channel, 1, 2);
    ack(expect_number(received, 1, false));
    ack(expect_number(received, 2, false));
    must(stanSubscription_Close(subscription), "close the durable");
    publish_range(connection, channel, 3, 3);

    subscription = subscribe_into(received, connection, channel, "", "", keeper(LONG_ACK_WAIT_MS));
    ack(expect_number(received, 3, false));
    must(stanSubscription_Unsubscribe(subscription), "unsubscribe the durable");

    subscribe_into(received, connection, channel, "", "", keeper(LONG_ACK_WAIT_MS));
    for (int number = 1; number <= 3; number++) {
        ack(expect_number(received, number, false));
    }
    close_down(connection);
}

int main(void) {
    static const struct scenario scenarios[] = {
        {"connect", scenario_connect},
        {"publish", scenario_publish},
        {"publish-async-10000", scenario_publish_async},
        {"start-new-only", scenario_start_new_only},
        {"start-last-received", scenario_start_last_received},
        {"start-all-available", scenario_start_all_available},
        {"start-sequence", scenario_start_sequence},
        {"start-time", scenario_start_time},
        {"start-time-delta", scenario_start_time_delta},
        {"durable-resume-client-restart", scenario_durable_resume_client_restart},
        {"durable-resume-server-kill", scenario_durable_resume_server_kill},
        {"queue-group-member-dies", scenario_queue_group_member_dies},
        {"manual-ack-redelivery", scenario_manual_ack_redelivery},
        {"max-inflight-one", scenario_max_inflight_one},
        {"duplicate-client-refused", scenario_duplicate_client_refused},
        {"durable-unsubscribe-vs-close", scenario_durable_unsubscribe_versus_close},
    };
    return run_all(scenarios, COUNT(scenarios));
}
