import io.nats.client.Connection;
import io.nats.client.Nats;
import io.nats.streaming.NatsStreaming;
import io.nats.streaming.Options;
import io.nats.streaming.StreamingConnection;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * The Java side of the take-over test: publishes numbers without end and prints {@code acked CHANNEL NUMBER} for every publish that the
 * server acknowledged, until its input is closed. Servers go and come meanwhile.
 */
public final class Crash {
    /** How long one waits for an acknowledgement before it counts as lost. */
    private static final Duration ACK_WAIT = Duration.ofSeconds(2);
    private static final int INFLIGHT = 256;

    private Crash() {
    }

    /** Publishes. */
    public static void main(String[] arguments) throws Exception {
        Connection nats = Nats.connect(new io.nats.client.Options.Builder()
                .servers(Scenario.environment("SEAWAY_URL").split(","))
                .reconnectWait(Duration.ofMillis(20))
                .maxReconnects(-1)
                .connectionTimeout(Scenario.DEADLINE)
                .build());
        StreamingConnection stan = NatsStreaming.connect(
                Scenario.environment("SEAWAY_CLUSTER"),
                Scenario.environment("SEAWAY_CLIENT"),
                new Options.Builder()
                        .natsConn(nats)
                        .connectWait(Scenario.DEADLINE)
                        .pubAckWait(ACK_WAIT)
                        .pingInterval(Duration.ofSeconds(5))
                        .maxPingsOut(88)
                        .build());
        AtomicBoolean isOver = new AtomicBoolean();
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Only its end counts.
                }
            } catch (java.io.IOException closed) {
                // That is its end, too.
            }
            isOver.set(true);
        });
        input.setDaemon(true);
        input.start();
        String[] channels = Scenario.environment("SEAWAY_CHANNELS").split(",");
        long pace = Long.parseLong(Scenario.environment("SEAWAY_PACE"));
        Semaphore inflight = new Semaphore(INFLIGHT);
        for (int number = 0; !isOver.get(); number++) {
            publish(stan, channels[number % channels.length], number, inflight);
            Thread.sleep(pace);
        }
        inflight.acquire(INFLIGHT);
        System.out.println("done");
        System.exit(0);
    }

    private static void publish(StreamingConnection stan, String channel, int number, Semaphore inflight)
            throws InterruptedException {
        inflight.acquire();
        byte[] payload = Integer.toString(number).getBytes(StandardCharsets.UTF_8);
        try {
            stan.publish(channel, payload, (guid, error) -> {
                if (error == null) {
                    System.out.println("acked " + channel + " " + number);
                }
                inflight.release();
            });
        } catch (java.io.IOException | IllegalStateException | java.util.concurrent.TimeoutException away) {
            // Nothing was sent; its number is simply never used again.
            inflight.release();
        }
    }
}
