//! The position of one consumer, kept in a two-slot file.
//!
//! Owns `<name>.cursor`. Leaves out where the consumer is now, and when to save. Invariants: a save touches only the
//! older slot, so a torn save leaves the previous position; a saved position only rises.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    files::{FileLayer, SpoolFile},
    format::{CURSOR_SLOT_STRIDE, CursorSlot, Decoded},
};

pub(crate) struct Cursor {
    layer: Arc<dyn FileLayer>,
    pub path: PathBuf,
    file: Option<Arc<dyn SpoolFile>>,
    /// What was saved last.
    slot: CursorSlot,
    /// Whether the slot is in the file.
    saved: bool,
}

/// What a cursor file held.
pub(crate) enum Loaded {
    Position(CursorSlot),
    Newer(u16),
    /// No usable slot of this spool and stream.
    Nothing,
}

/// Reads the newer intact slot that belongs to this spool and stream.
///
/// # Errors
/// The read error, unless the file does not exist.
pub(crate) fn load(file: &dyn SpoolFile, epoch: u64, stream: u64) -> io::Result<Loaded> {
    let mut best: Option<CursorSlot> = None;
    for index in 0..2 {
        let mut bytes = [0u8; crate::format::BLOCK];
        let read = file.read_at(index * CURSOR_SLOT_STRIDE, &mut bytes)?;
        match CursorSlot::decode(bytes.get(..read).unwrap_or_default()) {
            Decoded::Newer(version) => return Ok(Loaded::Newer(version)),
            Decoded::Valid(slot) => {
                let ours = slot.epoch == epoch && slot.stream == stream;
                best = best.into_iter().chain(ours.then_some(slot)).max_by_key(|slot| slot.generation);
            }
            Decoded::Damaged => {}
        }
    }
    Ok(best.map_or(Loaded::Nothing, Loaded::Position))
}

impl Cursor {
    /// A cursor that was never saved.
    pub fn fresh(layer: Arc<dyn FileLayer>, path: PathBuf, slot: CursorSlot) -> Self {
        Self { layer, path, file: None, slot, saved: false }
    }

    /// A cursor read from its file.
    pub fn loaded(
        layer: Arc<dyn FileLayer>,
        path: PathBuf,
        file: Arc<dyn SpoolFile>,
        slot: CursorSlot,
    ) -> Self {
        Self { layer, path, file: Some(file), slot, saved: true }
    }

    /// The position saved last.
    pub fn saved_seq(&self) -> u64 {
        self.slot.next_seq
    }

    /// Whether a save of that position would change the file.
    pub fn is_behind(&self, next_seq: u64) -> bool {
        !self.saved || self.slot.next_seq < next_seq
    }

    /// The open file, once there is one.
    pub fn file(&self) -> Option<Arc<dyn SpoolFile>> {
        self.file.clone()
    }

    /// A sync of the file failed: the next save makes a new one.
    pub fn distrust(&mut self) {
        self.file = None;
        self.saved = false;
    }

    /// Writes the position, or the newer one that was saved before, into the older slot; returns whether a file was
    /// created.
    ///
    /// # Errors
    /// The write error; the previous position stays valid.
    pub fn save(&mut self, next_seq: u64) -> io::Result<bool> {
        let next_seq = next_seq.max(self.slot.next_seq);
        let slot = CursorSlot { generation: self.slot.generation + 1, next_seq, ..self.slot };
        let created = self.file.is_none();
        if let Some(file) = &self.file {
            file.write_at((slot.generation % 2) * CURSOR_SLOT_STRIDE, &slot.encode())?;
        } else {
            self.file = Some(self.create(&slot)?);
        }
        self.slot = slot;
        self.saved = true;
        Ok(created)
    }

    /// Both blocks are written at once, so that later saves need no new space.
    fn create(&self, slot: &CursorSlot) -> io::Result<Arc<dyn SpoolFile>> {
        let mut bytes = vec![0u8; 2 * CURSOR_SLOT_STRIDE as usize];
        let at = ((slot.generation % 2) * CURSOR_SLOT_STRIDE) as usize;
        for (place, byte) in bytes.iter_mut().skip(at).zip(slot.encode()) {
            *place = byte;
        }
        let fresh = self.path.with_extension("cursor.tmp");
        let file = self.layer.create(&fresh)?;
        let placed = file.write_at(0, &bytes).and_then(|()| self.layer.rename(&fresh, &self.path));
        if let Err(error) = placed {
            let _ = self.layer.unlink(&fresh);
            return Err(error);
        }
        Ok(file)
    }
}
