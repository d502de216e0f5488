//! The application as the configuration names it now.
//!
//! Owns which client is used. Left out: calling (`cim-app`). The invariant: a call that has begun ends with the client it began
//! with; the next one uses the new address.

use std::sync::{Arc, PoisonError, RwLock};

use cim_app::{ApplicationSettings, HttpApplication};
use cim_core::{Answer, Application, CallError, CloseError, Component, Health, Problem, Push, async_trait};

/// The application, whose address may change.
#[derive(Debug)]
pub struct CurrentApplication(RwLock<Arc<HttpApplication>>);

impl CurrentApplication {
    /// The application that the settings name.
    ///
    /// # Errors
    /// As for [`client`].
    pub fn new(settings: &ApplicationSettings) -> Result<Self, Problem> {
        Ok(Self(RwLock::new(client(settings)?)))
    }

    /// Calls go through that client from now on.
    ///
    /// # Cancel safety
    /// When dropped, connections of the old client may stay open until they are closed by the application.
    pub async fn replace(&self, client: Arc<HttpApplication>) {
        let old = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), client);
        // What is open there waits for a next call, and there will be none.
        let _ = old.close().await;
    }

    fn now(&self) -> Arc<HttpApplication> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A client; nothing is connected before the first call.
///
/// # Errors
/// [`Problem`] when the address cannot work.
pub fn client(settings: &ApplicationSettings) -> Result<Arc<HttpApplication>, Problem> {
    HttpApplication::new(settings).map(Arc::new).map_err(|problem| problem.beneath("application"))
}

#[async_trait]
impl Component for CurrentApplication {
    fn name(&self) -> &str {
        "application"
    }

    async fn probe(&self) -> Health {
        self.now().probe().await
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.now().close().await
    }
}

#[async_trait]
impl Application for CurrentApplication {
    async fn update_config(&self, push: &Push<'_>) -> Result<Answer, CallError> {
        self.now().update_config(push).await
    }

    async fn load_config(&self, document: &[u8]) -> Result<Answer, CallError> {
        self.now().load_config(document).await
    }

    async fn shutdown(&self) -> Result<Answer, CallError> {
        self.now().shutdown().await
    }

    async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.now().get(path).await
    }
}
