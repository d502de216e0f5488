//! The HTTP client towards the API server, made from the settings.
//!
//! Owns where credentials come from. Left out: what is asked ([`crate::server`]). Invariant: making a client opens no
//! connection; it reads files only. The token and the certificates of a pod are read again by the client within a minute
//! of a change.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use cim_core::OrchestratorError;
use cim_core::OrchestratorErrorKind::{Misconfigured, Unavailable};
use http::Uri;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::settings::KubernetesSettings;

/// Makes a client. Its place is a thread that may block: it reads files, and a kubeconfig may name a program that tells
/// the credentials.
///
/// # Errors
/// [`OrchestratorError`] when a file is missing or cannot be read as what it should be.
pub(crate) async fn new(settings: &KubernetesSettings) -> Result<Client, OrchestratorError> {
    let mut config = match &settings.kubeconfig {
        Some(path) => from_kubeconfig(path).await?,
        None => from_service_account(settings)?,
    };
    // Behind the limit of the call, which says it better; for connections that outlive their call.
    config.connect_timeout = Some(settings.request_timeout.get().saturating_add(Duration::from_secs(1)));
    // The call decides about a repetition: it knows its deadline.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| {
        let text = format!("the credentials for the API server cannot be used; check {}", whence(settings));
        OrchestratorError::new(Unavailable, text).with_source(error)
    })
}

/// The files that credentials are read from, for people.
pub(crate) fn whence(settings: &KubernetesSettings) -> String {
    match &settings.kubeconfig {
        Some(path) => path.display().to_string(),
        None => format!("{} and {}", settings.token_file.display(), settings.ca_file.display()),
    }
}

async fn from_kubeconfig(path: &Path) -> Result<Config, OrchestratorError> {
    let wrong = |error| unusable(path, error);
    let file = Kubeconfig::read_from(path).map_err(wrong)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(wrong)
}

fn unusable(path: &Path, error: KubeconfigError) -> OrchestratorError {
    let text = format!("the kubeconfig {} cannot be used", path.display());
    match error {
        // Its text quotes the file, and with it perhaps a token.
        KubeconfigError::Parse(error) => {
            let place = error.location().map_or(String::new(), |at| format!(" near line {}", at.line()));
            OrchestratorError::new(Misconfigured, format!("{text}: it is not YAML of that form{place}"))
        }
        error => OrchestratorError::new(Misconfigured, text).with_source(error),
    }
}

fn from_service_account(settings: &KubernetesSettings) -> Result<Config, OrchestratorError> {
    let address = address(settings);
    let uri = address.parse::<Uri>().map_err(|error| {
        OrchestratorError::new(Misconfigured, format!("`{address}` is no address of an API server"))
            .with_source(error)
    })?;
    let mut config = Config::new(uri);
    config.root_cert_file = Some(settings.ca_file.clone());
    let token_file = Some(settings.token_file.display().to_string());
    config.auth_info = AuthInfo { token_file, ..AuthInfo::default() };
    Ok(config)
}

/// Where the API server is, for people too; a kubeconfig is named in its place.
pub(crate) fn address(settings: &KubernetesSettings) -> String {
    let KubernetesSettings { kubeconfig, host, port, .. } = settings;
    match (kubeconfig, host.parse()) {
        (Some(path), _) => format!("the address in {}", path.display()),
        (None, Ok(IpAddr::V6(address))) => format!("https://[{address}]:{port}"),
        (None, _) => format!("https://{host}:{port}"),
    }
}
