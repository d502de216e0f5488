//! What the cluster sees when the application does not take its configuration.

use cim_services::{Kubernetes, until};
use cim_tests::Daemon;
use cim_tests::application::{Application, Manners, Told};
use cim_tests::cluster::{Berth, PATIENCE, POD};

use crate::{known, register, says};

/// A program with files as the source, and an application that answers 500 to everything.
fn start(berth: &Berth<'_>, more: &str) -> (Application, Daemon) {
    let app = Application::start(Manners { status: Some(500), told: Told::Never, ..Manners::default() });
    let source = format!("[configuration]\nsource = \"file\"\nfile.dir = \"{{home}}/store\"\n{more}");
    let daemon = Daemon::start(&format!("{}{}{source}", app.setting(), berth.settings()));
    app.connect(daemon.nats());
    known(&daemon);
    (app, daemon)
}

fn put(daemon: &Daemon, key: &str, value: &str) {
    let path = daemon.home().join("store").join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fresh = path.with_file_name(".fresh");
    std::fs::write(&fresh, value).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// The application registers and asks for its first configuration.
fn ask(daemon: &Daemon) {
    register(daemon);
    let mut wire = daemon.connect();
    wire.publish("EVENT", br#"{"eventName":"NotConfigured"}"#);
    wire.flush();
}

const FIRST: &str = "nf_revision = \"0\"\nday_one = { attempts = 2, restart_budget = 1 }\n";

#[test]
fn a_first_configuration_that_is_never_taken_replaces_the_pod_within_the_budget_and_not_beyond() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let (_app, mut daemon) = start(&berth, FIRST);
    put(&daemon, &format!("config/{}/shop/0", berth.namespace.name()), "{}");
    ask(&daemon);
    until("the pod is to be deleted", PATIENCE, || berth.is_pod_leaving());
    // The audit log and the event are written behind it.
    until("the deletion in the audit log", PATIENCE, || berth.deletions() == [200]);
    for part in ["Warning", "LoadConfigFailed", "the first configuration cannot be loaded"] {
        let described = || berth.namespace.kubectl(&["describe", "pod", POD]);
        until(part, PATIENCE, || described().contains(part));
    }

    // Kubelet and controller: the pod ends, and one of the same name comes.
    berth.end_pod();
    berth.create_pod();
    daemon.kill_and_restart();
    known(&daemon);
    ask(&daemon);
    until("the budget is used up", PATIENCE, || daemon.stderr().contains("not restarted again today"));
    assert!(!berth.is_pod_leaving());
    assert_eq!(berth.deletions(), [200]);
    assert!(daemon.get("/readyz").unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_pod_of_the_same_name_that_came_after_this_one_is_not_deleted() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let (_app, daemon) = start(&berth, FIRST);
    put(&daemon, &format!("config/{}/shop/0", berth.namespace.name()), "{}");
    berth.end_pod();
    berth.create_pod();
    ask(&daemon);
    until("the deletion is asked for", PATIENCE, || !berth.deletions().is_empty());
    assert_eq!(berth.deletions(), [409]);
    assert!(!berth.is_pod_leaving());
}

/// A change of `app.json`.
fn change(berth: &Berth<'_>, daemon: &Daemon, revision: i32) {
    let patch = r#"[{"op":"replace","path":"/a","value":1}]"#;
    put(daemon, &format!("change-set/{}/shop/v1/ms/app.json/{revision}", berth.namespace.name()), patch);
}

#[test]
fn what_could_not_be_told_while_the_api_server_was_away_is_told_with_the_next_change_that_fails() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let berth = Berth::new(&kubernetes);
    let (app, daemon) = start(&berth, "on_failure = \"tolerate\"\n");
    app.behave(Manners { word: "broken", ..Manners::default() });
    register(&daemon);
    kubernetes.kill();
    change(&berth, &daemon, 4);
    says(&daemon, "/readyz", "orchestrator: degraded: cannot create an event of pod");
    kubernetes.restart();
    change(&berth, &daemon, 5);
    let described = || berth.namespace.kubectl(&["describe", "pod", POD]);
    until("the event", PATIENCE, || described().contains("change 5 of"));
    says(&daemon, "/readyz", "[+] orchestrator: kubernetes\n");
}

#[test]
fn a_change_that_is_not_in_force_is_told_where_an_operator_looks() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let (app, daemon) = start(&berth, "on_failure = \"tolerate\"\n");
    app.behave(Manners { word: "broken", ..Manners::default() });
    register(&daemon);
    change(&berth, &daemon, 4);
    let described = || berth.namespace.kubectl(&["describe", "pod", POD]);
    until("the event", PATIENCE, || described().contains("ConfigurationFailed"));
    let text = described();
    for part in ["Warning", "change 4 of", "app.json", "is not in force"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(berth.deletions().is_empty(), "a change is no reason for a restart");
}
