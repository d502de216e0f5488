//! A listener in this process that can misbehave.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cim_tests::until;

use crate::{EVENT, LOG, numbers};

/// How a listener in this process treats its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Reads everything.
    Reads,
    /// Accepts nothing and reads nothing: the kernel does what it can.
    Sleeps,
    /// Reads so many bytes of a connection and resets it.
    Resets(usize),
    /// Ends its own half of every connection at once, and reads everything.
    HalfCloses,
    /// Ends every connection.
    Closes,
}

/// A listener in this process, which keeps what each connection brought. Once it is dropped nobody listens there.
pub struct Sockets {
    pub address: SocketAddr,
    state: Arc<Mutex<SocketState>>,
    serving: Option<JoinHandle<()>>,
}

struct SocketState {
    manner: Manner,
    open: Vec<(usize, TcpStream)>,
    streams: Vec<Vec<u8>>,
    ended: bool,
}

impl Sockets {
    pub fn listen(address: SocketAddr, manner: Manner) -> Self {
        Self::over(TcpListener::bind(address).unwrap(), manner)
    }

    pub fn over(listener: TcpListener, manner: Manner) -> Self {
        let address = listener.local_addr().unwrap();
        if matches!(manner, Manner::Resets(_)) {
            rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4_096).unwrap();
        }
        listener.set_nonblocking(true).unwrap();
        let state = SocketState { manner, open: Vec::new(), streams: Vec::new(), ended: false };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let serving = std::thread::spawn(move || {
            while !shared.lock().unwrap().turn(&listener) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { address, state, serving: Some(serving) }
    }

    pub fn set(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    /// The numbers of the whole logs, connection by connection.
    pub fn lines(&self) -> Vec<usize> {
        self.numbers(LOG)
    }

    /// The numbers of the whole records of one kind, connection by connection.
    pub fn numbers(&self, kind: &str) -> Vec<usize> {
        self.state.lock().unwrap().streams.iter().flat_map(|stream| numbers(stream, kind)).collect()
    }

    /// Waits until the last of so many logs is there, and the last of as many events.
    pub fn await_both(&self, records: usize) {
        for kind in [LOG, EVENT] {
            until("the last record", || self.numbers(kind).last() == Some(&(records - 1)));
        }
    }

    /// What each connection brought, as a capture of its own in that folder.
    pub fn captures(&self, dir: &Path) -> Vec<PathBuf> {
        let write = |(at, bytes): (usize, &Vec<u8>)| {
            let file = dir.join(format!("capture-{at}"));
            std::fs::write(&file, bytes).unwrap();
            file
        };
        self.state.lock().unwrap().streams.iter().enumerate().map(write).collect()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().streams.len()
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.state.lock().unwrap().open.len()
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

impl SocketState {
    /// Does what can be done now. True: it is over.
    fn turn(&mut self, listener: &TcpListener) -> bool {
        if self.manner == Manner::Sleeps {
            return self.ended;
        }
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            if self.manner == Manner::HalfCloses {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            self.open.push((self.streams.len(), stream));
            self.streams.push(Vec::new());
        }
        let (manner, streams) = (self.manner, &mut self.streams);
        self.open.retain_mut(|(place, stream)| {
            manner != Manner::Closes && read(stream, &mut streams[*place], manner)
        });
        self.ended
    }
}

/// Reads what is there. False: the connection is over.
fn read(stream: &mut TcpStream, seen: &mut Vec<u8>, manner: Manner) -> bool {
    let mut buffer = [0; 16 << 10];
    loop {
        let room = match manner {
            Manner::Resets(most) if seen.len() >= most => {
                rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
                return false;
            }
            Manner::Resets(most) => (most - seen.len()).min(buffer.len()),
            _ => buffer.len(),
        };
        match stream.read(&mut buffer[..room]) {
            Ok(0) => return false,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}
