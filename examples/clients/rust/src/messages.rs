//! Log lines and events as CIM reads them: FlatBuffers after `../schema/*.fbs`, with the calls that `flatc --rust` makes.

use std::time::{SystemTime, UNIX_EPOCH};

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, VOffsetT, WIPOffset};

/// Where a field stands in the table of a message.
const fn slot(number: VOffsetT) -> VOffsetT {
    4 + 2 * number
}

/// A message for subject LOG.
pub fn log(container_id: &str, container_name: &str, payload: &str) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let texts = [container_id, container_name, payload].map(|text| builder.create_string(text));
    let table = builder.start_table();
    for (number, text) in (0..).zip(texts) {
        builder.push_slot_always(slot(number), text);
    }
    let root = builder.end_table(table);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

/// A message for subject EVENT, of this moment; what has no value is left out.
pub fn event(name: &str, container_id: &str, managed_object: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let pairs: Vec<_> = managed_object
        .iter()
        .map(|(key, value)| {
            let (key, value) = (builder.create_string(key), builder.create_string(value));
            let table = builder.start_table();
            builder.push_slot_always(slot(0), key);
            builder.push_slot_always(slot(1), value);
            WIPOffset::<ForwardsUOffset<()>>::new(builder.end_table(table).value())
        })
        .collect();
    let objects = builder.create_vector(&pairs);
    let (name, id) = (builder.create_string(name), builder.create_string(container_id));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let table = builder.start_table();
    builder.push_slot_always(slot(0), name);
    builder.push_slot_always(slot(1), i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    builder.push_slot_always(slot(2), id);
    builder.push_slot_always(slot(3), objects);
    let root = builder.end_table(table);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}
