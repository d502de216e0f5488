//! Where a receiver is: addresses and names, of which some lead nowhere.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use cim_bench::server::free_port;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, PATIENCE, skip, until};

use crate::peers::sockets::{Manner, Sockets};
use crate::{drained, publish, status_says, tcp, vigil};

#[test]
fn ipv6_works_in_brackets() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return skip("no IPv6 on the loopback interface");
    };
    let address = listener.local_addr().unwrap();
    let sockets = Sockets::over(listener, Manner::Reads);
    let daemon = Daemon::start(&tcp(&format!("address = \"{address}\"")));
    let vigil = vigil(&daemon);
    publish(&mut daemon.connect(), 0..10);
    drained(&daemon);
    until("the lines", || sockets.lines().len() >= 10);
    Capture::of(&sockets.captures(daemon.home())).assert_clean(10);
    vigil.assert_held(&daemon, PATIENCE);
}

#[test]
fn a_dead_first_address_of_a_list_is_passed_over() {
    let sockets = Sockets::listen(free_port().unwrap(), Manner::Reads);
    let dead = free_port().unwrap();
    let daemon = Daemon::start(&tcp(&format!("addresses = [\"{dead}\", \"{}\"]", sockets.address)));
    let vigil = vigil(&daemon);
    publish(&mut daemon.connect(), 0..10);
    drained(&daemon);
    until("the lines", || sockets.lines().len() >= 10);
    assert_eq!(sockets.connections(), 1);
    Capture::of(&sockets.captures(daemon.home())).assert_clean(10);
    vigil.assert_held(&daemon, PATIENCE);
}

/// A name with two addresses, of which the first one answers nobody; then the name itself is gone for a while.
#[test]
fn every_address_of_a_name_is_tried() {
    let port = free_port().unwrap().port();
    let sockets = Sockets::listen(SocketAddr::from(([127, 0, 0, 3], port)), Manner::Reads);
    let home = tempfile::tempdir().unwrap();
    let hosts = home.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.2 agent.example\n127.0.0.3 agent.example\n").unwrap();
    let names = home.path().join("names");
    std::fs::write(&names, "hosts: files\n").unwrap();
    let mount = |file: &Path, at: &str| format!("mount --bind '{}' {at}", file.display());
    let own_hosts = [mount(&hosts, "/etc/hosts"), mount(&names, "/etc/nsswitch.conf")].join(" && ");
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]);
        command
    };
    if !unshare(&own_hosts).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return skip("no mount namespace (needs root): names cannot be made up");
    }
    let script = format!("{own_hosts} && exec \"$0\" \"$@\"");
    let settings = tcp(&format!("address = \"agent.example:{port}\""));
    let daemon = Daemon::start_in(home, &settings, |home| {
        Daemon::spawn_under(home, &["unshare", "-m", "sh", "-c", &script])
    });
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    publish(&mut wire, 0..10);
    drained(&daemon);
    until("the lines", || sockets.lines().len() >= 10);

    std::fs::write(&hosts, "").unwrap();
    sockets.set(Manner::Closes);
    until("the end of the connection", || sockets.open() == 0);
    sockets.set(Manner::Reads);
    publish(&mut wire, 10..20);
    status_says(&daemon, "cannot be looked up");
    std::fs::write(&hosts, "127.0.0.2 agent.example\n127.0.0.3 agent.example\n").unwrap();
    drained(&daemon);
    until("the lines", || sockets.lines().len() >= 20);
    Capture::of(&sockets.captures(daemon.home())).assert_clean(20);
    vigil.assert_held(&daemon, PATIENCE);
}
