// SPDX-License-Identifier: MPL-2.0

//! What the scheduler keeps with each thread.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use ostd::{cpu::CpuId, util::id_set::Id};

/// Last CPU and affinity of a thread. All accesses are `Relaxed`: a stale value costs balance only.
pub struct SchedState {
    last_cpu: AtomicU32,
    /// Bit `n` is set if CPU `n` is allowed, as in `sched_setaffinity(2)`'s mask.
    affinity: AtomicU64,
}

impl SchedState {
    const NO_CPU: u32 = u32::MAX;

    /// A thread that has not run and may run anywhere in `affinity`.
    pub fn new(affinity: u64) -> Self {
        Self { last_cpu: AtomicU32::new(Self::NO_CPU), affinity: AtomicU64::new(affinity) }
    }

    /// The CPU that it ran on last.
    pub fn last_cpu(&self) -> Option<CpuId> {
        CpuId::try_from(self.last_cpu.load(Relaxed) as usize).ok()
    }

    /// Records the CPU that it is about to run on.
    pub fn set_last_cpu(&self, cpu: CpuId) {
        self.last_cpu.store(cpu.as_usize() as u32, Relaxed);
    }

    /// The mask of allowed CPUs.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Relaxed)
    }

    /// Sets the mask of allowed CPUs; it takes effect when the thread is next placed.
    pub fn set_affinity(&self, mask: u64) {
        self.affinity.store(mask, Relaxed);
    }

    /// Whether it may run on `cpu`.
    pub fn may_run_on(&self, cpu: CpuId) -> bool {
        cpu.as_usize() >= 64 || self.affinity() & (1 << cpu.as_usize()) != 0
    }
}
