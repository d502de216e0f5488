//! The headers of one record, in the form in which the client takes them over.
//!
//! The wrapper of the library has such a list, but shows its address to nobody but itself. Left out: which headers there are (`headers`).
//! Invariant: a list is given back once, here or by the client that took it.

use std::ffi::c_void;

use rdkafka::bindings::{
    rd_kafka_header_add, rd_kafka_headers_destroy, rd_kafka_headers_new, rd_kafka_headers_t,
};

/// A list of names and values.
pub(crate) struct HeaderList(*mut rd_kafka_headers_t);

#[allow(unsafe_code, reason = "the client takes a list of the library's own; see the comments at the calls")]
impl HeaderList {
    /// An empty list with room for so many; it grows.
    pub(crate) fn new(room: usize) -> Self {
        // SAFETY: asks for nothing; without memory the library ends the process.
        Self(unsafe { rd_kafka_headers_new(room) })
    }

    /// The same list with one more, which is copied.
    pub(crate) fn with(self, name: &str, value: &[u8]) -> Self {
        // SAFETY: the list lives and nobody else has it; name and value are read during the call, as far as their lengths say. It cannot
        // fail for a list that is not a client's.
        unsafe {
            rd_kafka_header_add(
                self.0,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                value.as_ptr().cast::<c_void>(),
                value.len().cast_signed(),
            );
        }
        self
    }

    /// Where the list is. Whoever takes it over there must be the only one: see [`HeaderList::left_to_client`].
    pub(crate) fn place(&self) -> *mut rd_kafka_headers_t {
        self.0
    }

    /// The client has it now, and gives it back.
    pub(crate) fn left_to_client(self) {
        std::mem::forget(self);
    }

    /// Names and values as text.
    #[cfg(test)]
    pub(crate) fn shown(&self) -> Vec<String> {
        use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_resp_err_t};

        let mut shown = Vec::new();
        loop {
            let (mut name, mut value, mut length) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the list lives; what is found belongs to it, a name ends with a zero and a value is as long as is said.
            let text = unsafe {
                let found = rd_kafka_header_get_all(
                    self.0,
                    shown.len(),
                    &raw mut name,
                    &raw mut value,
                    &raw mut length,
                );
                if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return shown;
                }
                let value = std::slice::from_raw_parts(value.cast::<u8>(), length);
                format!("{}={}", std::ffi::CStr::from_ptr(name).to_string_lossy(), value.escape_ascii())
            };
            shown.push(text);
        }
    }
}

#[allow(unsafe_code, reason = "what was made has to be given back")]
impl Drop for HeaderList {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and nobody has taken it.
        unsafe { rd_kafka_headers_destroy(self.0) };
    }
}
