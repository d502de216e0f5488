//! A table inside a payload.
//!
//! Owns bounds-checked access to slots; leaves out verification of slots nobody asks for. Invariant: a position
//! is only ever used through a checked read, so no payload can make it panic or read outside.

use super::Fault;
use crate::limits::Budget;

/// Bytes of a vtable before its first slot: its own size, and the size of the table.
const VTABLE_HEADER: usize = 4;

/// A table at a checked position of the payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    payload: &'a [u8],
    position: usize,
    /// The vtable, from its first byte to the end of the payload.
    vtable: &'a [u8],
    vtable_size: usize,
}

impl<'a> Table<'a> {
    /// The table that the first four bytes of `payload` point to.
    #[inline]
    pub(crate) fn root(payload: &'a [u8]) -> Result<Self, Fault> {
        Self::at(payload, read_u32(payload, 0)?)
    }

    #[inline]
    fn at(payload: &'a [u8], position: usize) -> Result<Self, Fault> {
        let (back, _) = payload
            .get(position..)
            .ok_or(Fault::BadOffset)?
            .split_first_chunk::<4>()
            .ok_or(if position < payload.len() { Fault::Truncated } else { Fault::BadOffset })?;
        let back = i64::from(i32::from_le_bytes(*back));
        let vtable = i64::try_from(position).map_err(|_| Fault::BadOffset)?.wrapping_sub(back);
        let vtable = usize::try_from(vtable).map_err(|_| Fault::BadOffset)?;
        let vtable = payload.get(vtable..).ok_or(Fault::BadOffset)?;
        let vtable_size = usize::from(read_u16(vtable, 0)?);
        if vtable_size < VTABLE_HEADER {
            return Err(Fault::BadVtable);
        }
        Ok(Self { payload, position, vtable, vtable_size })
    }

    /// Position of the field in `slot`; `None` when the writer left it out or did not know it.
    #[inline]
    fn field(&self, slot: usize) -> Result<Option<usize>, Fault> {
        let entry = VTABLE_HEADER + 2 * slot;
        if entry >= self.vtable_size {
            return Ok(None);
        }
        match usize::from(read_u16(self.vtable, entry)?) {
            0 => Ok(None),
            offset => Ok(Some(forward(self.position, offset)?)),
        }
    }

    /// Position that the offset stored at `position` leads to.
    #[inline]
    fn follow(&self, position: usize) -> Result<usize, Fault> {
        forward(position, read_u32(self.payload, position)?)
    }

    /// The bytes of the string in `slot`, without its terminator.
    #[inline]
    pub(crate) fn string(&self, slot: usize) -> Result<Option<&'a [u8]>, Fault> {
        let Some(field) = self.field(slot)? else { return Ok(None) };
        let at = self.follow(field)?;
        let tail = self.payload.get(at..).ok_or(Fault::BadOffset)?;
        let (length, content) = tail.split_first_chunk::<4>().ok_or(Fault::Truncated)?;
        let length = u32::from_le_bytes(*length) as usize;
        content.get(..length).map(Some).ok_or(Fault::Truncated)
    }

    /// The signed 64-bit number in `slot`; 0 when absent.
    #[inline]
    pub(crate) fn long(&self, slot: usize) -> Result<i64, Fault> {
        let Some(field) = self.field(slot)? else { return Ok(0) };
        let tail = self.payload.get(field..).ok_or(Fault::BadOffset)?;
        tail.first_chunk::<8>().map(|bytes| i64::from_le_bytes(*bytes)).ok_or(Fault::Truncated)
    }

    /// Calls `each` for every table of the vector in `slot`, after `start` with their number; says whether the
    /// slot is present. The number is charged to `budget` before anything is read.
    pub(crate) fn tables<S>(
        &self,
        slot: usize,
        budget: &mut Budget,
        start: impl FnOnce(usize) -> S,
        mut each: impl FnMut(&mut S, &mut Budget, Table<'a>) -> Result<(), Fault>,
    ) -> Result<Option<S>, Fault> {
        let Some(field) = self.field(slot)? else { return Ok(None) };
        let vector = self.follow(field)?;
        let tail = self.payload.get(vector..).ok_or(Fault::BadOffset)?;
        let (count, rest) = tail.split_first_chunk::<4>().ok_or(Fault::Truncated)?;
        let count = u32::from_le_bytes(*count) as usize;
        budget.take_pairs(count)?;
        let size = count.checked_mul(4).ok_or(Fault::TooLarge)?;
        let offsets = rest.get(..size).ok_or(Fault::Truncated)?;
        let mut state = start(count);
        let mut position = forward(vector, 4)?;
        for offset in offsets.as_chunks::<4>().0 {
            let element = forward(position, u32::from_le_bytes(*offset) as usize)?;
            each(&mut state, budget, Self::at(self.payload, element)?)?;
            position = forward(position, 4)?;
        }
        Ok(Some(state))
    }
}

#[inline]
fn forward(position: usize, offset: usize) -> Result<usize, Fault> {
    position.checked_add(offset).ok_or(Fault::BadOffset)
}

#[inline]
fn read_u32(bytes: &[u8], position: usize) -> Result<usize, Fault> {
    let tail = bytes.get(position..).ok_or(Fault::BadOffset)?;
    tail.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize).ok_or(Fault::Truncated)
}

#[inline]
fn read_u16(bytes: &[u8], position: usize) -> Result<u16, Fault> {
    let tail = bytes.get(position..).ok_or(Fault::Truncated)?;
    tail.first_chunk::<2>().map(|bytes| u16::from_le_bytes(*bytes)).ok_or(Fault::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(payload: &[u8]) -> &'static str {
        match Table::root(payload).and_then(|table| table.string(0).map(|_| ())) {
            Ok(()) => "ok",
            Err(fault) => crate::DecodeError::from(fault).reason(),
        }
    }

    #[test]
    fn each_kind_of_damage_has_its_reason() {
        assert_eq!(reason(b""), "truncated");
        assert_eq!(reason(&[0, 0, 0]), "truncated");
        assert_eq!(reason(&[4, 0, 0, 0]), "bad_offset", "root at the end");
        assert_eq!(reason(&[0xff, 0xff, 0xff, 0x7f]), "bad_offset", "root near 2^31");
        assert_eq!(reason(&[4, 0, 0, 0, 1]), "truncated", "table cut");
        assert_eq!(reason(&[4, 0, 0, 0, 5, 0, 0, 0]), "bad_offset", "vtable before the payload");
        assert_eq!(reason(&[4, 0, 0, 0, 0, 0, 0, 0x80]), "bad_offset", "vtable far behind the payload");
        assert_eq!(reason(&[0; 64]), "bad_vtable", "64 zero bytes");
        let no_slots = [8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0];
        assert_eq!(reason(&no_slots), "ok");
        let vtable_longer_than_payload = [4, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff, 6, 0, 4, 0];
        assert_eq!(reason(&vtable_longer_than_payload), "truncated");
        let string_of_4_gib = [8, 0, 0, 0, 6, 0, 4, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(reason(&string_of_4_gib), "truncated");
    }
}
