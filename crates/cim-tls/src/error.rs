//! Why a connection could not be made private.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A file holds no PEM item of the kind that is needed.
    #[error("no {1} in {path}", path = .0.display())]
    Missing(PathBuf, &'static str),
    /// A certificate or key cannot be used.
    #[error("{1} in {path} cannot be used", path = .0.display())]
    Unusable(PathBuf, &'static str, #[source] rustls::Error),
    /// The name of the server is no name that a certificate could carry.
    #[error("`{0}` is not a server name")]
    Name(String),
    /// One side does not accept what the other one shows.
    #[error("the certificates do not satisfy both sides")]
    Untrusted(#[source] rustls::Error),
    /// The connection broke, or the peer speaks no TLS.
    #[error("the handshake failed")]
    Broken(#[source] io::Error),
}

impl TlsError {
    /// Whether it is a matter of files and names on this side, found before anything was sent.
    #[must_use]
    pub fn is_about_files(&self) -> bool {
        matches!(self, Self::Unreadable(..) | Self::Missing(..) | Self::Unusable(..) | Self::Name(_))
    }

    /// What the handshake came to.
    pub(crate) fn of(error: io::Error) -> Self {
        use rustls::{AlertDescription as Alert, Error};
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
        match cause {
            Some(
                cause @ (Error::InvalidCertificate(_)
                | Error::AlertReceived(
                    Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::AccessDenied
                    | Alert::CertificateRequired,
                )),
            ) => Self::Untrusted(cause.clone()),
            _ => Self::Broken(error),
        }
    }
}
