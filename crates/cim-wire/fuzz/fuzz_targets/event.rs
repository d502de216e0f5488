//! EVENT payloads: no panic, one verdict, valid JSON, and FlatBuffers that come back equal.
#![no_main]

use cim_wire::{Class, Encoding, Event, EventEncoder, SniffRules, SourceHeaders, sniff, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let _ = sniff(Class::Event, Some(payload), payload, SniffRules::ALL);
    for encoding in [Encoding::FlatBuffer, Encoding::Json, Encoding::CloudEvent, Encoding::Text] {
        let event = Event::decode(encoding, payload);
        let verdict = verify(Class::Event, encoding, payload);
        assert_eq!(event.as_ref().err().map(|e| e.reason()), verdict.err().map(|e| e.reason()));
        let Ok(event) = event else { continue };
        let mut json = Vec::new();
        EventEncoder::new(&SourceHeaders::default()).encode(&event, &mut json);
        if json.len() <= cim_wire::MAX_JSON_BYTES {
            let read = Event::decode(Encoding::Json, &json).expect("our own JSON");
            assert_eq!(read.event_time, event.event_time);
        }
        let mut copy = Vec::new();
        event.encode_flatbuffer(&mut copy);
        // Shared strings are written out, so the copy of an amplified event may be large, but never refused.
        assert_eq!(Event::decode(Encoding::FlatBuffer, &copy).expect("our own bytes"), event);
    }
});
