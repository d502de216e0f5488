//! Whether a broker may have a record that the client gave back.
//!
//! Owns the question to the client library, which notes with each attempt of a record whether it was answered: a request that
//! was sent and lost its connection, or ran out of time, may have been stored, and no later refusal takes that back.

use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::message::BorrowedMessage;

/// Whether a broker may have stored the record of that report, as far as the client knows.
#[allow(unsafe_code, reason = "the wrapper of the library does not offer this call; see the comment at it")]
pub(crate) fn may_be_stored(report: &BorrowedMessage<'_>) -> bool {
    // SAFETY: reads one field of the message, which lives as long as the report that is borrowed.
    let status = unsafe { rd_kafka_message_status(report.ptr()) };
    status != rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}
