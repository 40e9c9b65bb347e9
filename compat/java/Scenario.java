import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.HttpURLConnection;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** How scenarios are run, fail, wait, and ask the runner and the server; see ../README.md for names and output. */
final class Scenario {
    /** Every wait ends by this deadline at the latest; a healthy run is far quicker. */
    static final Duration DEADLINE = Duration.ofSeconds(30);

    private Scenario() {
    }

    /** One behaviour, told from the client's side. It fails by throwing. */
    interface Story {
        void tell() throws Exception;
    }

    /** Runs those that were asked for; the result is the process's exit code. */
    static int runAll(LinkedHashMap<String, Story> stories) {
        List<String> only = List.of(environment("SEAWAY_SCENARIOS").split(","));
        boolean everything = environment("SEAWAY_SCENARIOS").isEmpty();
        int failures = 0;
        for (Map.Entry<String, Story> story : stories.entrySet()) {
            if (!everything && !only.contains(story.getKey())) {
                continue;
            }
            try {
                story.getValue().tell();
                System.out.println("ok " + story.getKey());
            } catch (Exception | AssertionError failure) {
                failures++;
                String reason = String.valueOf(failure).replace('\n', ' ');
                System.out.println("FAIL " + story.getKey() + ": " + reason + " at " + place(failure));
            }
            System.out.flush();
        }
        return failures > 0 ? 1 : 0;
    }

    private static String place(Throwable failure) {
        for (StackTraceElement frame : failure.getStackTrace()) {
            if (frame.getClassName().startsWith("Streaming")) {
                return frame.toString();
            }
        }
        return "an unknown place";
    }

    static String environment(String name) {
        String value = System.getenv(name);
        return value == null ? "" : value;
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    /** Polls a condition that no callback announces. */
    static void waitFor(String what, BooleanSupplier condition) throws InterruptedException {
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (!condition.getAsBoolean()) {
            check(System.nanoTime() < end, "waited " + DEADLINE + " for " + what);
            Thread.sleep(2);
        }
    }

    /** Takes the next value of a queue, or fails. */
    static <T> T receive(BlockingQueue<T> from, String what) throws InterruptedException {
        T got = from.poll(DEADLINE.toMillis(), TimeUnit.MILLISECONDS);
        check(got != null, "waited " + DEADLINE + " for " + what);
        return got;
    }

    /** Asks the runner to "kill", "start" or "restart" the server. */
    static void serverControl(String command) throws IOException {
        String[] address = environment("SEAWAY_CONTROL").split(":");
        try (Socket socket = new Socket(address[0], Integer.parseInt(address[1]))) {
            socket.getOutputStream().write((command + "\n").getBytes(StandardCharsets.UTF_8));
            InputStreamReader characters = new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8);
            String answer = new BufferedReader(characters).readLine();
            check("ok".equals(answer), "the runner answered " + answer + " to " + command);
        }
    }

    /** Asks the monitoring endpoints whether the server knows something. */
    static void expectStatus(String path, int wanted) throws IOException {
        URI address = URI.create(environment("SEAWAY_HTTP") + path);
        HttpURLConnection connection = (HttpURLConnection) address.toURL().openConnection();
        int status = connection.getResponseCode();
        check(status == wanted, path + " answered with status " + status + ", not " + wanted);
    }
}
