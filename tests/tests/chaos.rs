//! One pod among real servers, and faults of all of them in an order that a seed draws: brokers, etcd and API server die or freeze, alone
//! and together, CIM is killed in the middle of it, and changes, events and subscriptions go on.
//!
//! `CIM_CHAOS_SEED` repeats a run; the seed is printed. `CIM_LONG=1`: minutes of it. The auditor of the config server judges.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "test code: a failed step is the failure, the environment gives the seed, and a run says what it draws"
)]

use std::ops::Range;
use std::time::{Duration, Instant};

use cim_services::{Etcd, Kafka, Kubernetes, until};
use cim_testkit::Seeded;
use cim_tests::client::Heard;
use cim_tests::cluster::Berth;
use cim_tests::world::{SUBSCRIPTIONS, Talk, World, change};
use cim_tests::{has_time, invariants};

/// The seed of a run that names none.
const SEED: u64 = 6;
/// Seconds of the lease of a change: longer than all that a round may keep it waiting.
const LEASE: u64 = 90;
/// Where CIM tells of what it has sent again within one life.
const ANNOUNCED: &str = "cim_kafka_possible_duplicates_total";
/// Longest wait for what has to heal after a round.
const HEALED: Duration = Duration::from_secs(60);

/// A server that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Broker,
    Etcd,
    ApiServer,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Its process is killed, and started again later.
    Killed,
    /// Its process stands still: connections stay, and nobody answers.
    Frozen,
}

/// What happens while servers are out.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// CIM is killed and started again.
    Kill,
    /// The config server writes a change, if its store is there.
    Change,
    /// An event that is subscribed to, if there is a broker.
    Event,
    /// The application subscribes to more, and takes that back.
    Subscribe,
}

/// Everything that is under way.
struct Chaos<'c> {
    world: World<'c>,
    etcd: &'static Etcd,
    kafka: &'c Kafka,
    kubernetes: &'static Kubernetes,
    berth: &'c Berth<'static>,
    heard: Heard,
    talk: Talk,
    seed: Seeded,
    /// How a server may fail.
    faults: &'static [Fault],
    /// Longest outage.
    longest: Duration,
    /// The last change.
    revision: i32,
    /// Events that were raised.
    raised: usize,
    /// What each kill of CIM may have found on its way: the numbers of logs and of events that it had not settled.
    kills: Vec<[Range<usize>; 2]>,
    /// Records that may be there twice beside those, by what the lives before this one said.
    announced: f64,
}

impl Chaos<'_> {
    fn begin(&self, target: Target, fault: Fault) {
        match (target, fault) {
            (Target::Broker, Fault::Killed) => self.kafka.broker(0).kill(),
            (Target::Broker, Fault::Frozen) => self.kafka.broker(0).pause(),
            (Target::Etcd, Fault::Killed) => self.etcd.member(0).kill(),
            (Target::Etcd, Fault::Frozen) => self.etcd.member(0).pause(),
            (Target::ApiServer, Fault::Killed) => self.kubernetes.kill(),
            (Target::ApiServer, Fault::Frozen) => self.kubernetes.pause(),
        }
    }

    fn end(&self, target: Target, fault: Fault) {
        match (target, fault) {
            (Target::Broker, Fault::Killed) => self.kafka.restart_all(),
            (Target::Broker, Fault::Frozen) => self.kafka.broker(0).resume(),
            (Target::Etcd, Fault::Killed) => self.etcd.member(0).restart(),
            (Target::Etcd, Fault::Frozen) => self.etcd.member(0).resume(),
            (Target::ApiServer, Fault::Killed) => self.kubernetes.restart(),
            (Target::ApiServer, Fault::Frozen) => self.kubernetes.resume(),
        }
    }

    fn pause(&mut self) {
        let time = self.seed.up_to(self.longest);
        self.talk.run_for(time);
    }

    fn act(&mut self, act: Act, out: &[(Target, Fault)]) {
        let is_there = |target| !out.iter().any(|(gone, _)| *gone == target);
        match act {
            Act::Kill => {
                self.announced += self.world.daemon.metric(ANNOUNCED);
                self.kills.push(self.world.kill_and_restart());
            }
            Act::Change if is_there(Target::Etcd) => {
                self.revision += 1;
                change(self.etcd, self.berth, self.revision, LEASE);
            }
            Act::Event if is_there(Target::Broker) => {
                self.raised += 1;
                self.world.raise(&event(self.raised));
            }
            Act::Subscribe => {
                let filter = br#"{"localEventName":["SomethingElse"]}"#;
                let answer = self.world.daemon.call("POST", SUBSCRIPTIONS, filter);
                let id =
                    answer.split_once("\"subscriptionId\":\"").and_then(|(_, rest)| rest.split_once('"'));
                let Some((id, _)) = id else { panic!("no subscription: {answer}") };
                let answer = self.world.daemon.call("DELETE", &format!("{SUBSCRIPTIONS}/{id}"), b"");
                assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
            }
            Act::Change | Act::Event => {}
        }
    }

    /// Some servers fail, things happen, and all servers come back.
    fn round(&mut self) {
        let mut targets = vec![Target::Broker, Target::Etcd, Target::ApiServer];
        let mut out = Vec::new();
        for _ in 0..=self.seed.below(3) {
            let target = targets.remove(self.seed.below(targets.len()));
            let fault = self.faults[self.seed.below(self.faults.len())];
            self.begin(target, fault);
            out.push((target, fault));
            let act = [Act::Kill, Act::Change, Act::Event, Act::Subscribe][self.seed.below(4)];
            println!("{target:?} {fault:?}, then {act:?}");
            self.pause();
            self.act(act, &out);
        }
        self.pause();
        while !out.is_empty() {
            let (target, fault) = out.remove(self.seed.below(out.len()));
            self.end(target, fault);
        }
    }

    /// A change, an event and a log of now arrive, and everything of before.
    fn assert_healed(&mut self) {
        let began = Instant::now();
        self.act(Act::Change, &[]);
        self.act(Act::Event, &[]);
        self.world.commits(self.revision);
        until("every event", HEALED, || {
            let heard = self.heard.lock().unwrap();
            (1..=self.raised).all(|nth| heard.contains(&event(nth)))
        });
        self.world.settles();
        println!("healed after {:?}", began.elapsed());
        let mut revisions = self.world.app.revisions();
        revisions.dedup();
        assert_eq!(revisions, (2..=self.revision).collect::<Vec<_>>(), "each change once, in order");
        assert!(self.world.auditor.deaths().is_empty(), "{:?}", self.world.auditor.sentences());
    }

    /// The pod ends. Nothing is missing, and only what a kill found on its way, or CIM has announced, is there twice.
    fn end_clean(self) {
        invariants::assert_books(&self.world.daemon);
        let announced = self.announced + self.world.daemon.metric(ANNOUNCED);
        let Chaos { mut world, talk, kills, .. } = self;
        let published = world.end(talk);
        let word = world.daemon.last_word();
        for left_over in ["exit_code", "held", "dropped", "dead_letters", "spilled"] {
            assert_eq!(word[left_over], 0, "{word}");
        }
        let unsettled: usize = kills.iter().flatten().map(ExactSizeIterator::len).sum();
        println!(
            "{} lines, {} uncertain, {} kills that found {unsettled} records not settled, {announced} repeats announced",
            published.lines,
            published.uncertain.len(),
            kills.len()
        );
        // A kill costs what is under way its answer.
        assert!(published.uncertain.len() <= 2 * kills.len(), "{published:?}");
        world.assert_clean(&published, unsettled as f64 + announced);
        world.assert_repeats(&kills, announced);
        assert!(world.auditor.deaths().is_empty(), "{:?}", world.auditor.sentences());
    }
}

fn event(nth: usize) -> String {
    format!(r#"{{"event":{nth}}}"#)
}

#[test]
fn a_pod_outlives_faults_of_everything_around_it_in_any_order_and_nothing_is_missing() {
    let (Some(kubernetes), Some(etcd), Some(kafka)) = (Kubernetes::start(), Etcd::single(), Kafka::single())
    else {
        return;
    };
    // Nobody else uses them, and the auditor's thread needs them until this program ends.
    let (kubernetes, etcd): (&'static Kubernetes, &'static Etcd) =
        (Box::leak(Box::new(kubernetes)), Box::leak(Box::new(etcd)));
    let seed = std::env::var("CIM_CHAOS_SEED").map_or(SEED, |text| text.parse().unwrap());
    let is_long = has_time("minutes of faults of everything around a pod");
    println!("CIM_CHAOS_SEED={seed}");
    let (rounds, longest, faults): (_, _, &[Fault]) = if is_long {
        (12, Duration::from_secs(5), &[Fault::Killed, Fault::Frozen])
    } else {
        // A broker and an API server take longer to start than a short test may.
        (2, Duration::from_millis(300), &[Fault::Frozen])
    };
    let berth = Berth::new(kubernetes);
    // The files of the original take logs in a long outage; here all of them are looked for in the topic.
    let world = World::start_with(etcd, &kafka, &berth, &[("CIM__ROUTES__LOGS__FALLBACK_AFTER", "1h")]);
    assert!(world.daemon.register().starts_with("HTTP/1.1 200"));
    world.commits(1);
    let (heard, talk) = (world.subscribe(), Talk::start(&world.client));
    let mut chaos = Chaos {
        world,
        etcd,
        kafka: &kafka,
        kubernetes,
        berth: &berth,
        heard,
        talk,
        seed: Seeded::new(seed),
        faults,
        longest,
        revision: 1,
        raised: 0,
        kills: Vec::new(),
        announced: 0.0,
    };
    for _ in 0..rounds {
        chaos.round();
        chaos.assert_healed();
    }
    chaos.act(Act::Kill, &[]);
    chaos.assert_healed();
    chaos.end_clean();
    assert!(berth.deletions().is_empty(), "nobody deletes the pod that ends");
}
