//! How long the certificates in a file are valid.
//!
//! Left out: whether anybody accepts them. Invariant: nothing but names and times is read out of a certificate.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::error::TlsError;
use crate::files::certificates;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Whose it is: `CN=fluent-bit`.
    pub subject: String,
    /// It counts from then.
    pub not_before: SystemTime,
    /// And until then.
    pub not_after: SystemTime,
}

impl Validity {
    /// Of each certificate in a PEM file, in its order. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] when the file cannot be read, or holds no certificate or something else in place of one.
    pub fn read(path: &Path) -> Result<Vec<Self>, TlsError> {
        let missing = || TlsError::Missing(path.to_owned(), "certificate that can be read");
        certificates(path)?.iter().map(|certificate| of(certificate).ok_or_else(missing)).collect()
    }
}

fn of(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let certificate = certificate.tbs_certificate();
    let time = |time: x509_cert::time::Time| UNIX_EPOCH.checked_add(time.to_unix_duration());
    Some(Validity {
        subject: certificate.subject().to_string(),
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
    })
}
