//! FlatBuffers messages of the application protocol, built once per frame (wire contract §3.3 to §3.5).
//!
//! Leaves out reading them. It is deliberately not the product's own encoder: two independent writers of one format
//! find each other's mistakes. Invariant: the payload stands in the message as one run of bytes at a known offset.

/// A built message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The FlatBuffer.
    pub bytes: Vec<u8>,
    /// Where the payload starts in it.
    pub payload_at: usize,
}

/// A log message (wire contract §3.4).
#[must_use]
pub fn log(container_id: &str, container_name: &str, payload: &[u8]) -> Message {
    let mut out = Writer::default();
    out.u32(16); // root: the table
    out.u16s(&[10, 16, 4, 8, 12]); // vtable: its size, the table's size, three slots
    out.pad_to(16);
    out.u32(12); // table: distance back to the vtable
    let id = out.forward();
    let name = out.forward();
    let text = out.forward();
    out.string_at(id, container_id.as_bytes());
    out.string_at(name, container_name.as_bytes());
    let payload_at = out.string_at(text, payload);
    Message { bytes: out.bytes, payload_at }
}

/// An event (wire contract §3.5) with name, time, container and so many `additional_info` pairs, at least one: `bench`, whose value
/// is the payload, then small ones.
#[must_use]
pub fn event(name: &str, time_ms: i64, container_id: &str, payload: &[u8], pairs: u32) -> Message {
    let mut out = Writer::default();
    out.u32(24); // root: the table
    out.u16s(&[14, 24, 4, 8, 16, 0, 20]); // slots: name, time, container_id, (managed_object), additional_info
    out.pad_to(24);
    out.u32(20); // table: distance back to the vtable
    let event_name = out.forward();
    out.bytes.extend_from_slice(&time_ms.to_le_bytes());
    let id = out.forward();
    let info = out.forward();
    out.string_at(event_name, name.as_bytes());
    out.string_at(id, container_id.as_bytes());
    out.point(info);
    out.u32(pairs.max(1)); // a vector of tables
    let first = out.forward();
    let more: Vec<Forward> = (1..pairs).map(|_| out.forward()).collect();
    let payload_at = out.pair_at(first, "bench", payload);
    for (number, pair) in more.into_iter().enumerate() {
        out.pair_at(pair, &format!("key-{number}"), format!("value of {number}").as_bytes());
    }
    Message { bytes: out.bytes, payload_at }
}

/// Position of an offset that is filled in later.
struct Forward(usize);

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn u16s(&mut self, values: &[u16]) {
        for value in values {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn pad_to(&mut self, length: usize) {
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
    }

    fn forward(&mut self) -> Forward {
        let at = self.bytes.len();
        self.u32(0);
        Forward(at)
    }

    /// Lets the offset point to what comes next, on a 4 byte boundary.
    fn point(&mut self, from: Forward) {
        self.pad_to(self.bytes.len().next_multiple_of(4));
        let distance = (self.bytes.len().saturating_sub(from.0) as u32).to_le_bytes();
        if let Some(slot) = self.bytes.get_mut(from.0..from.0.saturating_add(4)) {
            slot.copy_from_slice(&distance);
        }
    }

    /// A KeyValue table with its own vtable; returns where the bytes of its value start.
    fn pair_at(&mut self, from: Forward, key: &str, value: &[u8]) -> usize {
        self.pad_to(self.bytes.len().next_multiple_of(4));
        let vtable = self.bytes.len();
        self.u16s(&[8, 12, 4, 8]);
        self.point(from);
        self.u32(self.bytes.len().saturating_sub(vtable) as u32);
        let (key_from, value_from) = (self.forward(), self.forward());
        self.string_at(key_from, key.as_bytes());
        self.string_at(value_from, value)
    }

    /// A string with length and NUL; returns where its bytes start.
    fn string_at(&mut self, from: Forward, text: &[u8]) -> usize {
        self.point(from);
        self.u32(text.len() as u32);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader of one field, straight from the contract's text.
    fn string(bytes: &[u8], table: usize, slot: usize) -> Vec<u8> {
        let at = field(bytes, table, slot);
        let start = at + u32_at(bytes, at);
        bytes[start + 4..start + 4 + u32_at(bytes, start)].to_vec()
    }
    fn field(bytes: &[u8], table: usize, slot: usize) -> usize {
        let vtable = table - u32_at(bytes, table);
        let entry = vtable + 4 + 2 * slot;
        table + usize::from(u16::from_le_bytes([bytes[entry], bytes[entry + 1]]))
    }
    fn u32_at(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    }

    #[test]
    fn a_log_reads_back() {
        let log = log("id-1", "name", b"payload!");
        let table = u32_at(&log.bytes, 0);
        assert_eq!(string(&log.bytes, table, 0), b"id-1");
        assert_eq!(string(&log.bytes, table, 1), b"name");
        assert_eq!(string(&log.bytes, table, 2), b"payload!");
        assert_eq!(&log.bytes[log.payload_at..log.payload_at + 8], b"payload!");
    }

    #[test]
    fn an_event_reads_back() {
        let event = event("Started", 1234, "id-1", b"payload!", 10);
        let table = u32_at(&event.bytes, 0);
        assert_eq!(string(&event.bytes, table, 0), b"Started");
        let time = field(&event.bytes, table, 1);
        assert_eq!(time % 8, 0, "a strict reader demands alignment");
        assert_eq!(event.bytes[time..time + 8], 1234i64.to_le_bytes());
        assert_eq!(string(&event.bytes, table, 2), b"id-1");
        let info = field(&event.bytes, table, 4);
        let vector = info + u32_at(&event.bytes, info);
        assert_eq!(u32_at(&event.bytes, vector), 10);
        let pair = vector + 4 + u32_at(&event.bytes, vector + 4);
        assert_eq!(string(&event.bytes, pair, 0), b"bench");
        assert_eq!(string(&event.bytes, pair, 1), b"payload!");
        let last = vector + 40 + u32_at(&event.bytes, vector + 40);
        assert_eq!(string(&event.bytes, last, 0), b"key-8");
        assert_eq!(string(&event.bytes, last, 1), b"value of 8");
        assert_eq!(&event.bytes[event.payload_at..event.payload_at + 8], b"payload!");
    }
}
