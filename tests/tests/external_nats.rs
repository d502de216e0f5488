//! CIM as a client of a NATS server that somebody else runs: plain subjects and JetStream, with a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use cim_services::NatsServer;
use cim_tests::{Daemon, until};

/// Lines to standard output, and a server at that address as a further way in.
fn start(server: &NatsServer, more: &str) -> Daemon {
    Daemon::start(&format!(
        "[spool]\ndir = \"{{home}}/spool\"\n[routes.logs]\nsink = \"console\"\nformat = \"text\"\n[routes.events]\nsink = \"console\"\n\
         [nats.external]\nservers = [\"nats://{}\"]\n{more}",
        server.address()
    ))
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

async fn client(server: &NatsServer) -> async_nats::Client {
    async_nats::connect(server.address().to_string()).await.unwrap()
}

fn lines(daemon: &Daemon) -> Vec<u32> {
    let text = daemon.stdout();
    text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect()
}

fn connected(daemon: &Daemon) {
    until("the server is connected", || daemon.get("/readyz").unwrap().contains("nats external: connected"));
}

#[test]
fn messages_on_plain_subjects_are_delivered_and_whoever_asks_is_told() {
    let Some(server) = NatsServer::start() else { return };
    let daemon = start(&server, "logs_subject = \"shop.LOG\"\nevents_subject = \"shop.EVENT\"\n");
    connected(&daemon);
    let (accepted, refused) = run(async {
        let client = client(&server).await;
        for nth in 0..1000 {
            client.publish("shop.LOG", format!("line {nth}").into()).await.unwrap();
        }
        client.flush().await.unwrap();
        let event = r#"{"eventName":"Started","eventTime":1}"#;
        let accepted = client.request("shop.EVENT", event.into()).await.unwrap();
        let refused = client.request("shop.EVENT", "{".into()).await.unwrap();
        (accepted.payload, refused.payload)
    });
    assert_eq!(std::str::from_utf8(&accepted).unwrap(), r#"{"stream":"EVENT","seq":1,"level":"synced"}"#);
    assert!(std::str::from_utf8(&refused).unwrap().contains("\"error\":{\"code\":400"), "{refused:?}");
    until("every line", || lines(&daemon).len() == 1000);
    assert_eq!(lines(&daemon), (0..1000).collect::<Vec<_>>());
    until("the event", || daemon.stdout().contains(r#""eventName":"Started""#));
    until("exact books", || daemon.books_balance());
    assert_eq!(daemon.metric("cim_nats_external_lost_total"), 0.0);
}

#[test]
fn a_server_that_is_away_at_the_start_or_dies_is_connected_again() {
    let Some(server) = NatsServer::start() else { return };
    server.kill();
    let daemon = start(&server, "");
    assert!(daemon.get("/readyz").unwrap().contains("nats external: degraded"));
    server.launch();
    connected(&daemon);
    server.kill();
    until("the loss shows", || daemon.get("/readyz").unwrap().contains("nats external: degraded"));
    assert_eq!(daemon.metric("cim_nats_external_connected"), 0.0);
    server.launch();
    connected(&daemon);
    run(async {
        let client = client(&server).await;
        client.publish("LOG", "line 7".into()).await.unwrap();
        client.flush().await.unwrap();
    });
    until("the line", || lines(&daemon) == [7]);
}

/// A stream of both subjects.
async fn stream(server: &NatsServer) -> jetstream::Context {
    let context = jetstream::new(client(server).await);
    let config = stream::Config {
        name: "PODS".to_owned(),
        subjects: vec!["LOG".to_owned(), "EVENT".to_owned()],
        ..stream::Config::default()
    };
    let stream = context.get_or_create_stream(config).await.unwrap();
    // What a killed process has not acknowledged comes again after that time, which is 30 s otherwise.
    for (name, subject) in [("cim-logs", "LOG"), ("cim-events", "EVENT")] {
        let config = jetstream::consumer::pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: subject.to_owned(),
            ack_wait: Duration::from_secs(1),
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
    until("every line", || {
        let mut seen = lines(&daemon);
        seen.sort_unstable();
        seen.dedup();
        seen == (0..400).collect::<Vec<_>>()
    });
    // Nothing is asked for again once it was accepted.
    run(async {
        let context = stream(&server).await;
        let stream = context.get_stream("PODS").await.unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let consumer: jetstream::consumer::PullConsumer = stream.get_consumer("cim-logs").await.unwrap();
            let info = consumer.cached_info();
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{info:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn a_message_that_is_none_is_not_asked_for_again() {
    let Some(server) = NatsServer::start() else { return };
    let daemon = start(&server, "jetstream = { stream = \"PODS\" }\n");
    run(async {
        let context = stream(&server).await;
        context.publish("EVENT", "{".into()).await.unwrap().await.unwrap();
        context.publish("EVENT", r#"{"eventName":"After"}"#.into()).await.unwrap().await.unwrap();
    });
    until("the event behind it", || daemon.stdout().contains(r#""eventName":"After""#));
    assert_eq!(daemon.metric("cim_records_refused_total"), 1.0);
}
