//! What every long-lived part has in common: a name, a health and an end.
//!
//! The supervisor, the status page and the staged shutdown treat all parts alike through this trait.

use async_trait::async_trait;
use thiserror::Error;

/// How a part is doing, as shown on `/statusz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Works as configured.
    Ready,
    /// Works partly or not at the moment; the text says what and what is being done about it.
    Degraded(String),
}

/// A part could not be closed cleanly; what it held is still in the spool.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct CloseError(pub String, #[source] pub Option<Box<dyn std::error::Error + Send + Sync>>);

/// A long-lived part of CIM: a sink, a source, a listener.
#[async_trait]
pub trait Component: Send + Sync + 'static {
    /// The instance name from the configuration, for example `broker`. Stable over the life of the part.
    fn name(&self) -> &str;

    /// Tells how the part is doing without doing its work: cheap, at most a few system calls. A sink that says it is ready
    /// while there is nothing to deliver ends the use of its fallback.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn probe(&self) -> Health {
        Health::Ready
    }

    /// Releases what the part holds. Called once delivery has stopped; a second call does nothing.
    ///
    /// # Errors
    /// [`CloseError`] when something could not be released; the caller logs it and goes on.
    ///
    /// # Cancel safety
    /// May be dropped at any await point; the part may then stay open until the process ends.
    async fn close(&self) -> Result<(), CloseError> {
        Ok(())
    }
}
