//! A server that wants to know who asks, and one that has to be vouched for.

use cim_services::{Authority, NatsAccounts, NatsServer};
use cim_tests::{Daemon, until};

use super::{connected, lines, listens, run, start, start_with};

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

/// A server in operator mode, which keeps no secrets: it has the client sign, and believes what account and operator have signed.
#[test]
fn credentials_in_a_file_are_those_of_a_user_that_the_operator_vouches_for() {
    let accounts = NatsAccounts::default();
    let Some(server) = NatsServer::start_with(&accounts.configuration()) else { return };
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("user.creds");
    let more = format!("credentials_file = \"{}\"\n", file.display());
    // That of a stranger, signed by an operator that the server does not know.
    NatsAccounts::default().write_user(&file);
    let mut daemon = start(&server, &more);
    told(&daemon, "nats external: degraded");
    until("the reason", || daemon.stderr().to_lowercase().contains("authorization"));
    accounts.write_user(&file);
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    daemon.start_again();
    listens(&daemon, &server, &["LOG"]);
    let application = home.path().join("application.creds");
    accounts.write_user(&application);
    run(async {
        let options = async_nats::ConnectOptions::new().credentials_file(&application).await.unwrap();
        let client = options.connect(server.address().to_string()).await.unwrap();
        client.publish("LOG", "line 3".into()).await.unwrap();
        client.flush().await.unwrap();
    });
    until("the line", || lines(&daemon) == [3]);
    let secrets = std::fs::read_to_string(&file).unwrap();
    let shown = [daemon.stderr(), daemon.get("/readyz").unwrap(), daemon.cim(&["config", "show"])].concat();
    for secret in secrets.lines().filter(|line| !line.starts_with('-') && !line.is_empty()) {
        assert!(!shown.contains(secret), "{shown}");
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
    listens(&daemon, &server, &["LOG"]);
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
