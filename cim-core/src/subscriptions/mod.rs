//! Subscriptions of the application to events of others (wire contract §6.2, §7.5).
//!
//! Walk of one record: [`EventSource`] → the `sieve` asks the `index` of all filters → [`Outlet`] → the application's connection takes
//! it → its position is committed. For subscriptions that want answers: → `desk` → [`Outlet`] → the application answers, or
//! `settling` sends it again, or the `clerk` makes a letter of it. The `book` keeps the filters. Left out: HTTP, NATS, Kafka.
//! Invariant: a record that was subscribed to is read again until a connection of the application has taken it, and, where an answer is
//! wanted, until it is settled.

mod ahead;
mod answer;
mod book;
mod clerk;
mod desk;
mod feed;
mod filter;
mod index;
mod lane;
mod outlet;
mod settling;
mod sieve;
mod tally;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::contract::{EventSource, Health};
use crate::deadletter::Letters;
use crate::supervisor::{OnPanic, Supervisor};

pub use answer::Answers;
pub use book::{Book, BookError, MAX_BYTES, MAX_SUBSCRIPTIONS};
pub use filter::{Filter, Traits};
pub use index::Index;
pub use outlet::{Outlet, Request, Taken};
pub use settling::Rules;
pub use tally::Tally;
pub use view::{FeedState, SubscriptionsView};

use desk::Fittings;
use feed::{Condition, Feed};
use tally::Tallies;
use view::Counts;

/// Name of the task on the status page.
const PART: &str = "subscriptions";
/// How long the first subscription waits for its place in the feed to be fixed.
const PLACE_TIME: Duration = Duration::from_secs(2);
/// How long the end of the feed is waited for.
const STOP_TIME: Duration = Duration::from_millis(1_500);

/// All subscriptions as they are now.
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub(crate) filters: BTreeMap<String, Filter>,
    pub(crate) index: Index,
    /// Ids by the numbers of the index; empty while no subscription wants answers.
    pub(crate) asking: Vec<Arc<str>>,
}

impl Current {
    fn of(book: &Book) -> Arc<Self> {
        let filters = book.filters().clone();
        let index = Index::of(filters.values());
        let asks = filters.values().any(|filter| filter.acknowledge);
        let asking = filters.keys().filter(|_| asks).map(|id| id.as_str().into()).collect();
        Arc::new(Self { filters, index, asking })
    }
}

/// The subscriptions of this process. Cheap to clone.
#[derive(Clone)]
pub struct Subscriptions {
    book: Arc<Mutex<Book>>,
    current: Arc<watch::Sender<Arc<Current>>>,
    counts: Arc<Counts>,
    tallies: Arc<Tallies>,
    condition: watch::Sender<Condition>,
    stop: watch::Sender<bool>,
    source: Arc<OnceLock<Arc<dyn EventSource>>>,
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriptions").field("view", &self.view()).finish_non_exhaustive()
    }
}

impl Subscriptions {
    /// What an earlier run left in that directory, if that was in the pod of that uid; empty: nobody knows it. Nothing is read
    /// before [`Subscriptions::follow`].
    #[must_use]
    pub fn open(dir: Option<&Path>, pod_uid: &str) -> Self {
        let book = Book::open(dir, pod_uid);
        let current = Arc::new(watch::Sender::new(Current::of(&book)));
        Self {
            book: Arc::new(Mutex::new(book)),
            current,
            counts: Arc::default(),
            tallies: Arc::default(),
            condition: watch::Sender::new((FeedState::Absent, None)),
            stop: watch::Sender::new(false),
            source: Arc::default(),
        }
    }

    /// Reads that source from now on, while there is a subscription. What is given up goes to `letters`, and without them is lost. To
    /// be called once.
    pub fn follow(
        &self,
        supervisor: &Supervisor,
        source: Arc<dyn EventSource>,
        outlet: Arc<dyn Outlet>,
        letters: Option<Letters>,
        rules: Rules,
    ) {
        let _ = self.source.set(Arc::clone(&source));
        let answers = Arc::<Answers>::default();
        outlet.answers_go_to(Arc::clone(&answers));
        let (tallies, counts) = (Arc::clone(&self.tallies), Arc::clone(&self.counts));
        let feed = Feed {
            source,
            fittings: Fittings { rules, outlet, answers, letters, tallies, counts },
            current: self.current.subscribe(),
            stop: self.stop.subscribe(),
            condition: self.condition.clone(),
        };
        self.condition.send_replace((FeedState::Idle, None));
        supervisor.task(PART, OnPanic::Restart, move || feed.clone().run());
    }

    /// Adds a subscription and returns its id. It is stored, and unless the source cannot be reached, what is added to the feed from now
    /// on will be read.
    ///
    /// # Errors
    /// [`BookError`]; nothing changed then.
    ///
    /// # Cancel safety
    /// When dropped, the subscription may or may not exist.
    pub async fn create(&self, filter: Filter) -> Result<String, BookError> {
        let id = self.change(move |book| book.create(filter)).await?;
        let mut condition = self.condition.subscribe();
        let unsettled = |state| matches!(state, FeedState::Idle | FeedState::Opening);
        let _ = timeout(PLACE_TIME, condition.wait_for(|(state, _)| !unsettled(*state))).await;
        Ok(id)
    }

    /// Replaces the filter of a subscription.
    ///
    /// # Errors
    /// [`BookError`]; nothing changed then.
    ///
    /// # Cancel safety
    /// When dropped, the filter may or may not be replaced.
    pub async fn replace(&self, id: &str, filter: Filter) -> Result<(), BookError> {
        let id = id.to_owned();
        self.change(move |book| book.replace(&id, filter)).await
    }

    /// Removes a subscription.
    ///
    /// # Errors
    /// [`BookError`]; nothing changed then.
    ///
    /// # Cancel safety
    /// When dropped, the subscription may or may not exist.
    pub async fn remove(&self, id: &str) -> Result<(), BookError> {
        let id = id.to_owned();
        self.change(move |book| book.remove(&id)).await
    }

    /// Whether there is one of that id.
    #[must_use]
    pub fn is_known(&self, id: &str) -> bool {
        self.current.borrow().filters.contains_key(id)
    }

    /// All of them, by id.
    #[must_use]
    pub fn list(&self) -> BTreeMap<String, Filter> {
        self.current.borrow().filters.clone()
    }

    /// How they are doing.
    #[must_use]
    pub fn view(&self) -> SubscriptionsView {
        let (state, trouble) = self.condition.borrow().clone();
        let trouble = trouble.or_else(|| self.tallies.trouble()).or_else(|| self.source_trouble());
        let subscriptions = self.current.borrow().filters.len();
        self.counts.view(subscriptions, state, trouble, self.tallies.all())
    }

    /// What the source tells from memory; one that would have to ask is not waited for.
    fn source_trouble(&self) -> Option<String> {
        match self.source.get()?.probe().now_or_never()? {
            Health::Ready => None,
            Health::Degraded(trouble) => Some(trouble),
        }
    }

    /// Ends the feed; what was taken is committed, as far as that is possible within 1.5 s.
    ///
    /// # Cancel safety
    /// When dropped, the feed ends nevertheless.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut condition = self.condition.subscribe();
        let is_over = |state| matches!(state, FeedState::Absent | FeedState::Ended);
        let _ = timeout(STOP_TIME, condition.wait_for(|(state, _)| is_over(*state))).await;
    }

    /// Changes the book beside the runtime, because it writes a file.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Book) -> Result<T, BookError> + Send + 'static,
    ) -> Result<T, BookError> {
        let (book, current) = (Arc::clone(&self.book), Arc::clone(&self.current));
        let changed = tokio::task::spawn_blocking(move || {
            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
            let done = change(&mut book)?;
            current.send_replace(Current::of(&book));
            Ok(done)
        });
        changed.await.unwrap_or_else(|error| Err(BookError::Store(std::io::Error::other(error))))
    }
}
