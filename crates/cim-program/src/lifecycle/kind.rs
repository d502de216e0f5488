//! How this container stands in its pod, which decides who ends first.
//!
//! Left out: asking. The invariant: where nobody tells, it is the classic kind, in which the application may still be there.

use cim_core::PodEnd;

use crate::settings::{LifecycleSettings, PodMode};

/// The two kinds of sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Stopped after the application has ended.
    Native,
    /// Stopped at the same time as the application.
    Classic,
}

impl Kind {
    /// By the settings, and by the object of the pod as far as that is known.
    #[must_use]
    pub fn of(settings: &LifecycleSettings, end: Option<&PodEnd>) -> Self {
        let is_among = |end: &PodEnd| end.sidecars.contains(&settings.container);
        match settings.mode {
            PodMode::Native => Self::Native,
            PodMode::Classic => Self::Classic,
            PodMode::Auto if end.is_some_and(is_among) => Self::Native,
            PodMode::Auto => Self::Classic,
        }
    }

    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Classic => "classic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_sidecar_is_found_by_its_name_and_settings_have_the_last_word() {
        let end = PodEnd { grace: None, sidecars: vec!["proxy".to_owned(), "cim".to_owned()] };
        let of = |mode, container: &str| LifecycleSettings {
            mode,
            container: container.to_owned(),
            ..LifecycleSettings::default()
        };
        assert_eq!(Kind::of(&of(PodMode::Auto, "cim"), Some(&end)), Kind::Native);
        assert_eq!(Kind::of(&of(PodMode::Auto, "other"), Some(&end)), Kind::Classic);
        assert_eq!(Kind::of(&of(PodMode::Auto, "cim"), None), Kind::Classic);
        assert_eq!(Kind::of(&of(PodMode::Classic, "cim"), Some(&end)), Kind::Classic);
        assert_eq!(Kind::of(&of(PodMode::Native, "cim"), None), Kind::Native);
    }
}
