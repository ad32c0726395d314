// SPDX-License-Identifier: MPL-2.0

//! What the readiness of a pipe depends on. How it does is in [`super::end`].

use crate::stream::Ring;

/// The side of [`State`] that reads.
pub const READER: usize = 0;
/// The side of [`State`] that writes.
pub const WRITER: usize = 1;
/// The side of [`State`] that does both: descriptions that are open for reading and writing.
pub const BOTH: usize = 2;

/// The ring, and who has the pipe open.
pub struct State {
    /// The bytes on their way.
    pub ring: Ring,
    /// Who has it open.
    pub openers: Openers,
}

/// Counts of open descriptions, and of those there ever were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Openers {
    /// Open for reading.
    pub readers: u32,
    /// Open for writing.
    pub writers: u32,
    /// How often it was opened for reading, ever.
    pub reads: u32,
    /// How often it was opened for writing, ever.
    pub writes: u32,
}

impl State {
    /// A pipe that nobody has open.
    pub fn new(slots: usize) -> Self {
        Self { ring: Ring::new(slots), openers: Openers::default() }
    }
}

impl Openers {
    /// One more.
    pub fn enter(&mut self, reads: bool, writes: bool) {
        self.readers += u32::from(reads);
        self.writers += u32::from(writes);
        self.reads = self.reads.wrapping_add(u32::from(reads));
        self.writes = self.writes.wrapping_add(u32::from(writes));
    }

    /// One less.
    pub fn leave(&mut self, reads: bool, writes: bool) {
        self.readers -= u32::from(reads);
        self.writers -= u32::from(writes);
    }
}
