//! A program that is killed alone, in a pod whose application registered once and lives on.

use std::time::Duration;

use cim_tests::application::{Manners, Told};
use cim_tests::invariants::first_copies;
use cim_tests::until;

use crate::stage::{delivered, events, names, pod};

/// The application's own connection: the official client, with its own way back.
async fn client(address: std::net::SocketAddr) -> async_nats::Client {
    let options = async_nats::ConnectOptions::new().name("app").retry_on_initial_connect();
    options.connect(format!("nats://{address}")).await.unwrap()
}

/// Publishes and waits until it is accepted, however often the connection has to be made for that.
async fn say(client: &async_nats::Client, subject: &'static str, payload: &str) {
    let deadline = tokio::time::Instant::now() + cim_tests::PATIENCE;
    client.publish(subject, payload.to_owned().into()).await.unwrap();
    tokio::time::timeout_at(deadline, client.flush()).await.unwrap().unwrap();
}

#[test]
fn an_application_that_registered_once_is_served_after_a_kill_as_before() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut pod = pod(Manners { status: Some(202), told: Told::Never, ..Manners::default() }, "");
    let client = runtime.block_on(client(pod.daemon.nats()));
    let result = |revision: i32| {
        format!(r#"{{"change-set-key":"change-set/ns1/svc/v1/ms/app.json/{revision}","status":"success"}}"#)
    };
    runtime.block_on(say(&client, "LOG", "round 1"));
    pod.change(1);
    until("push", || pod.app.revisions() == [1]);
    runtime.block_on(say(&client, "CONFIG", &result(1)));
    pod.commits("1");
    for round in 2..4 {
        pod.daemon.kill_and_restart();
        // The client has its own way back; nothing else is done for it.
        runtime.block_on(async {
            let state = || client.connection_state() == async_nats::connection::State::Connected;
            let deadline = tokio::time::Instant::now() + cim_tests::PATIENCE;
            while client.flush().await.is_err() || !state() {
                assert!(tokio::time::Instant::now() < deadline, "the client has not come back");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        runtime.block_on(say(&client, "LOG", &format!("round {round}")));
        runtime.block_on(say(&client, "EVENT", &format!(r#"{{"eventName":"Round{round}"}}"#)));
        pod.change(round);
        until("push", || pod.app.revisions().last() == Some(&round));
        runtime.block_on(say(&client, "CONFIG", &result(round)));
        pod.commits(&round.to_string());
    }
    // It follows the commit.
    let announced = || names(&pod.daemon).iter().any(|name| name == "CimConfigUpdateSuccess");
    until("the announcement", announced);
    until("delivery", || pod.daemon.metric("cim_records_held") < 0.5);
    // The container of a line of text is the one that the client named when it came back.
    let text = delivered(&pod.daemon, "pod-1_ns1_app-.log");
    let lines = text.lines().filter_map(|line| line.strip_prefix("round ")?.parse().ok());
    assert_eq!(first_copies(lines), [1, 2, 3]);
    let names = names(&pod.daemon);
    let rounds = names.iter().filter_map(|name| name.strip_prefix("Round")?.parse().ok());
    assert_eq!(first_copies(rounds), [2, 3]);
    let events = events(&pod.daemon);
    // CIM's own events carry the container that registered before the first kill.
    let last = events.iter().rfind(|event| event["eventName"] == "CimConfigUpdateSuccess").unwrap();
    assert_eq!(last["containerId"], "cid1");
}

#[test]
fn a_first_configuration_that_was_asked_for_before_a_kill_is_handed_over_after_it() {
    let mut pod = pod(Manners::default(), "");
    pod.event("NotConfigured");
    until("it is remembered", || {
        let memory = std::fs::read_to_string(pod.daemon.home().join("spool/configuration.json"));
        memory.is_ok_and(|memory| memory.contains(r#""day_one":"waiting""#))
    });
    pod.daemon.kill_and_restart();
    pod.put("config/ns1/svc/0", "{\"a\":1}");
    until("the first configuration", || pod.app.calls().iter().any(|call| call.body == "{\"a\":1}"));
}
