// SPDX-License-Identifier: MPL-2.0

//! All processes and threads by number.
//!
//! The table's lock also guards the relations between processes (parent, children, group, session): whoever changes them
//! holds it, and each process mirrors its own in atomics for the calls that only ask.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use ostd::sync::SpinLockGuard;

use super::{Pid, Process, Thread, Tid};
use crate::{prelude::*, system};

/// One more than the largest number (`/proc/sys/kernel/pid_max` on 64-bit Linux).
pub const PID_MAX: u32 = 1 << 22;

static TABLE: SpinLock<Table> = SpinLock::new(Table { processes: BTreeMap::new(), threads: BTreeMap::new() });

/// The table, locked.
pub struct Table {
    processes: BTreeMap<Pid, Arc<Process>>,
    threads: BTreeMap<Tid, Arc<Thread>>,
}

/// Locks the table. A leaf but for the locks inside processes.
pub fn lock() -> SpinLockGuard<'static, Table, ostd::sync::PreemptDisabled> {
    TABLE.lock()
}

/// A number that no process or thread has. Numbers are reused only after all others.
pub fn allocate_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    /// In the first round nobody can have a number yet: to know that spares a look at all processes.
    static IS_FIRST_ROUND: AtomicBool = AtomicBool::new(true);
    let table = lock();
    loop {
        // Relaxed: the table's lock orders it.
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        if id >= PID_MAX {
            // As on Linux, a second round leaves the low numbers to the system's first processes.
            NEXT.store(300, Ordering::Relaxed);
            IS_FIRST_ROUND.store(false, Ordering::Relaxed);
        } else if IS_FIRST_ROUND.load(Ordering::Relaxed) || !table.is_used(id) {
            return id;
        }
    }
}

/// The process with number `pid`, a zombie included.
pub fn process(pid: Pid) -> Option<Arc<Process>> {
    lock().processes.get(&pid).cloned()
}

/// Whether the process was not waited for yet.
pub fn contains(process: &Arc<Process>) -> bool {
    lock().processes.get(&process.pid).is_some_and(|known| Arc::ptr_eq(known, process))
}

/// The thread with number `tid`.
pub fn thread(tid: Tid) -> Option<Arc<Thread>> {
    lock().threads.get(&tid).cloned()
}

/// The process that `id` names, be it the process's own number or a thread's.
pub fn process_of_id(id: u32) -> Option<Arc<Process>> {
    let table = lock();
    let by_thread = || table.threads.get(&id).map(|thread| &thread.process);
    table.processes.get(&id).or_else(by_thread).cloned()
}

/// All processes in ascending order of their numbers, zombies included.
pub fn processes() -> Vec<Arc<Process>> {
    lock().processes.values().cloned().collect()
}

/// The processes of a process group.
pub fn group(group: Pid) -> Vec<Arc<Process>> {
    lock().members_of_group(group).cloned().collect()
}

/// Threads ever made, as `/proc/stat` counts them.
static CREATED: AtomicU64 = AtomicU64::new(0);

/// Threads ever made.
pub fn created_threads() -> u64 {
    CREATED.load(Ordering::Relaxed)
}

/// The most threads that there may be: so many that they need a good part of all memory (Linux's `set_max_threads`).
pub fn max_threads() -> usize {
    /// What a process needs of the kernel's memory at least, and as much again.
    const ROOM: usize = 256 << 10;
    system::memory().total / ROOM
}

/// Number of threads of the real user `uid`.
pub fn threads_of_user(uid: u32) -> usize {
    lock().threads.values().filter(|thread| thread.credentials.lock().uid == uid).count()
}

/// Number of threads.
pub fn thread_count() -> usize {
    lock().threads.len()
}

impl Table {
    fn is_used(&self, id: u32) -> bool {
        let is_group = |process: &Arc<Process>| process.group() == id || process.session() == id;
        self.threads.contains_key(&id) || self.processes.contains_key(&id) || self.processes.values().any(is_group)
    }

    /// The process with number `pid`.
    pub fn process(&self, pid: Pid) -> Option<&Arc<Process>> {
        self.processes.get(&pid)
    }

    /// The processes of a process group.
    pub fn members_of_group(&self, group: Pid) -> impl Iterator<Item = &Arc<Process>> {
        self.processes.values().filter(move |process| process.group() == group)
    }

    /// Adds a process.
    pub fn insert_process(&mut self, process: Arc<Process>) {
        self.processes.insert(process.pid, process);
    }

    /// Removes a process that was waited for.
    pub fn remove_process(&mut self, pid: Pid) -> Option<Arc<Process>> {
        self.processes.remove(&pid)
    }

    /// Adds a thread.
    pub fn insert_thread(&mut self, thread: Arc<Thread>) {
        CREATED.fetch_add(1, Ordering::Relaxed);
        self.threads.insert(thread.tid(), thread);
    }

    /// Removes a thread that ended.
    pub fn remove_thread(&mut self, tid: Tid) -> Option<Arc<Thread>> {
        self.threads.remove(&tid)
    }
}
