//! The application protocol: bytes in, values out.
//!
//! Owns the meaning of LOG and EVENT payloads (FlatBuffers, JSON, CloudEvents, plain text) and the bytes CIM
//! makes of them (log records, event JSON, record keys, log file names). Leaves out sockets, files, clocks and
//! the decision what to do with a payload that cannot be read.
//!
//! Invariant: no input makes this crate panic, read outside the payload, or build a value larger than
//! [`MAX_APPARENT_BYTES`] (or the payload itself, when that is larger); [`verify()`] accepts exactly what
//! `decode` accepts.
//!
//! ```
//! use cim_wire::{Class, Log, LogContext, LogEncoder, LogFormat, SniffRules, sniff};
//!
//! let payload = b"started";
//! let encoding = sniff(Class::Log, None, payload, SniffRules::ALL);
//! let log = Log::decode(encoding, payload, b"app")?;
//! let context = LogContext { namespace: "demo".into(), pod: "demo-0".into() };
//! let mut record = Vec::new();
//! LogEncoder::new(&context, LogFormat::Json).encode(&log, &mut record);
//! assert!(record.starts_with(br#"{"container_name":"app","log":"started","#));
//! # Ok::<(), cim_wire::DecodeError>(())
//! ```

mod class;
mod cloud_event;
mod config_result;
mod encoding;
mod error;
mod event;
mod event_encoder;
mod event_json;
mod event_key;
mod file_name;
mod flatbuffer;
pub mod json;
mod json_input;
mod limits;
mod log;
mod log_encoder;
mod log_json;
mod pair;
mod plain;
pub mod publish_answer;
mod source_headers;
mod timestamp;
mod update_config;
mod verify;

pub use crate::class::Class;
pub use crate::config_result::ConfigResult;
pub use crate::encoding::{Encoding, SniffRules, sniff};
pub use crate::error::DecodeError;
pub use crate::event::Event;
pub use crate::event_encoder::EventEncoder;
pub use crate::event_key::{OWN_EVENT_KEY, event_key};
pub use crate::file_name::{LogFileName, MAX_LOG_FILE_NAME, log_file_name};
pub use crate::limits::{MAX_APPARENT_BYTES, MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_PAIRS};
pub use crate::log::Log;
pub use crate::log_encoder::{LogContext, LogEncoder, LogFormat};
pub use crate::pair::Pair;
pub use crate::source_headers::SourceHeaders;
pub use crate::update_config::UpdateConfig;
pub use crate::verify::verify;
