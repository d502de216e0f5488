//! Whether the ports of the process are free, or held by a CIM that runs.
//!
//! Left out: opening them for good. The invariant: a port that is held is told apart by what answers there, not by guess.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::LIMIT;
use super::finding::Finding;
use crate::settings::{Addresses, Settings, reachable};

/// Most bytes of an answer that are looked at.
const ANSWER: u64 = 64 << 10;

/// One finding for each address.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    let (nats, api) = (&settings.nats.listen, &settings.api.listen);
    let of = |section, addresses: &Addresses| {
        let spare = addresses.spare();
        addresses.list().iter().map(|address| port(section, *address, spare.contains(address))).collect()
    };
    let mut findings: Vec<_> = of("nats", nats);
    findings.extend(of("api", api));
    findings.extend(settings.health.listen.map(|address| port("health", address, false)));
    findings
}

/// Looks at one port; a spare one may be missing.
fn port(section: &str, address: SocketAddr, is_spare: bool) -> Finding {
    let check = format!("port {section}.listen {address}");
    if address.port() == 0 {
        return Finding::ok(check, "is chosen by the system");
    }
    let variable = format!("CIM__{}__LISTEN", section.to_ascii_uppercase());
    let elsewhere = format!("set `listen` in [{section}], or {variable}, to another address");
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(check, "is free"),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_cim(section, address) => {
            Finding::ok(check, "is held by a running cim")
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Finding::fail(check, "is taken by another program").advice(format!("stop it, or {elsewhere}"))
        }
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable && is_spare => {
            Finding::ok(check, "is not there on this host; the IPv4 one is enough")
        }
        Err(error) => Finding::fail(check, format!("cannot be listened on: {error}")).advice(elsewhere),
    }
}

/// Whether what listens there speaks as CIM does.
fn is_cim(section: &str, address: SocketAddr) -> bool {
    match section {
        // No Go program leaves its version out.
        "nats" => ask(address, "")
            .is_some_and(|line| line.starts_with("INFO {") && line.contains("\"go\":\"none\"")),
        _ => ask(address, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .is_some_and(|page| page.contains("] nats: ")),
    }
}

/// The first that is said there: a line without a request, everything with one.
fn ask(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&reachable(address), LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = vec![0; 4096];
    if request.is_empty() {
        let count = stream.read(&mut answer).ok()?;
        answer.truncate(count);
    } else {
        answer.clear();
        stream.take(ANSWER).read_to_end(&mut answer).ok()?;
    }
    Some(String::from_utf8_lossy(&answer).into_owned())
}
