//! The lane of `cim-core` as the listener's intake.
//!
//! Owns the translation of names, nothing else.

use crate::intake::{Intake, Offer, Offered};
use cim_core::intake::{self, Class, Lane, Mark};
use std::sync::Arc;

impl From<intake::Offered> for Offered {
    fn from(offered: intake::Offered) -> Self {
        match offered {
            intake::Offered::Taken => Self::Taken,
            intake::Offered::Full => Self::Full,
            intake::Offered::Refused(reason) => Self::Refused(reason.as_str()),
        }
    }
}

impl Intake for Lane {
    type Mark = Mark;

    #[inline]
    fn offer(&mut self, offer: &Offer<'_>, sip: bool) -> Offered {
        let Offer { class, headers, source, payload } = *offer;
        Self::offer(self, &intake::Offer { class, headers, source, payload, own: false }, sip).into()
    }

    fn flush(&mut self) -> Mark {
        Self::flush(self)
    }

    fn flush_held(&mut self) -> Mark {
        Self::flush_held(self)
    }

    fn deliver_here(&mut self) {
        Self::deliver_here(self);
    }

    fn is_accepted(&self, mark: &Mark, class: Class) -> bool {
        Self::is_class_accepted(self, mark, class)
    }

    fn last_seq(&self, class: Class) -> u64 {
        Self::last_seq(self, class)
    }

    fn refused(&self, class: Class) -> u64 {
        Self::refused(self, class)
    }

    fn level(&self, class: Class) -> &'static str {
        Self::level(self, class).as_str()
    }

    fn is_full(&self, class: Class) -> bool {
        Self::is_full(self, class)
    }

    fn config_result(&mut self, payload: &[u8]) -> Offered {
        Self::config_result(self, payload).into()
    }

    fn test_message(&mut self, payload: &[u8]) {
        Self::test_message(self, payload);
    }

    fn on_progress(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        Self::on_progress(self, wake);
    }

    fn reserve(&self, bytes: usize) -> bool {
        self.budget().try_reserve(bytes)
    }

    fn release(&self, bytes: usize) {
        self.budget().release(bytes);
    }
}
