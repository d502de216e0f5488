import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.nats.client.Connection;
import io.nats.client.Nats;
import io.nats.client.Options;
import jakarta.json.Json;
import jakarta.json.JsonArray;
import jakarta.json.JsonException;
import jakarta.json.JsonObject;
import jakarta.json.JsonObjectBuilder;
import jakarta.json.JsonStructure;
import jakarta.json.JsonValue;
import java.io.IOException;
import java.io.StringReader;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * An application beside CIM: it greets once a second, and lives on the configuration it is given.
 *
 * <p>It knows only localhost. Over NATS it publishes log lines (LOG), events (EVENT) and the results of changes (CONFIG), and
 * hears of the events of others (EVENT-NOTIFICATION). Over HTTP it registers with CIM, and CIM calls it.
 *
 * <p>Environment, all optional: NATS_URL, CIM_URL, PORT (where CIM calls), CONTAINER_ID.
 */
public final class Greeter {
    private static final String NAME = "greeter";
    private static final String NATS_URL = environment("NATS_URL", "nats://localhost:4222");
    private static final String CIM_URL = environment("CIM_URL", "http://localhost:6060");
    private static final int PORT = Integer.parseInt(environment("PORT", "9999"));
    private static final String CONTAINER_ID = environment("CONTAINER_ID", "");

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final CountDownLatch ended = new CountDownLatch(1);
    private final Map<String, JsonValue> config =
        new ConcurrentHashMap<>(Map.of("greeter.json", Json.createObjectBuilder().add("greeting", "nothing").build()));
    private final Connection nats;

    private Greeter() throws IOException, InterruptedException {
        // For ever: the sidecar may be away for a moment, and is never replaced by another.
        Options options = new Options.Builder().server(NATS_URL).connectionName(NAME).maxReconnects(-1)
            .reconnectWait(Duration.ofMillis(200)).build();
        nats = Nats.connectReconnectOnConnect(options);
    }

    public static void main(String[] arguments) throws Exception {
        new Greeter().run();
    }

    private void run() throws Exception {
        // Before the registration: CIM calls as soon as it knows the application.
        HttpServer server = HttpServer.create(new InetSocketAddress("localhost", PORT), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/updateConfig", exchange -> answer(exchange, this::updateConfig));
        server.createContext("/api/v1/_operations/loadConfig", exchange -> answer(exchange, this::loadConfig));
        server.createContext("/api/v1/_operations/shutdown", exchange -> answer(exchange, body -> ended.countDown()));
        server.start();
        register();
        // In this order: CIM sends as soon as there is a subscription.
        nats.createDispatcher(message ->
            System.out.println("notified: " + new String(message.getData(), StandardCharsets.UTF_8)))
            .subscribe("EVENT-NOTIFICATION");
        subscribe("Greeted");
        // Asks for the configuration; whoever has kept one says "Configured" instead.
        publish("EVENT", Messages.event("NotConfigured", CONTAINER_ID, Map.of()));

        int number = 0;
        do {
            number++;
            String greeting = config.get("greeter.json").asJsonObject().getString("greeting", "nothing");
            log("INFO", greeting + " " + number);
            publish("EVENT", Messages.event("Greeted", CONTAINER_ID, Map.of("number", Integer.toString(number))));
        } while (!ended.await(1, TimeUnit.SECONDS));
        log("INFO", "goodbye");
        // The last word: CIM stops waiting for this application.
        publish("EVENT", Messages.event("ShutdownSuccess", CONTAINER_ID, Map.of()));
        nats.close();
        server.stop(0);
        System.exit(0);
    }

    private void register() throws InterruptedException {
        JsonObject body = Json.createObjectBuilder().add("container_name", NAME).add("container_id", CONTAINER_ID).build();
        while (true) {
            try {
                HttpResponse<String> answer = post("/api/v1/_operations/xgvela/register", body);
                if (answer.statusCode() == 200) {
                    System.out.println("registered: " + read(answer.body()).asJsonObject().getString("status"));
                    return;
                }
            } catch (IOException starting) {
                // CIM is not there yet.
            }
            Thread.sleep(500); // it is starting, or does not know yet who the pod is
        }
    }

    private void subscribe(String name) throws IOException, InterruptedException {
        JsonObject filter = Json.createObjectBuilder().add("localEventName", Json.createArrayBuilder().add(name)).build();
        HttpResponse<String> answer = post("/api/v1/_operations/event/subscriptions", filter);
        System.out.println(answer.statusCode() == 200
            ? "subscribed: " + read(answer.body()).asJsonObject().getString("subscriptionId")
            : "not subscribed: CIM answered " + answer.statusCode());
    }

    private void updateConfig(String body) {
        JsonObject change = read(body).asJsonObject();
        String name = change.getString("data-key");
        String status = "success";
        String remarks = "";
        try {
            JsonArray patch = read(change.getString("config-patch")).asJsonArray();
            config.compute(name, (key, document) -> Json.createPatch(patch).apply((JsonStructure) document));
        } catch (JsonException | NullPointerException | ClassCastException refused) {
            status = "failure";
            remarks = String.valueOf(refused.getMessage());
        }
        // The result of a change is published before its call is answered.
        JsonObjectBuilder result = Json.createObjectBuilder();
        result.add("change-set-key", change.getString("change-set-key")).add("revision", change.getString("revision"));
        result.add("status", status).add("remarks", remarks);
        publish("CONFIG", result.build().toString().getBytes(StandardCharsets.UTF_8));
    }

    private void loadConfig(String body) {
        config.putAll(read(body).asJsonObject());
        publish("EVENT", Messages.event("Configured", CONTAINER_ID, Map.of()));
    }

    private void log(String level, String text) {
        String payload = "[" + Instant.now().truncatedTo(ChronoUnit.SECONDS) + "][" + level + "][-]-" + text;
        publish("LOG", Messages.log(CONTAINER_ID, NAME, payload));
    }

    /**
     * Returns when CIM has accepted the message. A flush that fails, or a connection that was lost on the way, proves nothing,
     * so the message is sent again.
     */
    private void publish(String subject, byte[] message) {
        while (true) {
            long reconnects = nats.getStatistics().getReconnects();
            try {
                nats.publish(subject, message);
                nats.flush(Duration.ofSeconds(2));
                if (nats.getStatistics().getReconnects() == reconnects) {
                    return;
                }
            } catch (TimeoutException | IllegalStateException away) {
                // Once more.
            } catch (InterruptedException stopped) {
                Thread.currentThread().interrupt();
                return;
            }
        }
    }

    private HttpResponse<String> post(String path, JsonObject body) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(CIM_URL + path)).timeout(Duration.ofSeconds(30))
            .POST(HttpRequest.BodyPublishers.ofString(body.toString())).build();
        return http.send(request, HttpResponse.BodyHandlers.ofString());
    }

    private interface Work {
        void done(String body);
    }

    private static void answer(HttpExchange exchange, Work work) throws IOException {
        int status = 200;
        try {
            work.done(new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8));
        } catch (RuntimeException wrong) {
            status = 500;
        }
        exchange.sendResponseHeaders(status, -1);
        exchange.close();
    }

    private static JsonValue read(String text) {
        return Json.createReader(new StringReader(text)).readValue();
    }

    private static String environment(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
