import io.nats.client.Connection;
import io.nats.client.Nats;
import io.nats.streaming.Message;
import io.nats.streaming.NatsStreaming;
import io.nats.streaming.Options;
import io.nats.streaming.StreamingConnection;
import io.nats.streaming.Subscription;
import io.nats.streaming.SubscriptionOptions;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;

/** The streaming scenarios with java-nats-streaming. The client shows no redelivery count, only the flag. */
public final class Streaming {
    /** Keeps redelivery out of scenarios that are about something else. */
    private static final Duration LONG_ACK_WAIT = Duration.ofMinutes(1);

    private Streaming() {
    }

    /** Runs the scenarios. */
    public static void main(String[] arguments) {
        LinkedHashMap<String, Scenario.Story> stories = new LinkedHashMap<>();
        stories.put("connect", Streaming::connect);
        stories.put("publish", Streaming::publish);
        stories.put("publish-async-10000", Streaming::publishAsync);
        stories.put("start-new-only", Streaming::startNewOnly);
        stories.put("start-last-received", Streaming::startLastReceived);
        stories.put("start-all-available", Streaming::startAllAvailable);
        stories.put("start-sequence", Streaming::startSequence);
        stories.put("start-time", Streaming::startTime);
        stories.put("start-time-delta", Streaming::startTimeDelta);
        stories.put("durable-resume-client-restart", Streaming::durableResumeClientRestart);
        stories.put("durable-resume-server-kill", Streaming::durableResumeServerKill);
        stories.put("queue-group-member-dies", Streaming::queueGroupMemberDies);
        stories.put("manual-ack-redelivery", Streaming::manualAckRedelivery);
        stories.put("max-inflight-one", Streaming::maxInflightOne);
        stories.put("duplicate-client-refused", Streaming::duplicateClientRefused);
        stories.put("durable-unsubscribe-vs-close", Streaming::durableUnsubscribeVersusClose);
        System.exit(Scenario.runAll(stories));
    }

    /** A streaming connection on a NATS connection of its own, so that a scenario can cut or watch the latter. */
    private static final class Client implements AutoCloseable {
        final Connection nats;
        final StreamingConnection stan;

        Client(String clientId) throws Exception {
            nats = Nats.connect(new io.nats.client.Options.Builder()
                    .server(Scenario.environment("SEAWAY_URL"))
                    .reconnectWait(Duration.ofMillis(20))
                    .maxReconnects(-1)
                    .connectionTimeout(Scenario.DEADLINE)
                    .build());
            Options options = new Options.Builder().natsConn(nats).connectWait(Scenario.DEADLINE).build();
            try {
                stan = NatsStreaming.connect(Scenario.environment("SEAWAY_CLUSTER"), clientId, options);
            } catch (Exception refused) {
                nats.close();
                throw refused;
            }
        }

        void publish(String channel, String... payloads) throws Exception {
            for (String payload : payloads) {
                stan.publish(channel, payload.getBytes(StandardCharsets.UTF_8));
            }
        }

        /** Gathers a subscription's deliveries. */
        BlockingQueue<Delivery> subscribe(String channel, SubscriptionOptions.Builder options) throws Exception {
            BlockingQueue<Delivery> into = new LinkedBlockingQueue<>();
            stan.subscribe(channel, message -> into.add(new Delivery(message, "")), options.build());
            return into;
        }

        /** Ends the streaming connection and the one below it. */
        @Override
        public void close() throws Exception {
            stan.close();
            nats.close();
        }

        /** Cuts the connection without a goodbye, as a crash would. */
        void die() throws Exception {
            nats.close();
        }
    }

    /** A message as a subscriber saw it. */
    private record Delivery(Message message, String member) {
        long sequence() {
            return message.getSequence();
        }

        String payload() {
            return new String(message.getData(), StandardCharsets.UTF_8);
        }

        boolean isRedelivered() {
            return message.isRedelivered();
        }

        void ack() throws Exception {
            message.ack();
        }

        @Override
        public String toString() {
            return "sequence " + sequence() + ", " + payload() + ", redelivered " + isRedelivered();
        }
    }

    private static SubscriptionOptions.Builder options() {
        return new SubscriptionOptions.Builder().subscriptionTimeout(Scenario.DEADLINE);
    }

    private static Delivery expect(BlockingQueue<Delivery> from, long sequence, String payload, boolean redelivered)
            throws Exception {
        String wanted = "sequence " + sequence + ", " + payload + ", redelivered " + redelivered;
        Delivery got = Scenario.receive(from, wanted);
        Scenario.check(got.toString().equals(wanted), "received " + got + "; expected " + wanted);
        return got;
    }

    private static void expectRange(BlockingQueue<Delivery> from, int first, int last) throws Exception {
        for (int number = first; number <= last; number++) {
            expect(from, number, Integer.toString(number), false);
        }
    }

    private static void expectRefusal(Scenario.Story story, String words) throws Exception {
        try {
            story.tell();
        } catch (Exception refused) {
            Scenario.check(String.valueOf(refused.getMessage()).contains(words), "refused with " + refused);
            return;
        }
        throw new AssertionError("nothing was refused with " + words);
    }

    private static void connect() throws Exception {
        try (Client client = new Client("connect-java")) {
            Scenario.expectStatus("/streaming/clientsz?client=connect-java", 200);
        }
        Scenario.expectStatus("/streaming/clientsz?client=connect-java", 404);
        new Client("connect-java").close();
        expectRefusal(() -> new Client("connect java").close(), "stan: invalid clientID");
    }

    private static void publish() throws Exception {
        try (Client client = new Client("publish-java")) {
            BlockingQueue<Delivery> received = client.subscribe("publish.java", options());
            Instant before = Instant.now();
            client.publish("publish.java", "one", "", "three");
            String[] payloads = {"one", "", "three"};
            for (int index = 0; index < payloads.length; index++) {
                Delivery got = expect(received, index + 1, payloads[index], false);
                long nanoseconds = got.message().getTimestamp();
                Instant stored = Instant.ofEpochSecond(0, nanoseconds);
                Scenario.check(!stored.isBefore(before) && !stored.isAfter(Instant.now()), "timestamp " + stored);
                Scenario.check(got.message().getSubject().equals("publish.java"), "subject " + got.message().getSubject());
            }
            expectRefusal(() -> client.publish("publish.*", "nowhere"), "stan: invalid publish request");
        }
    }

    private static void publishAsync() throws Exception {
        int count = 10_000;
        try (Client client = new Client("async-java")) {
            BlockingQueue<String> acknowledged = new LinkedBlockingQueue<>();
            Set<String> sent = ConcurrentHashMap.newKeySet();
            for (int number = 1; number <= count; number++) {
                byte[] payload = Integer.toString(number).getBytes(StandardCharsets.UTF_8);
                sent.add(client.stan.publish("async.java", payload,
                        (guid, failure) -> acknowledged.add(failure == null ? guid : "failed: " + failure)));
            }
            for (int number = 0; number < count; number++) {
                String guid = Scenario.receive(acknowledged, "an acknowledgement");
                Scenario.check(sent.remove(guid), "acknowledgement of " + guid);
            }
            expectRange(client.subscribe("async.java", options().deliverAllAvailable()), 1, count);
        }
    }

    private static void startNewOnly() throws Exception {
        try (Client client = new Client("new-only-java")) {
            client.publish("new.only.java", "1", "2", "3");
            BlockingQueue<Delivery> received = client.subscribe("new.only.java", options());
            client.publish("new.only.java", "4", "5");
            expectRange(received, 4, 5);
        }
    }

    private static void startLastReceived() throws Exception {
        try (Client client = new Client("last-java")) {
            client.publish("last.java", "1", "2", "3");
            BlockingQueue<Delivery> received = client.subscribe("last.java", options().startWithLastReceived());
            expectRange(received, 3, 3);
            client.publish("last.java", "4");
            expectRange(received, 4, 4);
        }
    }

    private static void startAllAvailable() throws Exception {
        try (Client client = new Client("all-java")) {
            client.publish("all.java", "1", "2", "3");
            BlockingQueue<Delivery> received = client.subscribe("all.java", options().deliverAllAvailable());
            client.publish("all.java", "4");
            expectRange(received, 1, 4);
        }
    }

    private static void startSequence() throws Exception {
        try (Client client = new Client("sequence-java")) {
            client.publish("sequence.java", "1", "2", "3", "4");
            BlockingQueue<Delivery> inside = client.subscribe("sequence.java", options().startAtSequence(3));
            BlockingQueue<Delivery> beyond = client.subscribe("sequence.java", options().startAtSequence(100));
            BlockingQueue<Delivery> below = client.subscribe("sequence.java", options().startAtSequence(0));
            client.publish("sequence.java", "5");
            expectRange(inside, 3, 5);
            expectRange(beyond, 5, 5);
            expectRange(below, 1, 5);
        }
    }

    /** Publishes 1 and 2, lets the clock run for more than a second, publishes 3 and 4; returns an instant in the gap. */
    private static Instant timeGap(Client client, String channel) throws Exception {
        client.publish(channel, "1", "2");
        Instant old = Instant.now();
        Scenario.waitFor("the clock", () -> Instant.now().isAfter(old.plusMillis(1100)));
        client.publish(channel, "3", "4");
        return old.plusMillis(550);
    }

    private static void startTime() throws Exception {
        try (Client client = new Client("time-java")) {
            Instant instant = timeGap(client, "time.java");
            BlockingQueue<Delivery> received = client.subscribe("time.java", options().startAtTime(instant));
            BlockingQueue<Delivery> early = client.subscribe("time.java", options().startAtTime(instant.minusSeconds(3600)));
            BlockingQueue<Delivery> future = client.subscribe("time.java", options().startAtTime(Instant.now().plusSeconds(3600)));
            client.publish("time.java", "5");
            expectRange(received, 3, 5);
            expectRange(early, 1, 5);
            expectRange(future, 5, 5);
        }
    }

    private static void startTimeDelta() throws Exception {
        try (Client client = new Client("delta-java")) {
            Instant instant = timeGap(client, "delta.java");
            Duration since = Duration.between(instant, Instant.now());
            expectRange(client.subscribe("delta.java", options().startAtTimeDelta(since)), 3, 4);
            expectRange(client.subscribe("delta.java", options().startAtTimeDelta(Duration.ofHours(1))), 1, 4);
        }
    }

    private static SubscriptionOptions.Builder keeper(Duration ackWait) {
        return options().durableName("keeper").deliverAllAvailable().manualAcks().ackWait(ackWait);
    }

    private static void durableResumeClientRestart() throws Exception {
        String channel = "durable.java";
        try (Client publisher = new Client("durable-publisher-java")) {
            Client first = new Client("durable-java");
            BlockingQueue<Delivery> received = first.subscribe(channel, keeper(LONG_ACK_WAIT));
            publisher.publish(channel, "1", "2", "3", "4", "5");
            for (int number = 1; number <= 5; number++) {
                Delivery got = expect(received, number, Integer.toString(number), false);
                if (number <= 3) {
                    got.ack();
                }
            }
            first.close();
            publisher.publish(channel, "6");

            try (Client second = new Client("durable-java")) {
                BlockingQueue<Delivery> resumed = second.subscribe(channel, keeper(LONG_ACK_WAIT));
                expect(resumed, 4, "4", true).ack();
                expect(resumed, 5, "5", true).ack();
                expect(resumed, 6, "6", false).ack();
                publisher.publish(channel, "7");
                expect(resumed, 7, "7", false).ack();
            }
        }
    }

    private static void durableResumeServerKill() throws Exception {
        String channel = "durable.kill.java";
        Client client = new Client("durable-kill-java");
        BlockingQueue<Delivery> received = client.subscribe(channel, keeper(Duration.ofSeconds(2)));
        client.publish(channel, "1", "2", "3", "4", "5");
        for (int number = 1; number <= 5; number++) {
            Delivery got = expect(received, number, Integer.toString(number), false);
            if (number <= 3) {
                got.ack();
            }
        }
        client.publish(channel, "6", "7");
        expect(received, 6, "6", false).ack();
        expect(received, 7, "7", false).ack();
        // Acks are recorded at the latest with the commit after the one under way: after two more publishes nothing may undo them.
        client.publish("durable.kill.java.barrier", "one", "two");

        Scenario.serverControl("kill");
        Scenario.waitFor("the client to notice", () -> client.nats.getStatus() != Connection.Status.CONNECTED);
        Scenario.serverControl("start");
        Scenario.waitFor("the client to come back", () -> client.nats.getStatus() == Connection.Status.CONNECTED);

        // The same connection and subscription go on without a new request; what was not acknowledged comes again.
        client.publish(channel, "8");
        Set<Long> missing = new HashSet<>(Set.of(4L, 5L, 8L));
        while (!missing.isEmpty()) {
            Delivery got = Scenario.receive(received, "4, 5 and 8 after the restart");
            boolean isPending = got.sequence() == 4 || got.sequence() == 5;
            Scenario.check(got.sequence() >= 8 || isPending && got.isRedelivered(), "after the restart: " + got);
            missing.remove(got.sequence());
            if (got.sequence() != 5) {
                got.ack();
            }
        }
        client.close();

        // A new connection resumes the durable, over a second kill.
        Scenario.serverControl("restart");
        try (Client again = new Client("durable-kill-java")) {
            BlockingQueue<Delivery> resumed = again.subscribe(channel, keeper(Duration.ofSeconds(2)));
            expect(resumed, 5, "5", true).ack();
            again.publish(channel, "9");
            expect(resumed, 9, "9", false).ack();
            expectRange(again.subscribe(channel, options().deliverAllAvailable()), 1, 9);
        }
    }

    private static void queueGroupMemberDies() throws Exception {
        String channel = "queue.java";
        int count = 60;
        BlockingQueue<Delivery> received = new LinkedBlockingQueue<>();
        Map<String, Client> members = new HashMap<>();
        for (String name : new String[] {"queue-a-java", "queue-b-java", "queue-c-java"}) {
            Client member = new Client(name);
            members.put(name, member);
            SubscriptionOptions options = options().manualAcks().ackWait(LONG_ACK_WAIT).build();
            member.stan.subscribe(channel, "workers", message -> received.add(new Delivery(message, name)), options);
        }
        try (Client publisher = new Client("queue-publisher-java")) {
            for (int number = 1; number <= count; number++) {
                publisher.publish(channel, Integer.toString(number));
            }
            Set<Long> seen = new HashSet<>();
            Set<String> share = new HashSet<>();
            Set<Long> lost = new HashSet<>();
            for (int number = 0; number < count; number++) {
                Delivery got = Scenario.receive(received, "every message at one member");
                Scenario.check(seen.add(got.sequence()) && !got.isRedelivered(), got + " came twice");
                share.add(got.member());
                if (got.member().equals("queue-c-java")) {
                    lost.add(got.sequence());
                } else {
                    got.ack();
                }
            }
            Scenario.check(share.size() == 3, "the work was shared by " + share);
            // The third member dies with unacknowledged messages: once the server has given it up, the others get them.
            members.get("queue-c-java").die();
            while (!lost.isEmpty()) {
                Delivery got = Scenario.receive(received, "the dead member's " + lost.size() + " messages");
                Scenario.check(got.isRedelivered() && lost.remove(got.sequence()), got + " at " + got.member());
                got.ack();
            }
            publisher.publish(channel, "last");
            Delivery last = Scenario.receive(received, "work goes on with two members");
            Scenario.check(last.payload().equals("last"), "unexpected " + last);
        }
        members.get("queue-a-java").close();
        members.get("queue-b-java").close();
    }

    private static void manualAckRedelivery() throws Exception {
        String channel = "redelivery.java";
        try (Client client = new Client("redelivery-java")) {
            Duration second = Duration.ofSeconds(1);
            BlockingQueue<Delivery> received = client.subscribe(channel, options().manualAcks().ackWait(second));
            long start = System.nanoTime();
            client.publish(channel, "1");
            Delivery first = expect(received, 1, "1", false);
            for (int count = 1; count <= 2; count++) {
                expect(received, 1, "1", true);
                long waited = (System.nanoTime() - start) / 1_000_000;
                Scenario.check(waited >= count * 900L, "redelivery " + count + " came after " + waited + " ms");
            }
            first.ack();
            // Message 2 is left alone for two more ack waits; message 1 must not come back meanwhile.
            client.publish(channel, "2");
            expect(received, 2, "2", false);
            expect(received, 2, "2", true);
            expect(received, 2, "2", true).ack();
        }
    }

    private static void maxInflightOne() throws Exception {
        String channel = "inflight.java";
        try (Client client = new Client("inflight-java")) {
            client.publish(channel, "1", "2", "3", "4", "5");
            SubscriptionOptions.Builder options = options().deliverAllAvailable().manualAcks().maxInFlight(1);
            BlockingQueue<Delivery> received = client.subscribe(channel, options.ackWait(Duration.ofSeconds(1)));
            // Until it is acknowledged, the first message comes again rather than the second.
            Delivery first = expect(received, 1, "1", false);
            expect(received, 1, "1", true);
            first.ack();
            for (int number = 2; number <= 5; number++) {
                expect(received, number, Integer.toString(number), false).ack();
            }
        }
    }

    private static void duplicateClientRefused() throws Exception {
        Client first = new Client("duplicate-java");
        expectRefusal(() -> new Client("duplicate-java").close(), "stan: clientID already registered");
        first.publish("duplicate.java", "the first one still works");
        // A dead client's name is free again at once.
        first.die();
        try (Client second = new Client("duplicate-java")) {
            second.publish("duplicate.java", "so does its successor");
        }
    }

    private static void durableUnsubscribeVersusClose() throws Exception {
        String channel = "durable.end.java";
        try (Client client = new Client("durable-end-java")) {
            BlockingQueue<Delivery> received = new LinkedBlockingQueue<>();
            SubscriptionOptions durable = keeper(LONG_ACK_WAIT).build();
            Subscription subscription = client.stan.subscribe(channel, message -> received.add(new Delivery(message, "")), durable);
            expectRefusal(() -> client.stan.subscribe(channel, message -> { }, durable), "stan: duplicate durable registration");
            client.publish(channel, "1", "2");
            expect(received, 1, "1", false).ack();
            expect(received, 2, "2", false).ack();
            subscription.close();
            client.publish(channel, "3");

            subscription = client.stan.subscribe(channel, message -> received.add(new Delivery(message, "")), durable);
            expect(received, 3, "3", false).ack();
            subscription.unsubscribe();

            client.stan.subscribe(channel, message -> received.add(new Delivery(message, "")), durable);
            for (int number = 1; number <= 3; number++) {
                expect(received, number, Integer.toString(number), false).ack();
            }
        }
    }
}
