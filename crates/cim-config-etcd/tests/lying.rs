//! A watch whose server loses, repeats, swaps and withholds what it should say: a real one, behind a proxy that edits its
//! messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_config_etcd::Pace;
use cim_core::SourceErrorKind;
use cim_services::{Etcd, EtcdPlan, EtcdVersion};
use cim_testkit::{Behaviour, ChaosProxy, Direction};
use rig::{PATIENCE, Tail, change, hasty, patient, scope, text};

/// What is done to a message of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Lose,
    Repeat,
    /// Comes after the next message of the same stream that contains `early`.
    Delay,
}

/// Which messages are lied about: those that contain the bytes.
#[derive(Debug, Default)]
struct Liar {
    lies: Vec<(Vec<u8>, Lie)>,
    told: usize,
}

type Shared = Arc<Mutex<Liar>>;

/// The messages of one connection, cut out of its HTTP/2 frames.
struct Editor {
    liar: Shared,
    bytes: Vec<u8>,
    streams: HashMap<[u8; 4], Vec<u8>>,
    delayed: HashMap<[u8; 4], Vec<u8>>,
}

impl Editor {
    fn edit(&mut self, piece: &[u8]) -> Vec<u8> {
        self.bytes.extend_from_slice(piece);
        let mut out = Vec::new();
        while self.bytes.len() >= 9 {
            let end = 9 + u32::from_be_bytes([0, self.bytes[0], self.bytes[1], self.bytes[2]]) as usize;
            if self.bytes.len() < end {
                break;
            }
            let frame: Vec<u8> = self.bytes.drain(..end).collect();
            let stream = frame[5..9].try_into().unwrap();
            match frame[3] {
                0 => self.data(stream, &frame[9..], &mut out),
                _ => out.extend(frame),
            }
        }
        out
    }

    /// Bytes of gRPC messages: a flag, a length, the message.
    fn data(&mut self, stream: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
        let bytes = self.streams.entry(stream).or_default();
        bytes.extend_from_slice(payload);
        while bytes.len() >= 5 {
            let end = 5 + u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            if bytes.len() < end {
                break;
            }
            let message: Vec<u8> = bytes.drain(..end).collect();
            let mut liar = self.liar.lock().unwrap();
            let found = liar.lies.iter().find(|(marker, _)| contains(&message, marker)).map(|(_, lie)| *lie);
            liar.told += usize::from(found.is_some());
            match found {
                Some(Lie::Lose) => {}
                Some(Lie::Delay) => drop(self.delayed.insert(stream, message)),
                Some(Lie::Repeat) => {
                    [&message, &message].into_iter().for_each(|message| frame(stream, message, out))
                }
                None => {
                    frame(stream, &message, out);
                    if contains(&message, b"early") {
                        self.delayed.remove(&stream).iter().for_each(|message| frame(stream, message, out));
                    }
                }
            }
        }
    }
}

fn frame(stream: [u8; 4], message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes()[1..]);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&stream);
    out.extend_from_slice(message);
}

fn contains(message: &[u8], marker: &[u8]) -> bool {
    message.windows(marker.len()).any(|window| window == marker)
}

/// An etcd behind a liar that speaks the truth so far.
fn start(version: EtcdVersion) -> Option<(Etcd, ChaosProxy, Shared)> {
    let etcd = EtcdPlan::new().version(version).start()?;
    let proxy = ChaosProxy::start(etcd.member(0).address(), 1).unwrap();
    let liar = Shared::default();
    let of_connections = Arc::clone(&liar);
    proxy.rewrite(Direction::ToClient, move || {
        let liar = Arc::clone(&of_connections);
        let mut editor = Editor { liar, bytes: Vec::new(), streams: HashMap::new(), delayed: HashMap::new() };
        move |piece| editor.edit(&piece)
    });
    Some((etcd, proxy, liar))
}

fn lie(liar: &Shared, marker: &[u8], lie: Lie) {
    *liar.lock().unwrap() = Liar { lies: vec![(marker.to_vec(), lie)], told: 0 };
}

/// Waits for so many lies, and ends them.
async fn told(liar: &Shared, tail: &mut Tail, count: usize) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while liar.lock().unwrap().told < count {
        assert!(tokio::time::Instant::now() < deadline);
        assert!(tail.within(Duration::from_millis(5)).await.is_none());
    }
    liar.lock().unwrap().lies.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_watch_loses_is_found_by_comparing_keys() {
    for version in EtcdVersion::ALL {
        let Some((etcd, proxy, liar)) = start(version) else { return };
        let source = hasty(&[proxy.address().to_string()]);
        let mut tail = Tail::new(&source, &scope("amf"), None);
        tail.reset().await;
        lie(&liar, b"marker", Lie::Lose);
        etcd.put(&change("amf", 1), "marker");
        told(&liar, &mut tail, 1).await;
        let (revision, entries) = tail.reset().await;
        assert_eq!((revision, entries.len()), (etcd.revision(), 1));
        etcd.put(&change("amf", 2), "2");
        tail.put().await;
        // A removal.
        lie(&liar, change("amf", 1).as_bytes(), Lie::Lose);
        etcd.delete(&change("amf", 1));
        told(&liar, &mut tail, 1).await;
        assert_eq!(tail.reset().await.1.len(), 1);
        // A change of a key that changes again.
        lie(&liar, b"marker", Lie::Lose);
        etcd.put(&change("amf", 2), "marker");
        told(&liar, &mut tail, 1).await;
        etcd.put(&change("amf", 2), "3");
        assert_eq!(&*tail.reset().await.1[0].value, b"3", "noticed at once, by what it replaced");
        tail.quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_twice_is_handed_out_once_and_what_is_told_late_leads_to_a_new_reading() {
    for version in EtcdVersion::ALL {
        let Some((etcd, proxy, liar)) = start(version) else { return };
        let source = patient(&[proxy.address().to_string()]);
        let mut tail = Tail::new(&source, &scope("amf"), None);
        tail.reset().await;
        lie(&liar, b"marker", Lie::Repeat);
        etcd.put(&change("amf", 1), "marker");
        tail.put().await;
        etcd.delete(&change("amf", 1));
        tail.delete().await;
        etcd.put(&change("amf", 2), "2");
        assert_eq!(text(&tail.put().await.key), change("amf", 2));

        lie(&liar, b"marker", Lie::Delay);
        etcd.put("config/ns/amf", "marker");
        told(&liar, &mut tail, 1).await;
        etcd.put(&change("amf", 3), "early");
        assert_eq!(text(&tail.put().await.key), change("amf", 3));
        assert_eq!(tail.reset().await.1.len(), 3);
        tail.quiet().await;
    }
}

/// Field `watch_id` with the value -1: the answer to a question for progress.
fn progress() -> Vec<u8> {
    [&[0x10][..], &[0xff; 9], &[1]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_of_life_that_changes_went_past_is_no_reason_to_read_everything() {
    for version in EtcdVersion::ALL {
        let Some((etcd, proxy, liar)) = start(version) else { return };
        let source = patient(&[proxy.address().to_string()]);
        let mut tail = Tail::new(&source, &scope("amf"), None);
        tail.reset().await;
        // 3.6 does not answer a watch that has not had its first change.
        etcd.put(&change("amf", 1), "1");
        tail.put().await;
        lie(&liar, &progress(), Lie::Delay);
        told(&liar, &mut tail, 1).await;
        etcd.put(&change("amf", 2), "early");
        tail.put().await;
        tail.quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_for_progress_is_judged_by_whether_it_can_read() {
    let Some((etcd, proxy, liar)) = start(EtcdVersion::Oldest) else { return };
    lie(&liar, &progress(), Lie::Lose);
    // Such a silence ends nothing, so it may be short: the reading that it leads to has the limit of a call.
    let pace = Pace { silence: Duration::from_millis(1200), ..rig::pace() };
    let source = rig::paced(&[proxy.address().to_string()], pace);
    let mut tail = Tail::new(&source, &scope("amf"), None);
    tail.reset().await;
    assert!(tail.within(pace.silence * 3).await.is_none(), "it is not given up for its silence");
    assert!(liar.lock().unwrap().told > 5);
    etcd.put(&change("amf", 1), "1");
    tail.put().await;
    proxy.behave(Behaviour::blackhole());
    // Before a ping of the connection could tell: that takes 15 s.
    assert_eq!(tail.error_within(Duration::from_secs(14)).await.kind(), SourceErrorKind::Unavailable);
}
