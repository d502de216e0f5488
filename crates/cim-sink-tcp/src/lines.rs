//! Framing `json` and `text`: one record per line, nobody answers.
//!
//! Owns the newline and the count of what the peer's kernel has taken. Left out: the connection. While the peer takes one
//! batch the next one is written. Invariant: an error names exactly the records of which not every byte was taken; they
//! go out whole on the next connection.

use std::sync::Arc;

use cim_core::{Batch, DeliveryError, DeliveryErrorKind};

use crate::connection::{Connection, is_full};
use crate::lane::Lane;
use crate::receivers::Receivers;

/// Sends the batch; `encode` appends a record without its newline.
///
/// # Errors
/// No receiver, or the connection broke on the way.
pub(crate) async fn send<R>(
    lane: &Lane,
    receivers: &Receivers,
    batch: &Batch<R>,
    encode: impl Fn(&R, &mut Vec<u8>),
) -> Result<(), DeliveryError> {
    let (mut flight, mut desk) = lane.begin().await?;
    let mut connection = lane.connection(&flight, &mut desk, receivers).await?;
    let (wire, peer) = (Arc::clone(connection.wire()), connection.peer());
    flight.over(&wire);
    let mut ends = Vec::with_capacity(batch.len());
    let written = write(&mut connection, &mut desk.page, batch, &mut ends, encode).await;
    Lane::keep(&mut desk, connection);
    drop(desk);
    let taken = match written {
        Ok(()) => wire.confirmed(ends.last().copied().unwrap_or_default()).await,
        broken => broken,
    };
    if let Err(error) = taken {
        let taken = wire.break_off();
        let first = ends.partition_point(|end| *end <= taken);
        // Otherwise it broke only after the last byte had been taken.
        if first < batch.len() {
            let what = format!("the connection to {peer} broke");
            let error = DeliveryError::new(DeliveryErrorKind::Unavailable, what).with_source(error);
            let error = error.only((first..batch.len()).collect());
            return Err(if wire.first_to_tell() { lane.broken(error) } else { error });
        }
    }
    flight.landed();
    if !wire.is_broken() {
        lane.delivered();
    }
    Ok(())
}

async fn write<R>(
    connection: &mut Connection,
    page: &mut Vec<u8>,
    batch: &Batch<R>,
    ends: &mut Vec<u64>,
    encode: impl Fn(&R, &mut Vec<u8>),
) -> std::io::Result<()> {
    page.clear();
    let mut before = connection.wire().written();
    for record in batch {
        encode(record, page);
        page.push(b'\n');
        ends.push(before.saturating_add(page.len() as u64));
        if is_full(page) {
            connection.write_page(page).await?;
            before = connection.wire().written();
        }
    }
    connection.write_last(page).await?;
    connection.flush().await
}
