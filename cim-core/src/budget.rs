//! One number of bytes for all queues of the process.
//!
//! Whoever holds payload bytes reserves them first and releases them after; nothing here knows what they are for.
//! Invariant: `used` never exceeds `limit`, except by what was forced for data that had been accepted already.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared budget in bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of that many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { inner: Arc::new(Inner { limit, used: AtomicUsize::new(0) }) }
    }

    /// Reserves `bytes` if they fit.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> bool {
        self.inner
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.inner.limit)
            })
            .is_ok()
    }

    /// Reserves `bytes` even above the limit, for data that cannot be refused any more.
    pub fn force_reserve(&self, bytes: usize) {
        self.inner.used.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives `bytes` back.
    pub fn release(&self, bytes: usize) {
        let _ = self.inner.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            debug_assert!(used >= bytes, "released more than was reserved");
            Some(used.saturating_sub(bytes))
        });
    }

    /// Bytes reserved now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.inner.used.load(Ordering::Acquire)
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.inner.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves_up_to_the_limit_and_not_a_byte_more() {
        let budget = Budget::new(100);
        assert!(budget.try_reserve(60));
        assert!(!budget.try_reserve(41));
        assert!(budget.try_reserve(40));
        assert!(!budget.try_reserve(usize::MAX));
        budget.release(100);
        assert_eq!(budget.used(), 0);
    }
}
