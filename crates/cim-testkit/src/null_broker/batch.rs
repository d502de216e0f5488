//! A record batch of format 2, as producers send it.
//!
//! Owns checks that need nothing but the bytes: lengths, format, CRC32C, counts. Left out: sequences and offsets.
//! Invariant: a batch that was read is whole.

use super::wire::{Malformed, Reader};

/// Bytes before the part that the checksum covers.
const UNCOVERED: usize = 21;
/// Bits of the attributes that name the compression.
const COMPRESSION: i16 = 0b111;

/// The head of a batch, and its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    /// −1 for a producer that is not idempotent.
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) first_sequence: i32,
    pub(super) count: i32,
    compressed: bool,
    records: &'a [u8],
}

/// A record of an uncompressed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Why a batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its checksum is wrong, or it ends early.
    Corrupt,
    /// Its head contradicts itself.
    Invalid,
}

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self::Corrupt
    }
}

impl<'a> Batch<'a> {
    /// Reads the one batch that `bytes` must be.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Refused> {
        let mut reader = Reader(bytes);
        let _base_offset = reader.i64()?;
        let length = reader.i32()?;
        if usize::try_from(length) != Ok(reader.0.len()) {
            return Err(Refused::Corrupt);
        }
        let _leader_epoch = reader.i32()?;
        if reader.i8()? != 2 {
            return Err(Refused::Invalid);
        }
        let checksum = reader.u32()?;
        if crc32c::crc32c(bytes.get(UNCOVERED..).unwrap_or_default()) != checksum {
            return Err(Refused::Corrupt);
        }
        let attributes = reader.i16()?;
        let last_delta = reader.i32()?;
        let _timestamps = (reader.i64()?, reader.i64()?);
        let batch = Self {
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
            first_sequence: reader.i32()?,
            count: reader.i32()?,
            compressed: attributes & COMPRESSION != 0,
            records: reader.0,
        };
        if batch.count < 1 || last_delta.checked_add(1) != Some(batch.count) {
            return Err(Refused::Invalid);
        }
        Ok(batch)
    }

    /// The sequence number behind the last one of it.
    pub(super) fn next_sequence(&self) -> i32 {
        self.first_sequence.wrapping_add(self.count) & i32::MAX
    }

    /// Its records; none for a compressed batch.
    pub(super) fn records(&self) -> Result<Vec<Record<'a>>, Refused> {
        if self.compressed {
            return Ok(Vec::new());
        }
        let mut reader = Reader(self.records);
        (0..self.count).map(|_| record(&mut reader)).collect()
    }
}

fn record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, Refused> {
    let mut body = Reader(reader.varint_blob()?.ok_or(Refused::Corrupt)?);
    let _attributes = body.i8()?;
    let _deltas = (body.varint()?, body.varint()?);
    let (key, value) = (body.varint_blob()?, body.varint_blob()?);
    let mut headers = Vec::new();
    for _ in 0..body.varint()? {
        let name = body.varint_blob()?.ok_or(Refused::Corrupt)?;
        let name = String::from_utf8_lossy(name).into_owned();
        headers.push((name, body.varint_blob()?.map(<[u8]>::to_vec)));
    }
    Ok(Record { key, value, headers })
}
