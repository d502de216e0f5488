//! CIM as a client of a NATS server that somebody else runs, with a real server. Here: plain subjects, and what all share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod access;
mod durable;

use cim_services::NatsServer;
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

/// Connected, and the server has its subscriptions to these subjects: what is published before goes to nobody.
fn listens(daemon: &Daemon, server: &NatsServer, subjects: &[&str]) {
    connected(daemon);
    subjects.iter().for_each(|subject| server.wait_for_subscribers(subject, 1));
}

#[test]
fn messages_on_plain_subjects_are_delivered_and_whoever_asks_is_told() {
    let Some(server) = NatsServer::start() else { return };
    let daemon = start(&server, "logs_subject = \"shop.LOG\"\nevents_subject = \"shop.EVENT\"\n");
    listens(&daemon, &server, &["shop.LOG", "shop.EVENT"]);
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
    listens(&daemon, &server, &["LOG"]);
    run(async {
        let client = client(&server).await;
        client.publish("LOG", "line 7".into()).await.unwrap();
        client.flush().await.unwrap();
    });
    until("the line", || lines(&daemon) == [7]);
}

fn event(nth: u32) -> String {
    format!(r#"{{"eventName":"nth{nth:03}","eventTime":1}}"#)
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
    listens(&pod.daemon, &server, &["shop.CONFIG"]);
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

#[test]
fn two_programs_of_one_queue_group_share_the_work_and_each_message_comes_once() {
    let Some(server) = NatsServer::start() else { return };
    let pair = [(); 2].map(|()| start(&server, "queue_group = \"pods\"\n"));
    pair.iter().for_each(connected);
    server.wait_for_subscribers("LOG", 2);
    let seen = || pair.each_ref().map(lines);
    // In steps: a plain subscription has a bounded place to wait, which is not what this is about.
    for step in (0..2000).step_by(250) {
        run(async {
            let client = client(&server).await;
            for nth in step..step + 250 {
                client.publish("LOG", format!("line {nth}").into()).await.unwrap();
            }
            client.flush().await.unwrap();
        });
        until("every line", || seen().iter().map(Vec::len).sum::<usize>() >= step + 250);
    }
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
    listens(&daemon, &server, &["EVENT"]);
    let Some(fault) = Injection::start(&daemon, "fdatasync", "error=EIO") else { return };
    run(async {
        let client = client(&server).await;
        for nth in 0..800 {
            client.publish("EVENT", event(nth).into()).await.unwrap();
        }
        client.flush().await.unwrap();
    });
    until("a word about it", || daemon.stderr().contains("were lost for want of room; use JetStream"));
    until("a sync that failed", || fault.has_struck());
    fault.end();
    until("each of them to be accepted or counted", || {
        let accepted = daemon.metric("cim_records_accepted_total");
        accepted > 49.5 && (accepted + daemon.metric("cim_nats_external_lost_total") - 800.0).abs() < 0.5
    });
    assert!(daemon.books_balance());
}

/// Where there is no room, and the policy is to refuse what is new: each answer is true, on either server.
#[test]
fn nobody_is_told_that_a_message_was_accepted_which_then_found_no_room() {
    let Some(server) = NatsServer::start() else { return };
    let policy = "[spool.logs]\nmax_bytes = \"16MiB\"\nwhen_full = \"drop_newest\"\n";
    let daemon = start_stuck(&server, policy);
    listens(&daemon, &server, &["LOG"]);
    let answers: Vec<serde_json::Value> = run(async {
        let clients = [client(&server).await, async_nats::connect(daemon.nats().to_string()).await.unwrap()];
        let line = "x".repeat(512 << 10);
        let mut answers = Vec::new();
        for nth in 0..80 {
            let answer = clients[nth % 2].request("LOG", line.clone().into()).await.unwrap();
            answers.push(serde_json::from_slice(&answer.payload).unwrap());
        }
        answers
    });
    let numbers: Vec<u64> = answers.iter().filter_map(|answer| answer["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() > 10 && numbers.len() < 70, "{} of 80 accepted", numbers.len());
    let refused = answers.iter().filter(|answer| answer["error"]["code"] == 400).count();
    assert_eq!(numbers.len() + refused, answers.len(), "{answers:?}");
    let counted = |name: &str| daemon.metric(name) as usize;
    assert_eq!(counted("cim_records_accepted_total{route=\"logs\""), numbers.len());
    assert_eq!(counted("cim_records_refused_total{class=\"logs\",reason=\"drop_newest\"}"), refused);
}
