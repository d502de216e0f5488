//! The hosts that the configuration names: whether their names are known, and whether they accept connections.
//!
//! Owns which keys name hosts. Left out: what is spoken over a connection. The invariant: a connection is made and ended, and
//! nothing is said.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::LIMIT;
use super::finding::Finding;
use crate::engine;
use crate::settings::{ConfigurationSettings, Settings, member_path};

/// Keys whose texts name a host each.
const KEYS: [&str; 4] = ["address", "addresses", "brokers", "endpoints"];

/// One finding for each host.
pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    join_all(hosts(settings).into_iter().map(look)).await
}

/// A host and where it is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Host {
    key: String,
    name: String,
    port: u16,
}

fn hosts(settings: &Settings) -> BTreeSet<Host> {
    let mut hosts = BTreeSet::new();
    for name in engine::used(settings) {
        if let Some(table) = settings.sinks.get(name) {
            collect(
                &table.members.clone().into_iter().collect(),
                &member_path("sinks", name),
                9092,
                &mut hosts,
            );
        }
    }
    if settings.configuration.source != ConfigurationSettings::NONE
        && let Value::Object(members) = settings.configuration.members()
    {
        collect(&members, &member_path("configuration", &settings.configuration.source), 2379, &mut hosts);
    }
    hosts.extend(host("application.url", &settings.application.url, 80));
    hosts
}

fn collect(table: &Map<String, Value>, at: &str, port: u16, hosts: &mut BTreeSet<Host>) {
    for key in KEYS {
        let path = member_path(at, key);
        match table.get(key) {
            Some(Value::String(text)) => hosts.extend(host(&path, text, port)),
            Some(Value::Array(items)) => {
                hosts.extend(
                    items.iter().filter_map(Value::as_str).filter_map(|text| host(&path, text, port)),
                );
            }
            _ => {}
        }
    }
}

/// The host in `scheme://user@host:port/path`, of which only the host must be there. Nothing before an `@` is kept.
fn host(key: &str, text: &str, usual: u16) -> Option<Host> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let rest = rest.split(['/', '?']).next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let usual = if scheme.eq_ignore_ascii_case("https") && usual == 80 { 443 } else { usual };
    let (name, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (name, port.strip_prefix(':'))
        }
        None => rest.rsplit_once(':').map_or((rest, None), |(name, port)| (name, Some(port))),
    };
    let port = port.map_or(Some(usual), |port| port.parse().ok())?;
    (!name.is_empty()).then(|| Host { key: key.to_owned(), name: name.to_owned(), port })
}

async fn look(host: Host) -> Finding {
    let Host { key, name, port } = &host;
    let check = format!("host {name}:{port} ({key})");
    let found = match timeout(LIMIT, lookup_host((name.as_str(), *port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            return Finding::fail(check, format!("the name is not known: {error}"))
                .advice("look at the name, and at the resolver of this host");
        }
        Err(_) => {
            return Finding::fail(check, format!("the resolver has not answered within {LIMIT:?}"))
                .advice("look at the resolver of this host");
        }
    };
    let mut last = "the name has no address".to_owned();
    let attempts = async {
        for address in &found {
            match TcpStream::connect(address).await {
                Ok(_) => return Some(*address),
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        None
    };
    match timeout(LIMIT, attempts).await {
        Ok(Some(address)) => Finding::ok(check, format!("accepts connections ({address})")),
        Ok(None) if key == "application.url" => {
            Finding::warn(check, format!("does not accept connections: {last}"))
                .advice("start the application; changes wait until it registers")
        }
        Ok(None) => Finding::fail(check, format!("does not accept connections: {last}"))
            .advice("start it, or look at address, port and network policies"),
        Err(_) => Finding::fail(check, format!("has not accepted a connection within {LIMIT:?}"))
            .advice("look at routes and network policies"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_in_every_form_and_without_credentials() {
        let read = |text: &str| host("k", text, 9092).map(|host| format!("{}:{}", host.name, host.port));
        for (text, expected) in [
            ("kafka-0:9093", Some("kafka-0:9093")),
            ("kafka-0", Some("kafka-0:9092")),
            ("http://etcd:2379", Some("etcd:2379")),
            ("https://user:canary@etcd:2379/x?y", Some("etcd:2379")),
            ("[fd00::7]:5170", Some("fd00::7:5170")),
            ("[fd00::7]", Some("fd00::7:9092")),
            ("", None),
            ("x:port", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
