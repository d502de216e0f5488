//! A sink whose answers a test scripts, and a few words to drive an engine with it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failed step is the failure, and each test file uses a part of it"
)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_core::intake::{Lane, Offer, Offered};
use cim_core::{
    Batch, Cim, Class, Component, DeliveryError, DeliveryErrorKind, Durability, Event, EventSink, Health,
    LogRecord, LogSink, MemberStatus, Sink, SinkProfile, async_trait,
};
use tokio::sync::Notify;

/// For an end that must not be overdue: only one that would never come takes that long.
pub const LONG_END: Duration = Duration::from_secs(10);

/// What the next call answers.
pub enum Answer {
    Fail(DeliveryErrorKind),
    /// Unavailable, once told.
    FailWhenTold(Arc<Notify>),
    Only(DeliveryErrorKind, Vec<usize>),
    /// Unavailable, and what was offered may arrive later, until it is given up.
    Keep,
    Panic,
    Hang,
    /// Holds its thread until the other end is gone, as a call into a disk does that does not answer.
    Block(Receiver<()>),
}

#[derive(Default)]
pub struct Scripted {
    pub lines: Mutex<Vec<String>>,
    pub batches: Mutex<Vec<usize>>,
    pub script: Mutex<VecDeque<Answer>>,
    /// Lines that are refused for ever, with that kind.
    pub poison: Mutex<Option<(String, DeliveryErrorKind)>>,
    pub down: Mutex<Option<DeliveryErrorKind>>,
    pub profile: Mutex<SinkProfile>,
    pub redelivered: Mutex<Vec<String>>,
    /// What may arrive later.
    pub kept: Mutex<Vec<String>>,
    /// How often it was told to give up what it did not finish.
    pub abandoned: AtomicUsize,
    /// How often it was told to get ready for logs.
    pub prepared: AtomicUsize,
    /// How that ends; nothing: at once.
    pub preparing: Mutex<Option<Answer>>,
}

impl Scripted {
    pub fn new() -> Arc<Self> {
        let this = Self::default();
        *this.profile.lock().unwrap() =
            SinkProfile { durability: Durability::Remote, ..SinkProfile::default() };
        Arc::new(this)
    }

    pub fn sink(self: &Arc<Self>) -> Sink {
        Sink::both(Arc::clone(self))
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    async fn take(&self, lines: Vec<(String, bool)>) -> Result<(), DeliveryError> {
        let answer = self.script.lock().unwrap().pop_front();
        match answer {
            Some(Answer::Fail(kind)) => return Err(DeliveryError::new(kind, "scripted")),
            Some(Answer::FailWhenTold(told)) => {
                told.notified().await;
                return Err(DeliveryError::new(DeliveryErrorKind::Unavailable, "scripted"));
            }
            Some(Answer::Keep) => {
                self.kept.lock().unwrap().extend(lines.into_iter().map(|(line, _)| line));
                return Err(DeliveryError::new(DeliveryErrorKind::Unavailable, "scripted"));
            }
            Some(Answer::Panic) => panic!("scripted"),
            Some(Answer::Hang) => std::future::pending().await,
            Some(Answer::Block(gone)) => {
                let _ = gone.recv();
            }
            Some(Answer::Only(kind, open)) => {
                let kept = lines.iter().enumerate().filter(|(at, _)| !open.contains(at));
                self.lines.lock().unwrap().extend(kept.map(|(_, (line, _))| line.clone()));
                return Err(DeliveryError::new(kind, "scripted").only(open));
            }
            None => {}
        }
        if let Some(kind) = *self.down.lock().unwrap() {
            return Err(DeliveryError::new(kind, "down"));
        }
        if let Some((bad, kind)) = &*self.poison.lock().unwrap()
            && lines.iter().any(|(line, _)| line == bad)
        {
            return Err(DeliveryError::new(*kind, "poison"));
        }
        self.batches.lock().unwrap().push(lines.len());
        let again = lines.iter().filter(|(_, again)| *again).map(|(line, _)| line.clone());
        self.redelivered.lock().unwrap().extend(again);
        self.lines.lock().unwrap().extend(lines.into_iter().map(|(line, _)| line));
        Ok(())
    }
}

#[async_trait]
impl Component for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }
    async fn probe(&self) -> Health {
        let down = *self.down.lock().unwrap();
        down.map_or(Health::Ready, |kind| Health::Degraded(kind.as_str().to_owned()))
    }
}

#[async_trait]
impl LogSink for Scripted {
    fn profile(&self) -> SinkProfile {
        *self.profile.lock().unwrap()
    }
    async fn prepare(&self) {
        self.prepared.fetch_add(1, Relaxed);
        let ends = self.preparing.lock().unwrap().take();
        match ends {
            None => {}
            Some(Answer::Panic) => panic!("scripted"),
            Some(_) => std::future::pending().await,
        }
    }
    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        let text =
            |r: &LogRecord<'_>| (String::from_utf8_lossy(r.log.text()).into_owned(), r.meta.redelivered);
        self.take(batch.iter().map(text).collect()).await
    }
    async fn abandon(&self) {
        self.kept.lock().unwrap().clear();
        self.abandoned.fetch_add(1, Relaxed);
    }
}

#[async_trait]
impl EventSink for Scripted {
    fn profile(&self) -> SinkProfile {
        *self.profile.lock().unwrap()
    }
    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        let text =
            |e: &Event<'_>| (String::from_utf8_lossy(&e.event.event_name).into_owned(), e.meta.redelivered);
        self.take(batch.iter().map(text).collect()).await
    }
}

/// The state of the first sink of route `logs`.
pub fn logs(cim: &Cim) -> MemberStatus {
    cim.status().members.into_iter().find(|member| member.route == "logs").unwrap()
}

/// Polls until the condition holds; fails after ten seconds, and checks the books on the way.
pub async fn until(cim: &Cim, what: &str, condition: impl Fn(&Cim) -> bool) {
    until_within(Duration::from_secs(10), cim, what, condition).await;
}

/// The same; fails after `limit`.
pub async fn until_within(limit: Duration, cim: &Cim, what: &str, condition: impl Fn(&Cim) -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !condition(cim) {
        for member in cim.status().members {
            assert!(member.books.balanced(), "{member:?}");
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}: {:?}", cim.status());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub async fn settled(cim: &Cim) {
    until(cim, "everything settled", is_settled).await;
}

pub fn is_settled(cim: &Cim) -> bool {
    cim.status().members.iter().all(|m| m.books.held == 0)
}

pub fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

pub async fn send(cim: &Cim, lines: &[String]) {
    let intake = cim.intake();
    for line in lines {
        intake.log("app", line.as_bytes()).await.unwrap();
    }
}

/// One frame of them, which a sink with room for it gets as one batch.
pub fn send_together(cim: &Cim, lines: &[String]) {
    let mut lane = cim.lane();
    offer(&mut lane, lines);
    lane.flush();
}

pub fn offer(lane: &mut Lane, lines: &[String]) {
    for line in lines {
        let payload = line.as_bytes();
        let offer = Offer { class: Class::Log, headers: None, source: b"app", payload, own: false };
        assert_eq!(lane.offer(&offer, false), Offered::Taken);
    }
}
