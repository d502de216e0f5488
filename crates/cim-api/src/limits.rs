//! What one client may cost, and all of them together.

use std::time::Duration;

/// What clients may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections of one listener. When all are taken, the one that has been idle longest gives way to a new one.
    pub connections: usize,
    /// Requests of one HTTP/2 connection at the same time.
    pub streams: u32,
    /// Requests of one listener in a second; more is 429. `/livez` and `/readyz` do not count.
    pub requests_per_second: u32,
    /// Bytes of a request body; more is 413.
    pub body_bytes: usize,
    /// Bytes of a request line and its headers; more is 431 (or a close).
    pub head_bytes: u32,
    /// Header lines; more is 431.
    pub headers: usize,
    /// Time for a handshake, for a whole request head, and for a whole body.
    pub request_time: Duration,
    /// Time without a byte in either direction; and time from the head of an HTTP/2 request to the end of its answer.
    pub idle_time: Duration,
    /// Time that open requests get when the server stops.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            streams: 16,
            requests_per_second: 500,
            body_bytes: 64 << 10,
            head_bytes: 16 << 10,
            headers: 64,
            request_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(30),
            drain_time: Duration::from_millis(500),
        }
    }
}
