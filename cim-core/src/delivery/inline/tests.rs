//! Which thread polls a task, and that no wake-up is lost between those that do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::*;

const LONG: Duration = Duration::from_secs(10);

/// A task that says on which thread each notification was heard.
fn listening(may_run_here: bool) -> (InlineTask, Arc<Notify>, mpsc::Receiver<ThreadId>) {
    let (bell, (heard, hearing)) = (Arc::new(Notify::new()), mpsc::channel(8));
    let rung = Arc::clone(&bell);
    let task = async move {
        loop {
            rung.notified().await;
            if heard.send(thread::current().id()).await.is_err() {
                return;
            }
        }
    };
    (InlineTask::new(task, may_run_here), bell, hearing)
}

#[tokio::test]
async fn what_may_run_here_runs_on_the_thread_that_wakes_it() {
    for may_run_here in [true, false] {
        let (mut task, bell, mut hearing) = listening(may_run_here);
        assert!((&mut task).now_or_never().is_none());
        let ring = move || here(|| bell.notify_one());
        let helper = thread::spawn(move || {
            ring();
            thread::current().id()
        });
        let helper = helper.join().unwrap();
        assert_eq!(hearing.try_recv().ok(), may_run_here.then_some(helper));
        if !may_run_here {
            assert!((&mut task).now_or_never().is_none());
            assert_eq!(hearing.try_recv().unwrap(), thread::current().id());
        }
    }
}

#[tokio::test]
async fn a_panic_reaches_the_runtime_and_not_the_thread_that_helped() {
    let bell = Arc::new(Notify::new());
    let rung = Arc::clone(&bell);
    let work = async move {
        rung.notified().await;
        panic!("the task fails");
    };
    let mut task = InlineTask::new(work, true);
    assert!((&mut task).now_or_never().is_none());
    thread::spawn(move || here(|| bell.notify_one())).join().unwrap();
    AssertUnwindSafe(task).catch_unwind().await.unwrap_err();
}

#[tokio::test]
async fn an_end_here_is_an_end_in_the_runtime() {
    let bell = Arc::new(Notify::new());
    let rung = Arc::clone(&bell);
    let mut task = InlineTask::new(async move { rung.notified().await }, true);
    assert!((&mut task).now_or_never().is_none());
    let helper = thread::spawn(move || here(|| bell.notify_one()));
    timeout(LONG, task).await.unwrap();
    helper.join().unwrap();
}

#[tokio::test]
async fn a_task_that_wakes_itself_for_ever_holds_nobody_up() {
    let (bell, polls) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let (rung, counted) = (Arc::clone(&bell), Arc::clone(&polls));
    let busy = async move {
        rung.notified().await;
        std::future::poll_fn(|context| {
            counted.fetch_add(1, Ordering::Relaxed);
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        })
        .await;
    };
    let mut task = InlineTask::new(busy, true);
    assert!((&mut task).now_or_never().is_none());
    here(|| bell.notify_one());
    assert_eq!(polls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_takes_longer_goes_on_in_the_runtime() {
    let (bell, threads) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
    let (rung, noted) = (Arc::clone(&bell), Arc::clone(&threads));
    let note = move || noted.lock().unwrap().push(thread::current().id());
    let work = async move {
        rung.notified().await;
        note();
        in_runtime().await;
        note();
    };
    let mut task = InlineTask::new(work, true);
    assert!((&mut task).now_or_never().is_none());
    let helper = thread::spawn(move || here(|| bell.notify_one()));
    let helps = helper.thread().id();
    helper.join().unwrap();
    assert_eq!(*threads.lock().unwrap(), [helps]);
    timeout(LONG, task).await.unwrap();
    assert_eq!(*threads.lock().unwrap(), [helps, thread::current().id()]);
}

#[tokio::test]
async fn a_task_that_is_dropped_lets_go_of_everything() {
    let held = Arc::new(());
    let (sender, mut changed) = watch::channel(0);
    let kept = Arc::clone(&held);
    let waits = async move {
        let _ = changed.changed().await;
        drop(kept);
    };
    let mut task = InlineTask::new(waits, true);
    assert!((&mut task).now_or_never().is_none());
    drop(task);
    assert_eq!(Arc::strong_count(&held), 1);
    here(|| assert_eq!(sender.send_replace(1), 0));
}

/// Two threads wake the task, one of them polls it itself, while the runtime polls it as well: no wake-up gets lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wake_up_is_followed_by_a_poll() {
    const ROUNDS: u64 = 20_000;
    let (sender, mut numbers) = watch::channel(0_u64);
    let (seen, seeing) = watch::channel(0_u64);
    let work = async move {
        while *numbers.borrow_and_update() < ROUNDS {
            seen.send_replace(*numbers.borrow());
            numbers.changed().await.unwrap();
        }
        seen.send_replace(ROUNDS);
    };
    let mut task = tokio::task::JoinSet::new();
    task.spawn(InlineTask::new(work, true));
    let sender = Arc::new(sender);
    let count = |turns: u64, inline: bool| {
        let (sender, seeing) = (Arc::clone(&sender), seeing.clone());
        thread::spawn(move || {
            for turn in 0..turns {
                let mut mine = 0;
                let mut next = || {
                    sender.send_modify(|number| {
                        *number += 1;
                        mine = *number;
                    });
                };
                if inline {
                    here(next)
                } else {
                    next()
                }
                let until = std::time::Instant::now() + LONG;
                while turn % 16 == 0 && *seeing.borrow() < mine {
                    assert!(std::time::Instant::now() < until, "number {mine} was not seen");
                    thread::yield_now();
                }
            }
        })
    };
    let threads = [count(ROUNDS / 2, true), count(ROUNDS / 2, false)];
    timeout(LONG * 3, task.join_next()).await.unwrap().unwrap().unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
}
