//! A topic as one client knows it, looked up once for a batch; records enter the client through it.
//!
//! The wrapper of the library names the topic with each record: a copy of the name, a lock of the whole client, a search and a look
//! at the clock, a twelfth of what a record of 128 B costs. Left out: which partition, and what to do with a refusal (`sink`).
//! Invariant: the client outlives the place where the topic was found.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};

use cim_core::clock;
use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_last_error, rd_kafka_producev, rd_kafka_resp_err_t, rd_kafka_topic_destroy,
    rd_kafka_topic_new, rd_kafka_topic_t, rd_kafka_vtype_t,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{Producer as _, ProducerContext};
use rdkafka::util::IntoOpaque as _;

use crate::header_list::HeaderList;
use crate::reports::Reports;
use crate::shared::Live;

/// What comes back with the report of a record: a word that owns nothing.
type Ticket = <Reports as ProducerContext>::DeliveryOpaque;

/// A record as the client takes it.
pub(crate) struct Outbound<'r> {
    pub partition: i32,
    pub key: Option<&'r str>,
    pub value: &'r [u8],
    pub headers: Option<HeaderList>,
    /// Comes back with the report.
    pub ticket: Ticket,
}

/// Where the records of a batch go.
pub(crate) struct Destination<'c> {
    /// The client that found it.
    pub live: &'c Live,
    topic: Found,
    /// The time that its records carry, milliseconds since the Unix epoch.
    time: i64,
}

#[allow(unsafe_code, reason = "the wrapper of the library finds the topic anew for each record")]
impl<'c> Destination<'c> {
    /// Finds the topic. Never blocks: what the client does not know of it yet, it asks for later.
    ///
    /// # Errors
    /// The client does not take the name.
    pub(crate) fn new(live: &'c Live, topic: &str) -> Result<Self, RDKafkaErrorCode> {
        let name = CString::new(topic).map_err(|_nul| RDKafkaErrorCode::InvalidArgument)?;
        // SAFETY: the client is borrowed for as long as this lives, the name is copied, and settings of its own the topic has none.
        let topic =
            unsafe { rd_kafka_topic_new(live.client.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        let Some(topic) = NonNull::new(topic) else {
            // SAFETY: reads what the call before left in this thread.
            return Err(unsafe { rd_kafka_last_error() }.into());
        };
        Ok(Self { live, topic: Found(topic), time: i64::try_from(clock::now_ms()).unwrap_or_default() })
    }

    /// Gives a record to the client. Never blocks; value and key are copied.
    ///
    /// # Errors
    /// The client does not take it; nothing of it is kept then.
    pub(crate) fn send(&self, record: Outbound<'_>) -> Result<(), RDKafkaErrorCode> {
        let (key, key_len) = record.key.map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
        let headers = record.headers.as_ref().map_or(ptr::null_mut(), HeaderList::place);
        // SAFETY: client and topic live; after each word that says what follows comes a value of the type that the library reads
        // there (rdkafka.h, `rd_kafka_vtype_t`); key and value are read during the call only; the list of headers is nobody
        // else's, and the client's only if it takes the record; the ticket is made as the wrapper reads it.
        let refused = unsafe {
            rd_kafka_producev(
                self.live.client.client().native_ptr(),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                self.topic.0.as_ptr(),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                RD_KAFKA_MSG_F_COPY,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                record.value.as_ptr().cast::<c_void>(),
                record.value.len(),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
                key.cast::<c_void>(),
                key_len,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
                record.ticket.into_ptr(),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
                self.time,
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                headers.cast::<c_void>(),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
            )
        };
        if refused != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(refused.into());
        }
        record.headers.into_iter().for_each(HeaderList::left_to_client);
        Ok(())
    }
}

/// What the client has found under the name of a topic.
struct Found(NonNull<rd_kafka_topic_t>);

#[allow(unsafe_code, reason = "what was found has to be given back")]
impl Drop for Found {
    fn drop(&mut self) {
        // SAFETY: found once and given back once, while the client lives; records under way keep the topic themselves.
        unsafe { rd_kafka_topic_destroy(self.0.as_ptr()) };
    }
}

// SAFETY: any thread may use a topic of the library, also at the same time (rdkafka.h: the API is thread-safe).
#[allow(unsafe_code, reason = "a delivery may go on in another thread while its records enter")]
unsafe impl Send for Found {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "as above")]
unsafe impl Sync for Found {}
