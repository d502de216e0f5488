//! The address of the application, taken apart.
//!
//! Owns what may stand in `url`. Left out: resolving names. Invariant: a target always has a host and a port, and a path
//! that was given with a slash at its start stays below the base.

use cim_core::Problem;
use hyper::Uri;
use hyper::http::uri::Scheme;

/// Where the application listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    /// As it stands in `Host`.
    pub authority: String,
    /// Path before every endpoint, without a slash at its end.
    base: String,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, Problem> {
        let wrong = |what: &str| Problem::new("url", format!("`{url}` {what}; write http://host:port"));
        let uri: Uri = url.parse().map_err(|_| wrong("is not an address"))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(wrong("does not begin with http://"));
        }
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || authority.contains('@') || uri.query().is_some() {
            return Err(wrong("has no host, or a user or a query"));
        }
        let port = match authority.strip_suffix(':') {
            Some(_) => None,
            None if authority.ends_with(uri.host().unwrap_or_default()) => Some(80),
            None => uri.port_u16(),
        };
        let port = port.ok_or_else(|| wrong("has no port from 1 to 65535"))?;
        Ok(Self { host, port, authority, base: uri.path().trim_end_matches('/').to_owned() })
    }

    /// The whole address of an endpoint.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, String> {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let text = format!("http://{}{}{slash}{path}", self.authority, self.base);
        text.parse().map_err(|_| format!("`{path}` cannot stand in an address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_lie_below_the_base() {
        let uri = |url: &str, path| Target::parse(url).unwrap().uri(path).unwrap().to_string();
        assert_eq!(uri("http://localhost:8080", "/updateConfig"), "http://localhost:8080/updateConfig");
        assert_eq!(uri("http://localhost:8080/", "health?x=1"), "http://localhost:8080/health?x=1");
        assert_eq!(uri("http://[::1]:8080/app/", "/updateConfig"), "http://[::1]:8080/app/updateConfig");
        assert!(Target::parse("http://localhost:8080").unwrap().uri("/a b").is_err());
    }

    #[test]
    fn host_and_port_are_taken_apart() {
        let parsed = |url: &str| Target::parse(url).map(|target| (target.host, target.port)).unwrap();
        assert_eq!(parsed("http://localhost"), ("localhost".to_owned(), 80));
        assert_eq!(parsed("http://[::1]"), ("::1".to_owned(), 80));
        assert_eq!(parsed("http://127.0.0.1:9999"), ("127.0.0.1".to_owned(), 9999));
    }
}
