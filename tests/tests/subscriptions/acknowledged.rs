//! Notifications that ask for an answer: what a stock client does with them, and what its silence leads to.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subscriber};
use cim_services::Kafka;
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::application::{PATH, Stage, event, events, json};
use cim_tests::until;

const PATIENCE: Duration = Duration::from_secs(40);
/// Longer than a loaded machine needs for an answer.
const QUICK: &str = "ack_wait = \"3s\"\nmax_deliver = 2\n";
const FILTER: &str = r#"{"localEventName":["A"],"acknowledge":true}"#;

/// An application with a stock client.
struct Application {
    runtime: Runtime,
    client: Client,
    subscriber: Subscriber,
}

impl Application {
    fn of(stage: &Stage) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = stage.daemon.nats().to_string();
        let (client, subscriber) = runtime.block_on(async {
            let client = async_nats::connect(address).await.unwrap();
            let subscriber = client.subscribe("EVENT-NOTIFICATION").await.unwrap();
            client.flush().await.unwrap();
            (client, subscriber)
        });
        Self { runtime, client, subscriber }
    }

    fn next(&mut self) -> Message {
        let next = async { timeout(PATIENCE, self.subscriber.next()).await };
        self.runtime.block_on(next).expect("a notification in time").expect("a notification")
    }

    /// The next one: its value and the number of the delivery.
    fn expect(&mut self, value: &str, delivery: &str) -> Message {
        let message = self.next();
        assert_eq!((text(&message.payload), header(&message, "Cim-Delivery")), (value, delivery));
        message
    }

    fn is_silent_for(&mut self, time: Duration) -> bool {
        let next = async { timeout(time, self.subscriber.next()).await };
        self.runtime.block_on(next).is_err()
    }

    fn answer(&self, message: &Message, word: &'static str) {
        let reply = message.reply.clone().unwrap();
        self.runtime.block_on(async {
            self.client.publish(reply, word.into()).await.unwrap();
            self.client.flush().await.unwrap();
        });
    }

    /// Asks whether the answer came.
    fn ask(&self, message: &Message, word: &'static str) -> Message {
        let reply = message.reply.clone().unwrap();
        let asked = async { timeout(PATIENCE, self.client.request(reply, word.into())).await };
        self.runtime.block_on(asked).expect("an answer in time").unwrap()
    }
}

/// An application that is a process of its own.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// One that acknowledges notifications of that value and no other.
    fn that_answers(value: &str, stage: &Stage) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_async-nats-client"));
        command.args([&format!("nats://{}", stage.daemon.nats()), "answer", value]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, lines };
        process.expect("subscribed");
        process
    }

    fn expect(&mut self, line: &str) {
        assert_eq!(self.lines.next().unwrap().unwrap(), line);
    }
}

impl Drop for Process {
    /// As SIGKILL does it.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn header<'m>(message: &'m Message, name: &str) -> &'m str {
    message.headers.as_ref().unwrap().get(name).unwrap().as_str()
}

fn letters(stage: &Stage) -> serde_json::Value {
    serde_json::from_str(&stage.daemon.cim(&["dlq", "list", "--output", "json"])).unwrap()
}

fn pending(stage: &Stage, id: &str) -> u64 {
    stage.status()["acknowledged"][id]["pending"].as_u64().unwrap_or_default()
}

#[test]
fn silence_is_a_reason_to_send_again_and_what_is_given_up_can_be_put_back() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start_with(kafka, QUICK, &[]);
    let mut application = Application::of(&stage);
    let id = stage.subscribe(FILTER);
    let listed = json(&stage.daemon.get(PATH).unwrap());
    assert_eq!(listed[&id]["acknowledge"], true);

    std::thread::scope(|scope| {
        // Beside the test: the time for an answer runs while the producer is still ending.
        scope.spawn(|| kafka.produce(&stage.topic, &events("A", 0..4)));
        let messages: Vec<_> = (0..4).map(|number| application.expect(&number.to_string(), "1")).collect();
        assert_eq!(header(&messages[0], "Cim-Subscription"), id);
        // Each of the words; the second is not answered at all.
        application.answer(&messages[0], "");
        application.answer(&messages[2], "+TERM no such pod");
        application.answer(&messages[3], "-NAK {\"delay\": 100000000}");
    });
    let again = application.expect("3", "2");
    assert!(application.ask(&again, "+ACK").payload.is_empty());
    let late = application.expect("1", "2");
    application.answer(&late, "-NAK");

    until("both letters", || letters(&stage).as_array().unwrap().len() == 2);
    let written = letters(&stage);
    assert_eq!(written[0]["class"], "notifications");
    assert_eq!(
        (written[0]["payload"].as_str(), written[0]["reason"].as_str()),
        (Some("2"), Some("terminated"))
    );
    assert!(written[0]["error"].as_str().unwrap().ends_with(": no such pod"), "{written}");
    assert_eq!((written[1]["payload"].as_str(), written[1]["reason"].as_str()), (Some("1"), Some("refused")));
    assert_eq!(written[1]["route"], id.as_str());
    until("everything to be settled", || pending(&stage, &id) == 0);
    let tally = &stage.status()["acknowledged"][&id];
    assert_eq!((tally["redelivered"].as_u64(), tally["dead"].as_u64()), (Some(2), Some(2)));
    assert!(stage.daemon.metric("cim_subscription_dead_letters_total{reason=\"refused\"}") > 0.5);

    let answer = stage.daemon.cim(&["dlq", "replay"]);
    assert!(answer.contains("2 dead letters put back"), "{answer}");
    let two = application.expect("2", "1");
    application.answer(&two, "+ACK");
    let one = application.expect("1", "1");
    application.answer(&one, "+ACK");
    until("everything to be settled", || pending(&stage, &id) == 0);
    assert!(letters(&stage).as_array().unwrap().is_empty());
}

#[test]
fn what_was_not_answered_before_a_kill_comes_again_and_what_was_put_back_too() {
    let Some(kafka) = Kafka::shared() else { return };
    let mut stage = Stage::start_with(kafka, "", &[]);
    let mut application = Application::of(&stage);
    let id = stage.subscribe(FILTER);
    kafka.produce(&stage.topic, &events("A", 0..4));
    let messages: Vec<_> = (0..4).map(|number| application.expect(&number.to_string(), "1")).collect();
    application.answer(&messages[0], "+TERM");
    application.answer(&messages[1], "+ACK");
    application.answer(&messages[3], "+ACK");
    until("two to be settled", || pending(&stage, &id) == 1);
    assert!(stage.daemon.cim(&["dlq", "replay"]).contains("1 dead letters put back"));
    application.expect("0", "1");
    drop(application);
    stage.daemon.kill_and_restart();

    let mut application = Application::of(&stage);
    // The one that was put back, the one without an answer, and what was read after it; others may come again.
    let mut values = std::collections::BTreeSet::new();
    while !["0", "2", "3"].iter().all(|value| values.contains(*value)) {
        let message = application.next();
        application.answer(&message, "+ACK");
        values.insert(text(&message.payload).to_owned());
    }
    until("everything to be settled", || pending(&stage, &id) == 0);
}

#[test]
fn a_plain_subscription_beside_it_gets_its_own_as_ever() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start_with(kafka, "max_ack_pending = 2\n", &[]);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    let id = stage.subscribe(FILTER);
    stage.create(r#"{"localEventName":["A","B"]}"#);
    kafka.produce(&stage.topic, &[event("A", "1"), event("B", "2")]);
    // One for each, and of those nobody answers no more than are allowed hinder the others.
    let mut lines = Vec::new();
    while lines.len() < 3 {
        match wire.line() {
            line if line == "PING" => wire.send(b"PONG\r\n"),
            line => {
                lines.push(line);
                wire.line();
            }
        }
    }
    let asking = lines.iter().filter(|line| line.contains("_CIM.ACK.")).count();
    assert_eq!(asking, 1, "{lines:?}");
    assert!(lines.contains(&"MSG EVENT-NOTIFICATION 1 1".to_owned()), "{lines:?}");
    assert_eq!(pending(&stage, &id), 1);
}

#[test]
fn who_says_that_it_is_working_gets_nothing_again_until_it_stops_saying_so() {
    const WAIT: Duration = Duration::from_secs(4);
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start_with(kafka, "ack_wait = \"4s\"\n", &[]);
    let mut application = Application::of(&stage);
    let id = stage.subscribe(FILTER);
    kafka.produce(&stage.topic, &events("A", 0..1));
    let message = application.expect("0", "1");
    let begin = Instant::now();
    // By then it would have come again, a second after the wait.
    while begin.elapsed() < 2 * WAIT {
        application.answer(&message, "+WPI");
        assert!(application.is_silent_for(WAIT / 8));
    }
    let stopped = Instant::now();
    application.answer(&message, "+WPI");
    let again = application.expect("0", "2");
    assert!(stopped.elapsed() > WAIT, "{:?} after the last word", stopped.elapsed());
    application.answer(&again, "+ACK");
    until("it to be settled", || pending(&stage, &id) == 0);
    assert_eq!(stage.status()["acknowledged"][&id]["redelivered"], 1);
}

#[test]
fn one_at_a_time_they_come_strictly_in_order_and_none_is_lost() {
    const EVENTS: usize = 20;
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start_with(kafka, "ack_wait = \"3s\"\nmax_ack_pending = 1\n", &[]);
    let mut application = Application::of(&stage);
    let id = stage.subscribe(FILTER);
    // Beside the test: the time for an answer runs while the producer is still ending.
    std::thread::scope(|scope| {
        scope.spawn(|| kafka.produce(&stage.topic, &events("A", 0..EVENTS)));
        for number in 0..EVENTS {
            let value = number.to_string();
            let mut message = application.expect(&value, "1");
            match number {
                // Nothing comes beside it, and it comes again itself.
                3 => message = application.expect(&value, "2"),
                7 => {
                    application.answer(&message, "-NAK {\"delay\": 100000000}");
                    message = application.expect(&value, "2");
                }
                11 => assert!(application.is_silent_for(Duration::from_millis(300))),
                _ => {}
            }
            application.answer(&message, if number == 15 { "+TERM" } else { "+ACK" });
        }
    });
    until("everything to be settled", || pending(&stage, &id) == 0);
    assert_eq!(stage.status()["acknowledged"][&id]["redelivered"], 2);
    assert_eq!(letters(&stage).as_array().unwrap().len(), 1);
}

#[test]
fn what_an_application_that_is_killed_has_not_answered_goes_to_its_next_process_in_order() {
    let Some(kafka) = Kafka::shared() else { return };
    // Until the next process is there and the last event is written, nothing may come again.
    let stage = Stage::start_with(kafka, "ack_wait = \"10s\"\n", &[]);
    let mut process = Process::that_answers("1", &stage);
    let id = stage.subscribe(FILTER);
    kafka.produce(&stage.topic, &events("A", 0..5));
    (0..5).for_each(|number| process.expect(&format!("{number} 1")));
    until("the answer", || pending(&stage, &id) == 4);
    drop(process);

    let mut application = Application::of(&stage);
    kafka.produce(&stage.topic, &events("A", 5..6));
    // What is new does not wait for what has been out.
    let new = application.expect("5", "1");
    application.answer(&new, "+ACK");
    for value in ["0", "2", "3", "4"] {
        let again = application.expect(value, "2");
        application.answer(&again, "+ACK");
    }
    until("everything to be settled", || pending(&stage, &id) == 0);
    assert!(letters(&stage).as_array().unwrap().is_empty());
}
