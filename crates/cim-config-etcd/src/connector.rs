//! Making connections.
//!
//! Owns what the client library is told. Left out: which member is chosen. Invariant: a connection goes to one member, and
//! is made with the password and the certificates that the files hold at that moment.

use std::time::Duration;

use cim_core::settings::Secret;
use cim_core::{SourceError, SourceErrorKind};
use etcd_client::{Client, ConnectOptions};

use crate::endpoint::Endpoint;
use crate::failure::within;
use crate::security;
use crate::settings::EtcdSettings;

/// The kernel tests an idle connection after that time.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What connections are made from.
#[derive(Debug)]
pub(crate) struct Connector {
    settings: EtcdSettings,
}

impl Connector {
    pub(crate) fn new(settings: EtcdSettings) -> Self {
        Self { settings }
    }

    /// Longest wait for an answer.
    pub(crate) fn limit(&self) -> Duration {
        self.settings.request_timeout.get()
    }

    /// A client of that member. Asks for a token when there is a user; otherwise nothing is sent before the first call.
    pub(crate) async fn connect(&self, member: &Endpoint) -> Result<Client, SourceError> {
        let options = self.options(member.is_secure()).await?;
        let doing = format!("log in to {member}");
        let connected = within(self.limit(), &doing, Client::connect([member.url()], Some(options))).await;
        connected.map_err(|failure| failure.into_error(&doing))
    }

    async fn options(&self, secure: bool) -> Result<ConnectOptions, SourceError> {
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || options(&settings, secure)).await;
        read.map_err(|error| {
            SourceError::new(SourceErrorKind::Unavailable, "cannot read the files of the connection")
                .with_source(error)
        })?
    }
}

/// Blocks.
fn options(settings: &EtcdSettings, secure: bool) -> Result<ConnectOptions, SourceError> {
    let keep_alive = settings.keep_alive.get();
    let mut options = ConnectOptions::new()
        .with_connect_timeout(settings.request_timeout.get())
        .with_tcp_keepalive(TCP_KEEP_ALIVE)
        .with_keep_alive(keep_alive, keep_alive / 2)
        // Servers take pings of a connection without calls for an attack.
        .with_keep_alive_while_idle(false)
        // A member that has lost its cluster says so instead of being silent.
        .with_require_leader(true);
    if let Some(user) = &settings.user {
        let password = match (&settings.password, &settings.password_file) {
            (Some(password), _) => password.clone(),
            (None, Some(file)) => {
                Secret::read(file).map_err(|why| SourceError::new(SourceErrorKind::Misconfigured, why))?
            }
            (None, None) => {
                return Err(SourceError::new(SourceErrorKind::Misconfigured, "there is no password"));
            }
        };
        options = options.with_user(user, password.reveal()).with_auto_token_refresh(true);
    }
    if secure { security::secure(options, settings) } else { Ok(options) }
}
