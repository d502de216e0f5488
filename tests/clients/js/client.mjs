// The current JavaScript client against CIM.
//
//   client.mjs URL exchange SUBJECT=HEX ...  publishes the payloads, then talks to other clients as an application does
//   client.mjs URL publish COUNT             numbered lines, each flushed, repeated until accepted
//   client.mjs URL survive COUNT             numbered lines and one flush, then hears itself until it is ended
//
// Ends with 0 when everything went as the client's documentation says; says what did not, otherwise.
import { connect, headers } from "@nats-io/transport-node";

const PATIENCE = 5000;

function want(what, holds) {
  if (!holds) {
    console.error("not as expected:", what);
    process.exit(1);
  }
}

async function exchange(connection, messages) {
  for (const message of messages) {
    const [subject, hex] = message.split("=", 2);
    connection.publish(subject, Buffer.from(hex, "hex"));
  }
  await connection.flush();

  const event = '{"eventName":"Acknowledged","eventTime":1}';
  const ack = await connection.request("EVENT", event, { timeout: PATIENCE });
  want(`acknowledgement: ${ack.string()}`, ack.string().includes('"stream":"EVENT"'));

  connection.subscribe("shout.*", {
    callback: (_, message) => {
      const from = headers();
      from.set("From", message.subject);
      message.respond(message.string().toUpperCase(), { headers: from });
    },
  });
  const answer = await connection.request("shout.it", "hello", { timeout: PATIENCE });
  want("answer with a header", answer.string() === "HELLO" && answer.headers?.get("From") === "shout.it");

  const refused = await connection.request("nobody.there", "", { timeout: PATIENCE }).then(() => "", (error) => error.message);
  want(`no responders: ${refused}`, /no responders/i.test(refused));

  const seen = [0, 0];
  for (const member of [0, 1]) {
    connection.subscribe("work.>", { queue: "workers", callback: () => (seen[member] += 1) });
  }
  for (let n = 0; n < 100; n += 1) {
    connection.publish("work.a.b");
  }
  // Deliveries to one connection come in order: what comes after this answer came too often.
  await connection.request("shout.end", "", { timeout: PATIENCE });
  want(`each of 100 messages once, by both members: ${seen}`, seen[0] + seen[1] === 100 && seen[0] > 0 && seen[1] > 0);
}

async function publish(connection, count) {
  let reconnects = 0;
  (async () => {
    for await (const status of connection.status()) {
      reconnects += status.type === "reconnect" ? 1 : 0;
    }
  })();
  for (let n = 0; n < count; n += 1) {
    for (let accepted = false; !accepted; ) {
      const before = reconnects;
      connection.publish("LOG", `line ${n}`);
      accepted = await connection.flush().then(() => before === reconnects, () => false);
    }
    console.log(n);
  }
  console.log("reconnects:", reconnects);
}

async function survive(connection, count) {
  for (let n = 0; n < count; n += 1) {
    connection.publish("LOG", `line ${n}`);
  }
  await connection.flush();
  connection.subscribe("echo", { callback: (_, message) => console.log("heard", message.string()) });
  console.log("flushed");
  for (let n = 0; ; n += 1) {
    connection.publish("echo", `${n}`);
    await Promise.race([connection.flush().catch(() => {}), pause(1000)]);
    await pause(20);
  }
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const [url, task, ...rest] = process.argv.slice(2);
const connection = await connect({ servers: url, name: "js", maxReconnectAttempts: -1, reconnectTimeWait: 50 });
if (task === "exchange") {
  await exchange(connection, rest);
} else if (task === "publish") {
  await publish(connection, Number(rest[0]));
} else {
  await survive(connection, Number(rest[0]));
}
await connection.close();
