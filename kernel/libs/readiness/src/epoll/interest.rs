// SPDX-License-Identifier: MPL-2.0

//! The interest set of an epoll: its entries by (descriptor number, file description).
//!
//! # Concurrency
//!
//! Guarded by a sleeping mutex, `Core::interest`. Under it an entry gets its item and its registration, so whoever
//! finds an entry here finds it complete.

use hashbrown::HashTable;

use super::{Target, entry::Entry};
use crate::sync::Arc;

/// A hash table that keeps one pointer per entry: the key is in the entry.
pub(super) struct Interest<T: Target + ?Sized> {
    entries: HashTable<Arc<Entry<T>>>,
}

impl<T: Target + ?Sized> Interest<T> {
    pub(super) const fn new() -> Self {
        Self { entries: HashTable::new() }
    }

    /// Takes all entries.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Arc<Entry<T>>> + use<T> {
        core::mem::take(&mut self.entries).into_iter()
    }

    pub(super) fn find(&self, fd: i32, description: usize) -> Option<&Arc<Entry<T>>> {
        self.entries.find(hash(fd, description), |entry| entry.is_for(fd, description))
    }

    /// Adds an entry whose key is not there yet.
    pub(super) fn insert(&mut self, entry: Arc<Entry<T>>) {
        let hash_of = |entry: &Arc<Entry<T>>| hash(entry.fd, entry.description());
        self.entries.insert_unique(hash_of(&entry), entry, hash_of);
    }

    pub(super) fn remove(&mut self, fd: i32, description: usize) -> Option<Arc<Entry<T>>> {
        let found = self.entries.find_entry(hash(fd, description), |entry| entry.is_for(fd, description));
        Some(found.ok()?.remove().0)
    }

    /// Removes this very entry, if it is there still.
    pub(super) fn remove_entry(&mut self, entry: &Entry<T>) -> Option<Arc<Entry<T>>> {
        let hash = hash(entry.fd, entry.description());
        let found = self.entries.find_entry(hash, |other| core::ptr::eq(&raw const **other, entry));
        Some(found.ok()?.remove().0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Entry<T>>> {
        self.entries.iter()
    }
}

/// Folds the 128-bit product of the key and an odd constant: the table uses both ends of the result.
fn hash(fd: i32, description: usize) -> u64 {
    let key = description as u64 ^ (u64::from(fd.cast_unsigned()) << 40);
    let product = u128::from(key) * 0x9E37_79B9_7F4A_7C15;
    (product as u64) ^ (product >> 64) as u64
}
