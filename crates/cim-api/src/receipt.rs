//! What is to be done once an answer has left: until then it may break off, and nothing happened.
//!
//! Owns receipts of one connection between the end of a body and the write that took its last byte. Left out: what a receipt
//! means. The invariant: one is signed after the system took every byte of its answer, or dropped unsigned.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that happens when an answer has left the process. Dropped unsigned: the answer broke off.
pub struct Receipt(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

impl Receipt {
    /// A receipt; `signed` is called at most once, and must return at once.
    #[must_use]
    pub fn new(signed: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(signed))
    }
}

/// The receipts of one connection whose bodies were handed over and may not have left yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receipts(Arc<Mutex<Vec<Receipt>>>);

impl Receipts {
    /// The last byte of that body was handed over.
    pub(crate) fn wait(&self, receipt: Receipt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
    }

    /// Everything that was handed over has left.
    pub(crate) fn sign(&self) {
        let left = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        left.into_iter().for_each(|receipt| (receipt.0)());
    }
}
