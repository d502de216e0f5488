//! HTTP server of CIM: health, status, metrics, registration, event subscriptions.
//!
//! Owns sockets, what is spoken on them, limits, routing, and the text of the metrics that kept their old names. What is
//! true about the process comes from the program through [`ApiState`], TLS through [`Security`]; nothing here knows the
//! engine.
//!
//! The way of a request: `server` accepts, `seats` finds room, `opening` hears what is spoken, `connection` speaks it,
//! `gate` looks at the head, `route` answers.
//!
//! The invariant: no client, however slow, large or broken, costs more than one of a small number of connection
//! slots, which it loses to whoever comes while it is idle, and `/livez` never waits for anything.

mod body;
mod clean;
mod connection;
mod counts;
mod exposition;
mod gate;
mod idle;
mod legacy;
mod level;
mod limits;
mod listen;
mod opening;
mod rate;
mod receipt;
mod registration;
mod route;
mod seats;
mod security;
mod server;
mod state;
mod streams;
mod subscriptions;

pub use counts::{HttpCounts, Turned};
pub use legacy::{ConfigurationMetrics, LegacyMetrics, SIZE_BOUNDS, SubjectMetrics};
pub use limits::Limits;
pub use listen::{BindError, Listener, bind, bind_socket};
pub use receipt::Receipt;
pub use registration::{RegistrationAnswer, RegistrationRefusal, RegistrationRequest};
pub use security::{AnyStream, Secured, Securing, Security, Stream};
pub use server::{Admits, Server, serve};
pub use state::{AlignedPage, Aligning, ApiState, Asking, Face, Readiness, Registering};
pub use subscriptions::{SubscriptionAnswer, SubscriptionCall};
