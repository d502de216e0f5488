//! The options of CONNECT.
//!
//! Owns reading the JSON and its defaults. Leaves out acting on them. Invariant: what a member says has the type that
//! nats-server demands, otherwise the whole line is refused; unknown members are ignored, of duplicates the last wins.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// Longest client name kept as the source of its messages, in bytes.
pub(crate) const MAX_NAME: usize = 256;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectOptions {
    pub verbose: bool,
    pub pedantic: bool,
    pub echo: bool,
    pub headers: bool,
    pub no_responders: bool,
    pub protocol: i64,
    pub name: String,
    pub user: Option<String>,
    pub pass: Option<Zeroizing<String>>,
    pub auth_token: Option<Zeroizing<String>>,
}

impl Default for ConnectOptions {
    /// What holds for a client that never sends CONNECT.
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            protocol: 0,
            name: String::new(),
            user: None,
            pass: None,
            auth_token: None,
        }
    }
}

/// The JSON of CONNECT is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadOptions;

impl ConnectOptions {
    /// Reads the argument of CONNECT. What it does not mention stays as it is in `current`, credentials excepted.
    pub(crate) fn parse(json: &[u8], current: &Self) -> Result<Self, BadOptions> {
        let Value::Object(mut members) = serde_json::from_slice(json).map_err(|_| BadOptions)? else {
            return Err(BadOptions);
        };
        let mut name = text(&mut members, "name")?.unwrap_or_else(|| current.name.clone());
        let mut end = name.len().min(MAX_NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        for ignored in ["lang", "version", "jwt", "nkey", "sig"] {
            text(&mut members, ignored)?;
        }
        flag(&members, "tls_required", false)?;
        Ok(Self {
            verbose: flag(&members, "verbose", current.verbose)?,
            pedantic: flag(&members, "pedantic", current.pedantic)?,
            echo: flag(&members, "echo", current.echo)?,
            headers: flag(&members, "headers", current.headers)?,
            no_responders: flag(&members, "no_responders", current.no_responders)?,
            protocol: match members.get("protocol") {
                None | Some(Value::Null) => current.protocol,
                Some(value) => value.as_i64().ok_or(BadOptions)?,
            },
            name,
            user: text(&mut members, "user")?,
            pass: text(&mut members, "pass")?.map(Zeroizing::new),
            auth_token: text(&mut members, "auth_token")?.map(Zeroizing::new),
        })
    }

    /// Drops the credentials once they have been checked.
    pub(crate) fn forget_credentials(&mut self) {
        self.user = None;
        self.pass = None;
        self.auth_token = None;
    }
}

fn flag(members: &Map<String, Value>, name: &str, default: bool) -> Result<bool, BadOptions> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_bool().ok_or(BadOptions),
    }
}

fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, BadOptions> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(BadOptions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &[u8]) -> Result<ConnectOptions, BadOptions> {
        ConnectOptions::parse(json, &ConnectOptions::default())
    }

    #[test]
    fn a_second_connect_changes_what_it_mentions() {
        let first = parse(br#"{"verbose":false,"name":"a","headers":true}"#).unwrap();
        let second = ConnectOptions::parse(br#"{"pedantic":false,"name":"b"}"#, &first).unwrap();
        assert_eq!(second, ConnectOptions { pedantic: false, name: "b".to_owned(), ..first });
    }

    #[test]
    fn accepted() {
        assert_eq!(parse(b"{}"), Ok(ConnectOptions::default()));
        let options = parse(
            br#"{"verbose":true,"verbose":false,"pedantic":null,"name":"a\nb\"","x":{"y":[1]},"protocol":1}"#,
        )
        .unwrap();
        assert!(!options.verbose && options.pedantic && options.echo);
        assert_eq!((options.name.as_str(), options.protocol), ("a\nb\"", 1));
        let long = format!(r#"{{"name":"{}"}}"#, "ü".repeat(3_000));
        assert_eq!(parse(long.as_bytes()).unwrap().name.len(), MAX_NAME);
    }

    #[test]
    fn refused() {
        for json in [
            &b""[..],
            b"{bad}",
            b"5",
            b"null",
            b"[]",
            b"{} x",
            br#"{"verbose":"yes"}"#,
            br#"{"user":1}"#,
            br#"{"lang":1}"#,
            br#"{"protocol":"1"}"#,
            &b"[".repeat(4_000),
            b"{\"name\":\"\xff\"}",
        ] {
            assert_eq!(parse(json), Err(BadOptions), "{}", String::from_utf8_lossy(json));
        }
    }
}
