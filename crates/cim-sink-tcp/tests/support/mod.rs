//! A receiver of the tests' own: reads connections on a loopback address and can be absent, stalled or cut off.
//!
//! Owns the listener, its threads, and what came in per connection. Invariant: after a cut it knows every byte that its
//! kernel has confirmed, because a sink cannot know more than that; it leaves only after reading what is there.
#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cim_core::{Class, Identity, LogFormat, Neighbours, Sink, SinkContext};
use cim_sink_tcp::{TcpSettings, TcpSink};
use cim_testkit::{Sample, Subject};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, SockRef, Socket, Type};

/// Longest wait for anything that is expected.
pub const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(2);
/// Receive buffer of a receiver that will be cut off: the kernel makes a few KiB of it.
const SMALL_BUFFER: usize = 2_304;
/// Receive buffer of a slow receiver: most of what is sent waits on the sender's side.
const SLOW_BUFFER: usize = 256 << 10;
/// A slow receiver reads that much, then pauses that long.
const SLOW_PIECE: (usize, Duration) = (16 << 10, Duration::from_millis(10));

/// What the receiver does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Reads everything.
    Reading,
    /// Accepts, reads nothing.
    Stalled,
    /// Reads a little at a time and never stops.
    Slow,
    /// Reads nothing of the next connection until its window is full, then resets it and is gone.
    Cutting,
}

/// Answers to what has come in: how many bytes of the rest are understood, and what is said to the sender.
pub type Answer = fn(&[u8]) -> Option<(usize, Vec<u8>)>;

#[derive(Debug)]
struct State {
    mood: Mood,
    streams: Vec<Vec<u8>>,
    connects: usize,
    stop: bool,
    /// When a slow receiver that still reads looked last.
    looked: Option<Instant>,
    longest_gap: Duration,
}

impl State {
    /// A slow receiver looks at what is there, or stops to.
    fn look(&mut self, goes_on: bool) {
        self.longest_gap = self.gap();
        self.looked = goes_on.then(Instant::now);
    }

    fn gap(&self) -> Duration {
        self.looked.map_or(Duration::ZERO, |looked| looked.elapsed()).max(self.longest_gap)
    }
}

/// What its threads share.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// The receiver.
pub struct Receiver {
    pub address: SocketAddr,
    state: Arc<Shared>,
    answer: Option<Answer>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Receiver {
    /// A receiver that reads, on an address that nothing else uses.
    pub fn start(answer: Option<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            mood: Mood::Reading,
            streams: Vec::new(),
            connects: 0,
            stop: false,
            looked: None,
            longest_gap: Duration::ZERO,
        };
        let state = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let receiver = Self { address, state, answer, acceptor: Mutex::default() };
        receiver.serve(listener);
        receiver
    }

    fn serve(&self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        self.state.change(|state| state.stop = false);
        let (state, answer) = (Arc::clone(&self.state), self.answer);
        let acceptor = std::thread::spawn(move || accept(&listener, &state, answer));
        *self.acceptor.lock().unwrap() = Some(acceptor);
    }

    /// Closes every connection and the port; returns when all of it is closed.
    pub fn vanish(&self) {
        self.state.change(|state| state.stop = true);
        if let Some(acceptor) = self.acceptor.lock().unwrap().take() {
            acceptor.join().unwrap();
        }
    }

    /// Is there again, in that mood.
    pub fn appear(&self, mood: Mood) {
        self.vanish();
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        match mood {
            Mood::Cutting => socket.set_recv_buffer_size(SMALL_BUFFER).unwrap(),
            Mood::Slow => socket.set_recv_buffer_size(SLOW_BUFFER).unwrap(),
            Mood::Reading | Mood::Stalled => {}
        }
        wait_for("the port to be free", || socket.bind(&self.address.into()).is_ok());
        socket.listen(128).unwrap();
        self.set(mood);
        self.serve(socket.into());
    }

    pub fn set(&self, mood: Mood) {
        self.state.change(|state| state.mood = mood);
    }

    /// What came in so far, per connection, oldest first.
    pub fn streams(&self) -> Vec<Vec<u8>> {
        self.state.lock().streams.clone()
    }

    /// The longest time between two looks of a slow receiver so far: the machine may let it wait.
    pub fn longest_gap(&self) -> Duration {
        self.state.lock().gap()
    }

    /// Connections so far.
    pub fn connects(&self) -> usize {
        self.state.lock().connects
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.vanish();
    }
}

fn accept(listener: &TcpListener, state: &Arc<Shared>, answer: Option<Answer>) {
    let mut readers = Vec::new();
    loop {
        // Looked at before accepting: who has connected by then is heard.
        let stop = state.lock().stop;
        match listener.accept() {
            Ok((stream, _)) => {
                let place = {
                    let mut state = state.lock();
                    state.connects += 1;
                    state.streams.push(Vec::new());
                    state.streams.len() - 1
                };
                let state = Arc::clone(state);
                readers.push(std::thread::spawn(move || read(stream, place, &state, answer)));
            }
            Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("cannot accept: {error}"),
            Err(_) if stop => break,
            Err(_) => await_readable(listener),
        }
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

fn read(mut stream: TcpStream, place: usize, state: &Shared, answer: Option<Answer>) {
    stream.set_read_timeout(Some(TICK)).unwrap();
    let mut understood = 0;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let stalled = |state: &mut State| state.mood == Mood::Stalled && !state.stop;
        let (mood, stop) = {
            let state = state.changed.wait_while(state.lock(), stalled).unwrap();
            (state.mood, state.stop)
        };
        if mood == Mood::Cutting && !stop {
            return cut(&stream, place, state);
        }
        let most = if mood == Mood::Slow && !stop { pause(state) } else { buffer.len() };
        let read = stream.read(&mut buffer[..most]);
        if mood == Mood::Slow {
            let goes_on = match &read {
                Ok(count) => *count > 0,
                Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            };
            state.lock().look(goes_on && !stop);
        }
        match read {
            Ok(0) => return,
            Ok(count) => {
                let mut state = state.lock();
                state.streams[place].extend_from_slice(&buffer[..count]);
                if let Some(answer) = answer {
                    while let Some((count, text)) = answer(&state.streams[place][understood..]) {
                        understood += count;
                        let _ = stream.write_all(&text);
                    }
                }
            }
            Err(error) if !stop && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // The other side gave up, or nothing is there any more.
            Err(_) => return,
        }
    }
}

/// Waits until a slow receiver reads again, and tells how much.
fn pause(state: &Shared) -> usize {
    let (piece, time) = SLOW_PIECE;
    drop(state.changed.wait_timeout_while(state.lock(), time, |state| !state.stop).unwrap());
    piece
}

/// Waits until the sender can send no more, keeps what this kernel has confirmed, and resets the connection.
fn cut(stream: &TcpStream, place: usize, state: &Shared) {
    let mut buffer = vec![0; 1 << 20];
    let (mut taken, mut since) = (0, Instant::now());
    wait_for("the sender to be stuck", || {
        // Peeking leaves the window closed.
        let now = stream.peek(&mut buffer).unwrap_or(0);
        if now != taken {
            (taken, since) = (now, Instant::now());
        }
        state.lock().stop || (taken > 0 && since.elapsed() >= Duration::from_millis(50))
    });
    if state.lock().stop {
        return;
    }
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    let mut state = state.lock();
    state.streams[place].extend_from_slice(&buffer[..taken]);
    state.stop = true;
}

/// Returns when somebody connects, or after a moment.
fn await_readable(listener: &TcpListener) {
    let tick = rustix::time::Timespec::try_from(TICK).unwrap();
    let mut waits = [PollFd::new(listener, PollFlags::IN)];
    let _ = poll(&mut waits, Some(&tick));
}

/// Who the tests are.
pub fn context(format: LogFormat) -> SinkContext {
    let identity = Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() };
    SinkContext {
        name: "agent".to_owned(),
        identity: Arc::new(identity),
        log_format: format,
        neighbours: Neighbours::default(),
    }
}

/// Settings of a sink towards that receiver.
pub fn settings(address: impl ToString) -> TcpSettings {
    TcpSettings { address: Some(address.to_string()), ..TcpSettings::default() }
}

/// A sink that is built and has done nothing.
pub fn sink(settings: &TcpSettings, format: LogFormat) -> Arc<TcpSink> {
    Arc::new(TcpSink::new(&context(format), settings, None).unwrap())
}

/// The sink as the engine sees its logs.
pub fn subject(sink: &Arc<TcpSink>) -> Subject {
    Subject::of(Sink::both(Arc::clone(sink)), Class::Log, PATIENCE).unwrap()
}

/// Records that say their number.
pub fn numbered(range: std::ops::Range<u64>) -> Vec<Sample> {
    range.map(|seq| Sample::numbered(seq, "app")).collect()
}

/// Waits for what another thread or the kernel does.
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    cim_services::until(what, PATIENCE, condition);
}
