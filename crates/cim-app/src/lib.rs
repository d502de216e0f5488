//! The application in the pod, called over HTTP (wire contract §5).
//!
//! | the application | what the caller learns |
//! |---|---|
//! | answers with any status, a redirect included | that answer; redirects are never followed |
//! | answers, and the body never ends or breaks off | for a change or a first configuration: that answer, because its status is the verdict; for a read: an error |
//! | does not answer within `timeout` | [`CallError::TimedOut`](cim_core::CallError) |
//! | cannot be reached, closes or resets | [`CallError::Unreachable`](cim_core::CallError) |
//! | answers something that is not HTTP | [`CallError::Malformed`](cim_core::CallError) |
//!
//! Connections are used again as long as the application keeps them open: up to eight wait, each of which was read to the
//! end of its last answer. At most 64 KiB of a body are read; a connection with more to say is closed. HTTP/1.1, or
//! HTTP/2 from the first byte with `http2 = true`. No proxy, no TLS: the application is in the same pod.
//!
//! [`read_page`] reads a page of metrics of an exporter in the pod (wire contract §5.4): always HTTP/1.1, beneath TLS where a
//! [`Security`] is given, whole or not at all.
//!
//! Left out: when a call is made, what an answer means, retries. They are the engine's. Invariant: a call owns its
//! connection while it lasts, and there is no task beside it: a call that is dropped closes its connection.

mod call;
mod client;
mod connection;
mod idle;
mod page;
mod security;
mod settings;
mod target;
mod tasks;

pub use client::HttpApplication;
pub use page::{PageError, read_page};
pub use security::{AnyStream, Security, Stream};
pub use settings::ApplicationSettings;
