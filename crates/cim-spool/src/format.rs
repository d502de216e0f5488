//! The bytes on disk: every header of the spool, encoded and decoded. No I/O here.
//!
//! Numbers are little-endian. Every CRC is CRC32C. Format version 1:
//!
//! ```text
//! <dir>/spool.meta                  who owns this spool, and its epoch
//! <dir>/reserve                     blocks given back when the disk is full, so that cursors can be saved
//! <dir>/<stream>/<first seq>.seg    segment, 20 decimal digits; content ends where the next one begins
//! <dir>/<stream>/<name>.cursor      position of one consumer
//!
//! spool.meta     0 "CIMSPMET"  8 u16 version  10 u16 identity length  12 u32 0  16 u64 epoch
//!                24 identity ("<namespace>/<pod>")  then u32 CRC of everything before
//!
//! segment header (64 B)
//!                0 "CIMSPSEG"  8 u16 version  10 u16 header length  12 u32 0  16 u64 epoch
//!                24 u64 segment id (random)  32 u64 first sequence  40 u64 identity hash
//!                48 u64 stream name hash  56 u32 0  60 u32 CRC of bytes 0..60
//!
//! frame          starts on a 64 B boundary: header (32 B), body, zeros up to the next boundary
//!                0 u16 0xC1F7  2 u16 flags (0)  4 u32 body length  8 u32 record count
//!                12 u32 low half of the segment id  16 u64 first sequence
//!                24 u32 CRC of the body  28 u32 CRC of bytes 0..28
//! body           per record: LEB128 length, bytes
//!
//! cursor file    two slots of 64 B, at 0 and at 4096
//!                0 "CIMSPCUR"  8 u16 version  10 u16 0  12 u32 0  16 u64 epoch  24 u64 generation
//!                32 u64 next sequence to deliver  40 u64 stream name hash  48..60 0  60 u32 CRC of 0..60
//! ```
//!
//! Why so: the header CRC stands apart from the body CRC, so a flipped length cannot hide the rest of the file.
//! The segment id is random and is never shown to publishers, so neither stale blocks nor a payload
//! that looks like a frame can pass for one. Sequences are dense, so every gap has an exact size. Magic, version
//! and CRC keep their places in every version, so an old program can tell "newer" from "damaged".

/// The format this crate writes, and the newest it reads.
pub const VERSION: u16 = 1;
/// Length of a segment header, and the boundary on which frames start, in bytes.
pub const BLOCK: usize = 64;
/// Length of a frame header, in bytes.
pub const FRAME_HEADER: usize = 32;
/// Largest frame, header included, in bytes.
pub const MAX_FRAME: usize = 64 << 20;
/// Distance of the two slots of a cursor file, in bytes.
pub const CURSOR_SLOT_STRIDE: u64 = 4096;
/// First sequence of a new spool.
pub const FIRST_SEQ: u64 = 1;
/// No sequence reaches this; a larger number on disk is damage.
pub const MAX_SEQ: u64 = 1 << 62;

const META_MAGIC: &[u8; 8] = b"CIMSPMET";
const SEGMENT_MAGIC: &[u8; 8] = b"CIMSPSEG";
const CURSOR_MAGIC: &[u8; 8] = b"CIMSPCUR";
const FRAME_MARK: u16 = 0xC1F7;

/// What reading a header found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<T> {
    /// An intact header of a version this crate reads.
    Valid(T),
    /// An intact header of a newer format version.
    Newer(u16),
    /// Not an intact header.
    Damaged,
}

/// Contents of `spool.meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Random number of this spool, stable over restarts.
    pub epoch: u64,
    /// `<namespace>/<pod>`.
    pub identity: String,
}

/// Contents of a segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Epoch of the spool it belongs to.
    pub epoch: u64,
    /// Random number of this segment.
    pub id: u64,
    /// Sequence of its first record.
    pub first_seq: u64,
    /// [`name_hash`] of `<namespace>/<pod>`.
    pub identity: u64,
    /// [`name_hash`] of the stream name.
    pub stream: u64,
}

/// Contents of a frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the body, in bytes.
    pub body_len: u32,
    /// Number of records, at least 1.
    pub count: u32,
    /// Low half of the segment id.
    pub segment: u32,
    /// Sequence of the first record.
    pub first_seq: u64,
    /// CRC32C of the body.
    pub body_crc: u32,
}

/// Contents of one cursor slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorSlot {
    /// Epoch of the spool it belongs to.
    pub epoch: u64,
    /// Grows by one with every save; the slot with the higher one counts.
    pub generation: u64,
    /// Next sequence to deliver.
    pub next_seq: u64,
    /// [`name_hash`] of the stream name.
    pub stream: u64,
}

impl FrameHeader {
    /// Bytes the frame takes on disk: header, body and padding.
    pub fn disk_len(&self) -> u64 {
        padded(FRAME_HEADER as u64 + u64::from(self.body_len))
    }

    /// Sequence after its last record.
    pub fn end_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }

    /// The 32 bytes on disk.
    pub fn encode(&self) -> [u8; FRAME_HEADER] {
        let mut out = [0u8; FRAME_HEADER];
        put(&mut out, 0, &FRAME_MARK.to_le_bytes());
        put(&mut out, 4, &self.body_len.to_le_bytes());
        put(&mut out, 8, &self.count.to_le_bytes());
        put(&mut out, 12, &self.segment.to_le_bytes());
        put(&mut out, 16, &self.first_seq.to_le_bytes());
        put(&mut out, 24, &self.body_crc.to_le_bytes());
        seal(&mut out);
        out
    }

    /// Reads a frame header; `None` unless it is intact and its numbers make sense together.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER)?;
        if u16_at(bytes, 0)? != FRAME_MARK || u16_at(bytes, 2)? != 0 || !sealed(bytes) {
            return None;
        }
        let header = Self {
            body_len: u32_at(bytes, 4)?,
            count: u32_at(bytes, 8)?,
            segment: u32_at(bytes, 12)?,
            first_seq: u64_at(bytes, 16)?,
            body_crc: u32_at(bytes, 24)?,
        };
        let plausible = header.count > 0
            && header.count <= header.body_len
            && header.body_len as usize <= MAX_FRAME - FRAME_HEADER
            && (FIRST_SEQ..MAX_SEQ).contains(&header.first_seq);
        plausible.then_some(header)
    }
}

impl SegmentHeader {
    /// The 64 bytes on disk.
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut out = versioned(SEGMENT_MAGIC);
        put(&mut out, 10, &(BLOCK as u16).to_le_bytes());
        put(&mut out, 16, &self.epoch.to_le_bytes());
        put(&mut out, 24, &self.id.to_le_bytes());
        put(&mut out, 32, &self.first_seq.to_le_bytes());
        put(&mut out, 40, &self.identity.to_le_bytes());
        put(&mut out, 48, &self.stream.to_le_bytes());
        seal(&mut out);
        out
    }

    /// Reads a segment header.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        versioned_body(bytes, SEGMENT_MAGIC, |bytes| {
            Some(Self {
                epoch: u64_at(bytes, 16)?,
                id: u64_at(bytes, 24)?,
                first_seq: u64_at(bytes, 32).filter(|seq| (FIRST_SEQ..MAX_SEQ).contains(seq))?,
                identity: u64_at(bytes, 40)?,
                stream: u64_at(bytes, 48)?,
            })
        })
    }
}

impl CursorSlot {
    /// The 64 bytes on disk.
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut out = versioned(CURSOR_MAGIC);
        put(&mut out, 16, &self.epoch.to_le_bytes());
        put(&mut out, 24, &self.generation.to_le_bytes());
        put(&mut out, 32, &self.next_seq.to_le_bytes());
        put(&mut out, 40, &self.stream.to_le_bytes());
        seal(&mut out);
        out
    }

    /// Reads a cursor slot.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        versioned_body(bytes, CURSOR_MAGIC, |bytes| {
            Some(Self {
                epoch: u64_at(bytes, 16)?,
                generation: u64_at(bytes, 24)?,
                next_seq: u64_at(bytes, 32).filter(|seq| (FIRST_SEQ..MAX_SEQ).contains(seq))?,
                stream: u64_at(bytes, 40)?,
            })
        })
    }
}

impl Meta {
    /// The bytes of `spool.meta`. An identity beyond 64 KiB is cut.
    pub fn encode(&self) -> Vec<u8> {
        let identity = self.identity.as_bytes();
        let length = u16::try_from(identity.len()).unwrap_or(u16::MAX);
        let mut out = Vec::with_capacity(28 + identity.len());
        out.extend_from_slice(META_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend(identity.iter().take(usize::from(length)));
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads `spool.meta`.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let Some(crc_at) = bytes.len().checked_sub(4) else { return Decoded::Damaged };
        let Some((covered, _)) = bytes.split_at_checked(crc_at) else { return Decoded::Damaged };
        if !bytes.starts_with(META_MAGIC) || u32_at(bytes, crc_at) != Some(crc32c::crc32c(covered)) {
            return Decoded::Damaged;
        }
        match u16_at(bytes, 8) {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => return Decoded::Newer(newer),
            _ => return Decoded::Damaged,
        }
        let parts = (u64_at(bytes, 16), covered.get(24..).and_then(|text| std::str::from_utf8(text).ok()));
        match parts {
            (Some(epoch), Some(identity)) => Decoded::Valid(Self { epoch, identity: identity.to_owned() }),
            _ => Decoded::Damaged,
        }
    }
}

/// Rounds up to the next frame boundary.
pub fn padded(len: u64) -> u64 {
    len.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64)
}

/// FNV-1a hash that ties segments to a name.
pub fn name_hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// File name of the segment that starts at `first_seq`.
pub fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// First sequence of a segment, from its file name.
pub fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let seq: u64 = if plain { digits.parse().ok()? } else { return None };
    (FIRST_SEQ..MAX_SEQ).contains(&seq).then_some(seq)
}

/// Reads a LEB128 length at the front of `bytes`; returns it with the bytes it took.
pub(crate) fn read_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Writes a length as LEB128.
pub(crate) fn write_length(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn versioned(magic: &[u8; 8]) -> [u8; BLOCK] {
    let mut out = [0u8; BLOCK];
    put(&mut out, 0, magic);
    put(&mut out, 8, &VERSION.to_le_bytes());
    out
}

fn versioned_body<T>(bytes: &[u8], magic: &[u8; 8], read: impl Fn(&[u8]) -> Option<T>) -> Decoded<T> {
    let Some(bytes) = bytes.get(..BLOCK) else { return Decoded::Damaged };
    if !bytes.starts_with(magic) || !sealed(bytes) {
        return Decoded::Damaged;
    }
    match u16_at(bytes, 8) {
        Some(VERSION) => read(bytes).map_or(Decoded::Damaged, Decoded::Valid),
        Some(newer) if newer > VERSION => Decoded::Newer(newer),
        _ => Decoded::Damaged,
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Writes the CRC of everything before the last four bytes into them.
fn seal(out: &mut [u8]) {
    let at = out.len().saturating_sub(4);
    let crc = out.get(..at).map_or(0, crc32c::crc32c);
    put(out, at, &crc.to_le_bytes());
}

fn sealed(bytes: &[u8]) -> bool {
    let at = bytes.len().saturating_sub(4);
    bytes.get(..at).is_some_and(|covered| u32_at(bytes, at) == Some(crc32c::crc32c(covered)))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader { body_len: 300, count: 3, segment: 0xdead_beef, first_seq: 42, body_crc: 7 }
    }

    #[test]
    fn every_flipped_bit_of_a_frame_header_is_seen() {
        let bytes = header().encode();
        assert_eq!(FrameHeader::decode(&bytes), Some(header()));
        for bit in 0..FRAME_HEADER * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let slot = CursorSlot { epoch: 1, generation: 2, next_seq: 3, stream: 4 };
        let mut bytes = slot.encode();
        assert_eq!(CursorSlot::decode(&bytes), Decoded::Valid(slot));
        bytes[8] = 9;
        assert_eq!(CursorSlot::decode(&bytes), Decoded::Damaged);
        seal(&mut bytes);
        assert_eq!(CursorSlot::decode(&bytes), Decoded::Newer(9));
    }

    #[test]
    fn meta_round_trips_and_refuses_damage() {
        let meta = Meta { epoch: 9, identity: "demo/demo-0".into() };
        let bytes = meta.encode();
        assert_eq!(Meta::decode(&bytes), Decoded::Valid(meta));
        for cut in 0..bytes.len() {
            assert_eq!(Meta::decode(&bytes[..cut]), Decoded::Damaged, "cut {cut}");
        }
    }

    #[test]
    fn segment_names_are_read_strictly() {
        assert_eq!(parse_segment_name(&segment_name(17)), Some(17));
        assert_eq!(parse_segment_name("17.seg"), None);
        assert_eq!(parse_segment_name("+0000000000000000017.seg"), None);
        assert_eq!(parse_segment_name("00000000000000000000.seg"), None);
        assert_eq!(parse_segment_name("99999999999999999999.seg"), None);
    }

    #[test]
    fn lengths_round_trip() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 20, (1 << 28) - 1, 1 << 28, MAX_FRAME] {
            let mut out = Vec::new();
            write_length(&mut out, value);
            assert_eq!(read_length(&out), Some((value, out.len())));
        }
        assert_eq!(read_length(&[0x80; 9]), None);
    }
}
