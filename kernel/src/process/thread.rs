// SPDX-License-Identifier: MPL-2.0

//! A thread: what other threads may ask of it.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use ostd::{
    cpu::{CpuSet, PinCurrentCpu},
    smp::inter_processor_call,
    sync::Waker,
    task::disable_preempt,
};

use super::{Process, SchedState, Tid, clone::VforkParent, credentials::Credentials};
use crate::{file::table::FileTable, fs::FsContext, futex, prelude::*, signal::ThreadSignals, time::cpu_time::CpuTime};

/// A thread, as shared with other threads. What only the thread itself touches is in [`super::ThreadLocal`].
pub struct Thread {
    tid: AtomicU32,
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
    /// User, groups and capabilities.
    pub credentials: SpinLock<Arc<Credentials>>,
    /// Up to 15 bytes, as `prctl(2)` `PR_SET_NAME` sets it; zero padded.
    pub name: SpinLock<[u8; 16]>,
    /// Address that is cleared and futex-woken at exit (`set_tid_address(2)`), or 0.
    pub clear_child_tid: AtomicUsize,
    /// Head of the robust futex list (`set_robust_list(2)`), or 0.
    pub robust_list: AtomicUsize,
    /// Page faults that ended well.
    pub(super) faults: AtomicU64,
    /// Its place among those that sleep on a futex.
    pub futex: futex::Waiter,
    /// Signal for this thread when its parent's thread ends (`prctl(2)` `PR_SET_PDEATHSIG`); 0 for none.
    pub parent_death_signal: AtomicU32,
    /// The parent that sleeps until this thread executes or ends (`vfork(2)`).
    pub vfork_parent: SpinLock<Option<VforkParent>>,
    /// [`Work`] to do before the next return to user mode.
    pub work: AtomicU32,
    /// Wakes the thread out of its sleep; set when it first runs.
    pub waker: SpinLock<Option<Arc<Waker>>, LocalIrqDisabled>,
}

bitflags::bitflags! {
    /// Reasons for a thread to look up before it returns to user mode.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Work: u32 {
        /// A signal may be deliverable.
        const SIGNAL = 1;
        /// The process ends or executes another program: leave.
        const EXIT = 2;
        /// The thread itself called `exit(2)` or `execve(2)`: see its [`super::Flow`].
        const FLOW = 4;
        /// A timer on CPU time may be due. Does not end sleeps.
        const CPU_TIME = 8;
        /// It may no longer run on this CPU. Does not end sleeps.
        const MOVE = 16;
        /// What ends interruptible sleeps.
        const INTERRUPTS = Self::SIGNAL.bits() | Self::EXIT.bits();
    }
}

impl Thread {
    /// A thread with number `tid` that has not run yet.
    pub fn new(tid: Tid, parts: ThreadParts) -> Self {
        Self {
            tid: AtomicU32::new(tid),
            process: parts.process,
            sched: SchedState::new(parts.affinity),
            signals: parts.signals,
            cpu_time: CpuTime::default(),
            files: SpinLock::new(parts.files),
            fs: SpinLock::new(parts.fs),
            credentials: SpinLock::new(parts.credentials),
            name: SpinLock::new(parts.name),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            faults: AtomicU64::new(0),
            futex: futex::Waiter::new(),
            parent_death_signal: AtomicU32::new(0),
            vfork_parent: SpinLock::new(None),
            work: AtomicU32::new(0),
            waker: SpinLock::new(None),
        }
    }

    /// Its number, as `gettid(2)` answers.
    pub fn tid(&self) -> Tid {
        // Relaxed: only the thread itself changes it, while it is the only one (`execve(2)`).
        self.tid.load(Ordering::Relaxed)
    }

    /// Takes over the number of the process, when it executes another program as the last thread left.
    pub(super) fn become_leader(&self) {
        self.tid.store(self.process.pid, Ordering::Relaxed);
    }

    /// Asks the thread to look up, wakes it if it sleeps, and interrupts its CPU if it runs. Callable in any context.
    pub fn request(&self, work: Work) {
        // Release pairs with the Acquire in `has_work`: who sees the bit sees the reason. SeqCst orders it before the look at
        // `is_running`: a thread that gets a CPU after that look sees the bit when it next leaves the kernel.
        self.work.fetch_or(work.bits(), Ordering::SeqCst);
        self.wake();
        if self.cpu_time.is_running()
            && let Some(cpu) = self.sched.last_cpu()
            && cpu != disable_preempt().current_cpu()
        {
            // The interrupt itself is the message: on its way back to user mode, the CPU looks at `work`.
            inter_processor_call(&CpuSet::from(cpu), || {});
        }
    }

    /// Asks the calling thread itself: no wake-up is needed.
    pub fn request_self(&self, work: Work) {
        // Relaxed: read by this thread only, before it returns to user mode.
        self.work.fetch_or(work.bits(), Ordering::Relaxed);
    }

    /// Takes back a request that has been seen to.
    pub fn clear_work(&self, work: Work) {
        // Acquire pairs with the Release in `request`: reasons given before are looked at after.
        self.work.fetch_and(!work.bits(), Ordering::AcqRel);
    }

    /// Ends the thread's current or next sleep.
    pub fn wake(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake_up();
        }
    }

    /// Whether anything was requested and not yet seen to.
    pub fn has_work(&self) -> bool {
        self.work.load(Ordering::Acquire) != 0
    }

    /// Whether `work` was requested and not yet seen to.
    pub fn is_requested(&self, work: Work) -> bool {
        self.work.load(Ordering::Acquire) & work.bits() != 0
    }
}

/// What a new thread is made of.
pub struct ThreadParts {
    /// The process it belongs to.
    pub process: Arc<Process>,
    /// Allowed CPUs, as a mask.
    pub affinity: u64,
    /// Mask and alternate stack.
    pub signals: ThreadSignals,
    /// The descriptor table.
    pub files: Arc<FileTable>,
    /// Working directory, root and umask.
    pub fs: Arc<FsContext>,
    /// User, groups and capabilities.
    pub credentials: Arc<Credentials>,
    /// The command name.
    pub name: [u8; 16],
}
