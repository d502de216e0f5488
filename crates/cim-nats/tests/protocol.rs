//! The listener as a client sees it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use cim_nats::{Auth, NatsConfig, Secret};
use std::time::{Duration, Instant};
use support::{Ending, Server, config};

#[test]
fn info_then_silence_then_ping() {
    let server = Server::with(NatsConfig { first_ping: Duration::from_millis(300), ..config() });
    let start = Instant::now();
    let mut peer = server.connect();
    peer.expect("PING\r\n");
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[test]
fn messages_end_in_the_engine_and_pong_follows() {
    let server = Server::start();
    let mut peer = server.connect();
    peer.send("CONNECT {\"verbose\":false,\"name\":\"app\"}\r\nPUB LOG 2\r\nhi\r\nPUB LOG 0\r\n\r\n");
    peer.send(
        "PUB EVENT 1\r\ne\r\nPUB CONFIG 2\r\n{}\r\nPUB TEST 1\r\nt\r\nPUB LOGS 1\r\nx\r\nPUB log 1\r\nx\r\n",
    );
    assert_eq!(peer.flush(), "");
    let state = server.engine.lock();
    assert_eq!(state.logs, [b"hi".to_vec(), vec![]]);
    assert_eq!((state.events.len(), state.configs.len(), state.tests.len()), (1, 1, 1));
    assert_eq!(state.sources, vec![b"app".to_vec(); 3]);
    drop(state);
    server.wait_for("counts", |counts| {
        counts.received.iter().map(|route| route.messages).collect::<Vec<_>>() == [2, 1, 1, 1, 2]
    });
}

#[test]
fn the_thread_delivers_itself_only_where_nobody_waits_for_an_answer() {
    let server = Server::start();
    let mut peer = server.client();
    peer.flush();
    peer.send("PUB LOG 1\r\na\r\nPUB EVENT 1\r\nb\r\n");
    server.wait_for("both", |counts| counts.received.iter().map(|route| route.messages).sum::<u64>() == 2);
    // One turn is over before the next one begins.
    peer.flush();
    assert_eq!(server.engine.lock().delivered_here, 2);
    peer.send("PUB LOG 1\r\nc\r\nPUB EVENT 1\r\nd\r\nPING\r\n");
    peer.expect("PONG\r\n");
    peer.send("PUB LOG here.me 1\r\ne\r\n");
    peer.flush();
    let state = server.engine.lock();
    assert_eq!((state.offered, state.delivered_here, state.held), (5, 2, 0));
}

#[test]
fn pong_waits_for_acceptance_and_other_connections_do_not() {
    let server = Server::start();
    let (mut first, mut second) = (server.client(), server.client());
    first.flush();
    server.engine.change(|state| state.hold_acceptance = true);
    first.send("PUB LOG 1\r\nx\r\nPING\r\nPING\r\n");
    server.wait_for("two pings", |counts| counts.pings == 3);
    assert_eq!(first.until(Duration::from_millis(50), |_| false), (vec![], Ending::Open));
    second.flush();
    server.engine.change(|state| state.accepted = 1);
    first.expect("PONG\r\nPONG\r\n");
}

#[test]
fn a_reply_subject_gets_an_acknowledgement_or_an_error() {
    let server = Server::start();
    let mut peer = server.client();
    peer.send("SUB _INBOX.> 1\r\nPUB LOG _INBOX.a 1\r\nx\r\nPUB EVENT _INBOX.b 1\r\ny\r\nPUB LOG _INBOX.c 3\r\nbad\r\n");
    let ack = r#"{"stream":"LOG","seq":1,"level":"written"}"#;
    let event = r#"{"stream":"EVENT","seq":1,"level":"written"}"#;
    let refused = r#"{"error":{"code":400,"err_code":10077,"description":"malformed"},"stream":"LOG"}"#;
    let got = peer.flush();
    for (inbox, body) in [("a", ack), ("b", event), ("c", refused)] {
        let expected = format!("MSG _INBOX.{inbox} 1 {}\r\n{body}\r\n", body.len());
        assert!(got.contains(&expected), "{got}");
    }
}

#[test]
fn an_acknowledgement_waits_for_acceptance() {
    let server = Server::start();
    let mut peer = server.client();
    peer.send("SUB r 1\r\n");
    peer.flush();
    server.engine.change(|state| state.hold_acceptance = true);
    peer.send("PUB LOG r 1\r\nx\r\n");
    server.wait_for("the message", |counts| counts.received[0].messages == 1);
    assert_eq!(peer.until(Duration::from_millis(50), |_| false), (vec![], Ending::Open));
    server.engine.change(|state| state.accepted = 1);
    assert!(peer.line().starts_with("MSG r 1 "));
}

#[test]
fn log_is_also_delivered_to_subscribers() {
    let server = Server::start();
    let (mut tap, mut app) = (server.client(), server.client());
    tap.send("SUB LOG 1\r\n");
    tap.flush();
    app.send("PUB LOG 2\r\nhi\r\n");
    tap.expect("MSG LOG 1 2\r\nhi\r\n");
    assert_eq!(server.engine.lock().logs.len(), 1);
}

#[test]
fn headers_go_only_to_clients_that_asked() {
    let server = Server::start();
    let (mut old, mut new) = (server.client(), server.connect());
    new.send("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB a 7\r\n");
    new.flush();
    old.send("SUB a 8\r\n");
    old.flush();
    new.send("HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    new.expect("HMSG a 7 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    old.expect("MSG a 8 2\r\nhi\r\n");
    old.send("HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    assert_eq!(old.until_closed(), b"");
}

#[test]
fn nobody_there() {
    let server = Server::start();
    let mut peer = server.connect();
    peer.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"echo\":false}\r\n");
    peer.send("SUB _INBOX.* 1\r\nPUB nobody _INBOX.x 1\r\nq\r\n");
    peer.expect("HMSG _INBOX.x 1 38 38\r\nNATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n\r\n");
    let mut old = server.client();
    old.send("SUB _INBOX.* 1\r\nPUB nobody _INBOX.x 1\r\nq\r\n");
    assert_eq!(old.flush(), "");
}

#[test]
fn request_and_reply_between_clients() {
    let server = Server::start();
    let (mut service, mut caller) = (server.client(), server.client());
    service.send("SUB help workers 1\r\n");
    service.flush();
    caller.send("SUB _INBOX.1 9\r\nUNSUB 9 1\r\nPUB help _INBOX.1 2\r\nhi\r\n");
    service.expect("MSG help 1 _INBOX.1 2\r\nhi\r\n");
    service.send("PUB _INBOX.1 2\r\nok\r\nPUB _INBOX.1 2\r\nno\r\n");
    service.flush();
    caller.expect("MSG _INBOX.1 9 2\r\nok\r\n");
    assert_eq!(caller.flush(), "");
    server.wait_for("one subscription left", |counts| counts.subscriptions == 1);
}

#[test]
fn a_queue_group_shares_and_passes_over_members_that_do_not_echo() {
    let server = Server::start();
    let (mut one, mut two, mut app) = (server.connect(), server.client(), server.client());
    one.send("CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB q g 1\r\n");
    one.flush();
    two.send("SUB q g 2\r\n");
    two.flush();
    app.send("PUB q 1\r\nx\r\n".repeat(200));
    app.flush();
    let count = |text: String| text.matches("MSG").count();
    let (first, second) = (count(one.flush()), count(two.flush()));
    assert_eq!(first + second, 200);
    assert!(first > 50 && second > 50, "{first} and {second}");
    one.send("PUB q 1\r\nx\r\n".repeat(50));
    assert_eq!(count(one.flush()), 0);
    assert_eq!(count(two.flush()), 50);
}

#[test]
fn credentials() {
    let auth = || Some(Auth::Token(Secret::new("s3cret")));
    let server = Server::with(NatsConfig { auth: auth(), ..config() });
    let violation = b"-ERR 'Authorization Violation'\r\n";
    for line in [
        "CONNECT {\"verbose\":false}\r\nPING\r\n",
        "CONNECT {\"auth_token\":\"S3cret\"}\r\n",
        "PING\r\n",
        "PUB LOG 1000000\r\n",
        "CONNECT {\"auth_token\":\"s3cret\"}\r\nCONNECT {\"auth_token\":\"x\"}\r\nPUB LOG 1\r\nx\r\n",
    ] {
        let mut peer = server.connect();
        peer.send(line);
        let got = peer.until_closed();
        assert!(got.ends_with(violation), "{line}: {:?}", String::from_utf8_lossy(&got));
    }
    assert!(server.engine.lock().logs.is_empty());
    let mut good = server.connect();
    good.send("CONNECT {\"verbose\":false,\"auth_token\":\"s3cret\"}\r\n");
    assert_eq!(good.flush(), "");
    server.wait_for("all failures", |counts| counts.auth_failures == 5);
    // A limit of its own: a client that has to get -ERR is not quicker than this on every machine.
    let auth_timeout = Duration::from_millis(200);
    let impatient = Server::with(NatsConfig { auth: auth(), auth_timeout, ..config() });
    let mut silent = impatient.connect();
    assert_eq!(silent.until_closed(), b"", "plain close after the time limit");
    let mut slow = impatient.connect();
    slow.try_send("CONNECT {\"auth_token\":\"s3");
    assert_eq!(slow.until_closed(), b"");
    impatient.wait_for("both failures", |counts| counts.auth_failures == 2);
}

#[test]
fn more_connections_than_allowed_are_closed_at_once() {
    let server = Server::with(NatsConfig { max_connections: 2, ..config() });
    let (mut one, _two) = (server.client(), server.client());
    let mut three = support::Peer { stream: std::net::TcpStream::connect(server.address).unwrap() };
    assert_eq!(three.until_closed(), b"");
    assert_eq!(one.flush(), "");
    drop(one);
    server.wait_for("a free place", |counts| counts.connections == 1);
    server.client().flush();
}

#[test]
fn close_answers_what_it_can_and_returns() {
    // Longer than anybody waits here: it returns because all is answered.
    let server = Server::with(NatsConfig { close_deadline: Duration::from_secs(20), ..config() });
    let mut peer = server.client();
    peer.flush();
    server.engine.change(|state| state.hold_acceptance = true);
    peer.send("PUB LOG 1\r\nx\r\nPING\r\n");
    server.wait_for("the ping", |counts| counts.pings == 2);
    server.control.close();
    server.engine.change(|state| state.accepted = 1);
    assert_eq!(peer.until_closed(), b"PONG\r\n");
    server.finish();
}

#[test]
fn published_from_inside() {
    let server = Server::start();
    let mut peer = server.client();
    peer.send("SUB EVENT-NOTIFICATION 1\r\n");
    peer.flush();
    server.control.publish(b"EVENT-NOTIFICATION", None, b"{\"event\":1}").unwrap();
    peer.expect("MSG EVENT-NOTIFICATION 1 11\r\n{\"event\":1}\r\n");
    assert!(server.control.publish(b"a\r\nPING", None, b"").is_err());
    assert!(server.control.publish(b"a.*", None, b"").is_err());
    assert!(server.control.publish(b"a", Some(b"x"), b"").is_err());
}

#[test]
fn half_close_after_ping_still_gets_its_pong() {
    let server = Server::start();
    let mut peer = server.client();
    peer.flush();
    server.engine.change(|state| state.hold_acceptance = true);
    peer.send("PUB LOG 1\r\nx\r\nPING\r\nPUB LOG 5\r\nhal");
    peer.half_close();
    server.wait_for("the ping", |counts| counts.pings == 2);
    server.engine.change(|state| state.accepted = 1);
    assert_eq!(peer.until_closed(), b"PONG\r\n");
    server.wait_for("the broken frame", |counts| counts.broken_frames == 1);
    assert_eq!(server.engine.lock().logs, [b"x".to_vec()]);
}

#[test]
fn a_taken_port_is_named() {
    let server = Server::start();
    let error =
        cim_nats::Listener::bind(NatsConfig { listen: vec![server.address], ..config() }).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.address));
    let exposed = NatsConfig { listen: vec!["0.0.0.0:0".parse().unwrap()], allow_remote: true, ..config() };
    let error = cim_nats::Listener::bind(exposed).unwrap_err();
    assert!(error.to_string().contains("0.0.0.0:0"), "{error}");
}

#[test]
fn several_addresses_and_those_that_may_be_missing() {
    let missing = "192.0.2.1:0".parse().unwrap();
    let listen = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap(), missing];
    let auth = Some(Auth::Token(Secret::new("t")));
    let both = NatsConfig { listen, allow_remote: true, auth, ..config() };
    let error = cim_nats::Listener::bind(both.clone()).unwrap_err();
    assert_eq!(error.to_string(), "cannot listen on 192.0.2.1:0");
    let listener = cim_nats::Listener::bind(NatsConfig { optional: vec![missing], ..both }).unwrap();
    assert_eq!(listener.local_addrs().len(), 2);
}

#[test]
fn without_headers_there_are_none() {
    let server = Server::with(NatsConfig { headers: false, ..config() });
    let mut peer = support::Peer { stream: std::net::TcpStream::connect(server.address).unwrap() };
    assert!(!peer.line().contains("headers"));
    peer.send(
        "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB r 1\r\nPUB a r 0\r\n\r\n",
    );
    assert_eq!(peer.flush(), "");
    peer.send("HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    assert_eq!(peer.until_closed(), b"");
}

#[test]
fn many_busy_publishers_do_not_starve_others() {
    let server = Server::start();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let (mut peer, stop) = (server.client(), std::sync::Arc::clone(&stop));
            let frames = format!("PUB other 8192\r\n{}\r\n", "x".repeat(8_192)).repeat(100);
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    peer.send(&frames);
                }
                peer.flush();
            })
        })
        .collect();
    let mut app = server.client();
    for _ in 0..50 {
        app.send("PUB LOG 1\r\nx\r\n");
        app.flush();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(server.engine.lock().logs.len(), 50);
}
