//! Exporters that speak TLS: read where somebody vouches for them, and told otherwise.

use std::net::TcpStream;
use std::path::Path;

use cim_services::{Authority, Identity, Process, free_port, has_program};
use cim_tests::{Daemon, skip, until};

use crate::annotation;
use crate::exporter::{Exporter, ask, scrape, status, waits};

/// TLS in front of an exporter, by socat; its port.
fn behind_tls(exporter: &Exporter, identity: &Identity, home: &Path) -> Option<(Process, u16)> {
    if !has_program("socat") {
        skip("socat is not installed: there is no exporter with TLS that is not ours");
        return None;
    }
    let port = free_port().unwrap().port();
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    let listen = format!("OPENSSL-LISTEN:{port},bind=127.0.0.1,fork,verify=0,cert={certificate},key={key}");
    let arguments = [listen, format!("TCP:127.0.0.1:{}", exporter.port)];
    let process = Process::start("socat", Path::new("socat"), &arguments, &home.join("socat.log"));
    until("TLS in front of the exporter", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Some((process, port))
}

fn settings(port: u16, authority: &Authority) -> String {
    format!(
        "[metrics]\ntls = {{ ca_file = \"{}\" }}\n[metrics.aligned]\nports = [{port}]\nscheme = \"https\"\ninterval = \"1s\"\nretention = 5\n",
        authority.certificate().display()
    )
}

#[test]
fn an_exporter_that_speaks_tls_is_read_where_its_authority_is_named_and_nowhere_else() {
    let home = tempfile::tempdir().unwrap();
    let Some(authority) = Authority::new(&home.path().join("ours")) else { return };
    let Some(other) = Authority::new(&home.path().join("theirs")) else { return };
    let exporter = Exporter::start("x 1\n");
    let Some((_tls, port)) = behind_tls(&exporter, &authority.issue("exporter", 1), home.path()) else {
        return;
    };
    let daemon = Daemon::start(&settings(port, &authority));
    let page = format!("source_port=\"{port}\"");
    until("its page", || scrape(&daemon).contains(&page));
    assert!(exporter.requests().iter().all(|head| head.starts_with("GET /metrics HTTP/1.1\r\n")));
    drop(daemon);

    let asked = exporter.requests().len();
    let daemon = Daemon::start(&settings(port, &other));
    until("the reason", || {
        status(&daemon)["trouble"].as_str().is_some_and(|why| why.contains("certificates do not satisfy"))
    });
    waits(&daemon, 1);
    assert!(!scrape(&daemon).contains(&page));
    assert_eq!(exporter.requests().len(), asked, "nothing is said to whom nobody vouches for");
}

#[test]
fn an_annotation_that_asks_for_https_is_followed_once_an_authority_is_named() {
    let home = tempfile::tempdir().unwrap();
    let Some(authority) = Authority::new(home.path()) else { return };
    let exporter = Exporter::start("x 1\n");
    let Some((_tls, port)) = behind_tls(&exporter, &authority.issue("exporter", 1), home.path()) else {
        return;
    };
    let annotation = format!(
        r#"{{"scrape":"true","ports":["{port}"],"scheme":"https","measurementInterval":"1s","maxRetention":"3"}}"#
    );
    let daemon = annotation::daemon(&annotation);
    assert!(ask(&daemon, "").starts_with("HTTP/1.1 404 "));
    let trouble = status(&daemon)["trouble"].as_str().unwrap().to_owned();
    assert!(trouble.contains("asks for https") && trouble.contains("[metrics.tls]"), "{trouble}");
    let more = format!("metrics.tls.ca_file = \"{}\"\n", authority.certificate().display());
    let daemon = annotation::daemon_with(&annotation, &more);
    until("its page", || scrape(&daemon).contains(&format!("source_port=\"{port}\"")));
}
