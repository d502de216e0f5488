//! A Kafka cluster for a terminal or a script: starts so many brokers (default 1), prints their address, and obeys lines on
//! standard input until it ends: `topic NAME PARTITIONS`, `kill INDEX`, `restart INDEX`, `pause INDEX`, `resume INDEX`.
//! Each line is answered with `done`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program of the test harness: what goes wrong ends it"
)]

use cim_services::KafkaPlan;

fn main() {
    let brokers = std::env::args().nth(1).map_or(1, |count| count.parse().expect("a number of brokers"));
    let Some(kafka) = KafkaPlan::new().brokers(brokers).start() else { panic!("see above") };
    println!("{}", kafka.bootstrap());
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let index = || kafka.broker(words[1].parse().expect("the index of a broker"));
        match words[0] {
            "topic" => kafka.create_topic(words[1], words[2].parse().expect("a number of partitions")),
            "kill" => index().kill(),
            "restart" => index().restart(),
            "pause" => index().pause(),
            "resume" => index().resume(),
            other => panic!("no such order: {other}"),
        }
        println!("done");
    }
}
