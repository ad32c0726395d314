// SPDX-License-Identifier: MPL-2.0

//! Processes and threads.
//!
//! # Role
//! A [`Process`] is a thread group with its address space, children and signal actions; a [`Thread`] is one task of it.
//! [`table`] finds both by number.
//!
//! # Concurrency
//! Lock order: process table, then `children` of the parent, then a process's own locks, then a thread's. All are spin
//! locks of task context unless a field says otherwise; none is held over a sleep, a wake-up or a copy from or to a program.

mod sched_state;
mod task;
mod thread;

pub use self::{
    sched_state::SchedState,
    task::{TaskData, ThreadLocal, init as init_task_hooks},
    thread::Thread,
};
use crate::{prelude::*, signal::ProcessSignals, vm::AddressSpace};

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
    /// Signal actions and signals pending for any thread.
    pub signals: ProcessSignals,
}
