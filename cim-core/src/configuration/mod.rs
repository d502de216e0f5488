//! Configuration: from a store to the application, and the result back.
//!
//! Walk of one change: [`ConfigSource`](crate::ConfigSource) → `subscription` → `desk` reads the key → its `lane` says when
//! to push → `work` calls the application → the result comes on CONFIG (`intake::signals`) or as the verdict of the call →
//! `lane` settles → `commits` stores it in order → `announcement`. Everything that decides is pure and takes the time as
//! an argument; `driver` is the one task that owns it all. Left out: HTTP, etcd, files.

mod announcement;
mod change;
mod checks;
mod commits;
mod confirmation;
mod counts;
mod day_one;
mod desk;
mod driver;
mod key;
mod lane;
mod news;
mod patch;
mod plan;
mod record;
mod restarts;
mod rules;
mod store;
mod subscription;
mod unstored;
mod view;
mod work;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::cim::Cim;
use crate::supervisor::OnPanic;

pub use announcement::Announcement;
pub use confirmation::Confirmation;
pub use counts::Counts;
pub use day_one::{AppState, DayOneRules, DayOneState};
pub use desk::OnFailure;
pub use key::{ChangeKey, DocumentId, Key, MapLevel, OWN_DOCUMENT, commit_key, own_map_name, status_key};
pub use patch::{apply as apply_patch, between as patch_between};
pub use plan::{Check, OnExhausted, OwnChange, OwnDocument, Plan};
pub use rules::Rules;
pub use store::Registration;
pub use view::{ConfigurationView, DocumentView, UnstoredView};

use driver::Driver;

/// Something asked of the engine.
#[derive(Debug)]
pub(crate) enum Order {
    /// The application registered.
    Register { registration: Registration, done: oneshot::Sender<()> },
    /// Renew the view.
    Show { done: oneshot::Sender<()> },
    /// Tell what the last change of a document changed.
    LastChange { data_key: String, done: oneshot::Sender<Result<serde_json::Value, String>> },
    /// Undo what is in force of a document.
    Rollback { data_key: String, done: oneshot::Sender<Result<(), String>> },
    /// There is a map for CIM's own document from now on.
    OwnMap { revision: Option<String> },
    /// Raise an event of CIM's own.
    Announce(Announcement),
    /// Save everything and end.
    Stop { done: oneshot::Sender<()> },
}

/// Orders that may wait.
const ROOM: usize = 64;
/// Name of the task on the status page.
const PART: &str = "configuration";

/// The configuration engine at work. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Configuration {
    orders: mpsc::Sender<Order>,
    view: Arc<Mutex<ConfigurationView>>,
}

impl Configuration {
    /// Starts the engine beside `cim`, whose intake brings results and takes announcements. `None` when one runs already.
    #[must_use]
    pub fn start(cim: &Cim, plan: Plan) -> Option<Self> {
        let signals = cim.signals().listen()?;
        let (orders, receiver) = mpsc::channel(ROOM);
        let view = Arc::new(Mutex::new(ConfigurationView::default()));
        let driver = Driver::new(plan, cim.intake(), signals, receiver, Arc::clone(&view));
        // The driver owns its channels, so a second life could hear nothing: a panic ends the process.
        let driver = Arc::new(Mutex::new(Some(driver)));
        cim.supervisor().task(PART, OnPanic::Stop, move || {
            let driver = driver.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move {
                if let Some(driver) = driver {
                    driver.run().await;
                }
            }
        });
        Some(Self { orders, view })
    }

    /// The application registered (wire contract §6.1). Returns once that is remembered.
    ///
    /// # Cancel safety
    /// When dropped, the registration may or may not have been taken.
    pub async fn register(&self, registration: Registration) {
        let (done, doing) = oneshot::channel();
        if self.orders.send(Order::Register { registration, done }).await.is_ok() {
            let _ = doing.await;
        }
    }

    /// A map for CIM's own document was made, with that revision (wire contract §9.4): results of its changes have a key of
    /// their own from now on.
    ///
    /// # Cancel safety
    /// When dropped, it may or may not be known.
    pub async fn own_map_made(&self, revision: &str) {
        let _ = self.orders.send(Order::OwnMap { revision: Some(revision.to_owned()) }).await;
    }

    /// Raises an event of CIM's own, in the name of the application's container.
    ///
    /// # Cancel safety
    /// When dropped, the event may or may not be raised.
    pub async fn announce(&self, announcement: Announcement) {
        let _ = self.orders.send(Order::Announce(announcement)).await;
    }

    /// Undoes the last change of a document, by the patch that leads back.
    ///
    /// # Errors
    /// Why that is not possible.
    ///
    /// # Cancel safety
    /// When dropped, the change may or may not be undone.
    pub async fn roll_back(&self, data_key: &str) -> Result<(), String> {
        let (done, doing) = oneshot::channel();
        let order = Order::Rollback { data_key: data_key.to_owned(), done };
        let ended = || "the configuration engine has ended".to_owned();
        self.orders.send(order).await.map_err(|_| ended())?;
        doing.await.map_err(|_| ended())?
    }

    /// What the last change of a document changed, as a patch.
    ///
    /// # Errors
    /// Why that is not known.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn last_change(&self, data_key: &str) -> Result<serde_json::Value, String> {
        let (done, doing) = oneshot::channel();
        let order = Order::LastChange { data_key: data_key.to_owned(), done };
        let ended = || "the configuration engine has ended".to_owned();
        self.orders.send(order).await.map_err(|_| ended())?;
        doing.await.map_err(|_| ended())?
    }

    /// How everything is doing at this moment.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn current(&self) -> ConfigurationView {
        let (done, doing) = oneshot::channel();
        if self.orders.send(Order::Show { done }).await.is_ok() {
            let _ = doing.await;
        }
        self.view()
    }

    /// How everything is doing, a quarter of a second ago at most.
    #[must_use]
    pub fn view(&self) -> ConfigurationView {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        view.at(Instant::now())
    }

    /// Stores what is still on its way, saves what is known and ends, within about `limit`.
    ///
    /// # Cancel safety
    /// When dropped, the engine ends nevertheless.
    pub async fn stop(&self, limit: Duration) {
        let (done, doing) = oneshot::channel();
        if self.orders.send(Order::Stop { done }).await.is_ok() {
            let _ = tokio::time::timeout(limit, doing).await;
        }
    }
}
