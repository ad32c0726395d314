// SPDX-License-Identifier: MPL-2.0

//! Processes and threads.
//!
//! # Role
//! A [`Process`] is a thread group with its address space, children and signal actions; a [`Thread`] is one task of it.
//! [`table`] finds both by number, [`clone`] makes them, [`exec`] gives a process another program, [`exit`] ends them,
//! [`wait`] tells parents, and [`task`] is the loop between kernel and program.
//!
//! # Concurrency
//! Lock order: [`table`], then a process's own locks, then a thread's. All are spin locks of task context unless a field
//! says otherwise; none is held over a sleep, a wake-up or a copy from or to a program.

pub mod clone;
pub mod credentials;
pub mod exec;
pub mod exit;
pub mod limits;
pub mod oom;
mod sched_state;
mod status;
pub mod table;
mod task;
mod thread;
mod usage;
pub mod wait;

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};

pub use self::{
    limits::{Limits, Resource},
    sched_state::SchedState,
    status::{ChildEvent, ExitStatus},
    task::{Flow, TaskData, ThreadLocal, init as init_task_hooks, local_of, with_current_thread},
    thread::{Thread, Work},
    usage::ResourceUsage,
};
use readiness::Pollee;

use crate::{prelude::*, signal::ProcessSignals, time::cpu_time::Usage, vm::AddressSpace};

/// The number of a process; the number of its first thread.
pub type Pid = u32;
/// The number of a thread.
pub type Tid = u32;

/// A thread group.
pub struct Process {
    /// Its number, as `getpid(2)` answers.
    pub pid: Pid,
    /// The address space of its threads; `execve(2)` replaces it, the last thread's exit drops it.
    pub vm: SpinLock<Option<Arc<AddressSpace>>>,
    /// What it executes, for `/proc`.
    pub program: SpinLock<Program>,
    /// Signal actions and signals pending for any thread.
    pub signals: ProcessSignals,
    /// The real user id with which it ended, for its parent.
    uid: AtomicU32,
    /// The nice value, -20 to 19 (`setpriority(2)`).
    pub nice: AtomicI32,
    /// Resource limits.
    pub limits: Limits,
    /// Notified when a child ends, stops or continues.
    pub child_events: Pollee,
    /// Notified when it has ended: what its descriptors wait for (`pidfd_open(2)`).
    pub exits: Pollee,
    /// When it was forked, in nanoseconds since boot.
    pub start_time: u64,
    used: SpinLock<Used>,
    /// Whether it called `execve(2)` since it was forked: `setpgid(2)` by its parent then fails.
    pub has_executed: AtomicBool,
    /// Whether orphaned descendants become its children (`prctl(2)` `PR_SET_CHILD_SUBREAPER`).
    pub is_subreaper: AtomicBool,
    /// `prctl(2)` `PR_SET_DUMPABLE`.
    pub is_dumpable: AtomicBool,
    /// `prctl(2)` `PR_SET_NO_NEW_PRIVS`: set for ever, children included.
    pub has_no_new_privileges: AtomicBool,
    /// The name of its first thread, once that is gone.
    pub last_name: SpinLock<[u8; 16]>,
    /// `/proc/PID/oom_score_adj`
    pub oom_score_adj: AtomicI32,
    /// Whether it was ended because there was no memory.
    is_oom_victim: AtomicBool,
    /// Taken with IRQs disabled: timers send signals from interrupts.
    threads: SpinLock<Vec<Arc<Thread>>, LocalIrqDisabled>,
    life: SpinLock<Life>,
    parent: SpinLock<Weak<Process>>,
    children: SpinLock<Vec<Arc<Process>>>,
    /// Mirrors of the relations, changed under the table's lock.
    parent_pid: AtomicU32,
    group: AtomicU32,
    session: AtomicU32,
    /// Signal that the parent gets when the process ends; 0 for none (`clone(2)`).
    exit_signal: AtomicU32,
}

/// What a process executes.
#[derive(Clone, Default)]
pub struct Program {
    /// The executable; `None` before the first `execve(2)`.
    pub executable: Option<exec::Executable>,
    /// Where its arguments lie in memory.
    pub arguments: core::ops::Range<Vaddr>,
    /// Where its environment lies in memory.
    pub environment: core::ops::Range<Vaddr>,
    /// The auxiliary vector, as pairs of words.
    pub auxv: Vec<[usize; 2]>,
}

/// What no living thread shows any more.
#[derive(Clone, Copy, Default)]
struct Used {
    /// By its threads that ended, and the memory that is gone.
    ended_threads: ResourceUsage,
    /// By children that were waited for, and by theirs.
    children: ResourceUsage,
}

/// Where a process is between its first and its last moment.
#[derive(Default)]
struct Life {
    /// Set once it is decided that, and how, it ends.
    ending: Option<ExitStatus>,
    /// Set when its last thread is gone and only the status is left.
    is_zombie: bool,
    /// The signal that stopped it, while it is stopped.
    stopped_by: Option<u8>,
    /// A stop or continuation that the parent did not wait for yet.
    news: Option<ChildEvent>,
    /// The thread that executes another program and waits for the others to go.
    executing: Option<Arc<Thread>>,
}

impl Process {
    /// The parent's number, 0 for the first process.
    pub fn parent_pid(&self) -> Pid {
        self.parent_pid.load(Relaxed)
    }

    /// The process group's number.
    pub fn group(&self) -> Pid {
        self.group.load(Relaxed)
    }

    /// The session's number.
    pub fn session(&self) -> Pid {
        self.session.load(Relaxed)
    }

    /// Moves to another group; `_table` witnesses the table's lock.
    pub fn set_group(&self, group: Pid, _table: &table::Table) {
        self.group.store(group, Relaxed);
    }

    /// Moves to another session and a group of the same number; `_table` witnesses the table's lock.
    pub fn set_session(&self, session: Pid, table: &table::Table) {
        self.session.store(session, Relaxed);
        self.set_group(session, table);
    }

    /// The parent; `None` for the first process.
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.parent.lock().upgrade()
    }

    /// The threads that have not ended.
    pub fn threads(&self) -> Vec<Arc<Thread>> {
        self.threads.lock().clone()
    }

    /// Lets `look` look at the threads that have not ended, in any context and without taking references. It must neither
    /// sleep nor take locks other than those of threads and below.
    pub fn with_threads<R>(&self, look: impl FnOnce(&[Arc<Thread>]) -> R) -> R {
        look(&self.threads.lock())
    }

    /// The thread whose number is the process's, unless it ended before the others; else any.
    pub fn main_thread(&self) -> Option<Arc<Thread>> {
        let threads = self.threads.lock();
        let leader = threads.iter().find(|thread| thread.tid() == self.pid);
        leader.or(threads.first()).cloned()
    }

    /// Whether only its status is left.
    pub fn is_zombie(&self) -> bool {
        self.life.lock().is_zombie
    }

    /// How it ends, once that is decided.
    pub fn ending(&self) -> Option<ExitStatus> {
        self.life.lock().ending
    }

    /// The signal that stopped it, while it is stopped.
    pub fn stopped_by(&self) -> Option<u8> {
        self.life.lock().stopped_by
    }

    /// Records that `signal` stopped it, for the parent's `wait(2)`. `false` if it is stopped or ending already.
    pub fn mark_stopped(&self, signal: u8) -> bool {
        let mut life = self.life.lock();
        if life.stopped_by.is_some() || life.ending.is_some() {
            return false;
        }
        life.stopped_by = Some(signal);
        life.news = Some(ChildEvent::Stopped(signal));
        true
    }

    /// Records that it runs again. `false` if it was not stopped.
    pub fn mark_continued(&self) -> bool {
        let mut life = self.life.lock();
        if life.stopped_by.take().is_none() {
            return false;
        }
        life.news = Some(ChildEvent::Continued);
        true
    }

    /// The real user of its main thread, or that with which it ended.
    pub fn uid(&self) -> u32 {
        let thread = self.main_thread();
        thread.map_or(self.uid.load(Relaxed), |thread| thread.credentials.lock().uid)
    }

    /// CPU time of its threads, ended ones included.
    pub fn usage(&self) -> Usage {
        let ended = self.used.lock().ended_threads.cpu;
        self.threads().iter().fold(ended, |sum, thread| sum.plus(thread.cpu_time.usage()))
    }

    /// CPU time of the children that were waited for, and of theirs.
    pub fn children_usage(&self) -> Usage {
        self.used.lock().children.cpu
    }

    /// The signal for the parent when it ends; 0 for none.
    pub fn exit_signal(&self) -> u32 {
        self.exit_signal.load(Relaxed)
    }
}
