//! The loop: one thread, one poller, every socket of the listener.
//!
//! Owns the order of a turn and the accepting of connections. Leaves out what connections do (`hub` and its parts).
//! Invariant: the thread sleeps only in the poller, and only until the next deadline.

use crate::allowance::Grant;
use crate::client::{Client, Key, Route, Stage};
use crate::connect::ConnectOptions;
use crate::control::Shared;
use crate::hub::Hub;
use crate::inbox::Inbox;
use crate::info::Info;
use crate::intake::{Intake, Target};
use crate::listener::{Listener, WAKER};
use crate::outbox::Outbox;
use crate::parser::{Need, Parser};
use crate::reading::SIP;
use crate::routing::Message;
use crate::stats::ListenerStats;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// Events of one turn.
const EVENTS: usize = 256;
/// Connections taken from one listening socket in one turn.
const ACCEPTS: usize = 256;
/// Rest after the system had no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
struct Door {
    socket: TcpListener,
    address: SocketAddr,
    /// Connections may wait.
    pending: bool,
}

/// A running listener.
pub(crate) struct EventLoop<I: Intake> {
    poll: Poll,
    doors: Vec<Door>,
    first_client: usize,
    accept_after: Option<Instant>,
    info: Info,
    shared: Arc<Shared>,
    stats: Arc<ListenerStats>,
    hub: Hub<I>,
    close_at: Option<Instant>,
}

impl<I: Intake> EventLoop<I> {
    pub(crate) fn new(listener: Listener, mut intake: I) -> Self {
        let Listener { config, poll, sockets, shared, stats } = listener;
        let progress = Arc::clone(&shared);
        intake.on_progress(Arc::new(move || progress.progress()));
        let first_client = 1 + sockets.len();
        let doors =
            sockets.into_iter().map(|(socket, address)| Door { socket, address, pending: true }).collect();
        let info = Info::new(&config);
        let hub = Hub::new(config, intake, Arc::clone(&shared.answers), Instant::now());
        Self { poll, doors, first_client, accept_after: None, info, shared, stats, hub, close_at: None }
    }

    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let result = loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => break Err(error),
            }
            self.hub.now = Instant::now();
            for event in &events {
                self.note(event);
            }
            self.turn();
            if self.is_over() {
                break Ok(());
            }
        };
        self.shared.closed.store(true, SeqCst);
        drop(self.shared.take_parcels());
        self.hub.finish();
        self.hub.publish_counts(&self.stats);
        result
    }

    /// How long to sleep at most.
    fn timeout(&mut self) -> Option<Duration> {
        let busy = !self.hub.ready.is_empty() || (self.accept_after.is_none() && self.door_waits());
        if self.shared.await_progress(self.hub.awaits_progress()) || busy {
            return Some(Duration::ZERO);
        }
        let now = self.hub.now;
        let rest = |at: Instant| at.saturating_duration_since(now);
        [self.hub.timers.next(now), self.accept_after.map(rest), self.close_at.map(rest)]
            .into_iter()
            .flatten()
            .min()
    }

    fn door_waits(&self) -> bool {
        self.doors.iter().any(|door| door.pending)
    }

    fn note(&mut self, event: &Event) {
        let token = event.token();
        if token == WAKER {
            return;
        }
        if let Some(slot) = token.0.checked_sub(self.first_client) {
            if let Some(key) = self.hub.note(slot, event) {
                self.hub.enqueue(key);
            }
        } else if let Some(door) = self.doors.get_mut(token.0 - 1) {
            door.pending = true;
        }
    }

    fn turn(&mut self) {
        self.obey();
        self.accept();
        self.hub.read_ready();
        if self.shared.take_progress() {
            self.hub.retry_waiting();
        }
        self.hub.run_timers();
        for message in self.shared.take_outgoing() {
            self.hub.publish_from_inside(&message);
        }
        self.hub.notices.extend(self.shared.take_parcels());
        self.hub.end_turn();
        self.hub.publish_counts(&self.stats);
    }

    /// Carries out what a control asked for.
    fn obey(&mut self) {
        let close = self.shared.close.load(SeqCst);
        if (close || self.shared.stop.load(SeqCst)) && !self.doors.is_empty() {
            self.doors.clear();
        }
        if close && self.close_at.is_none() {
            self.close_at = Some(self.hub.now + self.hub.config.close_deadline);
            self.hub.closing = true;
        }
    }

    fn is_over(&mut self) -> bool {
        self.close_at.is_some_and(|at| at <= self.hub.now || self.hub.is_quiet())
    }

    fn accept(&mut self) {
        if self.accept_after.is_some_and(|at| at > self.hub.now) {
            return;
        }
        self.accept_after = None;
        let mut doors = std::mem::take(&mut self.doors);
        for door in doors.iter_mut().filter(|door| door.pending) {
            for _ in 0..ACCEPTS {
                match door.socket.accept() {
                    Ok((stream, _)) => self.admit(stream, door.address),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        door.pending = false;
                        break;
                    }
                    Err(error) if is_transient(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, address = %door.address, "failed to accept a connection; resting");
                        self.accept_after = Some(self.hub.now + ACCEPT_PAUSE);
                        break;
                    }
                }
            }
        }
        self.doors = doors;
    }

    fn admit(&mut self, mut stream: TcpStream, address: SocketAddr) {
        let hub = &mut self.hub;
        if hub.clients.len() >= hub.config.max_connections {
            hub.counts.refused += 1;
            return;
        }
        let key = hub.clients.next_key();
        let token = Token(self.first_client + key.slot);
        let interest = Interest::READABLE | Interest::WRITABLE;
        // Nagle's algorithm would only delay: every turn writes all it has.
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| self.poll.registry().register(&mut stream, token, interest));
        if let Err(error) = ready {
            tracing::debug!(%error, "connection was gone before it was served");
            return hub.clients.cancel(key);
        }
        hub.counts.accepted += 1;
        let mut client = Box::new(new_client(key, stream, hub));
        hub.say(&mut client, self.info.line(address, key.id).as_bytes());
        client.wake = hub.deadline(&client);
        hub.timers.set(key, None, client.wake);
        hub.clients.insert(client);
    }
}

fn new_client<I: Intake>(key: Key, stream: TcpStream, hub: &Hub<I>) -> Client {
    let mut parser = Parser::new(hub.config.max_payload);
    let authenticated = hub.config.auth.is_none();
    parser.set_connect_only(!authenticated);
    let auth_deadline = (!authenticated).then(|| hub.now + hub.config.auth_timeout);
    Client {
        key,
        stream,
        stage: Stage::Open,
        parser,
        need: Need::Line,
        inbox: Inbox::default(),
        outbox: Outbox::default(),
        options: ConnectOptions::default(),
        authenticated,
        subscriptions: HashMap::new(),
        subscribed_bytes: 0,
        subscribed_grant: Grant::default(),
        route: Route { target: Target::Broker, literal: false, matches: None, generation: 0 },
        offered_turn: 0,
        scope: crate::barrier::Scope::Logs,
        barriers: 0,
        hold: None,
        starved: None,
        starving: false,
        waiting: false,
        stalled: None,
        credit: SIP,
        readable: false,
        fin_seen: false,
        eof: false,
        queued: false,
        dirty: false,
        wake: None,
        auth_deadline,
        next_ping: hub.now + hub.config.first_ping,
        pings_out: 0,
    }
}

/// Errors of one connection that was in the queue, not of the listening socket.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

impl<I: Intake> Hub<I> {
    /// Notes what the poller says about the connection in `slot`; its key when there is something to read.
    fn note(&mut self, slot: usize, event: &Event) -> Option<Key> {
        let client = self.clients.at_slot(slot)?;
        client.fin_seen |= event.is_read_closed();
        client.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_writable() && !client.outbox.is_empty() && !client.dirty {
            client.dirty = true;
            self.dirty.push(client.key);
        }
        (client.readable && client.may_read(self.closing)).then_some(client.key)
    }

    fn publish_from_inside(&mut self, message: &crate::control::Outgoing) {
        let matches = self.interest.matches(&message.subject);
        let message = Message {
            subject: &message.subject,
            reply: None,
            headers: message.headers.as_deref(),
            payload: &message.payload,
        };
        self.route(None, &message, &matches);
    }

    fn publish_counts(&mut self, stats: &ListenerStats) {
        stats.publish(&mut self.counts);
    }

    /// Nothing waits to be answered or written.
    fn is_quiet(&mut self) -> bool {
        let keys = self.clients.keys();
        self.barriers.is_empty()
            && keys.iter().all(|key| self.clients.get_mut(*key).is_none_or(|client| client.outbox.is_empty()))
    }

    /// Lets every connection go.
    fn finish(&mut self) {
        for key in self.clients.keys() {
            if let Some(mut client) = self.clients.take(key) {
                client.stage = Stage::Gone;
                self.release(client);
            }
        }
        self.memory.close(&self.intake);
        self.counts.connections = 0;
    }
}
