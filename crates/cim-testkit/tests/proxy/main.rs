//! The chaos proxy: byte-exact when told nothing, and each fault really happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test code")]

mod stage;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use cim_testkit::{Admission, Behaviour, ChaosProxy, Direction, Ending, Flow, HeldPort};
use stage::{PATIENCE, SILENCE, Stage, bytes, rest_of, send, silent, until, until_the_end};

const DIRECTIONS: [Direction; 2] = [Direction::ToTarget, Direction::ToClient];

/// Data through every given connection at once, both ways, each with its own half close.
fn exchange(stage: &Stage, connections: usize, length: usize) {
    let data = bytes(length);
    std::thread::scope(|scope| {
        for _ in 0..connections {
            let (client, server) = stage.connection();
            let (client, server, data) = (std::sync::Arc::new(client), std::sync::Arc::new(server), &data);
            for stream in [std::sync::Arc::clone(&client), std::sync::Arc::clone(&server)] {
                scope.spawn(move || send(&stream, data));
            }
            for stream in [client, server] {
                scope.spawn(move || assert!(rest_of(&stream) == *data, "not the same bytes"));
            }
        }
    });
}

#[test]
fn a_faithful_proxy_is_byte_exact_and_keeps_half_closes() {
    let stage = Stage::new();
    exchange(&stage, 6, 3_000_001);
    assert_eq!(stage.proxy.accepted(), 6);
    for direction in DIRECTIONS {
        assert_eq!(stage.proxy.forwarded(direction), 6 * 3_000_001);
    }
}

#[test]
fn delay_jitter_and_bandwidth_change_no_byte() {
    let flow = Flow::faithful().delay(Duration::from_millis(3)).jitter(Duration::from_millis(5));
    exchange(&Stage::with(Behaviour::both(flow)), 2, 1_000_001);
    exchange(&Stage::with(Behaviour::both(Flow::faithful().bytes_per_second(2_000_000))), 2, 300_001);
}

#[test]
fn a_delay_delays_and_does_not_limit_the_rate() {
    let delay = Duration::from_millis(80);
    for direction in DIRECTIONS {
        let stage = Stage::with(Behaviour::faithful().flow(direction, Flow::faithful().delay(delay)));
        let (mut sender, mut receiver) = stage.along(direction);
        let start = Instant::now();
        sender.write_all(b"x").unwrap();
        receiver.read_exact(&mut [0]).unwrap();
        assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
        // One piece per delay would take 40 s.
        let start = Instant::now();
        let data = bytes(32 << 20);
        std::thread::scope(|scope| {
            scope.spawn(|| send(&sender, &data));
            assert!(rest_of(&receiver) == data);
        });
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    }
}

#[test]
fn a_delay_holds_for_the_first_bytes_after_it_was_set() {
    let delay = Duration::from_millis(40);
    for direction in DIRECTIONS {
        let stage = Stage::new();
        let (mut sender, mut receiver) = stage.along(direction);
        for _ in 0..5 {
            stage.proxy.behave(Behaviour::faithful());
            sender.write_all(b"x").unwrap();
            receiver.read_exact(&mut [0]).unwrap();
            stage.proxy.behave(Behaviour::faithful().flow(direction, Flow::faithful().delay(delay)));
            let start = Instant::now();
            sender.write_all(b"x").unwrap();
            receiver.read_exact(&mut [0]).unwrap();
            assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
        }
    }
}

#[test]
fn a_bandwidth_is_kept() {
    let rate = 1_000_000;
    for direction in DIRECTIONS {
        let flow = Flow::faithful().bytes_per_second(rate);
        let stage = Stage::with(Behaviour::faithful().flow(direction, flow));
        let (sender, receiver) = stage.along(direction);
        let start = Instant::now();
        let data = bytes(300_000);
        send(&sender, &data);
        assert!(rest_of(&receiver) == data);
        assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
    }
}

#[test]
fn a_cut_is_exact_in_both_directions_and_of_the_kind_asked_for() {
    for direction in DIRECTIONS {
        for after in [0, 1, 13, 4_096, 65_535, 65_536, 65_537, 200_000] {
            for ending in [Ending::Close, Ending::Reset, Ending::HalfClose] {
                let flow = Flow::faithful().cut_after(after, ending);
                let (stage, cut) = (Stage::new(), Behaviour::faithful().flow(direction, flow));
                // Before the first byte it would happen before the client knows that it is connected, at times.
                if after > 0 {
                    stage.proxy.behave(cut);
                }
                let (sender, receiver) = stage.along(direction);
                if after == 0 {
                    stage.proxy.behave(cut);
                }
                let data = bytes(300_000);
                let (received, end) = std::thread::scope(|scope| {
                    scope.spawn(|| (&sender).write_all(&data));
                    let seen = until_the_end(&receiver);
                    // After a half close nobody reads what the sender still has.
                    let _ = sender.shutdown(Shutdown::Both);
                    seen
                });
                let end_wanted = (ending == Ending::Reset).then_some(ErrorKind::ConnectionReset);
                assert_eq!((received.len() as u64, end), (after, end_wanted), "{direction:?} {ending:?}");
                assert!(received == data[..received.len()]);
            }
        }
    }
}

#[test]
fn a_reset_waits_for_a_receiver_that_reads_late_and_not_for_one_that_never_does() {
    let after = 200_000;
    let scene = |direction, reads: bool| {
        let flow = Flow::faithful().cut_after(after, Ending::Reset);
        let stage = Stage::with(Behaviour::faithful().flow(direction, flow));
        let (sender, receiver) = stage.along(direction);
        // Room for less than that, while the sender's side has room for the rest of it.
        socket2::SockRef::from(&receiver).set_recv_buffer_size(16_384).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| (&sender).write_all(&bytes(after as usize)));
            until("everything is written", || stage.proxy.forwarded(direction) == after);
            if !reads {
                until("the connection is over", || stage.proxy.live() == 0);
            }
            let (received, end) = until_the_end(&receiver);
            assert_eq!(end, Some(ErrorKind::ConnectionReset), "{direction:?}");
            assert!(!reads || received.len() as u64 == after, "{direction:?}: {} bytes", received.len());
        });
    };
    std::thread::scope(|scope| {
        for (direction, reads) in DIRECTIONS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
            scope.spawn(move || scene(direction, reads));
        }
    });
}

#[test]
fn after_a_half_close_the_other_direction_goes_on() {
    let flow = Flow::faithful().cut_after(3, Ending::HalfClose);
    let stage = Stage::with(Behaviour::faithful().flow(Direction::ToTarget, flow));
    let (mut client, mut server) = stage.connection();
    client.write_all(b"abcdef").unwrap();
    assert_eq!(rest_of(&server), b"abc");
    server.write_all(b"still here").unwrap();
    let mut answer = [0; 10];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here");
}

#[test]
fn a_reset_and_a_close_of_a_peer_are_passed_on() {
    let stage = Stage::new();
    let (client, server) = stage.connection();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(until_the_end(&server).1, Some(ErrorKind::ConnectionReset));
    let (client, server) = stage.connection();
    drop(server);
    assert_eq!(until_the_end(&client).1, None);
}

#[test]
fn one_garbled_byte_is_the_one_asked_for() {
    for direction in DIRECTIONS {
        for at in [0, 1, 65_535, 65_536, 99_999] {
            let flow = Flow::faithful().garble(at);
            let stage = Stage::with(Behaviour::faithful().flow(direction, flow));
            let (sender, receiver) = stage.along(direction);
            let mut data = bytes(100_000);
            send(&sender, &data);
            data[at as usize] ^= 0xff;
            assert!(rest_of(&receiver) == data, "byte {at} {direction:?}");
        }
    }
}

#[test]
fn one_way_silence_holds_one_direction_and_loses_nothing() {
    for (dead, alive) in [(DIRECTIONS[0], DIRECTIONS[1]), (DIRECTIONS[1], DIRECTIONS[0])] {
        let stage = Stage::new();
        let (mut sender, mut receiver) = stage.along(dead);
        stage.proxy.behave(Behaviour::faithful().flow(dead, Flow::faithful().stall()));
        sender.write_all(b"held").unwrap();
        assert!(silent(&receiver), "{dead:?}");
        receiver.write_all(b"passed").unwrap();
        let mut passed = [0; 6];
        sender.read_exact(&mut passed).unwrap();
        assert_eq!(&passed, b"passed", "{alive:?}");
        stage.proxy.behave(Behaviour::faithful());
        let mut held = [0; 4];
        receiver.read_exact(&mut held).unwrap();
        assert_eq!(&held, b"held");
    }
}

#[test]
fn a_blackhole_accepts_and_answers_nothing() {
    let stage = Stage::new();
    let (mut client, server) = stage.connection();
    stage.proxy.behave(Behaviour::blackhole());
    client.write_all(b"lost in the dark").unwrap();
    let late = stage.client();
    until("the late one is in", || (stage.proxy.live(), stage.proxy.accepted()) == (2, 2));
    assert!(silent(&server) && silent(&client) && silent(&late));
    stage.server.set_nonblocking(true).unwrap();
    assert_eq!(stage.server.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "the target was contacted");
    assert_eq!((stage.proxy.live(), stage.proxy.accepted()), (2, 2));
    // A sender cannot push more into it than the buffers of the kernel hold.
    client.set_write_timeout(Some(SILENCE)).unwrap();
    assert!(client.write_all(&bytes(64 << 20)).is_err());
}

#[test]
fn a_closed_port_refuses_and_comes_back_as_the_same() {
    let stage = Stage::new();
    let (mut client, mut server) = stage.connection();
    for _ in 0..3 {
        stage.proxy.behave(Behaviour::refusing());
        let refused = TcpStream::connect(stage.proxy.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // Who was in before stays in.
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        stage.proxy.behave(Behaviour::faithful());
        exchange(&stage, 1, 10);
    }
}

#[test]
fn an_absent_target_resets_the_client_and_may_come_back_elsewhere() {
    let stage = Stage::new();
    let gone = HeldPort::new().unwrap();
    stage.proxy.aim(gone.address());
    assert_eq!(stage.end_of_client(), Some(ErrorKind::ConnectionReset));
    stage.proxy.aim(stage.server.local_addr().unwrap());
    exchange(&stage, 1, 10);
}

#[test]
fn a_script_gives_each_connection_its_own_behaviour() {
    let stage = Stage::new();
    let cut = |after| Behaviour::both(Flow::faithful().cut_after(after, Ending::Close));
    stage.proxy.script([cut(2), Behaviour::refusing(), Behaviour::blackhole(), cut(4)]);
    let through = |stage: &Stage| {
        let (mut client, server) = stage.connection();
        client.write_all(b"0123456789").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        until_the_end(&server).0
    };
    assert_eq!(through(&stage), b"01");
    assert_eq!(stage.end_of_client(), Some(ErrorKind::ConnectionReset));
    assert!(silent(&stage.client()));
    assert_eq!(through(&stage), b"0123");
    assert_eq!(through(&stage), b"0123456789");
    stage.proxy.script([cut(2)]);
    stage.proxy.behave(Behaviour::faithful().admission(Admission::Forward));
    assert_eq!(through(&stage), b"0123456789", "a new behaviour ends the script");
}

#[test]
fn bytes_are_counted_from_the_change_of_behaviour() {
    let stage = Stage::new();
    let (mut client, mut server) = stage.connection();
    client.write_all(&bytes(1_000)).unwrap();
    server.read_exact(&mut [0; 1_000]).unwrap();
    stage.proxy.behave(Behaviour::both(Flow::faithful().cut_after(5, Ending::Close)));
    client.write_all(b"0123456789").unwrap();
    assert_eq!(until_the_end(&server).0, b"01234");
}

#[test]
fn all_live_connections_can_be_ended_at_once() {
    for (ending, seen) in [(Ending::Reset, Some(ErrorKind::ConnectionReset)), (Ending::Close, None)] {
        let stage = Stage::new();
        let connections: Vec<_> = (0..5).map(|_| stage.connection()).collect();
        assert_eq!(stage.proxy.live(), 5);
        stage.proxy.end_all(ending);
        for (client, server) in &connections {
            assert_eq!((until_the_end(client).1, until_the_end(server).1), (seen, seen), "{ending:?}");
        }
        assert_eq!(stage.proxy.live(), 0);
        exchange(&stage, 1, 10);
    }
}

/// Drops line 2, doubles line 4 and swaps lines 6 and 7 of a stream of lines.
fn sabotage() -> impl FnMut(Vec<u8>) -> Vec<u8> {
    let (mut number, mut pending, mut swapped) = (0, Vec::new(), Vec::new());
    move |piece| {
        let mut out = Vec::new();
        for byte in piece {
            pending.push(byte);
            if byte != b'\n' {
                continue;
            }
            number += 1;
            let line = std::mem::take(&mut pending);
            match number {
                2 => {}
                4 => out.extend([line.clone(), line].concat()),
                6 => swapped = line,
                7 => out.extend([line, std::mem::take(&mut swapped)].concat()),
                _ => out.extend(line),
            }
        }
        out
    }
}

#[test]
fn rewriting_can_drop_double_and_swap_known_records() {
    let stage = Stage::new();
    stage.proxy.rewrite(Direction::ToTarget, sabotage);
    for _ in 0..2 {
        let (client, server) = stage.connection();
        send(&client, b"1\n2\n3\n4\n5\n6\n7\n8\n");
        assert_eq!(rest_of(&server), b"1\n3\n4\n4\n5\n7\n6\n8\n");
    }
}

#[test]
fn dropping_the_proxy_closes_its_port_and_its_connections() {
    let stage = Stage::new();
    let (client, server) = stage.connection();
    let address = stage.proxy.address();
    let start = Instant::now();
    drop(stage.proxy);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    until_the_end(&client);
    until_the_end(&server);
    // The address is free again.
    drop(ChaosProxy::start_at(address, stage.server.local_addr().unwrap(), 7).unwrap());
}
