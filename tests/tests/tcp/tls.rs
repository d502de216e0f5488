//! TLS towards a receiver whose certificate nobody trusts, at the start or later.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cim_bench::server::free_port;
use cim_tests::receiver::Receiver;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, PATIENCE, binary, skip, until};
use tempfile::TempDir;

use crate::network::Live;
use crate::peers::authority::Authority;
use crate::{drained, lines, publish, status_says, tcp, tcp_logs, vigil};

const UNTRUSTED: &str = "do not satisfy both sides";

/// A directory with certificates of two authorities for a receiver, and the keys of a sink for that address which trusts what is in
/// `ca.pem`. `None`: there is no `openssl`, or no TLS in this build.
fn prepared(address: SocketAddr) -> Option<(TempDir, String)> {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let [Some(right), Some(wrong)] = ["right", "wrong"].map(|name| Authority::new(dir, name)) else {
        skip("openssl is not installed: no certificates");
        return None;
    };
    for (authority, folder) in [(&right, "of-right"), (&wrong, "of-wrong")] {
        std::fs::create_dir(dir.join(folder)).unwrap();
        let _ = authority.certificate(&dir.join(folder), "agent.example");
    }
    let client = right.certificate(dir, "client.example");
    let keys = format!(
        "address = \"{address}\"\n[sinks.agent.tls]\nca_file = \"{{home}}/ca.pem\"\nserver_name = \"agent.example\"\n\
         client_cert_file = \"{client}.pem\"\nclient_key_file = \"{client}.key\"",
        client = client.display()
    );
    let config = dir.join("check.toml");
    std::fs::write(&config, tcp(&keys).replace("{home}", &dir.display().to_string())).unwrap();
    let output =
        Command::new(binary()).args(["validate", "--config"]).arg(&config).env_clear().output().unwrap();
    if String::from_utf8_lossy(&output.stderr).contains("build with `--features tls`") {
        skip("this build has no TLS: build cim-bin with --features tls");
        return None;
    }
    Some((home, keys))
}

/// From now on certificates of that authority are trusted, and no others.
fn trust(dir: &Path, authority: &str) {
    std::fs::copy(dir.join(authority).with_extension("pem"), dir.join("ca.pem")).unwrap();
}

/// A receiver with a certificate of that authority, which asks for one of the right one.
fn receiver(dir: &Path, address: SocketAddr, authority: &str) -> Option<Receiver> {
    let pair = dir.join(format!("of-{authority}")).join("agent.example");
    let listen = format!(
        "OPENSSL-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,cert={pair}.pem,key={pair}.key,cafile={ca},verify=1",
        address.port(),
        pair = pair.display(),
        ca = dir.join("right.pem").display()
    );
    Receiver::socat(&listen, &dir.join("received"))
}

/// The receiver's certificate is signed by an authority that is not the one in `ca_file`; then the file is replaced.
#[test]
fn tls_waits_for_the_right_authority() {
    let address = free_port().unwrap();
    let Some((home, keys)) = prepared(address) else { return };
    trust(home.path(), "wrong");
    let file = home.path().join("received");
    let Some(_socat) = receiver(home.path(), address, "right") else { return };
    let daemon = Daemon::start_in(home, &tcp(&keys), Daemon::spawn);
    let vigil = vigil(&daemon);
    publish(&mut daemon.connect(), 0..100);
    status_says(&daemon, UNTRUSTED);
    assert_eq!(lines(&file).len(), 0);
    trust(daemon.home(), "right");
    drained(&daemon);
    until("the lines", || lines(&file).len() >= 100);
    Capture::of(&[&file]).assert_clean(100);
    vigil.assert_held(&daemon, PATIENCE);
}

/// While lines come the receiver is replaced by one with a certificate of another authority: they wait until that is trusted.
#[test]
fn lines_wait_for_trust_when_a_certificate_is_swapped_under_load() {
    let address = free_port().unwrap();
    let Some((home, keys)) = prepared(address) else { return };
    trust(home.path(), "right");
    let file = home.path().join("received");
    let Some(socat) = receiver(home.path(), address, "right") else { return };
    let daemon = Daemon::start_in(home, &tcp_logs(&keys), Daemon::spawn);
    let vigil = vigil(&daemon).with(2, 0);
    let mut live = Live::over(&daemon, 20);
    live.until_delivered(&daemon, 1_000.0);
    // Lines that a process has not read die with it: this one has read them all.
    drained(&daemon);
    until("the last line before", || lines(&file).last() == Some(&(live.next - 1)));
    socat.kill();
    let _socat = receiver(daemon.home(), address, "wrong").unwrap();
    live.until_status(&daemon, UNTRUSTED);
    let before = lines(&file).len();
    live.run_for(Duration::from_secs(1));
    assert_eq!(lines(&file).len(), before, "it was not trusted");
    trust(daemon.home(), "wrong");
    drained(&daemon);
    until("the last line", || lines(&file).last() == Some(&(live.next - 1)));
    Capture::of(&[&file]).assert_clean(live.next);
    vigil.assert_held(&daemon, PATIENCE);
}
