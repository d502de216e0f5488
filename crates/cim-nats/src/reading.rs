//! Reading: from a ready socket through the parser to the handling of each frame.
//!
//! Owns the split of input between the shared scratch buffer and a connection's inbox. Leaves out what a frame does.
//! Invariants: at most four reads per connection and turn; a connection that may not consume reads nothing here.

use crate::client::{Client, Key, Stage};
use crate::hub::{Hub, SCRATCH};
use crate::intake::Intake;
use crate::parser::{MAX_CONTROL_LINE, Need, Step};
use cim_wire::Class;
use std::io::{ErrorKind, Read};
use std::time::Duration;

/// Reads of one connection in one turn.
const READS: usize = 4;
/// Bytes of one turn; more wait for the next, so that no PONG waits for many busy publishers.
const TURN: u64 = 2 << 20;
/// Bytes of one read while memory or a class is short.
pub(crate) const SIP: usize = 16 << 10;
/// Distance of the attempts to get memory for a started frame.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// What a frame means for the rest of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Go on with the next frame.
    Next,
    /// The frame was not consumed: its class is full.
    Full(Class),
    /// The credit of a sip is used up.
    Pause,
    /// The connection has ended.
    End,
}

/// How far the parsing of a buffer came.
struct Parsed {
    used: usize,
    flow: Flow,
}

impl<I: Intake> Hub<I> {
    /// Puts a connection on the list of those to read in this turn.
    pub(crate) fn enqueue(&mut self, key: Key) {
        if let Some(client) = self.clients.get_mut(key)
            && !client.queued
        {
            client.queued = true;
            self.ready.push(key);
        }
    }

    /// Reads the connections of the ready list once each, as far as the turn goes.
    pub(crate) fn read_ready(&mut self) {
        let start = self.counts.read_bytes;
        let mut later = Vec::new();
        for key in std::mem::take(&mut self.ready) {
            if self.counts.read_bytes - start >= TURN {
                later.push(key);
            } else if let Some(mut client) = self.clients.take(key) {
                client.queued = false;
                self.serve(&mut client);
                let again = client.readable && client.may_read(self.closing);
                self.release(client);
                if again {
                    self.enqueue(key);
                }
            }
        }
        later.append(&mut self.ready);
        self.ready = later;
    }

    fn serve(&mut self, client: &mut Client) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for _ in 0..READS {
            if !client.readable || !client.may_read(self.closing) || !self.has_room(client) {
                break;
            }
            let limit = self.read_limit(client);
            self.read_once(client, scratch.get_mut(..limit).unwrap_or_default());
        }
        self.scratch = scratch;
    }

    fn read_limit(&self, client: &Client) -> usize {
        if !client.authenticated {
            MAX_CONTROL_LINE + 2
        } else if self.memory.is_pressed()
            || self.intake.is_full(Class::Log)
            || self.intake.is_full(Class::Event)
        {
            SIP
        } else {
            SCRATCH
        }
    }

    /// Memory for the rest of a started payload is taken before it is read; without it the connection starves.
    fn has_room(&mut self, client: &mut Client) -> bool {
        let Need::Total(total) = client.need else { return true };
        let more = total.saturating_sub(client.inbox.len()).min(SIP);
        if client.inbox.is_empty() || client.inbox.make_room(more, &mut self.memory, &self.intake) {
            client.starved = None;
            return true;
        }
        client.starved.get_or_insert(self.now);
        client.starving = true;
        self.wait(client);
        false
    }

    /// One `read(2)` into `scratch`, and everything that follows from its bytes.
    pub(crate) fn read_once(&mut self, client: &mut Client, scratch: &mut [u8]) {
        match client.stream.read(scratch) {
            Ok(0) => self.peer_done(client),
            Ok(count) => {
                self.counts.read_bytes += count as u64;
                if count < scratch.len() && !client.fin_seen {
                    client.readable = false;
                }
                if client.is_open() {
                    self.feed(client, scratch.get(..count).unwrap_or_default());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => client.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => client.stage = Stage::Gone,
        }
    }

    fn peer_done(&mut self, client: &mut Client) {
        client.readable = false;
        client.eof = true;
        client.stage = match client.stage {
            Stage::Open => Stage::PeerDone,
            _ => Stage::Gone,
        };
        self.touch(client);
    }

    /// Consumes `chunk`: together with the inbox while a frame is incomplete there, else where it lies.
    pub(crate) fn feed(&mut self, client: &mut Client, mut chunk: &[u8]) {
        while !client.inbox.is_empty() {
            let take =
                if client.hold.is_some() { chunk.len() } else { client.inbox.wanted(client.need, chunk) };
            let (head, rest) = chunk.split_at_checked(take).unwrap_or((chunk, &[]));
            if !self.keep(client, head) {
                return;
            }
            chunk = rest;
            self.parse_inbox(client, usize::MAX, false);
            if chunk.is_empty() || !client.is_open() {
                return;
            }
            if client.hold.is_some() {
                self.keep(client, chunk);
                return;
            }
        }
        let parsed = self.parse(client, chunk, usize::MAX, false);
        if client.is_open() {
            let rest = chunk.get(parsed.used..).unwrap_or_default();
            if !rest.is_empty() {
                self.keep(client, rest);
            }
            self.follow(client, parsed.flow);
        }
    }

    /// Parses the inbox, up to about `credit` bytes.
    pub(crate) fn parse_inbox(&mut self, client: &mut Client, credit: usize, sip: bool) -> Flow {
        let bytes = client.inbox.take();
        let parsed = self.parse(client, &bytes, credit, sip);
        let used = if client.is_open() { parsed.used } else { bytes.len() };
        client.inbox.put_back(bytes, used, &mut self.memory, &self.intake);
        self.follow(client, parsed.flow);
        parsed.flow
    }

    fn follow(&mut self, client: &mut Client, flow: Flow) {
        if let Flow::Full(class) = flow
            && client.is_open()
        {
            self.hold(client, class);
        }
    }

    fn keep(&mut self, client: &mut Client, bytes: &[u8]) -> bool {
        if client.inbox.keep(bytes, &mut self.memory, &self.intake) {
            return true;
        }
        self.counts.backpressure_closes += 1;
        self.end(client);
        false
    }

    fn parse(&mut self, client: &mut Client, input: &[u8], credit: usize, sip: bool) -> Parsed {
        let mut used = 0;
        client.need = Need::Line;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            if used >= credit {
                return Parsed { used, flow: Flow::Pause };
            }
            match client.parser.next(rest) {
                Step::Frame { op, used: frame, same_subject } => {
                    match self.handle(client, op, same_subject, sip) {
                        Flow::Next => used += frame,
                        flow @ Flow::Full(_) => return Parsed { used, flow },
                        flow => return Parsed { used: used + frame, flow },
                    }
                }
                Step::More(need) => {
                    client.need = need;
                    break;
                }
                Step::Broken(fault) => {
                    self.fail(client, fault);
                    return Parsed { used, flow: Flow::End };
                }
            }
        }
        Parsed { used, flow: Flow::Next }
    }
}
