//! The programs of etcd, as `scripts/services/etcd` installed them.
//!
//! Owns where they are. Invariant: what is missing is said in one sentence.

use std::path::PathBuf;

use crate::{has_program, tool};

/// A version of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdVersion {
    /// 3.6.16.
    Current,
    /// 3.4.23, the oldest that is tested.
    Oldest,
}

impl EtcdVersion {
    /// Both, for tests that run with each.
    pub const ALL: [Self; 2] = [Self::Current, Self::Oldest];

    /// The number.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::Current => "3.6.16",
            Self::Oldest => "3.4.23",
        }
    }

    /// What is missing to run it, if anything.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        if !self.program("etcd").exists() || !self.program("etcdctl").exists() {
            return Some(format!(
                "etcd {} is not installed (scripts/services/etcd installs it)",
                self.number()
            ));
        }
        (!has_program("setpriv")).then(|| "setpriv is not installed: no etcd can be run".to_owned())
    }

    /// Where one of its programs is.
    pub(super) fn program(self, name: &str) -> PathBuf {
        let folder = match self {
            // Shared with what else needs an etcd of this version.
            Self::Current => "kube-v1.34.4-etcd-v3.6.16-helm-v3.19.5",
            Self::Oldest => "etcd/3.4.23",
        };
        tool(folder).join(name)
    }

    /// The program that restores snapshots.
    pub(super) fn restorer(self) -> PathBuf {
        match self {
            Self::Current => self.program("etcdutl"),
            Self::Oldest => self.program("etcdctl"),
        }
    }
}
