//! The headers of a record that was read, whatever bytes they are.
//!
//! The invariant: no record can stop its reader. The library panics over a header whose name is no UTF-8; such a header is passed over.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers as _};

/// Names and values; a header without a value is not among them.
pub(crate) fn of<'m>(message: &'m BorrowedMessage<'_>) -> impl Iterator<Item = (&'m str, &'m [u8])> {
    let headers = message.headers();
    let count = headers.map_or(0, |headers| headers.count());
    (0..count).filter_map(move |index| {
        let header = catch_unwind(AssertUnwindSafe(|| headers?.try_get(index))).ok()??;
        Some((header.key, header.value?))
    })
}
