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
use cim_services::{Authority, NatsServer};
use cim_tests::application::{Manners, Told};
use cim_tests::pod::Pod;
use cim_tests::{Daemon, Injection, until};

/// Lines to standard output, and a server at that address as a further way in.
fn start(server: &NatsServer, more: &str) -> Daemon {
    start_with(&format!("servers = [\"nats://{}\"]\n{more}", server.address()))
}

/// The same with the whole section of the server.
fn start_with(external: &str) -> Daemon {
    Daemon::start(&format!(
        "[spool]\ndir = \"{{home}}/spool\"\n[routes.logs]\nsink = \"console\"\nformat = \"text\"\n\
         [routes.events]\nsink = \"console\"\n[nats.external]\n{external}"
    ))
}

/// A spool that is everything: it accepts nothing below its level, and no sink takes anything from it before the path is mended.
fn start_stuck(server: &NatsServer, more: &str) -> Daemon {
    let address = server.address();
    Daemon::start(&format!(
        "[spool]\ndir = \"{{home}}/spool\"\non_fault = \"strict\"\n[sinks.files]\ntype = \"file\"\ndir = \"{STUCK}\"\n\
         [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n\
         [nats.external]\nservers = [\"nats://{address}\"]\n{more}"
    ))
}

/// A directory in which nobody can make a file.
const STUCK: &str = "/proc/stuck";

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

/// A stream of both subjects, without consumers.
async fn bare_stream(server: &NatsServer) -> jetstream::Context {
    let context = jetstream::new(client(server).await);
    let config = stream::Config {
        name: "PODS".to_owned(),
        subjects: vec!["LOG".to_owned(), "EVENT".to_owned()],
        ..stream::Config::default()
    };
    context.get_or_create_stream(config).await.unwrap();
    context
}

/// The same with consumers.
async fn stream(server: &NatsServer) -> jetstream::Context {
    let context = bare_stream(server).await;
    let stream = context.get_stream("PODS").await.unwrap();
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
    until("every acknowledgement", || {
        consumer(&server, "cim-logs").is_some_and(|of| of.waiting == 0 && of.unread == 0)
    });
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
        let context = stream(&server).await;
        context.publish("EVENT", "{".into()).await.unwrap().await.unwrap();
        context.publish("EVENT", r#"{"eventName":"After"}"#.into()).await.unwrap().await.unwrap();
    });
    until("the event behind it", || daemon.stdout().contains(r#""eventName":"After""#));
    assert_eq!(daemon.metric("cim_records_refused_total"), 1.0);
}

fn event(nth: u32) -> String {
    format!(r#"{{"eventName":"nth{nth:03}","eventTime":1}}"#)
}

fn events(daemon: &Daemon) -> Vec<u32> {
    let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_events.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once("\"nth")?.1.get(..3)?.parse().ok()).collect()
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
    until("the first acknowledgements", || consumer(&server, "cim-events").unwrap().acknowledged == 10);
    let Some(fault) = Injection::start(&daemon, "fdatasync", "error=EIO") else { return };
    publish(10..60);
    until("the rest to be handed out", || {
        let state = consumer(&server, "cim-events").unwrap();
        state.unread == 0 && state.waiting == 50
    });
    // The server takes a message back after a second without an answer, and hands it out again.
    let delivered = std::time::Instant::now();
    until("more than the time of an acknowledgement", || delivered.elapsed() > Duration::from_millis(1500));
    assert_eq!(consumer(&server, "cim-events").unwrap().acknowledged, 10, "acknowledged without fdatasync");
    daemon.signal("KILL");
    assert_eq!(daemon.ended(), None);
    fault.end();
    assert_eq!(consumer(&server, "cim-events").unwrap().acknowledged, 10);
    daemon.edit(STUCK, &daemon.home().join("logs").display().to_string());
    daemon.start_again();
    until("every event", || {
        let mut seen = events(&daemon);
        seen.sort_unstable();
        seen.dedup();
        seen == (0..60).collect::<Vec<_>>()
    });
    until("every acknowledgement", || {
        let state = consumer(&server, "cim-events").unwrap();
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
        let mut seen = lines(&daemon);
        seen.sort_unstable();
        seen.dedup();
        seen == (0..40).collect::<Vec<_>>()
    });
}

#[test]
fn a_result_on_the_subject_of_results_is_committed() {
    let Some(server) = NatsServer::start() else { return };
    let manners = Manners { told: Told::Never, ..Manners::default() };
    let external = format!(
        "[nats.external]\nservers = [\"nats://{}\"]\nconfig_subject = \"shop.CONFIG\"\n",
        server.address()
    );
    let pod = Pod::with(manners, &format!("result_within = \"60s\"\n{external}"));
    connected(&pod.daemon);
    pod.register();
    pod.change(4);
    until("the change", || pod.app.revisions() == [4]);
    let result = serde_json::json!({
        "change-set-key": pod.app.calls()[0].member("change-set-key"), "revision": "4", "status": "unused", "remarks": "",
    });
    run(async {
        let client = client(&server).await;
        // Not that of this pod: others on the same server have subjects of their own.
        client.publish("CONFIG", result.to_string().replace("unused", "failure").into()).await.unwrap();
        client.publish("shop.CONFIG", result.to_string().into()).await.unwrap();
        client.flush().await.unwrap();
    });
    pod.commits("-2");
}

/// Waits until the server is told to be connected, or not to be and why.
fn told(daemon: &Daemon, text: &str) {
    until(text, || daemon.get("/readyz").unwrap().contains(text));
}

#[test]
fn a_server_that_wants_to_know_who_it_is_is_told_and_the_secret_shows_nowhere() {
    for (asked, right, wrong) in [
        ("authorization { token: canary1 }", "token = \"canary1\"", "token = \"canary2\""),
        (
            "authorization { user: cim, password: canary1 }",
            "user = \"cim\"\npassword = \"canary1\"",
            "user = \"cim\"\npassword = \"canary2\"",
        ),
    ] {
        let Some(server) = NatsServer::start_with(asked) else { return };
        let mut daemon = start(&server, &format!("[nats.external.auth]\n{wrong}\n"));
        told(&daemon, "nats external: degraded");
        until("the reason", || daemon.stderr().to_lowercase().contains("authorization"));
        daemon.edit(wrong, right);
        daemon.signal("TERM");
        assert_eq!(daemon.ended(), Some(0));
        daemon.start_again();
        connected(&daemon);
        let shown =
            [daemon.stderr(), daemon.get("/readyz").unwrap(), daemon.cim(&["config", "show"])].concat();
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn with_an_authority_only_a_server_that_it_vouches_for_is_spoken_to() {
    let dir = tempfile::tempdir().unwrap();
    let Some(authority) = Authority::new(&dir.path().join("ours")) else { return };
    let Some(other) = Authority::new(&dir.path().join("theirs")) else { return };
    let identity = authority.issue("server", 1);
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}",
        identity.certificate.display(),
        identity.key.display()
    );
    let Some(server) = NatsServer::start_with(&tls) else { return };
    let external = |authority: &Authority| {
        let servers = format!("servers = [\"tls://localhost:{}\"]\n", server.address().port());
        start_with(&format!("{servers}ca_file = \"{}\"\n", authority.certificate().display()))
    };
    let daemon = external(&authority);
    connected(&daemon);
    let client = |authority: &Authority| {
        let options =
            async_nats::ConnectOptions::new().add_root_certificates(authority.certificate().to_owned());
        options.require_tls(true).connect(format!("tls://localhost:{}", server.address().port()))
    };
    run(async {
        let client = client(&authority).await.unwrap();
        client.publish("LOG", "line 3".into()).await.unwrap();
        client.flush().await.unwrap();
    });
    until("the line", || lines(&daemon) == [3]);
    let deceived = external(&other);
    told(&deceived, "does the authority in `ca_file` vouch for the certificate");
    assert_eq!(deceived.metric("cim_nats_external_connected"), 0.0);
}

#[test]
fn two_programs_of_one_queue_group_share_the_work_and_each_message_comes_once() {
    let Some(server) = NatsServer::start() else { return };
    let pair = [(); 2].map(|()| start(&server, "queue_group = \"pods\"\n"));
    pair.iter().for_each(connected);
    run(async {
        let client = client(&server).await;
        for nth in 0..2000 {
            client.publish("LOG", format!("line {nth}").into()).await.unwrap();
        }
        client.flush().await.unwrap();
    });
    let seen = || pair.each_ref().map(lines);
    until("every line", || seen().iter().map(Vec::len).sum::<usize>() >= 2000);
    let [one, two] = seen();
    assert!(!one.is_empty() && !two.is_empty(), "{} and {}", one.len(), two.len());
    let mut all = [one, two].concat();
    all.sort_unstable();
    assert_eq!(all, (0..2000).collect::<Vec<_>>());
}

/// Plain subscriptions have a bounded place to wait; what finds none is lost, and each of them is counted.
#[test]
fn what_finds_no_room_is_counted_and_said() {
    let Some(server) = NatsServer::start() else { return };
    let daemon = start_stuck(&server, "capacity = 50\n");
    connected(&daemon);
    let Some(fault) = Injection::start(&daemon, "fdatasync", "error=EIO") else { return };
    run(async {
        let client = client(&server).await;
        for nth in 0..800 {
            client.publish("EVENT", event(nth).into()).await.unwrap();
        }
        client.flush().await.unwrap();
    });
    until("a word about it", || daemon.stderr().contains("were lost for want of room; use JetStream"));
    fault.end();
    until("each of them to be accepted or counted", || {
        let accepted = daemon.metric("cim_records_accepted_total");
        accepted > 49.5 && (accepted + daemon.metric("cim_nats_external_lost_total") - 800.0).abs() < 0.5
    });
    assert!(daemon.books_balance());
}
