// SPDX-License-Identifier: MPL-2.0

//! Advisory locks: `flock(2)`, and the record locks of `fcntl(2)` in both kinds.
//!
//! # Role
//! One table for all files. Record locks belong to a process (to its descriptor table, as on Linux) or to an open file
//! description; `flock` locks to a description and to the whole file. The two families do not see each other.
//!
//! # Invariants
//! 1. Locks of one owner on one file do not overlap, and neighbours of the same kind are one.
//! 2. Locks of different owners that overlap are both shared.
//!
//! # Concurrency
//! The table has one sleeping lock. Who waits does so on one pollee, notified whenever a lock goes: locks are rare and
//! contended ones rarer, so a wake-up in vain costs less than a queue per lock.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use readiness::{IoEvents, Pollee, Timeout, Together, WaitError};
use spin::Once;

use super::Inode;
use crate::{
    file::{Description, table::FileTable},
    prelude::*,
    process::Pid,
};

/// Who holds a lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// A process, by the address of its descriptor table.
    Process(usize),
    /// A description, by its number: record locks.
    Description(u64),
    /// A description, by its number: `flock(2)`.
    Flock(u64),
}

impl Owner {
    /// The owner of classic record locks set by the calling process.
    pub fn of_process(files: &Arc<FileTable>) -> Self {
        Self::Process(Arc::as_ptr(files).addr())
    }

    fn is_flock(self) -> bool {
        matches!(self, Self::Flock(_))
    }
}

/// A lock, held or wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lock {
    /// Who holds it.
    pub owner: Owner,
    /// The process that set it, as `F_GETLK` reports; `None` for record locks of a description.
    pub pid: Option<Pid>,
    /// Whether it excludes all others (`F_WRLCK`, `LOCK_EX`).
    pub is_exclusive: bool,
    /// The first byte.
    pub start: u64,
    /// The last byte; `u64::MAX` for the end of the file wherever it is.
    pub end: u64,
}

impl Lock {
    fn conflicts(&self, other: &Lock) -> bool {
        self.owner != other.owner
            && self.owner.is_flock() == other.owner.is_flock()
            && (self.is_exclusive || other.is_exclusive)
            && self.overlaps(other)
    }

    fn overlaps(&self, other: &Lock) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// A file, as locks know it: by the address of its inode, which each entry keeps alive.
type Key = usize;

struct FileLocks {
    inode: Arc<dyn Inode>,
    held: Vec<Lock>,
}

static TABLE: Mutex<BTreeMap<Key, FileLocks>> = Mutex::new(BTreeMap::new());
/// Record locks of processes there are. Relaxed: a closing process sees those that it set itself.
static PROCESS_LOCKS: AtomicUsize = AtomicUsize::new(0);

fn key(inode: &Arc<dyn Inode>) -> Key {
    Arc::as_ptr(inode).addr()
}

fn released() -> &'static Pollee {
    static RELEASED: Once<Pollee> = Once::new();
    RELEASED.call_once(Pollee::new)
}

/// The first lock that stands in the way of `wanted`, for `F_GETLK`.
pub fn conflict(inode: &Arc<dyn Inode>, wanted: &Lock) -> Option<Lock> {
    let table = TABLE.lock();
    let held = &table.get(&key(inode))?.held;
    let in_the_way = held.iter().filter(|lock| lock.conflicts(wanted));
    in_the_way.min_by_key(|lock| lock.start).copied()
}

/// Every lock with its file and those that wait for it (`/proc/locks`).
pub fn all() -> Vec<(Arc<dyn Inode>, Lock, Vec<Lock>)> {
    let table = TABLE.lock();
    let waiting = WAITING.lock();
    let locks = table.values().flat_map(|file| file.held.iter().map(move |lock| (file, lock)));
    let with_waiters = locks.map(|(file, held)| {
        let waits = |(lock, inode): &&(Lock, Arc<dyn Inode>)| {
            let first = || file.held.iter().find(|other| other.conflicts(lock));
            Arc::ptr_eq(inode, &file.inode) && first() == Some(held)
        };
        (file.inode.clone(), *held, waiting.iter().filter(waits).map(|(lock, _)| *lock).collect())
    });
    with_waiters.collect()
}

/// Takes a lock, replacing what the owner holds of the range.
///
/// # Errors
/// `EAGAIN` if another owner's lock is in the way.
fn try_lock(inode: &Arc<dyn Inode>, wanted: &Lock) -> Result<()> {
    let mut table = TABLE.lock();
    let file = table.entry(key(inode)).or_insert_with(|| FileLocks { inode: inode.clone(), held: Vec::new() });
    if file.held.iter().any(|lock| lock.conflicts(wanted)) {
        return Err(EAGAIN);
    }
    let before = file.held.len();
    let has_weakened = carve(&mut file.held, wanted);
    insert_merged(&mut file.held, *wanted);
    count(wanted.owner, before, file.held.len());
    drop(table);
    if has_weakened {
        let _ = released().notify(IoEvents::IN);
    }
    Ok(())
}

/// Gives back a range.
pub fn unlock(inode: &Arc<dyn Inode>, range: &Lock) {
    let mut table = TABLE.lock();
    let Some(file) = table.get_mut(&key(inode)) else {
        return;
    };
    let before = file.held.len();
    let has_changed = carve(&mut file.held, range);
    count(range.owner, before, file.held.len());
    let gone = if file.held.is_empty() { table.remove(&key(inode)) } else { None };
    drop(table);
    drop(gone);
    if has_changed {
        let _ = released().notify(IoEvents::IN);
    }
}

fn count(owner: Owner, before: usize, after: usize) {
    if matches!(owner, Owner::Process(_)) {
        PROCESS_LOCKS.fetch_add(after.wrapping_sub(before), Relaxed); // Wraps back when there are fewer.
    }
}

/// Cuts `range` out of its owner's locks; tells whether anything was cut.
fn carve(held: &mut Vec<Lock>, range: &Lock) -> bool {
    let mut rest = Vec::new();
    let before = held.len();
    held.retain(|lock| {
        let is_cut = lock.owner == range.owner && lock.overlaps(range);
        if is_cut && lock.start < range.start {
            rest.push(Lock { end: range.start - 1, ..*lock });
        }
        if is_cut && lock.end > range.end {
            rest.push(Lock { start: range.end + 1, ..*lock });
        }
        !is_cut
    });
    let is_changed = held.len() != before;
    held.extend(rest);
    is_changed
}

/// Adds a lock, joined with its owner's neighbours of the same kind (invariant 1).
fn insert_merged(held: &mut Vec<Lock>, mut lock: Lock) {
    held.retain(|other| {
        let is_alike = other.owner == lock.owner && other.is_exclusive == lock.is_exclusive;
        let touches = other.end.checked_add(1) == Some(lock.start) || lock.end.checked_add(1) == Some(other.start);
        if is_alike && touches {
            lock.start = lock.start.min(other.start);
            lock.end = lock.end.max(other.end);
        }
        !(is_alike && touches)
    });
    held.push(lock);
}

/// Takes a lock, waiting if `is_blocking`.
///
/// # Errors
/// `EAGAIN` if it would block; `ERESTARTSYS` if a signal ends the wait; `EDEADLK` if two processes would wait for each other.
pub fn lock(ctx: &Context, inode: &Arc<dyn Inode>, wanted: &Lock, is_blocking: bool) -> Result<()> {
    match try_lock(inode, wanted) {
        Err(EAGAIN) if is_blocking => {}
        result => return result,
    }
    let _waiting = Waiting::announce(wanted, inode)?;
    let subjects = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| register(released(), IoEvents::IN));
    match ctx.wait(&subjects, Timeout::Never, || try_lock(inode, wanted).ok()) {
        Ok(()) => Ok(()),
        Err(WaitError::Interrupted | WaitError::TimedOut) => Err(ERESTARTSYS),
    }
}

/// Owners that wait, and for what: the graph in which a deadlock is a cycle.
static WAITING: SpinLock<Vec<(Lock, Arc<dyn Inode>)>> = SpinLock::new(Vec::new());

struct Waiting(Lock, Arc<dyn Inode>);

impl Waiting {
    /// # Errors
    /// `EDEADLK` if whoever is in the way waits, over any number of steps, for the owner of `wanted`.
    fn announce(wanted: &Lock, inode: &Arc<dyn Inode>) -> Result<Self> {
        if matches!(wanted.owner, Owner::Process(_)) && is_waited_for(wanted, inode) {
            return Err(EDEADLK);
        }
        WAITING.lock().push((*wanted, inode.clone()));
        Ok(Self(*wanted, inode.clone()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = WAITING.lock();
        let own = waiting.iter().position(|(lock, inode)| *lock == self.0 && Arc::ptr_eq(inode, &self.1));
        let own = own.map(|index| waiting.swap_remove(index));
        drop(waiting);
        drop(own);
    }
}

fn is_waited_for(wanted: &Lock, inode: &Arc<dyn Inode>) -> bool {
    /// As Linux's `MAX_DEADLK_ITERATIONS`.
    const MAX_STEPS: usize = 10;
    let (mut lock, mut inode) = (*wanted, inode.clone());
    for _ in 0..MAX_STEPS {
        let Some(blocker) = conflict(&inode, &lock) else {
            return false;
        };
        if blocker.owner == wanted.owner {
            return true;
        }
        let next = WAITING.lock().iter().find(|(waiting, _)| waiting.owner == blocker.owner).cloned();
        let Some(next) = next else {
            return false;
        };
        (lock, inode) = next;
        if lock.owner == wanted.owner {
            return true;
        }
    }
    false
}

/// Gives back the record locks that the process holds on a file of which it closes any descriptor (`fcntl(2)`).
pub fn release_on_close(files: &Arc<FileTable>, description: &Arc<Description>) {
    if PROCESS_LOCKS.load(Relaxed) != 0 {
        release(description.inode(), Owner::of_process(files));
    }
}

/// Gives back what `owner` holds on a file.
pub fn release(inode: &Arc<dyn Inode>, owner: Owner) {
    let everything = Lock { owner, pid: None, is_exclusive: false, start: 0, end: u64::MAX };
    unlock(inode, &everything);
}

/// Gives back the locks of a description that nobody refers to any more.
pub fn release_description(inode: &Arc<dyn Inode>, id: u64) {
    release(inode, Owner::Description(id));
    release(inode, Owner::Flock(id));
}

/// Gives back what a process holds on any file: its descriptor table goes.
pub fn release_table(address: usize) {
    if PROCESS_LOCKS.load(Relaxed) == 0 {
        return;
    }
    let owner = Owner::Process(address);
    let holds = |file: &&FileLocks| file.held.iter().any(|lock| lock.owner == owner);
    let inodes: Vec<_> = TABLE.lock().values().filter(holds).map(|file| file.inode.clone()).collect();
    for inode in inodes {
        release(&inode, owner);
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    fn lock(owner: u64, is_exclusive: bool, start: u64, end: u64) -> Lock {
        Lock { owner: Owner::Description(owner), pid: None, is_exclusive, start, end }
    }

    #[ktest]
    fn neighbours_of_a_kind_become_one() {
        let mut held = Vec::new();
        insert_merged(&mut held, lock(1, true, 0, 9));
        insert_merged(&mut held, lock(1, true, 20, 29));
        insert_merged(&mut held, lock(1, true, 10, 19));
        assert_eq!(held, [lock(1, true, 0, 29)]);
    }

    #[ktest]
    fn cutting_the_middle_leaves_both_ends() {
        let mut held = alloc::vec![lock(1, true, 0, u64::MAX), lock(2, false, 0, 5)];
        assert!(carve(&mut held, &lock(1, false, 10, 19)));
        held.sort_by_key(|lock| (lock.start, lock.end));
        assert_eq!(held, [lock(2, false, 0, 5), lock(1, true, 0, 9), lock(1, true, 20, u64::MAX)]);
    }

    #[ktest]
    fn only_exclusive_overlaps_of_others_conflict() {
        assert!(!lock(1, false, 0, 9).conflicts(&lock(2, false, 0, 9)));
        assert!(lock(1, true, 0, 9).conflicts(&lock(2, false, 9, 9)));
        assert!(!lock(1, true, 0, 9).conflicts(&lock(2, true, 10, 19)));
        assert!(!lock(1, true, 0, 9).conflicts(&lock(1, true, 0, 9)));
    }
}
