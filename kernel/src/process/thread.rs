// SPDX-License-Identifier: MPL-2.0

//! A thread: what other threads may ask of it.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use ostd::sync::Waker;
use spin::Once;

use super::{Process, SchedState, Tid};
use crate::{file::table::FileTable, fs::FsContext, prelude::*, signal::ThreadSignals, time::cpu_time::CpuTime};

/// A thread, as shared with other threads. What only the thread itself touches is in [`super::ThreadLocal`].
pub struct Thread {
    /// Its number, as `gettid(2)` answers.
    pub tid: Tid,
    /// The process it belongs to.
    pub process: Arc<Process>,
    /// How long it had a CPU.
    pub cpu_time: CpuTime,
    /// The scheduler's part.
    pub sched: SchedState,
    /// Mask and signals pending for this thread.
    pub signals: ThreadSignals,
    /// The descriptor table; shared under `CLONE_FILES`.
    pub files: SpinLock<Arc<FileTable>>,
    /// Working directory, root and umask; shared under `CLONE_FS`.
    pub fs: SpinLock<Arc<FsContext>>,
    /// Up to 15 bytes, as `prctl(2)` `PR_SET_NAME` sets it; zero padded.
    pub name: SpinLock<[u8; 16]>,
    /// Address that is cleared and futex-woken at exit (`set_tid_address(2)`), or 0.
    pub clear_child_tid: AtomicUsize,
    /// Head of the robust futex list (`set_robust_list(2)`), or 0.
    pub robust_list: AtomicUsize,
    /// [`Work`] to do before the next return to user mode.
    pub work: AtomicU32,
    /// Wakes the thread out of [`Context::park`]; set when it first runs.
    pub waker: Once<Arc<Waker>>,
}

bitflags::bitflags! {
    /// Reasons for a thread to look up before it returns to user mode.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Work: u32 {
        /// A signal may be deliverable.
        const SIGNAL = 1;
        /// The thread group exits or executes another program: die.
        const EXIT = 2;
    }
}

impl Thread {
    /// Asks the thread to look up, and wakes it if it sleeps interruptibly or kicks its CPU if it runs.
    pub fn request(&self, work: Work) {
        // Release pairs with the Acquire in `has_work`: who sees the bit sees the reason.
        self.work.fetch_or(work.bits(), Ordering::Release);
        self.wake();
    }

    /// Ends the thread's current or next [`Context::park`].
    pub fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_up();
        }
    }

    /// Whether anything was requested and not yet taken.
    pub fn has_work(&self) -> bool {
        self.work.load(Ordering::Acquire) != 0
    }
}
