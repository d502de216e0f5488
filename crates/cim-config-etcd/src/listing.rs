//! Everything in a scope at one revision.
//!
//! Owns reading it in pages. Left out: what it is compared with. Invariant: all pages are of the revision of the first.

use std::time::Duration;

use cim_core::{ConfigEntry, Lease, Revision, SourceError, SourceErrorKind};
use etcd_client::{Client, GetOptions, KeyValue};

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
    /// Keys per answer. With values of 1.5 MiB, the largest a server takes by default, an answer stays below [`LARGEST`].
    fn page(self) -> i64 {
        match self {
            Self::Keys => 10_000,
            Self::Values => 64,
        }
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
    /// Entries in the order of their revisions; without values if only keys were asked for.
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
    for range in ranges {
        let mut from = range.from.clone();
        loop {
            let mut options = range.read(GetOptions::new()).with_limit(detail.page());
            options = options.with_revision(i64::try_from(listing.revision).unwrap_or_default());
            if detail == Detail::Keys {
                options = options.with_keys_only();
            }
            let mut page = within(limit, "read the configuration", kv.get(from, Some(options))).await?;
            if let (0, Some(header)) = (listing.revision, page.header()) {
                listing.revision = header.revision().unsigned_abs();
                listing.cluster = header.cluster_id();
            }
            let more = page.more();
            let entries = page.take_kvs().into_iter().map(entry);
            listing.entries.extend(entries.inspect(|entry| bytes += entry.value.len()));
            if bytes > MOST {
                return Err(Failure::Failed(too_much()));
            }
            match listing.entries.last() {
                // The next key there can be.
                Some(last) if more => from = [last.key.as_slice(), &[0]].concat(),
                _ => break,
            }
        }
    }
    listing.entries.sort_by(|a, b| (a.revision, &a.key).cmp(&(b.revision, &b.key)));
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
