//! JetStream: the server keeps what is not acknowledged, and nothing is acknowledged before it is accepted.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use cim_services::NatsServer;
use cim_tests::{Daemon, Injection, until};

use super::{STUCK, client, connected, event, lines, run, start, start_stuck};

fn events(daemon: &Daemon) -> Vec<u32> {
    let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_events.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once("\"nth")?.1.get(..3)?.parse().ok()).collect()
}

/// Whether each number below `count` is there, once or more often.
fn are_all(mut seen: Vec<u32>, count: u32) -> bool {
    seen.sort_unstable();
    seen.dedup();
    seen.into_iter().eq(0..count)
}

/// A stream of the subjects of one pod, and of others below `shop`, without consumers.
async fn bare_stream(server: &NatsServer) -> jetstream::Context {
    let context = jetstream::new(client(server).await);
    let config = stream::Config {
        name: "PODS".to_owned(),
        subjects: ["LOG", "EVENT", "shop.>"].map(str::to_owned).to_vec(),
        ..stream::Config::default()
    };
    context.get_or_create_stream(config).await.unwrap();
    context
}

/// The same with consumers. What a killed process has not acknowledged comes again after a second.
async fn stream(server: &NatsServer) -> jetstream::Context {
    stream_with(server, Duration::from_secs(1)).await
}

/// What is not acknowledged within `ack_wait` comes again, after 30 s where that is zero.
async fn stream_with(server: &NatsServer, ack_wait: Duration) -> jetstream::Context {
    let context = bare_stream(server).await;
    let stream = context.get_stream("PODS").await.unwrap();
    for (name, subject) in [("cim-LOG", "LOG"), ("cim-EVENT", "EVENT")] {
        let config = jetstream::consumer::pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: subject.to_owned(),
            ack_wait,
            ..Default::default()
        };
        stream.get_or_create_consumer(name, config).await.unwrap();
    }
    context
}

async fn publish(context: &jetstream::Context, numbers: std::ops::Range<u32>) {
    for nth in numbers {
        context.publish("LOG", format!("line {nth}").into()).await.unwrap().await.unwrap();
    }
}

#[test]
fn jetstream_keeps_what_is_not_accepted_through_kills_of_either_side() {
    let Some(server) = NatsServer::start() else { return };
    let mut daemon = start(&server, "jetstream = { stream = \"PODS\" }\n");
    // The stream does not exist yet: that is said, and heals.
    until("the trouble shows", || daemon.get("/readyz").unwrap().contains("stream PODS"));
    run(async {
        let context = stream(&server).await;
        publish(&context, 0..200).await;
    });
    until("the first lines", || lines(&daemon).len() >= 200);
    daemon.signal("KILL");
    assert_eq!(daemon.ended(), None);
    run(async {
        let context = stream(&server).await;
        publish(&context, 200..400).await;
    });
    server.kill();
    server.launch();
    daemon.start_again();
    until("every line", || are_all(lines(&daemon), 400));
    // Nothing is asked for again once it was accepted.
    until("every acknowledgement", || {
        consumer(&server, "cim-LOG").is_some_and(|of| of.waiting == 0 && of.unread == 0)
    });
}

/// Nothing that the server hands out to a program that ends is given up by it.
#[test]
fn what_is_handed_out_while_the_program_ends_comes_to_its_next_process() {
    let Some(server) = NatsServer::start() else { return };
    run(async { stream(&server).await });
    let mut daemon = start_stuck(&server, "jetstream = { stream = \"PODS\" }\n");
    let publish = |numbers| run(async { publish(&jetstream::new(client(&server).await), numbers).await });
    publish(0..50);
    until("the first acknowledgements", || consumer(&server, "cim-LOG").unwrap().acknowledged == 50);
    // What it holds goes nowhere, so that its end takes the whole time of `drain`.
    daemon.signal("TERM");
    publish(50..300);
    assert_eq!(daemon.ended(), Some(0), "{}", daemon.stderr());
    publish(300..350);
    daemon.edit(STUCK, &daemon.home().join("logs").display().to_string());
    daemon.start_again();
    let lines = || -> Vec<u32> {
        let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_app-.log")).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect()
    };
    until("every line", || are_all(lines(), 350));
    until("every acknowledgement", || consumer(&server, "cim-LOG").unwrap().acknowledged == 350);
    assert!(daemon.books_balance());
}

/// What the server says of a consumer.
struct ConsumerState {
    /// Messages that it has not handed out.
    unread: u64,
    /// Messages that it handed out, without an acknowledgement so far.
    waiting: usize,
    /// Every message up to this one is acknowledged.
    acknowledged: u64,
}

fn consumer(server: &NatsServer, name: &str) -> Option<ConsumerState> {
    run(async {
        let stream = jetstream::new(client(server).await).get_stream("PODS").await.ok()?;
        let consumer: jetstream::consumer::PullConsumer = stream.get_consumer(name).await.ok()?;
        let info = consumer.cached_info();
        Some(ConsumerState {
            unread: info.num_pending,
            waiting: info.num_ack_pending,
            acknowledged: info.ack_floor.stream_sequence,
        })
    })
}

#[test]
fn a_message_that_is_none_is_not_asked_for_again() {
    let Some(server) = NatsServer::start() else { return };
    let daemon = start(&server, "jetstream = { stream = \"PODS\" }\n");
    run(async {
        // So long that nothing comes again because the program was slow.
        let context = stream_with(&server, Duration::ZERO).await;
        context.publish("EVENT", "{".into()).await.unwrap().await.unwrap();
        context.publish("EVENT", r#"{"eventName":"After"}"#.into()).await.unwrap().await.unwrap();
    });
    until("the event behind it", || daemon.stdout().contains(r#""eventName":"After""#));
    until("both to be done with", || consumer(&server, "cim-EVENT").unwrap().acknowledged == 2);
    assert_eq!(daemon.metric("cim_records_refused_total"), 1.0);
}

/// The disk takes nothing for good while the server hands messages out: none of them may be acknowledged, and a kill at that
/// moment costs nothing.
#[test]
fn no_acknowledgement_comes_before_acceptance() {
    let Some(server) = NatsServer::start() else { return };
    run(async { stream(&server).await });
    let mut daemon = start_stuck(&server, "jetstream = { stream = \"PODS\" }\n");
    let publish = |numbers: std::ops::Range<u32>| {
        run(async {
            let context = jetstream::new(client(&server).await);
            for nth in numbers {
                context.publish("EVENT", event(nth).into()).await.unwrap().await.unwrap();
            }
        });
    };
    publish(0..10);
    until("the first acknowledgements", || consumer(&server, "cim-EVENT").unwrap().acknowledged == 10);
    let Some(fault) = Injection::start(&daemon, "fdatasync", "error=EIO") else { return };
    publish(10..60);
    until("the rest to be handed out", || {
        let state = consumer(&server, "cim-EVENT").unwrap();
        state.unread == 0 && state.waiting == 50
    });
    // The server takes a message back after a second without an answer, and hands it out again.
    let delivered = std::time::Instant::now();
    until("more than the time of an acknowledgement", || delivered.elapsed() > Duration::from_millis(1500));
    assert_eq!(consumer(&server, "cim-EVENT").unwrap().acknowledged, 10, "acknowledged without fdatasync");
    daemon.signal("KILL");
    assert_eq!(daemon.ended(), None);
    fault.end();
    assert_eq!(consumer(&server, "cim-EVENT").unwrap().acknowledged, 10);
    daemon.edit(STUCK, &daemon.home().join("logs").display().to_string());
    daemon.start_again();
    until("every event", || are_all(events(&daemon), 60));
    until("every acknowledgement", || {
        let state = consumer(&server, "cim-EVENT").unwrap();
        state.waiting == 0 && state.acknowledged == 60
    });
    assert!(daemon.books_balance());
}

#[test]
fn consumers_are_made_when_they_are_absent_and_again_when_they_are_deleted() {
    let Some(server) = NatsServer::start() else { return };
    let context = run(bare_stream(&server));
    drop(context);
    let daemon = start(&server, "jetstream = { stream = \"PODS\", consumer = \"shop\" }\n");
    until("both consumers", || {
        ["shop-logs", "shop-events"].iter().all(|name| consumer(&server, name).is_some())
    });
    let publish = |numbers| run(async { publish(&jetstream::new(client(&server).await), numbers).await });
    publish(0..20);
    until("the first lines", || lines(&daemon).len() == 20);
    until("their acknowledgement", || consumer(&server, "shop-logs").unwrap().waiting == 0);
    run(async {
        let stream = jetstream::new(client(&server).await).get_stream("PODS").await.unwrap();
        assert!(stream.delete_consumer("shop-logs").await.unwrap().success);
    });
    publish(20..40);
    cim_services::until("the consumer and its lines again", Duration::from_secs(90), || {
        are_all(lines(&daemon), 40)
    });
}

/// A pod with subjects of its own, in the stream that it shares.
fn pod(server: &NatsServer, name: &str, consumer: &str) -> Daemon {
    let subjects = format!("logs_subject = \"shop.{name}.LOG\"\nevents_subject = \"shop.{name}.EVENT\"\n");
    start(server, &format!("{subjects}jetstream = {{ stream = \"PODS\"{consumer} }}\n"))
}

async fn publish_for(server: &NatsServer, pod: &str, numbers: std::ops::Range<u32>) {
    let context = jetstream::new(client(server).await);
    for nth in numbers {
        let subject = format!("shop.{pod}.LOG");
        context.publish(subject, format!("line {nth}").into()).await.unwrap().await.unwrap();
    }
}

#[test]
fn pods_that_share_a_stream_have_consumers_of_their_own() {
    let Some(server) = NatsServer::start() else { return };
    drop(run(bare_stream(&server)));
    let pods = ["demo-0", "demo-1"].map(|name| pod(&server, name, ""));
    pods.iter().for_each(connected);
    run(publish_for(&server, "demo-0", 0..20));
    run(publish_for(&server, "demo-1", 20..40));
    until("the lines of each", || lines(&pods[0]).len() >= 20 && lines(&pods[1]).len() >= 20);
    assert_eq!(lines(&pods[0]), (0..20).collect::<Vec<_>>());
    assert_eq!(lines(&pods[1]), (20..40).collect::<Vec<_>>());
}

/// The name is taken by another pod: its messages are not read, its consumer stays what it is, and the pod says what to do.
#[test]
fn the_consumer_of_another_pod_is_neither_read_nor_changed() {
    let Some(server) = NatsServer::start() else { return };
    drop(run(bare_stream(&server)));
    let [first, second] = ["demo-0", "demo-1"].map(|name| {
        let daemon = pod(&server, name, ", consumer = \"shop\"");
        until("the consumer of logs", || consumer(&server, "shop-logs").is_some());
        daemon
    });
    connected(&first);
    let page = || second.get("/readyz").unwrap();
    until("the trouble shows", || {
        page().contains(
            "consumer shop-logs of stream PODS hands out subject shop.demo-0.LOG, not shop.demo-1.LOG",
        )
    });
    assert!(page().contains("set `consumer` in [nats.external.jetstream]"), "{}", page());
    run(publish_for(&server, "demo-1", 20..40));
    run(publish_for(&server, "demo-0", 0..20));
    until("the lines of the first", || lines(&first).len() >= 20);
    assert_eq!(lines(&first), (0..20).collect::<Vec<_>>());
    assert!(lines(&second).is_empty(), "{:?}", lines(&second));
    // Once it is gone with its pod, the name is free.
    drop(first);
    run(async {
        let stream = jetstream::new(client(&server).await).get_stream("PODS").await.unwrap();
        for name in ["shop-logs", "shop-events"] {
            assert!(stream.delete_consumer(name).await.unwrap().success);
        }
    });
    cim_services::until("its own lines", Duration::from_secs(60), || lines(&second).len() >= 20);
    assert_eq!(lines(&second), (20..40).collect::<Vec<_>>());
    connected(&second);
}
