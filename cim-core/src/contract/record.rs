//! One log line or event as a sink sees it: decoded, borrowed from the frame it was received in.

use cim_wire::Class;

/// What the engine knows about a record beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Dense per (epoch, class), starting at 1: a reader finds gaps and repeats with it.
    pub seq: u64,
    /// Identifies the spool (or, without one, the process) that numbered the record.
    pub epoch: u64,
    /// When CIM took the record, milliseconds since the Unix epoch.
    pub arrived_ms: u64,
    /// An earlier attempt may have reached the reader already.
    pub redelivered: bool,
}

/// What the engine needs to know of any record.
pub trait Record: Send + Sync {
    /// Which stream it belongs to.
    const CLASS: Class;
    /// Sequence, epoch, arrival.
    fn meta(&self) -> &Meta;
}

/// One log line.
#[derive(Debug, Clone)]
pub struct LogRecord<'a> {
    /// Sequence, epoch, arrival.
    pub meta: Meta,
    /// Header block of the message it came in, without interpretation.
    pub headers: Option<&'a [u8]>,
    /// Container and payload (wire contract §3.4). Bytes, not text: applications send what they like.
    pub log: cim_wire::Log<'a>,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Sequence, epoch, arrival.
    pub meta: Meta,
    /// Header block of the message it came in, without interpretation.
    pub headers: Option<&'a [u8]>,
    /// The event itself (wire contract §3.5).
    pub event: cim_wire::Event<'a>,
}

impl Record for LogRecord<'_> {
    const CLASS: Class = Class::Log;
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Record for Event<'_> {
    const CLASS: Class = Class::Event;
    fn meta(&self) -> &Meta {
        &self.meta
    }
}
