//! The port of a proxy: who may enter, and the threads of those who did.
//!
//! Owns the listening socket. Invariant: the port stays ours while it is closed, because a socket that never listens
//! keeps it; and all threads of the proxy have ended when `stand` returns.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, Scope};
use std::time::Duration;

use socket2::SockRef;

use super::behaviour::{Admission, Direction, Ending};
use super::link::Link;
use super::pump::{Pump, UNDER_WAY};
use super::switchboard::{Switchboard, TICK};
use crate::held_port::HeldPort;
use crate::seeded::{Seeded, mix};

/// How long the target may take to answer a connect.
const CONNECT: Duration = Duration::from_secs(1);

/// A reserved port.
pub(super) struct Door {
    /// Keeps the port while nobody listens.
    port: HeldPort,
    listener: Option<TcpListener>,
}

impl Door {
    pub(super) fn open(listen: SocketAddr) -> io::Result<Self> {
        let port = HeldPort::at(listen)?;
        let listener = Some(listen_on(port.address())?);
        Ok(Self { port, listener })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Lets clients in until the proxy closes.
    pub(super) fn stand(mut self, board: &Switchboard) {
        std::thread::scope(|scope| {
            let mut number = 0u64;
            while !board.closing() {
                let (refuse, generation) = board.wanted_at_the_door();
                if refuse {
                    self.listener = None;
                } else if self.listener.is_none() {
                    self.listener = listen_on(self.address()).ok();
                }
                board.door_followed(generation);
                match self.listener.as_ref().map(TcpListener::accept) {
                    Some(Ok((client, _))) => {
                        let link = Arc::new(Link::new(client, board.admit()));
                        // Known before the target hears of it, so that an order to end all reaches it.
                        board.opened(&link);
                        number = number.wrapping_add(1);
                        let seed = board.seed ^ mix(number);
                        let thread = Builder::new().name("chaos proxy".to_owned());
                        let _ = thread.spawn_scoped(scope, move || serve(board, &link, seed));
                    }
                    Some(Err(error))
                        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Some(Err(_)) | None => std::thread::sleep(TICK),
                }
            }
        });
    }
}

/// A listener whose `accept` gives up after a tick: on Linux the receive timeout of a socket counts for it too.
fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    SockRef::from(&listener).set_read_timeout(Some(TICK))?;
    Ok(listener)
}

/// One connection, from its first byte to its last.
fn serve(board: &Switchboard, link: &Link, seed: u64) {
    match link.admission(board) {
        Admission::Ignore => {
            while !link.ended() && !board.closing() {
                std::thread::sleep(TICK);
            }
        }
        Admission::Refuse => link.end(Ending::Reset),
        Admission::Forward => match TcpStream::connect_timeout(&board.target(), CONNECT) {
            Ok(target) => {
                link.reached(target);
                std::thread::scope(|scope| {
                    for direction in [Direction::ToTarget, Direction::ToClient] {
                        if forward(scope, board, link, direction, seed).is_none() {
                            link.end(Ending::Reset);
                        }
                    }
                });
            }
            Err(_) => link.end(Ending::Reset),
        },
    }
}

/// Starts the two threads of one direction.
fn forward<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    board: &'env Switchboard,
    link: &'env Link,
    direction: Direction,
    seed: u64,
) -> Option<()> {
    let reading = Pump::new(board, link, direction)?;
    let writing = Pump::new(board, link, direction)?;
    let (sender, receiver) = sync_channel(UNDER_WAY);
    let random = Seeded::new(seed ^ mix(direction as u64));
    Builder::new().spawn_scoped(scope, move || reading.take_in(&sender, random)).ok()?;
    Builder::new().spawn_scoped(scope, move || writing.pay_out(&receiver)).ok()?;
    Some(())
}
