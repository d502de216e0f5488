//! Notifications that are given up, and stores that are too small or on a disk that fails.

use bytes::Bytes;
use cim_spool::{SimFiles, Spool, SpoolOptions, StreamOptions};
use tokio::time::timeout;

use super::super::answer::Key;
use super::*;
use crate::deadletter::{AGAIN, DeadLetters, STREAM};

const RULES: Rules = Rules { ack_wait: Duration::from_secs(30), max_deliver: 3, max_pending: 4 };
/// Time stands still while anything works, so this is over only when nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(60);

fn stores(disk: &SimFiles, max_bytes: u64) -> (Spool, Letters) {
    let options = SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new("/spool", "demo/demo-0") };
    let mut spool = Spool::open(Arc::new(disk.clone()), options).unwrap();
    let mut open = |name| {
        let (stream, _) = spool.stream(StreamOptions::new(name, 1 << 20, max_bytes)).unwrap();
        Arc::new(DeadLetters::open(stream).unwrap())
    };
    let letters = Letters { dead: open(STREAM), again: open(AGAIN) };
    (spool, letters)
}

fn dead(record: i64, bytes: usize) -> Dead {
    let key = Key { subscription: "123456".into(), lane: 0, record };
    Dead {
        key,
        why: Why::Refused,
        deliveries: 3,
        seq: record.unsigned_abs(),
        value: Bytes::from(vec![b'x'; bytes]),
    }
}

/// Buries them; returns the numbers of their records, in the order in which they were told to be buried.
async fn buried(letters: &Letters, graves: Vec<Dead>) -> Vec<i64> {
    let mut clerk = Clerk::new(Some(letters.clone()), RULES, Arc::default());
    let (count, mut told) = (graves.len(), Vec::new());
    graves.into_iter().for_each(|dead| clerk.bury(dead));
    while told.len() < count {
        clerk.work(false);
        if let Done::Buried(dead) = timeout(PATIENCE, clerk.news()).await.expect("it is buried") {
            told.push(dead.key.record);
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_fits_into_no_store_is_dropped_and_the_next_one_does_not_wait() {
    let disk = SimFiles::new(1);
    let (_spool, letters) = stores(&disk, 64 << 10);
    assert_eq!(buried(&letters, vec![dead(1, 10), dead(2, 100 << 10), dead(3, 10)]).await, [1, 2, 3]);
    let seqs: Vec<_> = letters.dead.list().unwrap().iter().map(|letter| letter.seq).collect();
    assert_eq!((seqs, letters.dead.evicted()), (vec![1, 3], 0));
}

#[tokio::test(start_paused = true)]
async fn a_notification_whose_sync_fails_is_one_letter() {
    let disk = SimFiles::new(1);
    let (_spool, letters) = stores(&disk, 64 << 10);
    disk.fail_syncs(3);
    assert_eq!(buried(&letters, vec![dead(1, 10), dead(2, 10)]).await, [1, 2]);
    let seqs: Vec<_> = letters.dead.list().unwrap().iter().map(|letter| letter.seq).collect();
    assert_eq!(seqs, [1, 2]);
}
