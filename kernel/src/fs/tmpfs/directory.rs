// SPDX-License-Identifier: MPL-2.0

//! Directories of ramfs and tmpfs.
//!
//! # Invariants
//! 1. `by_name` and `by_cursor` hold the same entries.
//! 2. A cursor is given out once. So whatever is added or removed during a scan of the directory, an entry that stays is
//!    reported exactly once (POSIX `readdir`).
//! 3. A closed directory is empty and stays so.

use super::{
    super::{DirEntry, Inode},
    TmpInode,
};
use crate::prelude::*;

/// The entries of one directory.
pub(super) struct Directory {
    entries: SpinLock<Entries>,
}

struct Entries {
    by_name: BTreeMap<Arc<[u8]>, u64>,
    by_cursor: BTreeMap<u64, Entry>,
    /// Cursors 0 and 1 are those of `.` and `..`.
    next_cursor: u64,
    is_closed: bool,
}

#[derive(Clone)]
struct Entry {
    name: Arc<[u8]>,
    inode: Arc<TmpInode>,
}

impl Directory {
    pub(super) fn new() -> Self {
        let entries =
            Entries { by_name: BTreeMap::new(), by_cursor: BTreeMap::new(), next_cursor: 2, is_closed: false };
        Self { entries: SpinLock::new(entries) }
    }

    /// The size that tmpfs shows: 20 bytes per entry, `.` and `..` included.
    pub(super) fn size(&self) -> u64 {
        const ENTRY_SIZE: u64 = 20;
        (self.entries.lock().by_name.len() as u64 + 2) * ENTRY_SIZE
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<Arc<TmpInode>> {
        let entries = self.entries.lock();
        let cursor = entries.by_name.get(name)?;
        entries.by_cursor.get(cursor).map(|entry| entry.inode.clone())
    }

    /// # Errors
    /// `ENOENT` if the directory was removed; `EEXIST`.
    pub(super) fn insert(&self, name: &[u8], inode: Arc<TmpInode>) -> Result<()> {
        let name: Arc<[u8]> = name.into();
        let mut entries = self.entries.lock();
        if entries.is_closed {
            return Err(ENOENT);
        }
        if entries.by_name.contains_key(&name) {
            return Err(EEXIST);
        }
        let cursor = entries.next_cursor;
        entries.next_cursor += 1;
        entries.by_name.insert(name.clone(), cursor);
        entries.by_cursor.insert(cursor, Entry { name, inode });
        Ok(())
    }

    /// Lets an existing name stand for another inode.
    ///
    /// # Errors
    /// `ENOENT` if the name does not exist.
    pub(super) fn replace(&self, name: &[u8], inode: Arc<TmpInode>) -> Result<()> {
        let mut entries = self.entries.lock();
        let cursor = *entries.by_name.get(name).ok_or(ENOENT)?;
        let entry = entries.by_cursor.get_mut(&cursor).ok_or(ENOENT)?;
        let old = core::mem::replace(&mut entry.inode, inode);
        drop(entries);
        drop(old);
        Ok(())
    }

    /// # Errors
    /// `ENOENT` if the name does not exist.
    pub(super) fn remove(&self, name: &[u8]) -> Result<()> {
        let mut entries = self.entries.lock();
        let cursor = entries.by_name.remove(name).ok_or(ENOENT)?;
        let entry = entries.by_cursor.remove(&cursor);
        drop(entries);
        drop(entry); // Its inode may free pages.
        Ok(())
    }

    /// Refuses new entries from now on, for `rmdir(2)`.
    ///
    /// # Errors
    /// `ENOTEMPTY` if there are any.
    pub(super) fn close_if_empty(&self) -> Result<()> {
        let mut entries = self.entries.lock();
        if !entries.by_name.is_empty() {
            return Err(ENOTEMPTY);
        }
        entries.is_closed = true;
        Ok(())
    }

    /// See [`Inode::readdir`]. `emit` runs without a lock, a batch at a time.
    pub(super) fn visit(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) {
        const BATCH: usize = 64;
        let mut from = cursor;
        loop {
            let entries = self.entries.lock();
            let batch: Vec<(u64, Entry)> =
                entries.by_cursor.range(from..).take(BATCH).map(|(cursor, entry)| (*cursor, entry.clone())).collect();
            drop(entries);
            for (cursor, entry) in &batch {
                let (number, kind) = (entry.inode.number(), entry.inode.kind());
                if !emit(DirEntry { name: &entry.name, number, kind, next: cursor + 1 }) {
                    return;
                }
            }
            match batch.last() {
                Some((last, _)) if batch.len() == BATCH => from = last + 1,
                _ => return,
            }
        }
    }
}
