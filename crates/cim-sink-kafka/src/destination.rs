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
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::Producer as _;

use crate::shared::Live;

/// A record as the client takes it.
pub(crate) struct Outbound<'r> {
    pub partition: i32,
    pub key: Option<&'r str>,
    pub value: &'r [u8],
    pub headers: Option<OwnedHeaders>,
    /// Comes back with the report.
    pub ticket: usize,
}

/// Where the records of a batch go.
pub(crate) struct Destination<'c> {
    /// The client that found it.
    pub live: &'c Live,
    topic: NonNull<rd_kafka_topic_t>,
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
        Ok(Self { live, topic, time: i64::try_from(clock::now_ms()).unwrap_or_default() })
    }

    /// Gives a record to the client. Never blocks; value and key are copied.
    ///
    /// # Errors
    /// The client does not take it; nothing of it is kept then.
    pub(crate) fn send(&self, record: Outbound<'_>) -> Result<(), RDKafkaErrorCode> {
        let (key, key_len) = record.key.map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
        // The wrapper shows a list of headers as a place in memory: that of the list.
        let headers =
            record.headers.as_ref().map_or(ptr::null(), |headers| ptr::from_ref(headers.as_borrowed()));
        // SAFETY: client and topic live; after each word that says what follows comes a value of the type that the library reads
        // there (rdkafka.h, `rd_kafka_vtype_t`); key and value are read during the call only; the headers are a list that nobody else
        // holds, which belongs to the client if it takes the record and to the caller if not.
        let refused = unsafe {
            rd_kafka_producev(
                self.live.client.client().native_ptr(),
                rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                self.topic.as_ptr(),
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
                ptr::without_provenance::<c_void>(record.ticket),
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
        // The client's now.
        std::mem::forget(record.headers);
        Ok(())
    }
}

#[allow(unsafe_code, reason = "what was found has to be given back")]
impl Drop for Destination<'_> {
    fn drop(&mut self) {
        // SAFETY: found in `new` and given back once; records under way keep the topic themselves.
        unsafe { rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

// SAFETY: any thread may use a topic of the library, also at the same time (rdkafka.h: the API is thread-safe).
#[allow(unsafe_code, reason = "a delivery may go on in another thread while its records enter")]
unsafe impl Send for Destination<'_> {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "as above")]
unsafe impl Sync for Destination<'_> {}
