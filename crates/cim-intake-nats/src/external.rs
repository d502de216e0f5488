//! The intake: three subjects, each read and taken for itself.
//!
//! Owns what happens when a subscription cannot be had. Left out: the connection and taking. Invariant: neither class waits for
//! the other, and results of configuration wait for neither.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use cim_core::intake::Lane;
use cim_core::{Class, Pauses};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::watch;

use crate::config::{Durable, ExternalConfig};
use crate::connection::{self, State};
use crate::durable;
use crate::taking::{Answer, Received, TURN, Taking};
use crate::tally::{Counted, Tally};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How the intake is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Why messages do not arrive; `None` when they do.
    pub trouble: Option<String>,
    /// Messages of plain subscriptions that were lost for want of room.
    pub dropped: u64,
}

/// An open connection, and the count of what it lost.
struct Open {
    client: Client,
    /// Where there are plain subscriptions and nothing else.
    tally: Option<Arc<Tally>>,
}

impl Open {
    /// Otherwise the client waits with whatever it is asked for.
    fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }
}

/// An intake from an external server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ExternalNats {
    config: Arc<ExternalConfig>,
    state: Arc<State>,
    leaving: watch::Sender<bool>,
}

impl ExternalNats {
    /// An intake; nothing is opened.
    #[must_use]
    pub fn new(config: ExternalConfig) -> Self {
        let this =
            Self { config: Arc::new(config), state: Arc::default(), leaving: watch::Sender::new(false) };
        this.state.set(Some("not connected yet".to_owned()));
        this
    }

    /// How it is doing.
    #[must_use]
    pub fn condition(&self) -> Condition {
        Condition { trouble: self.state.trouble(), dropped: self.state.dropped() }
    }

    /// Asks the server for nothing more: [`ExternalNats::run`] takes what has come, answers it, and ends. What the server keeps
    /// waits for the next process, and others of the queue group get the rest.
    pub fn leave(&self) {
        let _ = self.leaving.send_replace(true);
    }

    /// Takes messages until [`ExternalNats::leave`], or until the engine stops. `lane` gives a way in for each subject.
    ///
    /// # Cancel safety
    /// When dropped, messages that were read and not accepted are lost if the server does not keep them.
    pub async fn run(&self, lane: impl Fn() -> Lane + Send + Sync) {
        let Some(open) = unless(&self.leaving, self.open()).await else { return };
        let subjects = &self.config.subjects;
        let logs = self.class(Class::Log, &subjects.logs, lane(), &open);
        let events = self.class(Class::Event, &subjects.events, lane(), &open);
        futures_util::future::join3(logs, events, self.results(lane(), &open)).await;
        if open.is_connected() {
            // The last answers.
            let _ = open.client.flush().await;
        }
    }

    /// However long it takes.
    async fn open(&self) -> Open {
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        let client = loop {
            match connection::open(&self.config, &self.state).await {
                Ok(client) => break client,
                Err(why) => {
                    tracing::error!("the NATS server cannot be used: {why}; trying again");
                    self.state.set(Some(why));
                }
            }
            pauses.wait().await;
        };
        let tally = self.config.durable.is_none().then(|| Arc::new(Tally::new(client.statistics())));
        tally.iter().for_each(|tally| self.state.count(Arc::clone(tally)));
        Open { client, tally }
    }

    async fn class(&self, class: Class, subject: &str, lane: Lane, open: &Open) {
        let mut taking = Taking::new(class, lane, open.client.clone());
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let ended = match &self.config.durable {
                Some(durable) => self.durable(durable, class, subject, &open.client, &mut taking).await,
                None => self.plain(class, subject, open, &mut taking).await,
            };
            match ended {
                Ended::Leaving | Ended::Stopping => return,
                Ended::Worked => pauses.reset(),
                Ended::Failed(why) => {
                    tracing::warn!(subject, "messages of the NATS server do not arrive: {why}; trying again");
                    self.state.set_subject(place(class), Some(why));
                }
            }
            if unless(&self.leaving, pauses.wait()).await.is_none() {
                return;
            }
        }
    }

    async fn plain(&self, class: Class, subject: &str, open: &Open, taking: &mut Taking) -> Ended {
        match self.subscribe(place(class), subject, open).await {
            Ok(mut messages) => {
                self.state.set_subject(place(class), None);
                let ended = drain((&mut messages).map(Received::plain), taking, &self.leaving).await;
                if matches!(ended, Ended::Leaving) && open.is_connected() {
                    messages.leave().await;
                    drain(messages.map(Received::plain), taking, &watch::Sender::default()).await;
                }
                ended
            }
            Err(why) => Ended::Failed(why),
        }
    }

    async fn durable(
        &self,
        durable: &Durable,
        class: Class,
        subject: &str,
        client: &Client,
        taking: &mut Taking,
    ) -> Ended {
        let part = if class == Class::Log { "logs" } else { "events" };
        let messages = match durable::messages(client, durable, part, subject).await {
            Ok(messages) => messages,
            Err(why) => return Ended::Failed(why),
        };
        self.state.set_subject(place(class), None);
        // A stream that fails is ended, and found again from the consumer.
        let messages = messages.take_while(|message| std::future::ready(message.is_ok()));
        let received = messages.filter_map(|message| async {
            let (message, acker) = message.ok()?.split();
            Some(Received { message, answer: Answer::Ack(Box::new(acker)) })
        });
        drain(std::pin::pin!(received), taking, &self.leaving).await
    }

    /// Results of configuration changes; they are taken at once, whatever else waits.
    async fn results(&self, mut lane: Lane, open: &Open) {
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match self.subscribe(RESULTS, &self.config.subjects.config, open).await {
                Ok(mut messages) => {
                    self.state.set_subject(RESULTS, None);
                    while let Some(message) = unless(&self.leaving, messages.next()).await.flatten() {
                        // What is refused is counted, and the publisher of a result asks for no answer.
                        let _ = lane.config_result(&message.payload);
                    }
                    if *self.leaving.borrow() && open.is_connected() {
                        messages.leave().await;
                        while let Some(message) = messages.next().await {
                            let _ = lane.config_result(&message.payload);
                        }
                    }
                }
                Err(why) => self.state.set_subject(RESULTS, Some(why)),
            }
            if lane.is_closed() || unless(&self.leaving, pauses.wait()).await.is_none() {
                return;
            }
        }
    }

    /// `place`: which of the subscriptions it is.
    async fn subscribe(&self, place: usize, subject: &str, open: &Open) -> Result<Counted, String> {
        let Open { client, tally } = open;
        let subject = subject.to_owned();
        let subscribed = match &self.config.queue_group {
            Some(group) => client.queue_subscribe(subject, group.clone()).await,
            None => client.subscribe(subject).await,
        };
        let count = tally.as_ref().map(|tally| (Arc::clone(tally), place));
        subscribed.map(|messages| Counted::new(messages, count)).map_err(|error| error.to_string())
    }
}

/// Which of the subjects a class has.
const fn place(class: Class) -> usize {
    match class {
        Class::Log => 0,
        Class::Event => 1,
    }
}

/// Which one results of configuration changes have.
const RESULTS: usize = 2;

/// Why no more messages come.
enum Ended {
    /// They are not wanted any more.
    Leaving,
    /// The engine takes nothing more.
    Stopping,
    /// They came, and then no more.
    Worked,
    /// There were none to be had.
    Failed(String),
}

/// What comes of the work, unless leaving comes first.
async fn unless<T>(leaving: &watch::Sender<bool>, work: impl Future<Output = T>) -> Option<T> {
    let mut leaving = leaving.subscribe();
    tokio::select! {
        biased;
        _ = leaving.wait_for(|leaving| *leaving) => None,
        done = work => Some(done),
    }
}

/// Takes messages in turns: what is there when the one before is accepted.
async fn drain(
    mut messages: impl Stream<Item = Received> + Unpin,
    taking: &mut Taking,
    leaving: &watch::Sender<bool>,
) -> Ended {
    loop {
        let Some(first) = unless(leaving, messages.next()).await else { return Ended::Leaving };
        let Some(first) = first else { return Ended::Worked };
        let mut turn = vec![first];
        while turn.len() < TURN
            && let Some(Some(next)) = messages.next().now_or_never()
        {
            turn.push(next);
        }
        if !taking.take(turn).await {
            return Ended::Stopping;
        }
    }
}
