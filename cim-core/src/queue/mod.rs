//! The queue of one class (LOG or EVENT): spool, frames in memory, and one position with books per route member.
//!
//! Owns the conservation law: every count changes here, under one lock, together with the position it belongs to.
//! Left out: what a sink is, how often to retry (see `delivery`), and who publishes (see `intake`).
//!
//! Walk of one message: a lane commits a full buffer → [`ClassQueue::commit`] writes it as one frame and keeps the same
//! bytes in the tail → a worker takes the frame with [`ClassQueue::take`] → after the sink said yes,
//! [`ClassQueue::settle`] moves the member's position, and the spool forgets what every member is past, on the disk without
//! the lock.

mod fault;
mod member;
mod memory;
mod roster;
mod rules;
mod shed;
mod state;
mod sync;
mod tail;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_spool::{BeforeShedding, Frame, FrameBuf, Reader, TrimJob};
use cim_wire::Class;
use tokio::sync::watch;

use crate::books::{Books, DropReason};
use crate::budget::Budget;
use crate::contract::Level;
use crate::delivery::here;

pub(crate) use member::Settlement;
pub(crate) use rules::{FRAME_BYTES, Rules};
use state::State;
pub(crate) use sync::SyncSignal;

/// Called when acceptance advanced or room returned.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a worker finds at a position.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Frames from memory, in order; the first one holds the position.
    Frames(Vec<Frame>),
    /// The position is on disk only: read it with [`ClassQueue::reader`].
    OnDisk,
    /// The records at the position are gone; go on at this sequence. What was not booked as lost yet has to be.
    Skip(u64),
    /// Nothing there yet.
    Empty,
}

/// The queue of one class.
pub(crate) struct ClassQueue {
    class: Class,
    epoch: u64,
    rules: Rules,
    state: Mutex<State>,
    /// First sequence that is not accepted yet.
    accepted: AtomicU64,
    /// First sequence that does not exist yet; workers wait on it.
    next: watch::Sender<u64>,
    /// Something was committed that the sync has not been asked for.
    unsynced: AtomicBool,
    /// Somebody waits for room.
    wanted: AtomicBool,
    wakes: Mutex<Vec<Wake>>,
    sync: SyncSignal,
}

impl std::fmt::Debug for ClassQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClassQueue").field("class", &self.class).finish_non_exhaustive()
    }
}

impl ClassQueue {
    /// A queue on that spool stream, or in memory only. `members` are the sinks of the route, each with a position.
    ///
    /// # Errors
    /// When a cursor file can be neither read nor made.
    pub(crate) fn open(
        class: Class,
        epoch: u64,
        rules: Rules,
        budget: Budget,
        stream: Option<cim_spool::Stream>,
        members: &[String],
    ) -> Result<Self, cim_spool::OpenError> {
        let state = State::open(rules, budget, stream, members)?;
        let next_seq = state.next_seq();
        Ok(Self {
            class,
            epoch,
            rules,
            accepted: AtomicU64::new(next_seq),
            next: watch::Sender::new(next_seq),
            state: Mutex::new(state),
            unsynced: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            wakes: Mutex::new(Vec::new()),
            sync: SyncSignal::default(),
        })
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Writes the buffer as one frame. Returns the first sequence after it, and a buffer for the next one. `sip` may use
    /// the reserve above the limit. Workers and the sync learn of it by [`ClassQueue::announce`].
    ///
    /// # Errors
    /// Gives the buffer back when the class has no room and the policy does not make any.
    pub(crate) fn commit(&self, buf: FrameBuf, sip: bool) -> Result<(u64, FrameBuf), FrameBuf> {
        let (result, level, shed) = {
            let mut state = self.lock();
            let before = state.first_open();
            let result = state.commit(buf, sip);
            if result.is_err() {
                // Under the lock: who makes room after this look finds that somebody waits.
                self.wanted.store(true, Ordering::Release);
            }
            (result, state.level(), state.first_open() != before)
        };
        match result {
            Ok((end, spare)) => {
                if level == Level::Synced {
                    self.unsynced.store(true, Ordering::Release);
                } else if self.rules.level == Level::Synced {
                    // The disk fails: others may wait for a sync that finds everything accepted when it ends.
                    self.accept_through(end);
                } else {
                    // Nobody is woken: what is accepted here is the caller's own.
                    self.accepted.fetch_max(end, Ordering::AcqRel);
                }
                Ok((end, spare))
            }
            Err(buf) => {
                if shed {
                    self.wake();
                }
                Err(buf)
            }
        }
    }

    /// Wakes the workers, then the sync, for everything committed before `end`. Apart from [`ClassQueue::commit`], because a
    /// wake costs as much as writing a frame: a lane tells once per turn. The sync comes last, because it waits for the disk
    /// anyway, and delivery need not wait for a processor behind it.
    pub(crate) fn announce(&self, end: u64) {
        self.tell(end);
        self.request_sync();
    }

    /// As [`ClassQueue::announce`], but the caller's thread delivers what was committed, as far as it gets without waiting.
    pub(crate) fn announce_here(&self, end: u64) {
        here(|| self.tell(end));
        self.request_sync();
    }

    fn tell(&self, end: u64) {
        self.next.send_if_modified(|next| {
            let newer = end > *next;
            *next = end.max(*next);
            newer
        });
    }

    fn request_sync(&self) {
        if self.unsynced.swap(false, Ordering::AcqRel) {
            self.sync.request();
        }
    }

    /// Whether a publisher of this class has to be held back.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    /// First sequence that is not accepted yet.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }

    /// The level that messages reach now.
    pub(crate) fn level(&self) -> Level {
        self.lock().level()
    }

    /// Watches the first sequence that does not exist yet.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// Registers a call for whenever acceptance advances or room returns.
    pub(crate) fn on_progress(&self, wake: Wake) {
        lock(&self.wakes).push(wake);
    }

    /// Changes the sinks of the route. Those that stay keep position and books; new ones go on where the ones that leave
    /// stopped.
    ///
    /// # Errors
    /// When a position cannot be kept on disk; nothing has changed then.
    pub(crate) fn set_members(&self, names: &[String]) -> Result<(), cim_spool::OpenError> {
        let changed = self.lock().set_members(names);
        self.wake_if_room();
        changed
    }

    /// Leaves memory for what the widest of the sinks may hold beyond the batch it is at work on, in bytes.
    pub(crate) fn leave_memory(&self, held_by_sinks: usize) {
        self.lock().held_by_sinks = held_by_sinks;
    }

    /// The spool directory is gone; the queue lives in memory until [`ClassQueue::attach`].
    pub(crate) fn detach(&self, fault: &str) {
        self.lock().detach(fault);
        self.wake_if_room();
    }

    /// Goes on in a new, empty spool stream.
    ///
    /// # Errors
    /// When a position cannot be kept there.
    pub(crate) fn attach(&self, stream: cim_spool::Stream) -> Result<(), cim_spool::OpenError> {
        let attached = self.lock().attach(stream);
        self.wake_if_room();
        attached?;
        self.sync.request();
        Ok(())
    }

    /// Position of a member: the first sequence it has not settled.
    pub(crate) fn position(&self, member: usize) -> u64 {
        self.lock().position(member)
    }

    /// The first sequence that some member has not settled: every sink is past all earlier ones.
    pub(crate) fn settled(&self) -> u64 {
        self.lock().first_open()
    }

    /// Whether the disk takes what is accepted.
    pub(crate) fn is_storing(&self) -> bool {
        self.lock().is_storing()
    }

    /// The first sequence that would be lost with the process.
    pub(crate) fn first_unstored(&self) -> Option<u64> {
        self.lock().first_unstored()
    }

    /// Registers the call for whenever some sink will never get a record: shed, damaged, or refused for good. It gets the first
    /// sequence after such records, before a position that passes them is saved, and under the lock of the queue.
    pub(crate) fn on_given_up(&self, witness: BeforeShedding) {
        self.lock().tell_given_up(witness);
    }

    /// What stands at `from`, up to about `max_bytes`.
    pub(crate) fn take(&self, from: u64, max_records: usize, max_bytes: usize) -> Taken {
        self.lock().take(from, max_records, max_bytes)
    }

    /// A reader of the spool from that position; `None` without a spool.
    pub(crate) fn reader(&self, from: u64) -> Option<Reader> {
        self.lock().reader(from)
    }

    /// Moves a member's position past a run of records and books what became of them.
    pub(crate) fn settle(&self, member: usize, settlement: &Settlement) {
        let job = self.lock().settle(member, settlement);
        self.trim(job);
        let all_past = self.lock().first_open();
        self.accept_through(all_past);
        self.wake_if_room();
    }

    /// Books records that can never be delivered and moves the position past them.
    pub(crate) fn lose(&self, member: usize, through: u64, reason: DropReason) {
        let job = self.lock().lose(member, through, reason);
        self.trim(job);
        self.wake_if_room();
    }

    /// The disk work behind a position that moved. Commits do not wait for it: the lock is held before and after only.
    fn trim(&self, job: Option<TrimJob>) {
        if let Some(done) = job.map(TrimJob::run) {
            self.lock().finish_trim(done);
        }
    }

    /// The books of every sink by name: those that the route has, then those that left it, which hold nothing.
    pub(crate) fn books(&self) -> Vec<(String, Books)> {
        self.lock().books()
    }

    /// The sinks that left the route, by name.
    pub(crate) fn departed(&self) -> Vec<String> {
        self.lock().departed.iter().map(|member| member.name.clone()).collect()
    }

    /// Whether three quarters of the room are not used: then a record that nobody waits for harms no other.
    pub(crate) fn has_room_to_spare(&self) -> bool {
        self.lock().has_room_to_spare()
    }

    /// Bytes on disk, or in memory without a spool.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.lock().stored_bytes()
    }

    /// Records damaged or missing on disk, by name of the damage.
    pub(crate) fn lost(&self) -> Vec<(&'static str, u64)> {
        self.lock().lost()
    }

    /// What is wrong with the disk, if anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        self.lock().fault()
    }

    /// What has to happen although nobody publishes: records that are too old go, and the disk gets what only the memory
    /// holds since a fault.
    pub(crate) fn upkeep(&self) {
        let mut state = self.lock();
        state.enforce_age();
        // Without traffic nobody else tries a disk again that failed to sync.
        let behind = state.overlay() || state.fault.is_some();
        state.write_overlay();
        drop(state);
        self.wake_if_room();
        if behind && self.rules.level == Level::Synced {
            self.sync.request();
        }
    }

    /// Saves positions and syncs the data, as the last act before the process ends.
    pub(crate) fn seal(&self) -> std::io::Result<()> {
        self.sync_once();
        self.lock().seal()
    }

    /// Books everything that would be lost with the process (no spool) as dropped.
    pub(crate) fn drop_unstored(&self) {
        self.lock().drop_unstored();
    }

    fn accept_through(&self, end: u64) {
        if self.accepted.fetch_max(end, Ordering::AcqRel) < end {
            self.wake();
        }
    }

    /// At the end of everything that can make room: nobody else tells those who wait for it.
    fn wake_if_room(&self) {
        let told = {
            let mut state = self.lock();
            state.look_for_room();
            !state.is_full() && self.wanted.swap(false, Ordering::AcqRel)
        };
        if told {
            self.wake();
        }
    }

    fn wake(&self) {
        for wake in lock(&self.wakes).iter() {
            wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Takes a lock; a panic elsewhere does not make the data unreadable, because no invariant is broken in between.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
