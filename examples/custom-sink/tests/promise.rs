//! What the example promises: it is short, it needs only `cim-core`, and it keeps the contract.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failed step is the failure"
)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};

use cim_core::{Class, Sink, async_trait};
use cim_testkit::{CannotExpress, Fault, Harness, Sample};
use custom_sink::ChannelSink;

struct ChannelHarness {
    sink: Sink,
    receiver: Mutex<Receiver<Vec<u8>>>,
    seen: Mutex<Vec<u8>>,
    full: std::sync::mpsc::SyncSender<Vec<u8>>,
    room: usize,
}

impl ChannelHarness {
    fn new() -> Self {
        let room = 100;
        let (sender, receiver) = sync_channel(room);
        let sink = Sink::logs(Arc::new(ChannelSink(sender.clone())));
        Self { sink, receiver: Mutex::new(receiver), seen: Mutex::default(), full: sender, room }
    }

    fn drain(&self) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for line in receiver.try_iter().filter(|line| line != b"filler") {
            seen.extend_from_slice(&line);
            seen.push(b'\n');
        }
    }
}

#[async_trait]
impl Harness for ChannelHarness {
    fn build(&self) -> Sink {
        self.sink.clone()
    }

    fn shown(&self, sample: &Sample, _: Class) -> Vec<u8> {
        [&sample.body, b"\n".as_slice()].concat()
    }

    async fn read(&self, _: Class) -> Vec<Vec<u8>> {
        self.drain();
        vec![self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()]
    }

    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        let left = match fault {
            Fault::Absent => 0,
            Fault::CutMidBatch => 5,
            Fault::Stalled => return Err(CannotExpress("a full channel answers at once".to_owned())),
        };
        self.drain();
        for _ in left..self.room {
            self.full.try_send(b"filler".to_vec()).unwrap();
        }
        Ok(())
    }

    async fn heal(&self) {
        self.drain();
    }
}

cim_testkit::conformance!(contract: logs, ChannelHarness::new());

#[test]
fn it_is_under_forty_lines() {
    let lines = include_str!("../src/lib.rs").lines().count();
    assert!(lines < 40, "the example has {lines} lines");
}

#[test]
fn the_sink_needs_only_the_core() {
    let uses = include_str!("../src/lib.rs").lines().filter(|line| line.starts_with("use "));
    let foreign: Vec<_> =
        uses.filter(|line| !line.starts_with("use cim_core::") && !line.starts_with("use std::")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
