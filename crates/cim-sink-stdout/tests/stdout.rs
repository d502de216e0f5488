//! The stdout sink at pipes: conformance, and what readers do that the suite does not know.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use cim_core::{
    Class, Component, DeliveryErrorKind, Health, Identity, LogFormat, Sink, Undelivered, async_trait,
};
use cim_sink_stdout::{Outlet, StdoutSink};
use cim_testkit::{CannotExpress, Fault, Harness, Sample, Subject, until};

fn identity() -> Identity {
    Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() }
}

/// What an event looks like, spelled out. The body needs the escapes of JSON.
fn event_line(sample: &Sample) -> Vec<u8> {
    let mut body = Vec::new();
    cim_wire::json::push_string(&sample.body, &mut body);
    let head =
        format!("{{\"eventName\":\"SampleRaised\",\"eventTime\":{},\"managedObject\":null,", sample.seq);
    let list = [b"\"additionalInfo\":[{\"name\":\"body\",\"value\":".as_slice(), &body, b"}],"].concat();
    let tail = format!(
        "\"sourceHeaders\":{{\"podId\":\"pod-1\",\"microservice\":\"\",\"nf\":\"\",\"nfPrefix\":\"ns1\",\
         \"nfType\":\"\",\"svcVersion\":\"\"}},\"containerId\":\"{}\"}}\n",
        sample.container
    );
    [head.as_bytes(), &list, tail.as_bytes()].concat()
}

fn log_line(sample: &Sample, format: LogFormat) -> Vec<u8> {
    match format {
        LogFormat::Text => [&sample.body, b"\n".as_slice()].concat(),
        LogFormat::Json => {
            let mut text = Vec::new();
            cim_wire::json::push_string(&sample.body, &mut text);
            let head = format!("{{\"container_name\":\"{}\",\"log\":", sample.container);
            let tail = b",\"kubernetes\":{\"namespace_name\":\"ns1\",\"pod_name\":\"pod-1\"}}\n";
            [head.as_bytes(), &text, tail].concat()
        }
    }
}

/// A reader's end that can misbehave, without a process.
#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PipeState {
    seen: Vec<u8>,
    gone: bool,
    stalled: bool,
    /// Bytes that are still taken before it is gone.
    room: Option<usize>,
    /// Answers of the next calls, before anything else.
    answers: VecDeque<io::ErrorKind>,
    waits: usize,
}

#[derive(Debug, Clone)]
struct WriteEnd(Arc<Pipe>);

impl Outlet for WriteEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock().unwrap();
        while state.stalled {
            state = self.0.changed.wait(state).unwrap();
        }
        if let Some(answer) = state.answers.pop_front() {
            return Err(answer.into());
        }
        let room = state.room.unwrap_or(usize::MAX);
        if state.gone || room == 0 {
            return Err(rustix::io::Errno::PIPE.into());
        }
        let count = bytes.len().min(room).min(7_000);
        state.room = state.room.map(|room| room - count);
        state.seen.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn wait(&mut self) -> io::Result<()> {
        self.0.state.lock().unwrap().waits += 1;
        Ok(())
    }
}

#[derive(Debug)]
struct StdoutHarness {
    pipe: Arc<Pipe>,
    format: LogFormat,
}

impl StdoutHarness {
    fn new(format: LogFormat) -> Self {
        Self { pipe: Arc::default(), format }
    }

    fn set(&self, change: impl FnOnce(&mut PipeState)) {
        change(&mut self.pipe.state.lock().unwrap());
        self.pipe.changed.notify_all();
    }

    fn sink(&self) -> StdoutSink<WriteEnd> {
        StdoutSink::new("console", &identity(), self.format, WriteEnd(Arc::clone(&self.pipe)))
    }

    fn subject(&self) -> Subject {
        Subject::of(self.build(), Class::Log, Duration::from_secs(5)).unwrap()
    }
}

#[async_trait]
impl Harness for StdoutHarness {
    fn build(&self) -> Sink {
        Sink::both(Arc::new(self.sink()))
    }

    fn shown(&self, sample: &Sample, class: Class) -> Vec<u8> {
        match class {
            Class::Log => log_line(sample, self.format),
            Class::Event => event_line(sample),
        }
    }

    async fn read(&self, _: Class) -> Vec<Vec<u8>> {
        vec![self.pipe.state.lock().unwrap().seen.clone()]
    }

    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        self.set(|state| match fault {
            Fault::Absent => state.gone = true,
            Fault::CutMidBatch => state.room = Some(7_777),
            Fault::Stalled => state.stalled = true,
        });
        Ok(())
    }

    async fn heal(&self) {
        self.set(|state| {
            state.gone = false;
            state.stalled = false;
            state.room = None;
        });
    }
}

cim_testkit::conformance!(logs_json: logs, StdoutHarness::new(LogFormat::Json));
cim_testkit::conformance!(logs_text: logs, StdoutHarness::new(LogFormat::Text));
cim_testkit::conformance!(events: events, StdoutHarness::new(LogFormat::Json));

fn samples(range: std::ops::Range<u64>) -> Vec<Sample> {
    range.map(|seq| Sample::numbered(seq, "alpha")).collect()
}

fn expected(samples: &[Sample]) -> Vec<u8> {
    samples.iter().flat_map(|sample| log_line(sample, LogFormat::Text)).collect()
}

/// Cut at every byte of a batch: the reader sees every record once and whole, and the error names what is missing.
#[tokio::test]
async fn a_batch_cut_at_any_byte_is_finished_without_a_split_or_repeated_line() {
    let batch = samples(1..6);
    let all = expected(&batch);
    for cut in 0..all.len() {
        let harness = StdoutHarness::new(LogFormat::Text);
        let subject = harness.subject();
        harness.set(|state| state.room = Some(cut));
        let error = subject.deliver(&batch).await.unwrap_err();
        assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
        let whole = all[..cut].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(error.undelivered(), &Undelivered::Only((whole..5).collect()), "cut at {cut}");
        // Again, with room for one byte: what is cut stays cut at the right place.
        harness.set(|state| state.room = Some(1));
        let rest = match subject.deliver(&batch[whole..]).await.map_err(|error| error.undelivered().clone()) {
            Ok(()) => Vec::new(),
            Err(Undelivered::Only(positions)) => {
                positions.iter().map(|at| batch[whole + at].clone()).collect()
            }
            Err(Undelivered::All) => panic!("positions are known"),
        };
        harness.set(|state| state.room = None);
        subject.deliver(&rest).await.unwrap();
        let seen = harness.pipe.state.lock().unwrap().seen.clone();
        assert_eq!(seen.escape_ascii().to_string(), all.escape_ascii().to_string(), "cut at {cut}");
    }
}

/// An event after a cut log line: the line is finished first, and delivered again it is not repeated.
#[tokio::test]
async fn the_other_class_finishes_a_cut_line_first() {
    let harness = StdoutHarness::new(LogFormat::Text);
    let sink = harness.build();
    let logs = Subject::of(sink.clone(), Class::Log, Duration::from_secs(5)).unwrap();
    let events = Subject::of(sink, Class::Event, Duration::from_secs(5)).unwrap();
    let batch = samples(1..3);
    harness.set(|state| state.room = Some(5));
    logs.deliver(&batch).await.unwrap_err();
    harness.set(|state| state.room = None);
    let event = Sample::numbered(1, "alpha");
    events.deliver(std::slice::from_ref(&event)).await.unwrap();
    logs.deliver(&batch).await.unwrap();
    let seen = harness.pipe.state.lock().unwrap().seen.clone();
    let wanted = [expected(&batch[..1]), event_line(&event), expected(&batch[1..])].concat();
    assert_eq!(seen.escape_ascii().to_string(), wanted.escape_ascii().to_string());
}

#[tokio::test]
async fn a_full_non_blocking_descriptor_and_interruptions_are_waited_for() {
    let harness = StdoutHarness::new(LogFormat::Text);
    harness.set(|state| state.answers.extend([io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted]));
    harness.subject().deliver(&samples(1..3)).await.unwrap();
    let state = harness.pipe.state.lock().unwrap();
    assert_eq!((state.waits, state.seen.clone()), (1, expected(&samples(1..3))));
}

/// A reader that has stopped: the delivery waits, the runtime goes on, the health page says so, close does not hang.
#[tokio::test]
async fn a_stalled_reader_blocks_nothing_but_the_delivery() {
    let harness = StdoutHarness::new(LogFormat::Text);
    let sink = Arc::new(harness.sink());
    let subject = Subject::of(Sink::both(Arc::clone(&sink)), Class::Log, Duration::from_secs(5)).unwrap();
    harness.set(|state| state.stalled = true);
    // On the current-thread runtime: a blocked thread would show as a timer that never fires.
    let batch = samples(1..3);
    let waiting = tokio::time::timeout(Duration::from_millis(50), subject.deliver(&batch)).await;
    assert!(waiting.is_err(), "a delivery ended while the reader was stalled");
    let says_so = async || match sink.probe().await {
        Health::Degraded(text) => text.contains("has not read for"),
        Health::Ready => false,
    };
    until("the health page says that the reader stopped", Duration::from_secs(10), says_so).await;
    sink.close().await.unwrap();
    assert_eq!(subject.deliver(&batch).await.unwrap_err().kind(), DeliveryErrorKind::Closed);
    harness.heal().await;
}

/// A real pipe: more than it holds at once, then its reader goes away. The Rust runtime ignores SIGPIPE.
#[tokio::test]
async fn a_real_pipe_is_filled_and_broken() {
    for non_blocking in [false, true] {
        let (read_end, write_end) = rustix::pipe::pipe().unwrap();
        if non_blocking {
            rustix::io::ioctl_fionbio(&write_end, true).unwrap();
        }
        let sink = StdoutSink::<OwnedFd>::new("console", &identity(), LogFormat::Text, write_end);
        let subject = Subject::of(Sink::both(Arc::new(sink)), Class::Log, Duration::from_secs(5)).unwrap();
        let batch: Vec<_> = (0..300).map(|seq| Sample::with_body(seq, "alpha", &[b'x'; 1_000])).collect();
        let wanted = expected(&batch);
        let length = wanted.len();
        let reader = std::thread::spawn(move || {
            let (mut seen, mut buffer) = (Vec::new(), [0; 4_096]);
            while seen.len() < length {
                let count = rustix::io::read(&read_end, &mut buffer).unwrap();
                seen.extend_from_slice(&buffer[..count]);
            }
            seen
        });
        subject.deliver(&batch).await.unwrap();
        assert!(reader.join().unwrap() == wanted, "the reader saw something else");
        let error = subject.deliver(&batch).await.unwrap_err();
        assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
        assert_eq!(error.to_string(), "standard output has no reader any more");
    }
}

#[test]
fn the_registry_entry_knows_its_table() {
    let kind = cim_sink_stdout::KIND;
    assert_eq!((kind.name, (kind.validate)(&serde_json::json!({}), LogFormat::Json)), ("stdout", vec![]));
    let problems = (kind.validate)(&serde_json::json!({ "colour": true }), LogFormat::Json);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("unknown field `colour`"), "{}", problems[0].message);
    assert_eq!((kind.schema)()["additionalProperties"], false);
}
