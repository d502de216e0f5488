//! The INFO line, the first bytes a client sees.
//!
//! Owns its members and their order, which old clients read by regular expressions (wire contract §3.2). Leaves out
//! when it is sent. Invariants: compact JSON under 1 KiB, one object without nesting, a blank before CR LF.

use crate::config::NatsConfig;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;

const ID_LENGTH: usize = 56;
/// Longest `server_name` and `version` that are sent, in bytes.
const MAX_TEXT: usize = 200;

/// The parts of INFO that are the same for every connection.
#[derive(Debug)]
pub(crate) struct Info {
    server_id: String,
    server_name: String,
    version: String,
    tail: String,
    max_payload: usize,
}

impl Info {
    pub(crate) fn new(config: &NatsConfig) -> Self {
        let server_id = random_id();
        let server_name =
            if config.server_name.is_empty() { server_id.clone() } else { plain(&config.server_name) };
        let mut tail = String::new();
        if config.headers {
            tail.push_str(",\"headers\":true");
        }
        if config.auth.is_some() {
            tail.push_str(",\"auth_required\":true");
        }
        Self {
            server_id,
            server_name,
            version: plain(&config.version),
            tail,
            max_payload: config.max_payload,
        }
    }

    /// The line for one connection, accepted on `local`.
    pub(crate) fn line(&self, local: SocketAddr, client: u64) -> String {
        let Self { server_id, server_name, version, tail, max_payload } = self;
        let (host, port) = (local.ip(), local.port());
        format!(
            "INFO {{\"server_id\":\"{server_id}\",\"server_name\":\"{server_name}\",\"version\":\"{version}\",\
             \"proto\":1,\"go\":\"none\",\"host\":\"{host}\",\"port\":{port},\"max_payload\":{max_payload},\
             \"client_id\":{client}{tail}}} \r\n"
        )
    }
}

/// Only what needs no escaping and cannot end the object for a client that reads by regular expression.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '{' | '}'))
        .take(MAX_TEXT)
        .collect()
}

/// `N` and 55 letters and digits, new with every start.
fn random_id() -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut id = String::with_capacity(ID_LENGTH);
    id.push('N');
    let mut bits = 0;
    while id.len() < ID_LENGTH {
        if bits == 0 {
            bits = RandomState::new().build_hasher().finish();
        }
        let letter = usize::try_from(bits % 32).ok().and_then(|at| ALPHABET.get(at)).unwrap_or(&b'A');
        id.push(char::from(*letter));
        bits /= 32;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(config: &NatsConfig) -> String {
        Info::new(config).line("127.0.0.1:4222".parse().unwrap(), 7)
    }

    #[test]
    fn members_in_the_old_order() {
        let config = NatsConfig { server_name: "cim".to_owned(), headers: false, ..NatsConfig::default() };
        let line = line(&config);
        let id = line.split('"').nth(3).unwrap();
        assert_eq!(id.len(), 56);
        assert_eq!(
            line,
            format!(
                "INFO {{\"server_id\":\"{id}\",\"server_name\":\"cim\",\"version\":\"2.1.4\",\"proto\":1,\
                 \"go\":\"none\",\"host\":\"127.0.0.1\",\"port\":4222,\"max_payload\":1048576,\"client_id\":7}} \r\n"
            )
        );
    }

    #[test]
    fn switches_add_members_at_the_end_and_hostile_names_do_no_harm() {
        let config = NatsConfig {
            server_name: "a\"}\r\nPING\r\n".to_owned() + &"x".repeat(5_000),
            auth: Some(crate::Auth::Token(crate::Secret::new("t"))),
            ..NatsConfig::default()
        };
        let line = line(&config);
        assert!(line.ends_with(",\"client_id\":7,\"headers\":true,\"auth_required\":true} \r\n"), "{line}");
        assert!(line.len() < 1024 && line.matches('\n').count() == 1 && line.matches('}').count() == 1);
        assert_ne!(Info::new(&config).server_id, Info::new(&config).server_id);
    }
}
