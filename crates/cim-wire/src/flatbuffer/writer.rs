//! Writes FlatBuffers front to back.
//!
//! Owns layout and alignment; leaves out vtable sharing, which no reader needs. Invariant: what it writes is
//! aligned as strict readers ask, counted from where the writer started.

/// Most slots of a table written here.
const MAX_SLOTS: usize = 11;

/// What a table holds in one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Left out.
    Absent,
    /// An offset, filled in when its target is written.
    Offset,
    /// A number, written at once.
    Long(i64),
}

/// Appends one FlatBuffer to a byte vector. Content is limited to 4 GiB by the format.
#[derive(Debug)]
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    base: usize,
}

impl<'o> Writer<'o> {
    /// Starts a buffer; the returned position is that of the root offset.
    pub(crate) fn new(out: &'o mut Vec<u8>) -> (Self, usize) {
        let base = out.len();
        let mut writer = Self { out, base };
        let root = writer.placeholder();
        (writer, root)
    }

    fn placeholder(&mut self) -> usize {
        let position = self.out.len();
        self.number(0);
        position
    }

    fn number(&mut self, value: usize) {
        self.out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn half(&mut self, value: usize) {
        self.out.extend_from_slice(&u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes());
    }

    /// Pads so that the position `ahead` bytes from here is a multiple of `alignment`.
    fn align(&mut self, alignment: usize, ahead: usize) {
        while !(self.out.len() - self.base + ahead).is_multiple_of(alignment) {
            self.out.push(0);
        }
    }

    /// Makes the offset stored at `at` lead here.
    fn point_here(&mut self, at: usize) {
        let distance = u32::try_from(self.out.len() - at).unwrap_or(u32::MAX);
        if let Some(target) = self.out.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<4>()) {
            *target = distance.to_le_bytes();
        }
    }

    /// Writes a table that the offset at `at` leads to; returns the position of each offset slot (0 elsewhere).
    pub(crate) fn table(&mut self, at: usize, slots: &[Slot]) -> [usize; MAX_SLOTS] {
        let vtable_size = 4 + 2 * slots.len();
        let mut table_size = 4;
        self.align(2, 0);
        let vtable = self.out.len();
        self.half(vtable_size);
        let size_at = self.out.len();
        self.half(0);
        let offsets = layout(slots, &mut table_size);
        for offset in offsets.iter().take(slots.len()) {
            self.half(*offset);
        }
        if let Some(target) = self.out.get_mut(size_at..).and_then(|tail| tail.first_chunk_mut::<2>()) {
            *target = u16::try_from(table_size).unwrap_or(u16::MAX).to_le_bytes();
        }
        self.align(8, 4);
        self.point_here(at);
        let table = self.out.len();
        self.number(table - vtable);
        for slot in slots {
            if let Slot::Long(value) = slot {
                self.out.extend_from_slice(&value.to_le_bytes());
            }
        }
        self.out.resize(table + table_size, 0);
        let mut positions = [0; MAX_SLOTS];
        for ((position, slot), offset) in positions.iter_mut().zip(slots).zip(offsets) {
            if *slot == Slot::Offset {
                *position = table + offset;
            }
        }
        positions
    }

    /// Writes a string that the offset at `at` leads to.
    pub(crate) fn string(&mut self, at: usize, content: &[u8]) {
        self.align(4, 0);
        self.point_here(at);
        self.number(content.len());
        self.out.extend_from_slice(content);
        self.out.push(0);
    }

    /// Writes a vector of `count` offsets that the offset at `at` leads to; returns the position of the first.
    pub(crate) fn offsets(&mut self, at: usize, count: usize) -> usize {
        self.align(4, 0);
        self.point_here(at);
        self.number(count);
        let first = self.out.len();
        self.out.resize(first + 4 * count, 0);
        first
    }
}

/// Offset of each slot inside its table, numbers first; adds their sizes to `table_size`.
fn layout(slots: &[Slot], table_size: &mut usize) -> [usize; MAX_SLOTS] {
    let mut offsets = [0; MAX_SLOTS];
    for (offset, slot) in offsets.iter_mut().zip(slots) {
        if matches!(slot, Slot::Long(_)) {
            *offset = *table_size;
            *table_size += 8;
        }
    }
    for (offset, slot) in offsets.iter_mut().zip(slots) {
        if *slot == Slot::Offset {
            *offset = *table_size;
            *table_size += 4;
        }
    }
    offsets
}
