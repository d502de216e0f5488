//! The properties themselves, grouped by what they look at.

pub(crate) mod delivery;
pub(crate) mod faults;
pub(crate) mod manners;
mod trial;
