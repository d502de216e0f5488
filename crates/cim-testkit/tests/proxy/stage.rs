//! A proxy before a listener, and what is sent and read through it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use cim_testkit::{Behaviour, ChaosProxy, Direction, Seeded};

/// Longest wait for anything that is expected.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a thing that must not happen is waited for.
pub(super) const SILENCE: Duration = Duration::from_millis(150);

pub(super) struct Stage {
    pub(super) server: TcpListener,
    pub(super) proxy: ChaosProxy,
}

impl Stage {
    pub(super) fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = ChaosProxy::start(server.local_addr().unwrap(), 7).unwrap();
        Self { server, proxy }
    }

    pub(super) fn with(behaviour: Behaviour) -> Self {
        let stage = Self::new();
        stage.proxy.behave(behaviour);
        stage
    }

    pub(super) fn client(&self) -> TcpStream {
        patient(TcpStream::connect(self.proxy.address()).unwrap())
    }

    /// How a connection ends that the proxy ends at once, perhaps before the client knows that it is connected.
    pub(super) fn end_of_client(&self) -> Option<ErrorKind> {
        match TcpStream::connect(self.proxy.address()) {
            Ok(client) => until_the_end(&patient(client)).1,
            Err(error) => Some(error.kind()),
        }
    }

    /// A connection: the end of the client and the end of the server.
    pub(super) fn connection(&self) -> (TcpStream, TcpStream) {
        let client = self.client();
        (client, patient(self.server.accept().unwrap().0))
    }

    /// A connection seen along a direction: the sender and the receiver.
    pub(super) fn along(&self, direction: Direction) -> (TcpStream, TcpStream) {
        let (client, server) = self.connection();
        match direction {
            Direction::ToTarget => (client, server),
            Direction::ToClient => (server, client),
        }
    }
}

/// Waits for something that the proxy will do.
pub(super) fn until(what: &str, done: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(cim_testkit::until(what, PATIENCE, async || done()));
}

pub(super) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Bytes in which every loss, repetition and swap shows.
pub(super) fn bytes(length: usize) -> Vec<u8> {
    let (mut seeded, mut out) = (Seeded::new(1), Vec::with_capacity(length + 8));
    while out.len() < length {
        out.extend_from_slice(&seeded.number().to_be_bytes());
    }
    out.truncate(length);
    out
}

pub(super) fn send(stream: &TcpStream, data: &[u8]) {
    (&*stream).write_all(data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

pub(super) fn rest_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    received
}

/// Reads up to the end, which may be a reset.
pub(super) fn until_the_end(mut stream: &TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let (mut received, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (received, None),
            Ok(count) => received.extend_from_slice(&piece[..count]),
            Err(error) => return (received, Some(error.kind())),
        }
    }
}

pub(super) fn silent(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}
