//! Where notifications go, and how it is told that they are there.
//!
//! Owns the contract between the feed and whoever is connected to the application. The invariant: nothing counts as taken that was
//! not in the socket of one of the application's connections.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::answer::Answers;
use crate::contract::Values;

/// The way to the application.
pub trait Outlet: Send + Sync + 'static {
    /// Largest value that can be handed over, in bytes.
    fn most(&self) -> usize;

    /// Takes notifications, in the order of the calls, and returns at once. They wait for as long as nobody listens, and are given to
    /// whoever listens then; `taken` is told once each of them is in the socket of at least one connection.
    fn hand_over(&self, values: Values, taken: Taken);

    /// The same for notifications that ask for an answer. In the order of all calls.
    fn request(&self, requests: Vec<Request>, taken: Taken);

    /// Answers go there from now on. Called once, before the first request.
    fn answers_go_to(&self, answers: Arc<Answers>);
}

/// A notification that asks for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names this delivery, for [`Answers::tell`]: digits, dots and `-`.
    pub name: String,
    /// Id of its subscription.
    pub subscription: Arc<str>,
    /// Number of the delivery, from 1.
    pub delivery: u32,
    /// The value.
    pub value: Bytes,
}

/// Told when values are taken. Dropped without that, it says that the outlet has ended.
#[derive(Debug)]
pub struct Taken(oneshot::Sender<()>);

impl Taken {
    /// It, and what hears it.
    #[must_use]
    pub fn channel() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Whether anybody still waits; else the values need not be handed over.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.0.is_closed()
    }

    /// All values are taken.
    pub fn tell(self) {
        let _ = self.0.send(());
    }
}
