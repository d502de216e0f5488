//! Where a receiver is: a name or an IP address, and a port.
//!
//! Owns the text form and the lookup of names. Left out: connecting. Invariant: any name the resolver knows is
//! accepted though the original refused them: short names, other cluster domains, IPv4, bracketed IPv6.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Longest name, bytes.
const LONGEST: usize = 253;

/// `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Address {
    /// Every socket address behind it, in the order of the resolver.
    ///
    /// # Errors
    /// The resolver does not know the name, or cannot be asked.
    ///
    /// # Cancel safety
    /// May be dropped; the question goes on in the background and its answer is discarded.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name) => Ok(tokio::net::lookup_host((name.as_str(), self.port)).await?.collect()),
        }
    }

    /// The name or the IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// Reads `host:port`; the error says what is wrong and what to write.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must not be empty; write host:port".to_owned());
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(format!("`{text}` has no port; an IPv6 address stands in brackets: [{text}]:5170"));
        }
        let no_port = || format!("`{text}` has no port; write host:port, for example {text}:5170");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, port) = rest.split_once(']').ok_or_else(|| format!("`{text}` lacks a `]`"))?;
                let ip: Ipv6Addr = ip.parse().map_err(|_| format!("`{ip}` is not an IPv6 address"))?;
                (Host::Ip(ip.into()), port.strip_prefix(':').ok_or_else(no_port)?)
            }
            None => {
                let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
                (host_of(text, host)?, port)
            }
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if digits && port > 0 => Ok(Self { host, port }),
            _ => Err(format!("`{port}` in `{text}` is not a port; ports go from 1 to 65535")),
        }
    }
}

fn host_of(text: &str, host: &str) -> Result<Host, String> {
    if host.is_empty() {
        return Err(format!("`{text}` has no host before its port; write host:port"));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(format!("`{text}` is a URL; write it without `{scheme}://`: {rest}"));
    }
    if host.contains(':') {
        return Err(format!("`{text}`: an IPv6 address stands in brackets, for example [::1]:5170"));
    }
    if host.len() > LONGEST || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(format!("`{}` is not the name of a host", host.escape_debug()));
    }
    Ok(host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that the original accepted, refused or died of, and every other form of host.
    #[test]
    fn any_host_with_a_port_is_accepted() {
        for text in [
            "fb-service.xgvela-paas.svc.cluster.local:5175",
            "fluent-bit.xgvela-xgvela1-infra-xgvela-xgvela1.svc.cluster.local:5170",
            "10.0.0.1:5170",
            "fluentbit:5170",
            "fluent_bit:1",
            "a.b.c.example.:65535",
            "[::1]:5170",
            "[fe80::1]:5170",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_explained() {
        for (text, expected) in [
            ("", "must not be empty; write host:port"),
            (
                "fb-service.infra",
                "`fb-service.infra` has no port; write host:port, for example fb-service.infra:5170",
            ),
            ("[::1]", "`[::1]` has no port; write host:port, for example [::1]:5170"),
            ("::1", "`::1` has no port; an IPv6 address stands in brackets: [::1]:5170"),
            ("fe80::1:g", "`fe80::1:g`: an IPv6 address stands in brackets, for example [::1]:5170"),
            ("[::1:5170", "`[::1:5170` lacks a `]`"),
            ("[x]:5170", "`x` is not an IPv6 address"),
            (":5170", "`:5170` has no host before its port; write host:port"),
            ("x:", "`` in `x:` is not a port; ports go from 1 to 65535"),
            ("x:0", "`0` in `x:0` is not a port; ports go from 1 to 65535"),
            ("x:65536", "`65536` in `x:65536` is not a port; ports go from 1 to 65535"),
            ("x:+1", "`+1` in `x:+1` is not a port; ports go from 1 to 65535"),
            ("tcp://x:1", "`tcp://x:1` is a URL; write it without `tcp://`: x:1"),
            ("a b:1", "`a b` is not the name of a host"),
            ("a\n:1", "`a\\n` is not the name of a host"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err(), expected);
        }
    }
}
