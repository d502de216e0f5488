//! The listeners of a broker.
//!
//! Owns their names and protocols. Invariant: the plain listener is always there, and whoever uses it may do everything: it
//! is how the test itself speaks to the broker.

/// A kind of listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// Without TLS or authentication; super user.
    Plain,
    /// SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) without TLS.
    Sasl,
    /// TLS.
    Tls,
    /// SASL over TLS.
    SaslTls,
    /// As plain, but the broker tells clients the address of a proxy.
    Proxied,
}

impl Listener {
    /// Its name in the properties of the broker.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Sasl => "SASL",
            Self::Tls => "TLS",
            Self::SaslTls => "SASLTLS",
            Self::Proxied => "PROXIED",
        }
    }

    /// Its protocol in the properties of the broker.
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::Plain | Self::Proxied => "PLAINTEXT",
            Self::Sasl => "SASL_PLAINTEXT",
            Self::Tls => "SSL",
            Self::SaslTls => "SASL_SSL",
        }
    }

    /// Whether clients authenticate on it.
    pub(crate) fn authenticates(self) -> bool {
        matches!(self, Self::Sasl | Self::SaslTls)
    }

    /// Whether it is encrypted.
    pub(crate) fn encrypts(self) -> bool {
        matches!(self, Self::Tls | Self::SaslTls)
    }
}
