// SPDX-License-Identifier: MPL-2.0

//! What the scheduler keeps with each thread.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use ostd::{cpu::CpuId, util::id_set::Id};

/// Last CPU, affinity and statistics of a thread. All accesses are `Relaxed`: a stale value costs balance only.
pub struct SchedState {
    last_cpu: AtomicU32,
    /// Bit `n` is set if CPU `n` is allowed, as in `sched_setaffinity(2)`'s mask.
    affinity: AtomicU64,
    /// Whether it runs or waits for a CPU.
    is_runnable: AtomicBool,
    /// How often it went to sleep, and how often it lost the CPU to another.
    sleeps: AtomicU64,
    preemptions: AtomicU64,
    /// When its context is saved: a number of departures of its last CPU; `u64::MAX` while it has that CPU.
    departure: AtomicU64,
    /// `SCHED_OTHER` or a relative, as `sched_setscheduler(2)` set it.
    policy: AtomicI32,
}

impl SchedState {
    const NO_CPU: u32 = u32::MAX;

    /// A thread that has not run and may run anywhere in `affinity`.
    pub fn new(affinity: u64) -> Self {
        Self {
            last_cpu: AtomicU32::new(Self::NO_CPU),
            affinity: AtomicU64::new(affinity),
            is_runnable: AtomicBool::new(false),
            sleeps: AtomicU64::new(0),
            preemptions: AtomicU64::new(0),
            departure: AtomicU64::new(0),
            policy: AtomicI32::new(0),
        }
    }

    /// The CPU that it ran on last.
    pub fn last_cpu(&self) -> Option<CpuId> {
        CpuId::try_from(self.last_cpu.load(Relaxed) as usize).ok()
    }

    /// Records the CPU that it is about to run on.
    pub fn set_last_cpu(&self, cpu: CpuId) {
        self.last_cpu.store(cpu.as_usize() as u32, Relaxed);
    }

    /// Whether it runs or waits for a CPU.
    pub fn is_runnable(&self) -> bool {
        self.is_runnable.load(Relaxed)
    }

    /// Records that it became runnable, or goes to sleep. Under the lock of its run queue, so plain stores suffice.
    pub fn set_runnable(&self, is_runnable: bool) {
        self.is_runnable.store(is_runnable, Relaxed);
        if !is_runnable {
            self.sleeps.store(self.sleeps.load(Relaxed) + 1, Relaxed);
        }
    }

    /// Records that it lost the CPU to another task, likewise.
    pub fn count_preemption(&self) {
        self.preemptions.store(self.preemptions.load(Relaxed) + 1, Relaxed);
    }

    /// How often it went to sleep.
    pub fn voluntary_switches(&self) -> u64 {
        self.sleeps.load(Relaxed)
    }

    /// How often it lost the CPU to another task.
    pub fn involuntary_switches(&self) -> u64 {
        self.preemptions.load(Relaxed)
    }

    /// The mask of allowed CPUs.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Relaxed)
    }

    /// Sets the mask of allowed CPUs; it takes effect when the thread is next placed.
    pub fn set_affinity(&self, mask: u64) {
        self.affinity.store(mask, Relaxed);
    }

    /// See the field.
    pub fn departure(&self) -> u64 {
        self.departure.load(Relaxed)
    }

    /// For the scheduler, when the thread gets or leaves a CPU.
    pub fn set_departure(&self, departure: u64) {
        self.departure.store(departure, Relaxed);
    }

    /// The policy of `sched_getscheduler(2)`.
    pub fn policy(&self) -> i32 {
        self.policy.load(Relaxed)
    }

    /// Sets the policy; all that can be set are treated alike.
    pub fn set_policy(&self, policy: i32) {
        self.policy.store(policy, Relaxed);
    }

    /// Whether it may run on `cpu`.
    pub fn may_run_on(&self, cpu: CpuId) -> bool {
        cpu.as_usize() >= 64 || self.affinity() & (1 << cpu.as_usize()) != 0
    }
}
