//! The two classes of messages an application publishes.
//!
//! Owns the names; leaves out what each class costs or how it is kept. Invariant: the numbers are stored on
//! disk and never change.

/// What a message is, given by the NATS subject it came on (wire contract §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Subject `LOG`.
    Log = 0,
    /// Subject `EVENT`.
    Event = 1,
}

impl Class {
    /// The class with this stored number, if there is one.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Log),
            1 => Some(Self::Event),
            _ => None,
        }
    }

    /// Lower-case name, for metric labels and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Event => "event",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_numbers_lead_back_to_their_class() {
        for class in [Class::Log, Class::Event] {
            assert_eq!(Class::from_u8(class as u8), Some(class));
        }
        assert_eq!(Class::from_u8(2), None);
    }
}
