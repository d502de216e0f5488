//! What holds for any bytes: no panic, one verdict, nothing lost on the way through an encoding, bounded growth.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::borrow::Cow;

use cim_wire::{
    Class, DecodeError, Encoding, Event, EventEncoder, Log, LogContext, LogEncoder, LogFormat, MAX_PAIRS,
    Pair, SniffRules, SourceHeaders, log_file_name, sniff, verify,
};
use proptest::collection::vec;
use proptest::prelude::*;

const ENCODINGS: [Encoding; 4] = [Encoding::FlatBuffer, Encoding::Json, Encoding::CloudEvent, Encoding::Text];

/// The outcome without its value: success, or the reason.
fn verdict<T>(result: &Result<T, DecodeError>) -> &'static str {
    result.as_ref().map_or_else(DecodeError::reason, |_| "ok")
}

/// Decodes in every way; checks that `verify` agrees, and that what was decoded can be encoded.
fn check(payload: &[u8]) {
    for encoding in ENCODINGS {
        let log = Log::decode(encoding, payload, b"app");
        assert_eq!(verdict(&log), verdict(&verify(Class::Log, encoding, payload)));
        if let Ok(log) = log {
            check_log_output(&log);
        }
        let event = Event::decode(encoding, payload);
        assert_eq!(verdict(&event), verdict(&verify(Class::Event, encoding, payload)));
        if let Ok(event) = event {
            check_event_output(&event);
        }
    }
    for class in [Class::Log, Class::Event] {
        for rules in [SniffRules::ALL, SniffRules::FLATBUFFERS_ONLY] {
            let _ = sniff(class, Some(payload), payload, rules);
        }
    }
}

fn check_log_output(log: &Log<'_>) {
    let mut out = Vec::new();
    LogEncoder::new(&LogContext::default(), LogFormat::Json).encode(log, &mut out);
    let record: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert!(record["log"].is_string());
    let _ = log_file_name("p", "n", &log.container_name, &log.container_id);
}

fn check_event_output(event: &Event<'_>) {
    let mut out = Vec::new();
    EventEncoder::new(&SourceHeaders::default()).encode(event, &mut out);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert!(value["eventName"].is_string() && value.get("managedObject").is_some());
    let read = Event::decode(Encoding::Json, &out).unwrap();
    assert_eq!(read.event_time, event.event_time);
}

fn content() -> impl Strategy<Value = Cow<'static, [u8]>> {
    prop_oneof![vec(any::<u8>(), 0..12), "[a-z<]{0,40}".prop_map(String::into_bytes)].prop_map(Cow::Owned)
}

fn pairs() -> impl Strategy<Value = Option<Vec<Pair<'static>>>> {
    let pair = (content(), proptest::option::of(content())).prop_map(|(name, value)| Pair { name, value });
    proptest::option::of(vec(pair, 0..4))
}

fn log() -> impl Strategy<Value = Log<'static>> {
    (content(), content(), proptest::option::of(content()))
        .prop_map(|(container_id, container_name, payload)| Log { container_id, container_name, payload })
}

fn event() -> impl Strategy<Value = Event<'static>> {
    let strings = (content(), content(), content(), content(), content());
    let lists = (pairs(), pairs(), pairs(), pairs(), pairs());
    let time = prop_oneof![Just(0), Just(i64::MIN), any::<i64>()];
    (strings, lists, time).prop_map(|(strings, lists, event_time)| Event {
        event_name: strings.0,
        event_time,
        container_id: strings.1,
        managed_object: lists.0,
        additional_info: lists.1,
        threshold_info: lists.2,
        state_change_definition: lists.3,
        monitored_attributes: lists.4,
        source_id: strings.2,
        source_name: strings.3,
        event_source_type: strings.4,
        own: false,
    })
}

/// A valid message of either class.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let encoded = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    prop_oneof![
        log().prop_map(move |log| encoded(&|out| log.encode_flatbuffer(out))),
        event().prop_map(move |event| encoded(&|out| event.encode_flatbuffer(out))),
    ]
}

/// Numbers that offsets and lengths get wrong at.
fn telling_number() -> impl Strategy<Value = u32> {
    prop_oneof![
        0_u32..64,
        proptest::sample::select(vec![
            u32::MAX,
            u32::MAX - 3,
            0x8000_0000,
            0x7fff_ffff,
            0x7fff_fff0,
            0x0001_0000
        ]),
        any::<u32>(),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes(payload in vec(any::<u8>(), 0..300)) {
        check(&payload);
    }

    #[test]
    fn json_like_text(payload in r#"(\{|\[|\}|\]|"|:|,|1|null|"log"|"eventName"|"specversion":"1"|"type":"t"|"data"| |\\){0,30}"#) {
        check(payload.as_bytes());
    }

    #[test]
    fn mutated_messages(
        mut payload in valid(),
        numbers in vec((any::<proptest::sample::Index>(), telling_number()), 0..4),
        bytes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<proptest::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        for (at, number) in numbers {
            let at = at.index(payload.len() / 4) * 4;
            payload[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        for (at, byte) in bytes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if shorten {
            payload.truncate(cut.index(payload.len()));
        }
        check(&payload);
    }

    #[test]
    fn logs_come_back(log in log(), before in vec(any::<u8>(), 0..9)) {
        let mut out = before.clone();
        log.encode_flatbuffer(&mut out);
        let payload = &out[before.len()..];
        prop_assert_eq!(sniff(Class::Log, None, payload, SniffRules::ALL), Encoding::FlatBuffer);
        prop_assert_eq!(Log::decode(Encoding::FlatBuffer, payload, b"app").unwrap(), log);
    }

    #[test]
    fn events_come_back(event in event(), before in vec(any::<u8>(), 0..9)) {
        let mut out = before.clone();
        event.encode_flatbuffer(&mut out);
        let payload = &out[before.len()..];
        prop_assert_eq!(sniff(Class::Event, None, payload, SniffRules::ALL), Encoding::FlatBuffer);
        prop_assert_eq!(Event::decode(Encoding::FlatBuffer, payload).unwrap(), event);
    }

    #[test]
    fn text_without_nul_is_a_log_line(text in "[^\0{]\\PC{0,40}") {
        prop_assert_eq!(sniff(Class::Log, None, text.as_bytes(), SniffRules::ALL), Encoding::Text);
        let log = Log::decode(Encoding::Text, text.as_bytes(), b"app").unwrap();
        prop_assert_eq!(log.text(), text.as_bytes());
        prop_assert_eq!(log.container_name.as_ref(), b"app");
    }
}

#[test]
fn a_message_cut_at_every_byte() {
    let event = Event {
        event_name: b"name".into(),
        event_time: 7,
        managed_object: Some(vec![Pair::new("a", "b"), Pair::new("c", "d")]),
        source_id: b"id".into(),
        ..Event::default()
    };
    let log =
        Log { container_id: b"id".into(), container_name: b"app".into(), payload: Some(b"text".into()) };
    let mut messages = [Vec::new(), Vec::new()];
    event.encode_flatbuffer(&mut messages[0]);
    log.encode_flatbuffer(&mut messages[1]);
    for message in messages {
        for length in 0..message.len() {
            check(&message[..length]);
        }
    }
}

/// Strict readers ask that numbers stand at multiples of their size.
#[test]
fn encoded_messages_are_aligned() {
    let place =
        |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).position(|window| window == part).unwrap();
    for name in ["n", "na", "nam", "name"] {
        let event = Event {
            event_name: name.as_bytes().into(),
            event_time: 0x1122_3344_5566_7788,
            managed_object: Some(vec![Pair::new("key", "value"); 2]),
            container_id: b"container".into(),
            ..Event::default()
        };
        let mut out = Vec::new();
        event.encode_flatbuffer(&mut out);
        assert_eq!(place(&out, &event.event_time.to_le_bytes()) % 8, 0);
        for text in ["container", "key", "value"] {
            assert_eq!(place(&out, text.as_bytes()) % 4, 0);
        }
    }
}

/// A vector of `count` offsets to one pair whose value has `length` bytes.
fn amplified(count: usize, length: usize) -> Vec<u8> {
    let u32_of = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    // Root offset, vtable of 4 slots with slot 3 at 4, table, vector, pair.
    let mut out = vec![16, 0, 0, 0, 12, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0, 12, 0, 0, 0, 4, 0, 0, 0];
    out.extend_from_slice(&u32_of(count));
    let pair = out.len() + 4 * count + 8;
    for _ in 0..count {
        let offset = u32_of(pair - out.len());
        out.extend_from_slice(&offset);
    }
    // Vtable of 2 slots: no name, value at 4; the table; the string.
    out.extend_from_slice(&[8, 0, 8, 0, 0, 0, 4, 0, 8, 0, 0, 0, 4, 0, 0, 0]);
    out.extend_from_slice(&u32_of(length));
    out.resize(out.len() + length + 1, b'v');
    out
}

#[test]
fn a_string_referred_to_many_times_is_limited() {
    let reason = |payload: &[u8]| check_one(Class::Event, payload);
    let small = amplified(3, 5);
    assert_eq!(reason(&small), "ok");
    let event = Event::decode(Encoding::FlatBuffer, &small).unwrap();
    assert_eq!(event.managed_object, Some(vec![Pair { value: Some(b"vvvvv".into()), ..Pair::default() }; 3]));
    let eight_mib = cim_wire::MAX_APPARENT_BYTES;
    assert_eq!(reason(&amplified(1024, eight_mib / 1024)), "ok");
    assert_eq!(reason(&amplified(1025, eight_mib / 1024)), "too_large");
    assert_eq!(reason(&amplified(MAX_PAIRS, 1)), "ok");
    assert_eq!(reason(&amplified(MAX_PAIRS + 1, 0)), "too_large");
    assert_eq!(reason(&amplified(1_000_000, 1)), "too_large");
}

/// A table whose `slots` all lead to one string of `length` bytes.
fn shared_string(slots: &[usize], length: usize) -> Vec<u8> {
    const SLOTS: u8 = 11;
    let mut out = vec![4 + 4 + 2 * SLOTS, 0, 0, 0, 4 + 2 * SLOTS, 0, 4 + 4 * SLOTS, 0];
    for slot in 0..SLOTS {
        out.extend_from_slice(&[if slots.contains(&usize::from(slot)) { 4 + 4 * slot } else { 0 }, 0]);
    }
    out.extend_from_slice(&[4 + 2 * SLOTS, 0, 0, 0]);
    for slot in 0..SLOTS {
        out.extend_from_slice(&[4 * (SLOTS - slot), 0, 0, 0]);
    }
    out.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    out.resize(out.len() + length + 1, b's');
    out
}

#[test]
fn strings_shared_by_fields_are_limited() {
    let limit = cim_wire::MAX_APPARENT_BYTES;
    let verdicts = |class, slots: &[usize], length| {
        let payload = shared_string(slots, length);
        check_one(class, &payload)
    };
    assert_eq!(verdicts(Class::Log, &[0, 1], limit / 2), "ok");
    assert_eq!(verdicts(Class::Log, &[0, 1], limit / 2 + 1), "too_large");
    assert_eq!(verdicts(Class::Log, &[0, 2], limit / 2 + 1), "too_large");
    assert_eq!(verdicts(Class::Event, &[0, 2, 8, 9], limit / 4), "ok");
    for slots in [[0, 2, 8, 9], [0, 2, 8, 10]] {
        assert_eq!(verdicts(Class::Event, &slots, limit / 4 + 1), "too_large");
    }
}

/// The verdict on a FlatBuffer, which `verify` and `decode` must share.
fn check_one(class: Class, payload: &[u8]) -> &'static str {
    let decoded = match class {
        Class::Log => verdict(&Log::decode(Encoding::FlatBuffer, payload, b"")),
        Class::Event => verdict(&Event::decode(Encoding::FlatBuffer, payload)),
    };
    assert_eq!(verdict(&verify(class, Encoding::FlatBuffer, payload)), decoded);
    decoded
}

/// An honest message larger than the limit of growth is none of the limit's business.
#[test]
fn a_large_message_without_sharing_is_accepted() {
    let text = vec![b'x'; cim_wire::MAX_APPARENT_BYTES + 1];
    let log = Log { payload: Some(text.as_slice().into()), ..Log::default() };
    let mut out = Vec::new();
    log.encode_flatbuffer(&mut out);
    assert_eq!(Log::decode(Encoding::FlatBuffer, &out, b"").unwrap(), log);
}
