//! Moves the bytes of one direction of one connection, by the behaviour in force.
//!
//! Owns two threads' worth of work: `take_in` reads and stamps pieces with the time they are due, `pay_out` writes them.
//! Two, because a delay must not limit the throughput. Invariant: bytes are neither lost, doubled nor swapped unless the
//! behaviour says so, and a cut or a garbled byte is exact.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering as Memory;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::behaviour::{Direction, Ending, Flow, PIECE};
use super::link::{Link, let_out};
use super::switchboard::{Rewrite, Switchboard, TICK};
use crate::seeded::Seeded;

/// Pieces under way between the two threads: with [`PIECE`], 4 MiB.
pub(super) const UNDER_WAY: usize = 64;

/// What is under way.
pub(super) enum Parcel {
    /// Bytes, and when they are due.
    Bytes(Instant, Vec<u8>),
    /// The sender closed or reset the connection; due behind the bytes before it.
    End(Instant, Ending),
}

/// One direction of one connection.
pub(super) struct Pump<'p> {
    board: &'p Switchboard,
    link: &'p Link,
    direction: Direction,
    from: &'p TcpStream,
    to: &'p TcpStream,
}

/// Bytes written since the behaviour was set.
#[derive(Default)]
struct Passed {
    generation: u64,
    bytes: u64,
}

impl<'p> Pump<'p> {
    /// None for a client that is ignored.
    pub(super) fn new(board: &'p Switchboard, link: &'p Link, direction: Direction) -> Option<Self> {
        let (from, to) = link.ends(direction)?;
        from.set_read_timeout(Some(TICK)).ok()?;
        to.set_write_timeout(Some(TICK)).ok()?;
        Some(Self { board, link, direction, from, to })
    }

    fn ended(&self) -> bool {
        self.link.ended() || self.board.closing()
    }

    /// Reads until the end of the stream.
    pub(super) fn take_in(&self, line: &SyncSender<Parcel>, mut random: Seeded) {
        let mut rewrite: Option<Rewrite> = self.board.rewriting(self.direction);
        let mut buffer = vec![0; PIECE];
        let mut last_due = Instant::now();
        while !self.ended() {
            let (_, flow) = self.link.flow(self.board, self.direction);
            if flow.stalled {
                std::thread::sleep(TICK);
                continue;
            }
            let room = buffer.get_mut(..flow.piece()).unwrap_or_default();
            let read = match (&*self.from).read(room) {
                Err(error) if is_pause(error.kind()) => continue,
                read => read,
            };
            // The behaviour may have changed while this thread waited for the bytes.
            let (_, flow) = self.link.flow(self.board, self.direction);
            let due = Instant::now().checked_add(flow.delay.saturating_add(random.up_to(flow.jitter)));
            last_due = due.map_or(last_due, |due| due.max(last_due));
            let parcel = match read {
                Ok(0) => Parcel::End(last_due, Ending::HalfClose),
                Ok(count) => {
                    let bytes = room.get(..count).unwrap_or_default().to_vec();
                    Parcel::Bytes(
                        last_due,
                        match &mut rewrite {
                            Some(rewrite) => rewrite(bytes),
                            None => bytes,
                        },
                    )
                }
                Err(_) => Parcel::End(last_due, Ending::Reset),
            };
            let (last, sent) = (matches!(parcel, Parcel::End(..)), line.send(parcel));
            if last || sent.is_err() {
                return;
            }
            if let (Some(rate), Ok(count)) = (flow.bytes_per_second, read) {
                self.sleep_until(Instant::now().checked_add(time_of(count, rate)));
            }
        }
    }

    /// Writes what was read, when it is due.
    pub(super) fn pay_out(&self, line: &Receiver<Parcel>) {
        let mut passed = Passed { generation: self.link.flow(self.board, self.direction).0, bytes: 0 };
        while !self.ended() {
            let step = match line.recv_timeout(TICK) {
                Ok(Parcel::Bytes(due, bytes)) => {
                    self.sleep_until(Some(due));
                    self.write(&bytes, &mut passed)
                }
                Ok(Parcel::End(due, ending)) => {
                    self.sleep_until(Some(due));
                    self.pass_on(ending, &mut passed)
                }
                Err(RecvTimeoutError::Timeout) => self.rule(&mut passed).map_continue(|_| ()),
                Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
            };
            if step.is_break() {
                return;
            }
        }
    }

    fn write(&self, bytes: &[u8], passed: &mut Passed) -> ControlFlow<()> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let flow = self.rule(passed)?;
            if flow.stalled {
                std::thread::sleep(TICK);
                continue;
            }
            // A piece ends before a byte that is to be garbled and behind the last byte before a cut.
            let until = |byte: u64| byte.saturating_sub(passed.bytes);
            let stops = [flow.cut.map(|(after, _)| until(after)), flow.garble.map(until)];
            let most = stops.into_iter().flatten().filter(|stop| *stop > 0).min();
            let most = most.and_then(|most| usize::try_from(most).ok());
            let wrote = if flow.garble == Some(passed.bytes) {
                (&*self.to).write(&[!first])
            } else {
                (&*self.to).write(most.and_then(|most| rest.get(..most)).unwrap_or(rest))
            };
            match wrote {
                Ok(count) => {
                    passed.bytes = passed.bytes.saturating_add(count as u64);
                    self.board.forwarded(self.direction).fetch_add(count as u64, Memory::Relaxed);
                    rest = rest.get(count..).unwrap_or_default();
                }
                Err(error) if is_pause(error.kind()) => {}
                Err(_) => {
                    self.link.end(Ending::Reset);
                    return ControlFlow::Break(());
                }
            }
        }
        // A cut is done with the byte before it, not with the one behind it.
        self.rule(passed).map_continue(|_| ())
    }

    /// Passes an end on to the receiver, as soon as the direction is not stalled.
    fn pass_on(&self, ending: Ending, passed: &mut Passed) -> ControlFlow<()> {
        while self.rule(passed)?.stalled {
            std::thread::sleep(TICK);
        }
        self.end(ending);
        ControlFlow::Break(())
    }

    /// The behaviour in force, after cutting the connection if its last byte has passed.
    fn rule(&self, passed: &mut Passed) -> ControlFlow<(), Flow> {
        let (generation, flow) = self.link.flow(self.board, self.direction);
        if passed.generation != generation {
            *passed = Passed { generation, bytes: 0 };
        }
        if let Some((_, ending)) = flow.cut.filter(|(after, _)| passed.bytes >= *after) {
            self.end(ending);
            return ControlFlow::Break(());
        }
        if self.ended() { ControlFlow::Break(()) } else { ControlFlow::Continue(flow) }
    }

    fn end(&self, ending: Ending) {
        if ending == Ending::HalfClose {
            let _ = self.to.shutdown(Shutdown::Write);
        } else {
            if ending == Ending::Reset {
                // It would take along what this side still has to send.
                let_out(self.to, || self.ended());
            }
            self.link.end(ending);
        }
    }

    fn sleep_until(&self, due: Option<Instant>) {
        let Some(due) = due else { return };
        while !self.ended() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(TICK));
        }
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// How long that many bytes take.
fn time_of(bytes: usize, rate: u64) -> Duration {
    let nanoseconds = (bytes as u64).saturating_mul(1_000_000_000).checked_div(rate).unwrap_or_default();
    Duration::from_nanos(nanoseconds)
}
