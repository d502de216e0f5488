//! Hostile and broken input on the port: each line of the table is pinned, and a neighbour is never harmed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use cim_nats::NatsConfig;
use std::time::Duration;
use support::{Ending, Peer, Server, config};

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n";

/// Sends `input`, says what came back and whether the connection lives on.
fn play(server: &Server, input: &[u8]) -> (String, Ending) {
    let mut peer = server.connect();
    peer.try_send(input);
    peer.try_send("PING\r\n");
    let (got, ending) = peer.until(support::PATIENCE, |got| got.ends_with(b"PONG\r\n"));
    let got = String::from_utf8_lossy(&got).into_owned();
    (got.strip_suffix("PONG\r\n").unwrap_or(&got).to_owned(), ending)
}

const OPEN: Ending = Ending::Open;
const CLOSED: Ending = Ending::Closed;
const TOO_LARGE: &str = "-ERR 'Maximum Payload Violation'\r\n";
const BAD_SUBJECT: &str = "-ERR 'Invalid Subject'\r\n";

/// Input after CONNECT, what comes back, how it ends.
#[allow(clippy::too_many_lines, reason = "one table")]
fn table() -> Vec<(String, &'static str, Ending)> {
    let long_sid = "s".repeat(4_080);
    vec![
        // verbs
        ("pub a 1\r\nx\r\n".into(), "", OPEN),
        ("PuB a 1\r\nx\r\n".into(), "", OPEN),
        ("PUBX a 1\r\nx\r\n".into(), "", CLOSED),
        ("PU\r\n".into(), "", CLOSED),
        ("\r\n".into(), "", CLOSED),
        ("\n".into(), "", CLOSED),
        ("\r".into(), "", CLOSED),
        ("\0".into(), "", CLOSED),
        ("GET / HTTP/1.1\r\n\r\n".into(), "", CLOSED),
        ("MSG a 1 1\r\nx\r\n".into(), "", CLOSED),
        ("HMSG a 1 12 13\r\n".into(), "", CLOSED),
        ("RMSG a b 1\r\nx\r\n".into(), "", CLOSED),
        ("LS+ a\r\n".into(), "", CLOSED),
        ("RS+ a\r\n".into(), "", CLOSED),
        ("A+ a\r\n".into(), "", CLOSED),
        ("INFO {}\r\n".into(), "", OPEN),
        ("-ERR x\r\n".into(), "", CLOSED),
        ("+OK\r\n".into(), "", OPEN),
        ("+X\r\n".into(), "", CLOSED),
        (" PING\r\n".into(), "", CLOSED),
        // control lines
        (format!("SUB {} 1\r\n", "a".repeat(4_089)), "", OPEN),
        (format!("SUB {} 1\r\n", "a".repeat(4_090)), "", OPEN),
        (format!("SUB {} 1\r\n", "a".repeat(4_091)), "", CLOSED),
        (format!("PUB {}", "a".repeat(1 << 20)), "", CLOSED),
        (format!("PUB a{}1\r\nx\r\n", " \t".repeat(5_000)), "", CLOSED),
        ("SUB\ta\t1  \r\n".into(), "", OPEN),
        // sizes
        ("PUB a\r\n".into(), "", CLOSED),
        ("PUB a -1\r\n".into(), "", CLOSED),
        ("PUB a +1\r\n".into(), "", CLOSED),
        ("PUB a 0x10\r\n".into(), "", CLOSED),
        ("PUB a 1e3\r\n".into(), "", CLOSED),
        ("PUB a 00000005\r\nhello\r\n".into(), "", OPEN),
        ("PUB a 123456789\r\n".into(), TOO_LARGE, CLOSED),
        ("PUB a 1234567890\r\n".into(), TOO_LARGE, CLOSED),
        ("PUB a 4294967296\r\n".into(), TOO_LARGE, CLOSED),
        ("PUB a 18446744073709551616\r\n".into(), TOO_LARGE, CLOSED),
        (format!("PUB LOG 1048576\r\n{}\r\n", "x".repeat(1 << 20)), "", OPEN),
        (format!("PUB LOG 1048577\r\n{}\r\n", "x".repeat((1 << 20) + 1)), TOO_LARGE, CLOSED),
        ("PUB a 2\r\nabc\r\n".into(), "", CLOSED),
        ("PUB a 3\r\nabc\n".into(), "", CLOSED),
        ("PUB a 3\r\nabc\r\r\n".into(), "", CLOSED),
        ("PUB a 3\r\nabcPING\r\n".into(), "", CLOSED),
        // headers
        ("HPUB a 13 12\r\n".into(), "", CLOSED),
        ("HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n".into(), "", OPEN),
        ("HPUB a 0 1\r\nx\r\n".into(), "", CLOSED),
        ("HPUB a 4 4\r\n\r\n\r\n\r\n".into(), "", CLOSED),
        ("HPUB a 10 10\r\nNATS/1.0\r\n\r\n".into(), "", CLOSED),
        ("HPUB a 18 18\r\nNATS/1.0\r\nA: \0\r\n\r\n\r\n".into(), "", OPEN),
        (
            format!("HPUB a {0} {0}\r\nNATS/1.0\r\n{1}\r\n\r\n", 12 + 60_000, "A: b\r\n".repeat(10_000)),
            "",
            OPEN,
        ),
        ("CONNECT {\"headers\":false}\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n".into(), "", CLOSED),
        ("HPUB a 23 23\r\nNATS/1.0\r\nA: b\r\n  c\r\n\r\n\r\n".into(), "", OPEN),
        // subjects
        ("PUB a..b 1\r\nx\r\n".into(), "", OPEN),
        ("PUB .a 1\r\nx\r\n".into(), "", OPEN),
        ("PUB a. 1\r\nx\r\n".into(), "", OPEN),
        ("PUB a.>.b 1\r\nx\r\n".into(), "", OPEN),
        (format!("PUB {} 1\r\nx\r\n", ["t"; 4_000].join(".")), "", CLOSED),
        ("PUB > 1\r\nx\r\n".into(), "", OPEN),
        ("PUB * 1\r\nx\r\n".into(), "", OPEN),
        ("PUB \u{80} 1\r\nx\r\n".into(), "", OPEN),
        ("PUB a\u{1}b 1\r\nx\r\n".into(), "", OPEN),
        ("SUB a..b 1\r\n".into(), BAD_SUBJECT, OPEN),
        ("SUB .a 1\r\n".into(), BAD_SUBJECT, OPEN),
        ("SUB a. 1\r\n".into(), BAD_SUBJECT, OPEN),
        ("SUB a.>.b 1\r\n".into(), BAD_SUBJECT, OPEN),
        ("SUB a\0 1\r\n".into(), BAD_SUBJECT, OPEN),
        (format!("SUB {} 1\r\n", ["t"; 2_000].join(".")), "", OPEN),
        (format!("PUB {} 1\r\nx\r\n", ["t"; 2_000].join(".")), "", OPEN),
        (format!("SUB {} 1\r\n", "t".repeat(255)), "", OPEN),
        ("PUB $SYS.REQ.SERVER.PING r 0\r\n\r\n".into(), "", OPEN),
        ("SUB _INBOX.> 1\r\n".into(), "", OPEN),
        ("SUB LOG 1\r\nPUB LOG  1\r\nx\r\n".into(), "MSG LOG 1 1\r\nx\r\n", OPEN),
        // SUB and UNSUB
        ("SUB a 1\r\nSUB b 1\r\nPUB b 1\r\nx\r\n".into(), "", OPEN),
        (format!("SUB a {long_sid}\r\nUNSUB {long_sid}\r\n"), "", OPEN),
        ("SUB a 1\r\nUNSUB 1 -1\r\nPUB a 1\r\nx\r\n".into(), "", OPEN),
        ("SUB a 1\r\nUNSUB 1 0\r\nPUB a 1\r\nx\r\n".into(), "", OPEN),
        ("SUB a 1\r\nUNSUB 1 99999999999999999999\r\nPUB a 1\r\nx\r\n".into(), "MSG a 1 1\r\nx\r\n", OPEN),
        ("UNSUB 5\r\n".into(), "", OPEN),
        ("SUB a q r s\r\n".into(), "", CLOSED),
        // CONNECT again
        ("CONNECT\r\n".into(), "", CLOSED),
        ("CONNECT nonsense\r\n".into(), "", CLOSED),
        ("CONNECT null\r\n".into(), "", CLOSED),
        ("CONNECT []\r\n".into(), "", CLOSED),
        ("CONNECT {\"verbose\":\"yes\"}\r\n".into(), "", CLOSED),
        ("CONNECT {\"user\":1}\r\n".into(), "", CLOSED),
        ("CONNECT {\"protocol\":2}\r\n".into(), "", CLOSED),
        ("CONNECT {\"protocol\":-1}\r\n".into(), "", CLOSED),
        (format!("CONNECT {}\r\n", "[".repeat(4_000)), "", CLOSED),
        (format!("CONNECT {{\"auth_token\":\"{}\"}}\r\n", "t".repeat(1 << 20)), "", CLOSED),
        ("CONNECT {\"verbose\":true,\"verbose\":false}\r\n".into(), "", OPEN),
        (
            "CONNECT {\"verbose\":false,\"auth_token\":\"a\\u0000b\",\"sig\":\"x\",\"nkey\":\"y\"}\r\n"
                .into(),
            "",
            OPEN,
        ),
        ("CONNECT {\"verbose\":false,\"lang\":\"a\\\"b\\nc\",\"version\":\"\\r\\n\"}\r\n".into(), "", OPEN),
        ("CONNECT {}\r\n".into(), "", OPEN),
        ("CONNECT {\"verbose\":true}\r\n".into(), "+OK\r\n", OPEN),
        (
            "CONNECT {\"pedantic\":true}\r\nPUB a.* 1\r\nx\r\n".into(),
            "-ERR 'Invalid Publish Subject'\r\n",
            OPEN,
        ),
    ]
}

#[test]
fn after_connect() {
    let server = Server::start();
    let mut neighbour = server.client();
    for (input, expected, ending) in table() {
        let name: String = input.chars().take(60).collect();
        let got = play(&server, format!("{CONNECT}{input}").as_bytes());
        assert_eq!(got, (expected.to_owned(), ending), "{name:?}");
        assert_eq!(neighbour.flush(), "", "the neighbour of {name:?}");
    }
    neighbour.send("PUB EVENT-NOTIFICATION 1\r\nx\r\n");
    assert_eq!(neighbour.flush(), "");
}

#[test]
fn the_limit_of_a_control_line_is_the_same_byte_by_byte() {
    let server = Server::start();
    for (length, ending) in [(4_089, OPEN), (4_090, OPEN), (4_091, CLOSED)] {
        let mut peer = server.connect();
        for byte in format!("{CONNECT}SUB {} 1\r\n", "a".repeat(length)).bytes() {
            peer.try_send([byte]);
        }
        peer.try_send("PING\r\n");
        let (_, got) = peer.until(support::PATIENCE, |got| got.ends_with(b"PONG\r\n"));
        assert_eq!(got, ending, "{length}");
    }
}

#[test]
fn bytes_that_are_no_text() {
    let server = Server::start();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for input in [&vec![0xff; 1 << 20][..], tls, &[0, 1, 2, b'\r', b'\n'], &[0x80]] {
        assert_eq!(play(&server, input), (String::new(), CLOSED));
    }
    let mut subject = b"SUB \xff\x80 1\r\nPUB \xff\x80 1\r\nx\r\n".to_vec();
    subject.splice(0..0, CONNECT.bytes());
    let (got, ending) = play(&server, &subject);
    assert!(got.starts_with("MSG ") && ending == OPEN, "{got}");
}

#[test]
fn before_connect() {
    let server = Server::start();
    for (input, expected) in [
        ("", ""),
        ("PUB a 1\r\nx\r\n", "+OK\r\n"),
        ("SUB a 1\r\nPUB a 1\r\nx\r\n", "+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\n"),
    ] {
        assert_eq!(play(&server, input.as_bytes()), (expected.to_owned(), OPEN), "{input:?}");
    }
}

#[test]
fn a_frame_cut_at_every_byte_is_never_delivered() {
    let server = Server::start();
    let frame = "PUB LOG 12\r\nhello\r\nworld\r\n";
    for cut in 1..frame.len() {
        let mut peer = server.client();
        peer.send(&frame[..cut]);
        peer.half_close();
        assert_eq!(peer.until_closed(), b"");
    }
    assert!(server.engine.lock().logs.is_empty());
    server.wait_for("every cut was counted", |counts| counts.broken_frames == frame.len() as u64 - 1);
}

#[test]
fn half_open_and_announced_but_never_sent() {
    let server = Server::with(NatsConfig { max_connections: 3_000, ..config() });
    let mut neighbour = server.client();
    let idle: Vec<Peer> = (0..1_000).map(|_| server.connect()).collect();
    let announced: Vec<Peer> = (0..1_000)
        .map(|_| {
            let mut peer = server.client();
            peer.send("PUB LOG 1048576\r\nx");
            peer
        })
        .collect();
    server.wait_for("all of them", |counts| counts.connections == 2_001);
    let all = 1_000 * ("PUB LOG 1048576\r\nx".len() as u64);
    server.wait_for("their bytes", |counts| counts.read_bytes >= all);
    assert_eq!(neighbour.flush(), "");
    let reserved = server.engine.lock().reserved;
    assert!(reserved <= 2 << 20, "announced bytes cost nothing: {reserved}");
    drop((idle, announced));
    server.wait_for("all gone", |counts| counts.connections == 1);
}

#[test]
fn memory_follows_the_received_bytes_and_never_passes_the_budget() {
    let server = Server::on(
        NatsConfig { hold_limit: Duration::from_millis(600), ..config() },
        support::Engine::with_budget(4 << 20),
    );
    let mut peers: Vec<Peer> = (0..40).map(|_| server.client()).collect();
    for peer in &mut peers {
        peer.stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        peer.try_send("PUB LOG 1048576\r\n");
        peer.try_send(vec![b'x'; 300_000]);
    }
    server.wait_for("those without memory are given up", |counts| counts.backpressure_closes >= 20);
    assert!(server.engine.lock().most_reserved <= 4 << 20);
    drop(peers);
    server.wait_for("all gone", |counts| counts.connections == 0);
    let mut peer = server.client();
    peer.send(format!("PUB LOG 1048576\r\n{}\r\n", "x".repeat(1 << 20)));
    assert_eq!(peer.flush(), "");
    assert_eq!(server.engine.lock().logs.len(), 1);
}

#[test]
fn pings_nobody_reads_and_subscriptions_without_end() {
    let server = Server::with(NatsConfig { max_subscriptions: 1_000, ..config() });
    let mut neighbour = server.client();
    let mut peer = server.client();
    peer.send("PING\r\n".repeat(100_000));
    peer.expect("PONG\r\n".repeat(100_000));
    for sid in 0..1_001 {
        peer.send(format!("SUB a.{sid} {sid}\r\n"));
    }
    assert_eq!(peer.flush(), "-ERR 'maximum subscriptions exceeded'\r\n");
    for _ in 0..20_000 {
        peer.send("UNSUB 1\r\nSUB a.* 1\r\n");
    }
    assert_eq!(peer.flush(), "");
    assert_eq!(neighbour.flush(), "");
    server.wait_for("1,000", |counts| counts.subscriptions == 1_000);
}

#[test]
fn a_storm_of_connections() {
    let server = Server::start();
    let mut neighbour = server.client();
    for _ in 0..2_000 {
        drop(std::net::TcpStream::connect(server.address).unwrap());
    }
    assert_eq!(neighbour.flush(), "");
    server
        .wait_for("all gone", |counts| counts.connections == 1 && counts.accepted + counts.refused == 2_001);
}
