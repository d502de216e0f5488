//! Whether what is not delivered at the end is there at the next start.
//!
//! Left out: whether the disk works (`run/ending` asks the engine). The invariant: where it is not known whether the pod lives on, a
//! spool that ends with the pod keeps nothing.

use cim_core::settings::SpoolSettings;

/// What keeps the records that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Nothing: they are in memory.
    Nothing,
    /// A spool that ends with the pod.
    WithPod,
    /// A spool that outlives the pod.
    Always,
}

impl Keeping {
    /// By the settings.
    #[must_use]
    pub fn of(spool: &SpoolSettings) -> Self {
        match (&spool.dir, spool.ephemeral) {
            (None, _) => Self::Nothing,
            (Some(_), true) => Self::WithPod,
            (Some(_), false) => Self::Always,
        }
    }

    /// `stays`: the pod is known to live on.
    #[must_use]
    pub fn keeps(self, stays: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::WithPod => stays,
            Self::Always => true,
        }
    }
}
