//! HTTP server of CIM: health, status, metrics, registration, event subscriptions.
//!
//! Owns sockets, limits, routing, and the text of the metrics that kept their old names. What is true about the
//! process comes from the program through [`ApiState`]; nothing here knows the engine.
//!
//! The invariant: no client, however slow, large or broken, costs more than one of a small number of connection
//! slots for a bounded time, and `/livez` never waits for anything.

mod idle;
mod legacy;
mod listen;
mod registration;
mod route;
mod server;
mod state;
mod subscriptions;

pub use legacy::{ConfigurationMetrics, LegacyMetrics, SIZE_BOUNDS, SubjectMetrics};
pub use listen::{BindError, bind};
pub use registration::{RegistrationAnswer, RegistrationRefusal, RegistrationRequest};
pub use server::{Limits, serve};
pub use state::{ApiState, Asking, Face, Readiness, Registering};
pub use subscriptions::{SubscriptionAnswer, SubscriptionCall};
