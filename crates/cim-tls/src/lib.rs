//! TLS towards servers and clients, from certificate files that may change.
//!
//! Owns reading the files, the handshake, and the question whether a server accepted our certificate. Left out: what is
//! said afterwards. Invariant: the certificate of a server is always verified against the given authorities, and every
//! connection to one is made with the files as they are at that moment.

mod client;
mod error;
mod files;
mod server;
mod validity;

pub use client::TlsClient;
pub use error::TlsError;
pub use files::TlsFiles;
pub use server::{ServerFiles, TlsServer};
pub use tokio_rustls::client::TlsStream;
pub use validity::Validity;
