//! The way in: what publishers hand over, in process or through a listener.
//!
//! Owns verification, the buffers before the spool, and acceptance. A [`Lane`] belongs to one thread and needs no lock
//! per message; [`Intake`] shares a lane among callers in process. Left out: where bytes come from.

mod counts;
mod handle;
mod lane;
mod side;
mod signals;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cim_wire::SniffRules;
use tokio::sync::watch;

use crate::budget::Budget;
use crate::queue::ClassQueue;

pub use crate::books::RefusedReason;
pub use crate::contract::Level;
pub use crate::queue::Wake;
pub use cim_wire::Class;
pub use counts::{ClassCounts, ClassTotals, IntakeCounts, SIZE_BOUNDS};
pub use handle::{Accepted, Intake, Refused};
pub use lane::{Lane, Mark, Offer, Offered};
pub use signals::Farewell;
pub(crate) use signals::{Signal, Signals};

/// What all lanes share.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub logs: Arc<ClassQueue>,
    pub events: Arc<ClassQueue>,
    pub budget: Budget,
    pub sniff: SniffRules,
    pub counts: IntakeCounts,
    pub signals: Signals,
    /// The only container that registered: whose text logs are.
    pub registered: watch::Sender<Option<Arc<[u8]>>>,
    closed: AtomicBool,
}

impl Entrance {
    pub(crate) fn new(
        logs: Arc<ClassQueue>,
        events: Arc<ClassQueue>,
        budget: Budget,
        sniff: SniffRules,
    ) -> Self {
        Self {
            logs,
            events,
            budget,
            sniff,
            counts: IntakeCounts::default(),
            signals: Signals::default(),
            registered: watch::Sender::new(None),
            closed: AtomicBool::new(false),
        }
    }

    /// Refuses everything from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn queue(&self, class: Class) -> &Arc<ClassQueue> {
        match class {
            Class::Log => &self.logs,
            Class::Event => &self.events,
        }
    }
}
