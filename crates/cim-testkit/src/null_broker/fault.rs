//! What the null broker does wrong on request.
//!
//! Left out: doing it. Invariant: a fault hits one request and is then spent.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Kinds of requests, as a broker of version 2.1 knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// Records to append.
    Produce,
    /// Brokers, topics, partitions.
    Metadata,
    /// A place for consumer groups; always refused.
    FindCoordinator,
    /// Which versions the broker speaks.
    ApiVersions,
    /// A number for an idempotent producer.
    InitProducerId,
}

impl Api {
    pub(super) fn of(key: i16) -> Option<Self> {
        Some(match key {
            0 => Self::Produce,
            3 => Self::Metadata,
            10 => Self::FindCoordinator,
            18 => Self::ApiVersions,
            22 => Self::InitProducerId,
            _ => return None,
        })
    }
}

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is done; the answer is this error code (see [`code`](super::code)). For [`Api::Metadata`] of every topic,
    /// for [`Api::Produce`] of every partition asked for.
    Error(i16),
    /// Done and answered with that throttle time; the connection is not read meanwhile, as brokers since 2.0 do.
    Throttle(Duration),
    /// Done; the connection is closed without an answer.
    LostAnswer,
    /// Done and not answered; the connection stays open.
    Unanswered,
    /// Nothing is done and nothing is answered; the connection stays open.
    Silence,
    /// Nothing is done; these bytes are sent instead of an answer.
    Raw(Vec<u8>),
    /// Done; these bytes make up the answer, behind the number of its request.
    Nonsense(Vec<u8>),
}

impl Fault {
    /// An answer of 64 bytes that make no sense, not even the number of its request.
    #[must_use]
    pub fn garbage() -> Self {
        let mut bytes = 64u32.to_be_bytes().to_vec();
        bytes.extend((0..64u8).map(|n| n.wrapping_mul(167).wrapping_add(13)));
        Self::Raw(bytes)
    }

    /// An answer that announces 2 GiB.
    #[must_use]
    pub fn two_gib() -> Self {
        Self::Raw(0x7fff_ffff_u32.to_be_bytes().to_vec())
    }

    /// An answer whose counts are below zero, wherever it has any: −2, because −1 stands for a list that is not there.
    #[must_use]
    pub fn negative_counts() -> Self {
        Self::Nonsense((-2_i32).to_be_bytes().repeat(16))
    }

    /// An answer that ends where it should begin.
    #[must_use]
    pub fn ends_early() -> Self {
        Self::Nonsense(Vec::new())
    }
}

/// Faults that wait for their requests.
#[derive(Debug, Default)]
pub(super) struct Script(HashMap<Api, VecDeque<Fault>>);

impl Script {
    pub(super) fn add(&mut self, api: Api, fault: Fault) {
        self.0.entry(api).or_default().push_back(fault);
    }

    pub(super) fn next(&mut self, api: Api) -> Option<Fault> {
        self.0.get_mut(&api)?.pop_front()
    }

    pub(super) fn waiting(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }
}
