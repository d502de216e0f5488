//! LOG payloads: no panic, one verdict, valid records, contained file names, and FlatBuffers that come back equal.
#![no_main]

use cim_wire::{
    Class, Encoding, Log, LogContext, LogEncoder, LogFormat, SniffRules, log_file_name, sniff, verify,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let _ = sniff(Class::Log, Some(payload), payload, SniffRules::ALL);
    for encoding in [Encoding::FlatBuffer, Encoding::Text, Encoding::Json, Encoding::CloudEvent] {
        let log = Log::decode(encoding, payload, b"app");
        let verdict = verify(Class::Log, encoding, payload);
        assert_eq!(log.as_ref().err().map(|e| e.reason()), verdict.err().map(|e| e.reason()));
        let Ok(log) = log else { continue };
        let mut record = Vec::new();
        LogEncoder::new(&LogContext::default(), LogFormat::Json).encode(&log, &mut record);
        serde_json::from_slice::<serde_json::Value>(&record).expect("a record is JSON");
        let file = log_file_name("p", "n", &log.container_name, &log.container_id);
        assert!(file.starts_with("p_n_") && !file.contains('/') && file.len() <= cim_wire::MAX_LOG_FILE_NAME);
        let mut copy = Vec::new();
        log.encode_flatbuffer(&mut copy);
        assert_eq!(Log::decode(Encoding::FlatBuffer, &copy, b"").expect("our own bytes"), log);
    }
});
