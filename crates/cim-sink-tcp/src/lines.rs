//! Framing `json` and `text`: one record per line, nobody answers.
//!
//! Owns the newline and the count of what the peer's kernel has taken. Left out: the connection. Invariant: an error
//! names exactly the records of which not every byte was taken; they go out whole on the next connection.

use cim_core::{Batch, DeliveryError, DeliveryErrorKind};

use crate::connection::Connection;
use crate::lane::{Desk, Lane};
use crate::receivers::Receivers;

/// Sends the batch; `encode` appends a record without its newline.
///
/// # Errors
/// No receiver, or the connection broke on the way.
pub(crate) async fn send<R>(
    lane: &Lane,
    receivers: &Receivers,
    desk: &mut Desk,
    batch: &Batch<R>,
    encode: impl Fn(&R, &mut Vec<u8>),
) -> Result<(), DeliveryError> {
    let mut connection = lane.connection(desk, receivers).await?;
    let mut ends = Vec::with_capacity(batch.len());
    match write(&mut connection, &mut desk.page, batch, &mut ends, encode).await {
        Ok(()) => {
            lane.delivered(desk, connection);
            Ok(())
        }
        Err(error) => {
            let taken = connection.taken();
            let first = ends.partition_point(|end| *end <= taken);
            if first == batch.len() {
                // It broke, but only after the last byte had been taken.
                return Ok(());
            }
            let what = format!("the connection to {} broke", connection.peer());
            let error = DeliveryError::new(DeliveryErrorKind::Unavailable, what).with_source(error);
            Err(lane.broken(error.only((first..batch.len()).collect())))
        }
    }
}

async fn write<R>(
    connection: &mut Connection,
    page: &mut Vec<u8>,
    batch: &Batch<R>,
    ends: &mut Vec<usize>,
    encode: impl Fn(&R, &mut Vec<u8>),
) -> std::io::Result<()> {
    page.clear();
    for record in batch {
        encode(record, page);
        page.push(b'\n');
        ends.push(connection.written().saturating_add(page.len()));
        connection.write_full(page).await?;
    }
    connection.write_last(page).await?;
    connection.confirmed().await
}
