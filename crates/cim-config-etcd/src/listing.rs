//! Everything in a scope at one revision.
//!
//! Owns reading it in pages, all parts of it with one call. Left out: what it is compared with. Invariant: all pages are of the revision of the first.

use std::time::Duration;

use cim_core::{ConfigEntry, Lease, Revision, SourceError, SourceErrorKind, key_order};
use etcd_client::{Client, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};

use crate::failure::{Failure, within};
use crate::ranges::Range;

/// What is read of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Key and revision.
    Keys,
    /// The value as well.
    Values,
}

impl Detail {
    /// Keys per part of a scope and answer. With values of 1.5 MiB, the largest a server takes by default, an answer stays
    /// below [`LARGEST`] also when there are two of it in memory.
    fn page(self) -> i64 {
        match self {
            Self::Keys => 10_000,
            Self::Values => 16,
        }
    }

    /// The next page of a range, at that revision; 0: at the current one.
    fn read(self, range: &Range, from: &[u8], revision: u64) -> TxnOp {
        let options = range.read(GetOptions::new()).with_limit(self.page());
        let options = options.with_revision(i64::try_from(revision).unwrap_or_default());
        let options = if self == Self::Keys { options.with_keys_only() } else { options };
        TxnOp::get(from, Some(options))
    }
}

/// Largest answer that is taken in, bytes.
pub(crate) const LARGEST: usize = 128 << 20;
/// Most bytes of values in a scope.
const MOST: usize = 64 << 20;
/// How often a listing is begun again because the store was compacted in the middle of it.
const ATTEMPTS: u32 = 5;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The moment of the reading.
    pub(crate) revision: u64,
    /// The cluster that answered.
    pub(crate) cluster: u64,
    /// Entries in the order of a watch; without values if only keys were asked for.
    pub(crate) entries: Vec<ConfigEntry>,
}

/// Reads a scope. Each answer is waited for at most `limit` long.
pub(crate) async fn list(
    client: &Client,
    ranges: &[Range],
    detail: Detail,
    limit: Duration,
) -> Result<Listing, Failure> {
    for _ in 1..ATTEMPTS {
        match attempt(client, ranges, detail, limit).await {
            Err(Failure::Gone) => {}
            outcome => return outcome,
        }
    }
    attempt(client, ranges, detail, limit).await
}

async fn attempt(
    client: &Client,
    ranges: &[Range],
    detail: Detail,
    limit: Duration,
) -> Result<Listing, Failure> {
    let mut kv = client.kv_client().max_decoding_message_size(LARGEST);
    let (mut listing, mut bytes) = (Listing::default(), 0);
    let mut unread: Vec<(&Range, Vec<u8>)> = ranges.iter().map(|range| (range, range.from.clone())).collect();
    while !unread.is_empty() {
        let reads: Vec<TxnOp> =
            unread.iter().map(|(range, from)| detail.read(range, from, listing.revision)).collect();
        let answer = within(limit, "read the configuration", kv.txn(Txn::new().and_then(reads))).await?;
        if let (0, Some(header)) = (listing.revision, answer.header()) {
            listing.revision = header.revision().unsigned_abs();
            listing.cluster = header.cluster_id();
        }
        let mut rest = Vec::new();
        for ((range, _), page) in unread.into_iter().zip(answer.op_responses()) {
            let TxnOpResponse::Get(mut page) = page else { continue };
            let more = page.more();
            let entries = page.take_kvs().into_iter().map(entry);
            listing.entries.extend(entries.inspect(|entry| bytes += entry.value.len()));
            if bytes > MOST {
                return Err(Failure::Failed(too_much()));
            }
            if let (true, Some(last)) = (more, listing.entries.last()) {
                // The next key there can be.
                rest.push((range, [last.key.as_slice(), &[0]].concat()));
            }
        }
        unread = rest;
    }
    listing.entries.sort_by(|a, b| (a.revision, key_order(&a.key)).cmp(&(b.revision, key_order(&b.key))));
    Ok(listing)
}

fn too_much() -> SourceError {
    let what = "the values below change-set/ and config/ of this microservice have more than 64 MiB together; remove some";
    SourceError::new(SourceErrorKind::Misconfigured, what)
}

/// A key as the engine knows it.
pub(crate) fn entry(kv: KeyValue) -> ConfigEntry {
    let (revision, lease) = (Revision(kv.mod_revision().unsigned_abs()), kv.lease());
    let (key, value) = kv.into_key_value();
    ConfigEntry { key, value: value.into(), revision, lease: (lease != 0).then_some(Lease(lease)) }
}
