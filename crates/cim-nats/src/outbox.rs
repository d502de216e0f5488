//! Output waiting for one client.
//!
//! Owns the blocks and their vectored write. Leaves out what is written and when. Invariants: a message lies whole in
//! one block; blocks above 4 KiB are covered by the memory budget; a client that reads keeps no memory here.

use crate::allowance::{Allowance, Grant};
use crate::intake::Intake;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::time::Instant;

const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 10;
/// Small blocks a client may hold without asking the budget.
const FREE: usize = 16 * SMALL;
/// Blocks of one system call.
const VECTORS: usize = 64;

/// Blocks to reuse, shared by all clients of the thread.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// Output waiting for all clients together, in bytes.
    pending: usize,
}

impl Pool {
    const KEPT_SMALL: usize = 64;
    const KEPT_LARGE: usize = 32;

    /// Output waiting for all clients together, in bytes.
    pub(crate) const fn pending(&self) -> usize {
        self.pending
    }

    /// Gives the memory of unused blocks back to the system.
    pub(crate) fn trim(&mut self) {
        self.small = Vec::new();
        self.large = Vec::new();
    }

    fn small(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL))
    }

    fn large(&mut self) -> Vec<u8> {
        self.large.pop().unwrap_or_else(|| Vec::with_capacity(LARGE))
    }

    fn give(&mut self, mut block: Vec<u8>) {
        block.clear();
        match block.capacity() {
            SMALL if self.small.len() < Self::KEPT_SMALL => self.small.push(block),
            LARGE if self.large.len() < Self::KEPT_LARGE => self.large.push(block),
            _ => {}
        }
    }
}

/// One block and the budget it holds.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    grant: Grant,
}

/// Output of one client.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    blocks: VecDeque<Block>,
    /// Bytes of the first block that are written already.
    written: usize,
    len: usize,
    /// Bytes that went into the socket since the connection began.
    out: u64,
    /// Since when the socket takes nothing.
    blocked: Option<Instant>,
}

impl Outbox {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn blocked(&self) -> Option<Instant> {
        self.blocked
    }

    /// Names the end of what is here now, for [`Outbox::is_out`].
    #[inline]
    pub(crate) const fn mark(&self) -> u64 {
        self.out + self.len as u64
    }

    /// Whether everything up to a mark went into the socket.
    pub(crate) const fn is_out(&self, mark: u64) -> bool {
        self.out >= mark
    }

    /// A block with room for `bytes` more, or `None` without memory. The caller appends exactly `bytes` bytes.
    #[inline]
    pub(crate) fn room(
        &mut self,
        bytes: usize,
        pool: &mut Pool,
        memory: &mut Allowance,
        intake: &impl Intake,
    ) -> Option<&mut Vec<u8>> {
        let fits =
            self.blocks.back().is_some_and(|block| block.bytes.capacity() - block.bytes.len() >= bytes);
        if !fits {
            let block = self.block(bytes, pool, memory, intake)?;
            self.blocks.push_back(block);
        }
        self.len += bytes;
        pool.pending += bytes;
        self.blocks.back_mut().map(|block| &mut block.bytes)
    }

    fn block(
        &self,
        bytes: usize,
        pool: &mut Pool,
        memory: &mut Allowance,
        intake: &impl Intake,
    ) -> Option<Block> {
        if self.blocks.is_empty() && bytes <= SMALL {
            return Some(Block { bytes: pool.small(), grant: Grant::default() });
        }
        let mut grant = Grant::default();
        if memory.raise(&mut grant, bytes.max(LARGE), false, intake) {
            let block = if bytes <= LARGE { pool.large() } else { Vec::with_capacity(bytes) };
            return Some(Block { bytes: block, grant });
        }
        memory.settle(&mut grant, intake);
        let room = bytes <= SMALL && self.len + SMALL <= FREE;
        room.then(|| Block { bytes: pool.small(), grant: Grant::default() })
    }

    /// Writes until everything is out or the socket is full.
    ///
    /// # Errors
    /// Whatever ends the connection.
    pub(crate) fn write(
        &mut self,
        stream: &mut TcpStream,
        now: Instant,
        pool: &mut Pool,
        memory: &mut Allowance,
        intake: &impl Intake,
    ) -> io::Result<()> {
        while self.len > 0 {
            let mut slices = [IoSlice::new(&[]); VECTORS];
            let mut skip = self.written;
            for (slice, block) in slices.iter_mut().zip(&self.blocks) {
                *slice = IoSlice::new(block.bytes.get(skip..).unwrap_or_default());
                skip = 0;
            }
            let used = self.blocks.len().min(VECTORS);
            match stream.write_vectored(slices.get(..used).unwrap_or_default()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.blocked = None;
                    self.advance(count, pool, memory, intake);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked.get_or_insert(now);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, count: usize, pool: &mut Pool, memory: &mut Allowance, intake: &impl Intake) {
        self.len -= count.min(self.len);
        self.out += count as u64;
        pool.pending -= count.min(pool.pending);
        self.written += count;
        while let Some(front) = self.blocks.front_mut() {
            if self.written < front.bytes.len() {
                return;
            }
            self.written -= front.bytes.len();
            if let Some(mut block) = self.blocks.pop_front() {
                memory.settle(&mut block.grant, intake);
                pool.give(block.bytes);
            }
        }
        self.written = 0;
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, pool: &mut Pool, memory: &mut Allowance, intake: &impl Intake) {
        for mut block in self.blocks.drain(..) {
            memory.settle(&mut block.grant, intake);
            pool.give(block.bytes);
        }
        pool.pending -= self.len.min(pool.pending);
        self.len = 0;
        self.written = 0;
        self.blocked = None;
    }
}
