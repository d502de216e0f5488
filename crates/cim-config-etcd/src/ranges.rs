//! The parts of the store that a scope names (wire contract §4.1).
//!
//! Owns their bounds. Invariant: the first key behind a prefix is the prefix with its last byte raised by one, and every
//! prefix ends in a slash.

use cim_core::ConfigScope;
use etcd_client::{GetOptions, WatchOptions};

/// Keys from `from` up to, not including, `to`; without `to` the one key.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Option<Vec<u8>>,
}

impl Range {
    /// The parts of a scope.
    pub(crate) fn of(scope: &ConfigScope) -> Vec<Self> {
        let prefixes = scope.prefixes().into_iter().map(|prefix| {
            let mut to = prefix.clone().into_bytes();
            if let Some(last) = to.last_mut() {
                *last += 1; // a slash
            }
            Self { from: prefix.into_bytes(), to: Some(to) }
        });
        prefixes.chain([Self { from: scope.key().into_bytes(), to: None }]).collect()
    }

    /// As the range of a read.
    pub(crate) fn read(&self, options: GetOptions) -> GetOptions {
        match &self.to {
            Some(to) => options.with_range(to.clone()),
            None => options,
        }
    }

    /// As the range of a watch.
    pub(crate) fn watch(&self, options: WatchOptions) -> WatchOptions {
        match &self.to {
            Some(to) => options.with_range(to.clone()),
            None => options,
        }
    }
}
