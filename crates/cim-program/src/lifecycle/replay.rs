//! Records of another life on their way into a running CIM.
//!
//! Owns how many travel together, and the pauses while there is no room. Left out: where they come from (`cli::replay`). The
//! invariant: a record is counted as replayed only once the running CIM has accepted it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_core::Class;

use crate::control::{self, Answer, Request, TakenBack};

/// Records that travel together, and their bytes.
const RUN: usize = 256;
const RUN_BYTES: usize = 512 << 10;
/// Pause while there is no room.
const PAUSE: Duration = Duration::from_millis(200);

/// The way into a running CIM.
pub struct Replay {
    spool: PathBuf,
    class: Class,
    waiting: Vec<Vec<u8>>,
    bytes: usize,
    replayed: u64,
}

impl Replay {
    /// Into the CIM that uses this spool.
    #[must_use]
    pub fn into(spool: PathBuf) -> Self {
        Self { spool, class: Class::Log, waiting: Vec::new(), bytes: 0, replayed: 0 }
    }

    /// Takes a record; it travels with others of its class.
    ///
    /// # Errors
    /// As [`Replay::flush`].
    pub fn push(&mut self, class: Class, record: Vec<u8>) -> io::Result<()> {
        let is_full = self.waiting.len() >= RUN || self.bytes + record.len() > RUN_BYTES;
        if class != self.class || is_full {
            self.flush()?;
            self.class = class;
        }
        self.bytes += record.len();
        self.waiting.push(record);
        Ok(())
    }

    /// Has everything accepted that was taken; waits while there is no room.
    ///
    /// # Errors
    /// No CIM runs there, or it takes no such record. What was replayed before is accepted.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let records = self.waiting.iter().map(|record| STANDARD.encode(record)).collect();
        let request = Request::TakeBack { class: self.class.into(), records };
        loop {
            match control::ask(&self.spool, &request)? {
                Some(Answer::Ok(value)) if value == serde_json::json!(TakenBack::NoRoom) => {
                    std::thread::sleep(PAUSE);
                }
                Some(Answer::Ok(_)) => break,
                Some(Answer::Error(why)) => return Err(io::Error::other(why)),
                None => return Err(io::Error::new(io::ErrorKind::NotFound, "no cim runs on that spool")),
            }
        }
        self.replayed += self.waiting.len() as u64;
        self.waiting.clear();
        self.bytes = 0;
        Ok(())
    }

    /// How many records were accepted.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.replayed
    }
}
