//! What the server asks of the program: readiness, status, metrics, each as a plain value, registration, and event subscriptions.
//!
//! Left out: how they are found. The invariant: every call but a registration, a subscription and a page of aligned metrics is
//! answered from memory, at once.

use std::future::Future;
use std::pin::Pin;

use crate::receipt::Receipt;
use crate::registration::{RegistrationAnswer, RegistrationRefusal, RegistrationRequest};
use crate::subscriptions::{SubscriptionAnswer, SubscriptionCall};

/// What comes of a registration.
pub type Registering<'a> =
    Pin<Box<dyn Future<Output = Result<RegistrationAnswer, RegistrationRefusal>> + Send + 'a>>;

/// The page of `/metrics/aligned`, being made.
pub type Aligning<'a> = Pin<Box<dyn Future<Output = AlignedPage> + Send + 'a>>;

/// The page of `/metrics/aligned`.
#[derive(Debug)]
pub struct AlignedPage {
    /// Its text.
    pub text: String,
    /// Signed when it has left; dropped when it broke off, or when the reader only looks.
    pub receipt: Option<Receipt>,
}

/// What comes of a call about subscriptions.
pub type Asking<'a> = Pin<Box<dyn Future<Output = SubscriptionAnswer> + Send + 'a>>;

/// Whether one part of the process can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Name of the part, for example `nats` or `sink console`.
    pub name: String,
    /// Whether it works.
    pub ready: bool,
    /// One line for a person: what it does, or what is wrong and what happens next.
    pub text: String,
}

/// Where the answers come from. Calls return at once and never wait for a remote system.
pub trait ApiState: Send + Sync + 'static {
    /// Every part that must work before the pod may receive work.
    fn readiness(&self) -> Vec<Readiness>;

    /// The document of `/statusz`.
    fn status(&self) -> serde_json::Value;

    /// The text of `/metrics` (exposition format 0.0.4).
    fn metrics(&self) -> String;

    /// The page of `/metrics/aligned`; `None`: nothing is aligned. What a scraper gets is its own, unless the answer breaks off;
    /// any other reader only looks.
    fn aligned(&self, _is_scraper: bool) -> Option<Aligning<'_>> {
        None
    }

    /// The application registers; ready once that is remembered. `None`: nobody takes registrations here.
    fn register(&self, _request: RegistrationRequest) -> Option<Registering<'_>> {
        None
    }

    /// The least important level of CIM's own messages that is written. `None`: it cannot be told here.
    fn log_level(&self) -> Option<&'static str> {
        None
    }

    /// Changes that level for this process.
    ///
    /// # Errors
    /// What levels there are.
    fn set_log_level(&self, _level: &str) -> Result<(), String> {
        Err("the level cannot be changed here".to_owned())
    }

    /// A call about event subscriptions; ready once it is in force and remembered. `None`: no application has registered yet, or
    /// there are no subscriptions here.
    fn subscriptions(&self, _call: SubscriptionCall) -> Option<Asking<'_>> {
        None
    }
}

/// Which paths a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Everything. For loopback addresses only: `/statusz` tells how the pod is built.
    Full,
    /// What applications and scrapers of the original use (wire contract §6), and nothing else: safe on the pod address.
    Contract,
    /// `/livez`, `/readyz`, `/metrics` and `/metrics/aligned`: safe on the pod address.
    Probes,
}
