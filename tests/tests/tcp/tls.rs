//! TLS towards a receiver, and an authority that is the wrong one at first.

use std::process::Command;

use cim_bench::server::free_port;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, PATIENCE, binary, skip, until};

use crate::peers::authority::Authority;
use crate::peers::receiver::Receiver;
use crate::{drained, lines, publish, status_says, tcp, vigil};

/// The receiver's certificate is signed by an authority that is not the one in `ca_file`; then the file is replaced.
#[test]
fn tls_waits_for_the_right_authority() {
    let home = tempfile::tempdir().unwrap();
    let (Some(right), Some(_wrong)) =
        (Authority::new(home.path(), "right"), Authority::new(home.path(), "wrong"))
    else {
        return skip("openssl is not installed: no certificates");
    };
    let pair = right.certificate(home.path(), "agent.example");
    let client = right.certificate(home.path(), "client.example");
    std::fs::copy(home.path().join("wrong.pem"), home.path().join("ca.pem")).unwrap();
    let address = free_port().unwrap();
    let keys = format!(
        "address = \"{address}\"\n[sinks.agent.tls]\nca_file = \"{{home}}/ca.pem\"\nserver_name = \"agent.example\"\n\
         client_cert_file = \"{client}.pem\"\nclient_key_file = \"{client}.key\"",
        client = client.display()
    );
    let config = home.path().join("check.toml");
    std::fs::write(&config, tcp(&keys).replace("{home}", &home.path().display().to_string())).unwrap();
    let output =
        Command::new(binary()).args(["validate", "--config"]).arg(&config).env_clear().output().unwrap();
    if String::from_utf8_lossy(&output.stderr).contains("build with `--features tls`") {
        return skip("this build has no TLS: build cim-bin with --features tls");
    }
    let file = home.path().join("received");
    let listen = format!(
        "OPENSSL-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,cert={pair}.pem,key={pair}.key,cafile={ca},verify=1",
        address.port(),
        pair = pair.display(),
        ca = home.path().join("right.pem").display()
    );
    let Some(_socat) = Receiver::socat(&listen, &file) else { return };
    let daemon = Daemon::start_in(home, &tcp(&keys), Daemon::spawn);
    let vigil = vigil(&daemon);
    publish(&mut daemon.connect(), 0..100);
    status_says(&daemon, "do not satisfy both sides");
    assert_eq!(lines(&file).len(), 0);
    std::fs::copy(daemon.home().join("right.pem"), daemon.home().join("ca.pem")).unwrap();
    drained(&daemon);
    until("the lines", || lines(&file).len() >= 100);
    Capture::of(&[&file]).assert_clean(100);
    vigil.assert_held(&daemon, PATIENCE);
}
