// SPDX-License-Identifier: MPL-2.0

//! Who sleeps on which word.
//!
//! # Invariants
//! 1. A thread is in at most one bucket, once. Its [`Waiter`] names that bucket, or none; it is changed under the bucket's
//!    lock, and under both when it moves.
//! 2. Threads with the same key stand in the order in which they came.
//!
//! # Concurrency
//! Bucket locks are leaves; two are taken in the order of their addresses. Threads are woken after they are released. A
//! bucket's storage stays when it empties, so that a later wait allocates nothing.

use core::{
    hash::{Hash, Hasher},
    sync::atomic::{
        AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use ostd::sync::{PreemptDisabled, SpinLockGuard};

use crate::{prelude::*, process::Thread, vm::FutexKey};

/// Number of buckets. A collision costs a longer walk only.
const BUCKETS: usize = 256;
/// Threads that are woken per turn of a bucket's lock.
const WAKE_BATCH: usize = 16;
/// `bucket` of a waiter that is in none.
const NOWHERE: usize = usize::MAX;

static TABLE: [SpinLock<VecDeque<Entry>>; BUCKETS] = [const { SpinLock::new(VecDeque::new()) }; BUCKETS];

struct Entry {
    key: FutexKey,
    bits: u32,
    /// Sleeps in `FUTEX_LOCK_PI`: woken by an unlock only.
    is_lock: bool,
    thread: Arc<Thread>,
}

/// A thread's part in the queues.
pub struct Waiter {
    /// Index of the bucket that it is in, or [`NOWHERE`].
    bucket: AtomicUsize,
}

impl Waiter {
    /// Of a thread that does not sleep on a word.
    pub const fn new() -> Self {
        Self { bucket: AtomicUsize::new(NOWHERE) }
    }

    /// Whether somebody took it out of its bucket.
    pub(super) fn is_woken(&self) -> bool {
        // Acquire pairs with the Release in `leave`: what the waker did is seen.
        self.bucket.load(Acquire) == NOWHERE
    }

    fn leave(&self) {
        self.bucket.store(NOWHERE, Release);
    }
}

impl Default for Waiter {
    fn default() -> Self {
        Self::new()
    }
}

/// A locked bucket.
pub(super) struct Locked {
    index: usize,
    entries: SpinLockGuard<'static, VecDeque<Entry>, PreemptDisabled>,
}

fn index_of(key: &FutexKey) -> usize {
    let mut hasher = Fnv(0xCBF2_9CE4_8422_2325);
    key.hash(&mut hasher);
    // The high bits are the well mixed ones.
    (hasher.finish() >> 32) as usize % BUCKETS
}

/// The hash function FNV-1a, a word at a time.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 29;
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

/// Locks the bucket of a word.
pub(super) fn lock(key: &FutexKey) -> Locked {
    lock_index(index_of(key))
}

fn lock_index(index: usize) -> Locked {
    Locked { index, entries: TABLE[index % BUCKETS].lock() }
}

/// Locks the buckets of two words; the second is `None` if it is the first.
pub(super) fn lock_two(one: &FutexKey, other: &FutexKey) -> (Locked, Option<Locked>) {
    let (first, second) = (index_of(one), index_of(other));
    if first == second {
        (lock_index(first), None)
    } else if first < second {
        let locked = lock_index(first);
        (locked, Some(lock_index(second)))
    } else {
        let locked = lock_index(second);
        (lock_index(first), Some(locked))
    }
}

impl Locked {
    /// Queues the calling thread.
    pub(super) fn push(&mut self, key: &FutexKey, bits: u32, thread: &Arc<Thread>) {
        self.push_entry(Entry { key: *key, bits, is_lock: false, thread: thread.clone() });
    }

    /// Queues the calling thread for a lock.
    pub(super) fn push_for_lock(&mut self, key: &FutexKey, thread: &Arc<Thread>) {
        self.push_entry(Entry { key: *key, bits: 0, is_lock: true, thread: thread.clone() });
    }

    fn push_entry(&mut self, entry: Entry) {
        // Relaxed: the bucket's lock orders it.
        entry.thread.futex.bucket.store(self.index, Relaxed);
        self.entries.push_back(entry);
    }

    /// Moves up to `count` sleepers on `key` whose set meets `bits` to `woken`, as many as fit.
    pub(super) fn take(&mut self, key: &FutexKey, count: usize, bits: u32, woken: &mut WakeList) -> usize {
        let (mut taken, mut index) = (0, 0);
        while index < self.entries.len() && taken < count && !woken.is_full() {
            let entry = &self.entries[index];
            if entry.key != *key || entry.bits & bits == 0 || entry.is_lock {
                index += 1;
            } else if let Some(entry) = self.entries.remove(index) {
                entry.thread.futex.leave();
                woken.push(entry.thread);
                taken += 1;
            }
        }
        taken
    }

    /// Takes the first that waits for the lock `key`, if `hand_over` succeeds with it and the news whether others wait on.
    pub(super) fn take_for_lock(
        &mut self,
        key: &FutexKey,
        hand_over: impl FnOnce(&Thread, bool) -> bool,
    ) -> Option<Arc<Thread>> {
        let waits = |entry: &Entry| entry.is_lock && entry.key == *key;
        let index = self.entries.iter().position(waits)?;
        let others = self.entries.iter().skip(index + 1).any(waits);
        if !hand_over(&self.entries[index].thread, others) {
            return None;
        }
        let entry = self.entries.remove(index)?;
        entry.thread.futex.leave();
        Some(entry.thread)
    }

    /// Whether anybody waits for the lock `key`.
    pub(super) fn has_lock_waiter(&self, key: &FutexKey) -> bool {
        self.entries.iter().any(|entry| entry.is_lock && entry.key == *key)
    }
}

/// Takes a thread out of its bucket; `false` if somebody else did already.
pub(super) fn remove(thread: &Arc<Thread>) -> bool {
    loop {
        let index = thread.futex.bucket.load(Acquire);
        if index == NOWHERE {
            return false;
        }
        let mut locked = lock_index(index);
        if thread.futex.bucket.load(Relaxed) != index {
            continue; // Moved to another bucket, or woken.
        }
        let is_this = |entry: &Entry| Arc::ptr_eq(&entry.thread, thread);
        let removed = locked.entries.iter().position(is_this);
        let removed = removed.and_then(|position| locked.entries.remove(position));
        thread.futex.leave();
        drop(locked);
        return removed.is_some();
    }
}

/// Moves up to `count` sleepers from one word to another; `target` is `None` if both share a bucket. Returns their number.
pub(super) fn move_all(
    from: &FutexKey,
    to: &FutexKey,
    source: &mut Locked,
    mut target: Option<&mut Locked>,
    count: usize,
) -> usize {
    let (mut moved, mut index) = (0, 0);
    while index < source.entries.len() && moved < count {
        let entry = &mut source.entries[index];
        if entry.key != *from || entry.is_lock {
            index += 1;
            continue;
        }
        moved += 1;
        entry.key = *to;
        match &mut target {
            None => index += 1,
            Some(target) => {
                if let Some(entry) = source.entries.remove(index) {
                    target.push_entry(entry);
                }
            }
        }
    }
    moved
}

/// Threads to wake once no lock is held.
pub(super) struct WakeList {
    threads: [Option<Arc<Thread>>; WAKE_BATCH],
    len: usize,
}

impl WakeList {
    pub(super) fn new() -> Self {
        Self { threads: [const { None }; WAKE_BATCH], len: 0 }
    }

    fn is_full(&self) -> bool {
        self.len == WAKE_BATCH
    }

    fn push(&mut self, thread: Arc<Thread>) {
        if let Some(slot) = self.threads.get_mut(self.len) {
            *slot = Some(thread);
            self.len += 1;
        }
    }

    /// Wakes and forgets them. Returns whether the list was full.
    pub(super) fn wake_all(&mut self) -> bool {
        let was_full = self.is_full();
        for thread in self.threads.iter_mut().take(self.len).filter_map(Option::take) {
            thread.wake();
        }
        self.len = 0;
        was_full
    }
}
