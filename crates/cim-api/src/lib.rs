//! HTTP server of CIM: health, status, metrics, registration.
//!
//! Owns sockets, limits, routing, and the text of the metrics that kept their old names. What is true about the
//! process comes from the program through [`ApiState`]; nothing here knows the engine. Left out: subscriptions of
//! the application.
//!
//! The invariant: no client, however slow, large or broken, costs more than one of a small number of connection
//! slots for a bounded time, and `/livez` never waits for anything.

mod body;
mod exposition;
mod idle;
mod legacy;
mod listen;
mod receipt;
mod registration;
mod route;
mod server;
mod state;

pub use legacy::{ConfigurationMetrics, LegacyMetrics, SIZE_BOUNDS, SubjectMetrics};
pub use listen::{BindError, bind};
pub use receipt::Receipt;
pub use registration::{RegistrationAnswer, RegistrationRefusal, RegistrationRequest};
pub use server::{Limits, serve};
pub use state::{AlignedPage, Aligning, ApiState, Face, Readiness, Registering};
