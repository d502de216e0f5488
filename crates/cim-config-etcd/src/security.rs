//! TLS towards the store.
//!
//! Owns reading the files and the question whether a failure was about certificates. The one file that knows whether this
//! build has TLS. Invariant: the files are used as they are when a connection is made.

#[cfg(feature = "tls")]
mod present {
    use std::error::Error as StdError;
    use std::io;
    use std::path::Path;

    use cim_core::{SourceError, SourceErrorKind};
    use etcd_client::{Certificate, ConnectOptions, Error, Identity, TlsOptions};

    use crate::settings::EtcdSettings;

    /// Adds what the settings say about TLS. Blocks.
    pub(crate) fn secure(options: ConnectOptions, settings: &EtcdSettings) -> Result<ConnectOptions, SourceError> {
        let mut tls = TlsOptions::new();
        if let Some(file) = &settings.ca_file {
            tls = tls.ca_certificate(Certificate::from_pem(read(file)?));
        }
        if let (Some(certificate), Some(key)) = (&settings.client_cert_file, &settings.client_key_file) {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        if let Some(name) = &settings.server_name {
            tls = tls.domain_name(name);
        }
        Ok(options.with_tls(tls))
    }

    fn read(file: &Path) -> Result<Vec<u8>, SourceError> {
        std::fs::read(file).map_err(|error| {
            SourceError::new(SourceErrorKind::Misconfigured, format!("cannot read {}", file.display())).with_source(error)
        })
    }

    /// Whether one side did not accept the certificate of the other one.
    pub(crate) fn is_distrust(error: &Error) -> bool {
        let mut next = crate::failure::cause(error);
        while let Some(error) = next {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if is_certificate(error) || inner.is_some_and(|inner| is_certificate(inner)) {
                return true;
            }
            next = error.source();
        }
        false
    }

    fn is_certificate(error: &(dyn StdError + 'static)) -> bool {
        use rustls::{AlertDescription as Alert, Error};
        matches!(
            error.downcast_ref::<Error>(),
            Some(
                Error::InvalidCertificate(_)
                    | Error::AlertReceived(
                        Alert::BadCertificate
                            | Alert::UnsupportedCertificate
                            | Alert::CertificateRevoked
                            | Alert::CertificateExpired
                            | Alert::CertificateUnknown
                            | Alert::UnknownCA
                            | Alert::AccessDenied
                            | Alert::CertificateRequired
                    )
            )
        )
    }
}

#[cfg(not(feature = "tls"))]
mod absent {
    use cim_core::{SourceError, SourceErrorKind};
    use etcd_client::{ConnectOptions, Error};

    use crate::settings::EtcdSettings;

    /// Says that this build has no TLS.
    pub(crate) fn secure(_: ConnectOptions, _: &EtcdSettings) -> Result<ConnectOptions, SourceError> {
        Err(SourceError::new(SourceErrorKind::Misconfigured, "`https://` needs a build with the feature `tls`"))
    }

    /// Never.
    pub(crate) fn is_distrust(_: &Error) -> bool {
        false
    }
}

#[cfg(not(feature = "tls"))]
pub(crate) use absent::{is_distrust, secure};
#[cfg(feature = "tls")]
pub(crate) use present::{is_distrust, secure};
