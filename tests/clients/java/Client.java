import io.nats.client.Connection;
import io.nats.client.Dispatcher;
import io.nats.client.Message;
import io.nats.client.Nats;
import io.nats.client.Options;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * The Java client against CIM: one source for the oldest version in use (2.5.2, which reads INFO with regular
 * expressions) and the current one.
 *
 * <pre>
 * Client URL exchange SUBJECT=HEX ...  publishes the payloads, then talks to other clients as an application does
 * Client URL publish COUNT             numbered lines, each flushed, repeated until accepted
 * Client URL survive COUNT             numbered lines and one flush, then hears itself until it is ended
 * </pre>
 *
 * Ends with 0 when everything went as the client's documentation says; says what did not, otherwise.
 */
public final class Client {
    private static final Duration PATIENCE = Duration.ofSeconds(5);

    public static void main(String[] arguments) throws Exception {
        Options options = new Options.Builder()
            .server(arguments[0])
            .connectionName("java")
            .maxReconnects(-1)
            .reconnectWait(Duration.ofMillis(50))
            .build();
        Connection connection = Nats.connect(options);
        want("the largest payload of INFO: " + connection.getMaxPayload(), connection.getMaxPayload() == 1 << 20);
        if (arguments[1].equals("exchange")) {
            exchange(connection, arguments);
        } else if (arguments[1].equals("survive")) {
            survive(connection, Integer.parseInt(arguments[2]));
        } else {
            publish(connection, Integer.parseInt(arguments[2]));
        }
        connection.close();
    }

    private static void want(String what, boolean holds) {
        if (!holds) {
            System.err.println("not as expected: " + what);
            System.exit(1);
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] unhex(String text) {
        byte[] out = new byte[text.length() / 2];
        for (int i = 0; i < out.length; i++) {
            out[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
        }
        return out;
    }

    private static void exchange(Connection connection, String[] arguments) throws Exception {
        for (int i = 2; i < arguments.length; i++) {
            String[] message = arguments[i].split("=", 2);
            connection.publish(message[0], unhex(message[1]));
        }
        connection.flush(PATIENCE);

        Message ack = connection.request("EVENT", bytes("{\"eventName\":\"Acknowledged\",\"eventTime\":1}"), PATIENCE);
        want("acknowledgement of an event", ack != null && text(ack).contains("\"stream\":\"EVENT\""));

        Dispatcher shouting = connection.createDispatcher(
            message -> connection.publish(message.getReplyTo(), bytes(text(message).toUpperCase())));
        shouting.subscribe("shout.*");
        Message answer = connection.request("shout.it", bytes("hello"), PATIENCE);
        want("answer", answer != null && text(answer).equals("HELLO"));

        BlockingQueue<Integer> workers = new LinkedBlockingQueue<>();
        for (int member = 0; member < 2; member++) {
            int number = member;
            connection.createDispatcher(message -> workers.add(number)).subscribe("work.>", "workers");
        }
        connection.flush(PATIENCE);
        for (int i = 0; i < 100; i++) {
            connection.publish("work.a.b", new byte[0]);
        }
        int[] seen = new int[2];
        for (int i = 0; i < 100; i++) {
            Integer member = workers.poll(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
            want("100 messages for the group, got " + seen[0] + " and " + seen[1], member != null);
            seen[member]++;
        }
        want("both members work", seen[0] > 0 && seen[1] > 0);
        try {
            connection.publish("LOG", new byte[(1 << 20) + 1]);
            want("payloads above the limit are refused here", false);
        } catch (IllegalArgumentException refused) {
            // As documented.
        }
    }

    private static String text(Message message) {
        return new String(message.getData(), StandardCharsets.UTF_8);
    }

    private static void survive(Connection connection, int count) throws Exception {
        for (int n = 0; n < count; n++) {
            connection.publish("LOG", bytes("line " + n));
        }
        connection.flush(PATIENCE);
        connection.createDispatcher(message -> System.out.println("heard " + text(message))).subscribe("echo");
        System.out.println("flushed");
        for (int n = 0; true; n++) {
            try {
                connection.publish("echo", bytes(Integer.toString(n)));
                connection.flush(Duration.ofSeconds(1));
            } catch (TimeoutException | IllegalStateException away) {
                // Nobody is there for now.
            }
            Thread.sleep(20);
        }
    }

    private static void publish(Connection connection, int count) throws Exception {
        for (int n = 0; n < count; n++) {
            while (!accepted(connection, "line " + n)) {
                // Again on the next connection.
            }
            System.out.println(n);
        }
        System.out.println("reconnects: " + connection.getStatistics().getReconnects());
    }

    private static boolean accepted(Connection connection, String line) throws InterruptedException {
        long reconnects = connection.getStatistics().getReconnects();
        try {
            connection.publish("LOG", bytes(line));
            connection.flush(PATIENCE);
        } catch (TimeoutException | IllegalStateException interrupted) {
            return false;
        }
        return connection.getStatistics().getReconnects() == reconnects;
    }
}
