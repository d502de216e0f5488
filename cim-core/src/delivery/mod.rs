//! Delivery: one worker per route member takes records from its queue and hands them to its sink.
//!
//! Everything that a sink must not do itself is here: batching, retry, splitting, dead letters, fallback, order.
//! Walk of one batch: [`feed`] reads frames → [`worker`] launches up to the sink's window of [`outlet`] calls, first polled
//! in order → success settles the run in the queue; failure goes to [`resolve`], which repeats, splits, sets aside or
//! gives to the [`fallback`] until every record of the run has a name for its end.

mod condition;
mod decision;
mod fallback;
mod feed;
mod inline;
mod outlet;
mod resolve;
mod span;
#[cfg(test)]
mod tests;
mod window;
mod worker;

pub(crate) use condition::Condition;
pub use condition::{DeliveryState, DeliveryStatus};
pub(crate) use fallback::Fallback;
#[cfg(test)]
pub(crate) use feed::{Feed, Next};
pub(crate) use inline::{InlineTask, here};
pub(crate) use outlet::Outlet;
pub(crate) use worker::{FEW_BYTES, Phase, Worker};
