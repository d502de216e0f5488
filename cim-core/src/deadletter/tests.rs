//! A store whose disk fails to take letters for sure, and how large a letter may be.

use cim_spool::{Crash, SimFiles, Spool, SpoolOptions, StreamOptions};
use cim_wire::Class;

use super::*;
use crate::settings::DeadLetterSettings;

fn opened(disk: &SimFiles, max_bytes: u64) -> (Spool, Stream) {
    let options = SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new("/spool", "demo/demo-0") };
    let mut spool = Spool::open(Arc::new(disk.clone()), options).unwrap();
    let (stream, _) = spool.stream(StreamOptions::new(STREAM, 1 << 20, max_bytes)).unwrap();
    (spool, stream)
}

struct Scene {
    disk: SimFiles,
    store: DeadLetters,
    _spool: Spool,
}

impl Scene {
    fn new(max_bytes: u64) -> Self {
        let disk = SimFiles::new(1);
        let (spool, stream) = opened(&disk, max_bytes);
        Self { disk, store: DeadLetters::open(stream).unwrap(), _spool: spool }
    }

    /// Puts a letter whose sync fails.
    fn put_in_doubt(&self, seq: u64) -> Option<Place> {
        self.disk.fail_syncs(1);
        let failed = self.store.put(&letter(seq, 10), None).unwrap_err();
        assert!(failed.place.is_some(), "{failed}");
        failed.place
    }

    fn seqs(&self) -> Vec<u64> {
        self.store.list().unwrap().iter().map(|letter| letter.seq).collect()
    }

    /// What is there after a power loss.
    fn seqs_for_sure(self) -> Vec<u64> {
        self.disk.crash(Crash::Power);
        let (_spool, stream) = opened(&self.disk, 16 << 20);
        let letters = DeadLetters::open(stream).unwrap().list().unwrap();
        letters.iter().map(|letter| letter.seq).collect()
    }
}

fn letter(seq: u64, bytes: usize) -> Letter {
    Letter::new(Origin::Queue(Class::Log), seq, "logs", "rejected", "no", &vec![b'x'; bytes])
}

#[test]
fn letters_in_doubt_are_stored_once_whoever_comes_first() {
    for first in [1, 2] {
        let scene = Scene::new(16 << 20);
        let (one, two) = (scene.put_in_doubt(1), scene.put_in_doubt(2));
        let mut places = [(1, one), (2, two)];
        places.sort_by_key(|(seq, _)| *seq != first);
        for (seq, place) in places {
            scene.store.put(&letter(seq, 10), place).unwrap();
        }
        scene.store.put(&letter(3, 10), None).unwrap();
        assert_eq!(scene.seqs(), [1, 2, 3]);
        assert_eq!(scene.seqs_for_sure(), [1, 2, 3]);
    }
}

#[test]
fn a_disk_that_fails_for_long_gets_no_second_copy_and_evicts_nothing() {
    let scene = Scene::new(64 << 10);
    scene.store.put(&letter(1, 30 << 10), None).unwrap();
    scene.disk.fail_syncs(100);
    let mut place = None;
    for _ in 0..100 {
        place = scene.store.put(&letter(2, 20 << 10), place).unwrap_err().place;
    }
    scene.store.put(&letter(2, 20 << 10), place).unwrap();
    assert_eq!((scene.seqs(), scene.store.evicted()), (vec![1, 2], 0));
}

#[test]
fn a_letter_in_doubt_that_has_left_the_store_is_not_stored_again() {
    let scene = Scene::new(16 << 20);
    let place = scene.put_in_doubt(1);
    assert_eq!(scene.store.purge().unwrap(), 1);
    scene.store.put(&letter(1, 10), place).unwrap();
    assert!(scene.store.is_empty());
}

#[test]
fn a_letter_in_doubt_goes_to_the_stream_that_replaces_a_lost_one() {
    let scene = Scene::new(16 << 20);
    let place = scene.put_in_doubt(1);
    let (_spool, stream) = opened(&SimFiles::new(2), 16 << 20);
    scene.store.replace(stream).unwrap();
    scene.store.put(&letter(1, 10), place).unwrap();
    assert_eq!(scene.seqs(), [1]);
}

#[test]
fn a_letter_put_beside_others_again_after_a_failed_sync_is_there_once() {
    let scene = Scene::new(16 << 20);
    scene.disk.fail_syncs(1);
    scene.store.put_beside(&letter(1, 10)).unwrap_err();
    for seq in [1, 2, 2] {
        scene.store.put_beside(&letter(seq, 10)).unwrap();
    }
    assert_eq!(scene.seqs(), [1, 2, 2], "equal ones are told apart where nothing failed");
}

#[test]
fn the_largest_letter_is_stored_and_the_next_larger_one_costs_no_other() {
    // Sizes around the border, because a shorter letter has a shorter length in front.
    for max_bytes in [1 << 10, 4 << 10, 2 << 20] {
        let scene = Scene::new(max_bytes);
        let beside = letter(0, 0).encoded_len();
        let largest = usize::try_from(scene.store.largest).unwrap() - beside;
        scene.store.put(&letter(1, 10), None).unwrap();
        assert!(scene.store.can_hold(&letter(2, largest)) && !scene.store.can_hold(&letter(2, largest + 1)));
        scene.store.put(&letter(2, largest + 64), None).unwrap_err();
        assert_eq!((scene.seqs(), scene.store.evicted()), (vec![1], 0));
        scene.store.put(&letter(2, largest), None).unwrap();
        assert_eq!(scene.seqs(), [2]);
    }
}

#[test]
fn the_smallest_store_that_can_be_configured_holds_the_largest_record() {
    let scene = Scene::new(DeadLetterSettings::LEAST.get());
    // A payload of 1 MiB, its headers included, and all that the envelope and the letter put in front.
    let text = "x".repeat(2000);
    let letter = Letter::new(Origin::Queue(Class::Log), 1, &text, &text, &text, &vec![b'x'; (1 << 20) + 269]);
    assert!(scene.store.can_hold(&letter));
    scene.store.put(&letter, None).unwrap();
}
