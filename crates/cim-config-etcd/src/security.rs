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
    use rustls::AlertDescription;

    use crate::settings::EtcdSettings;

    /// Adds what the settings say about TLS. Blocks.
    pub(crate) fn secure(
        options: ConnectOptions,
        settings: &EtcdSettings,
    ) -> Result<ConnectOptions, SourceError> {
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
            SourceError::new(SourceErrorKind::Misconfigured, format!("cannot read {}", file.display()))
                .with_source(error)
        })
    }

    /// What a side says that does not accept the certificate of the other one.
    const REFUSALS: [AlertDescription; 8] = [
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
        AlertDescription::CertificateRequired,
    ];

    /// Whether one side did not accept the certificate of the other one.
    pub(crate) fn is_distrust(error: &Error) -> bool {
        let mut next = crate::failure::cause(error);
        while let Some(error) = next {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if is_refusal(error) || inner.is_some_and(|inner| is_refusal(inner)) {
                return true;
            }
            next = error.source();
        }
        false
    }

    fn is_refusal(error: &(dyn StdError + 'static)) -> bool {
        use rustls::Error::{AlertReceived, InvalidCertificate};
        match error.downcast_ref() {
            Some(InvalidCertificate(_)) => true,
            Some(AlertReceived(alert)) => REFUSALS.contains(alert),
            Some(_) => false,
            // A refusal after the handshake has passed through HTTP/2, which keeps the text only.
            None => {
                let text = error.to_string();
                REFUSALS.iter().any(|alert| text == AlertReceived(*alert).to_string())
            }
        }
    }
}

#[cfg(not(feature = "tls"))]
mod absent {
    use cim_core::{SourceError, SourceErrorKind};
    use etcd_client::{ConnectOptions, Error};

    use crate::settings::EtcdSettings;

    /// Says that this build has no TLS.
    pub(crate) fn secure(_: ConnectOptions, _: &EtcdSettings) -> Result<ConnectOptions, SourceError> {
        Err(SourceError::new(
            SourceErrorKind::Misconfigured,
            "`https://` needs a build with the feature `tls`",
        ))
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
