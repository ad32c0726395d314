// SPDX-License-Identifier: MPL-2.0

//! What threads and processes used: `getrusage(2)`, `wait4(2)`, `/proc/PID/stat`.
//!
//! # Protocol
//! A thread counts for itself. When it ends its process keeps the sum, and when the process was waited for its parent does. Peaks of
//! memory do not add up: the greatest counts.

use core::sync::atomic::Ordering::Relaxed;

use super::{Process, Thread};
use crate::{time::cpu_time, vm::AddressSpace};

/// What was used so far, by a thread, a process or many of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceUsage {
    /// Time on a CPU.
    pub cpu: cpu_time::Usage,
    /// Page faults that ended well. None of them waits for a device (`ru_majflt`), for there is none that has pages.
    pub faults: u64,
    /// How often a thread went to sleep.
    pub voluntary_switches: u64,
    /// How often one lost its CPU to another.
    pub involuntary_switches: u64,
    /// The most pages that one address space had in memory.
    pub peak_resident: usize,
}

impl ResourceUsage {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.plus(other.cpu),
            faults: self.faults + other.faults,
            voluntary_switches: self.voluntary_switches + other.voluntary_switches,
            involuntary_switches: self.involuntary_switches + other.involuntary_switches,
            peak_resident: self.peak_resident.max(other.peak_resident),
        }
    }

    /// The same, and an address space that had so many pages.
    pub fn with_peak(self, peak_resident: usize) -> Self {
        Self { peak_resident: self.peak_resident.max(peak_resident), ..self }
    }
}

impl Thread {
    /// What the thread itself used, memory aside.
    pub fn resource_usage(&self) -> ResourceUsage {
        ResourceUsage {
            cpu: self.cpu_time.usage(),
            faults: self.faults.load(Relaxed),
            voluntary_switches: self.sched.voluntary_switches(),
            involuntary_switches: self.sched.involuntary_switches(),
            peak_resident: 0,
        }
    }

    /// Counts a page fault that ended well. Only the thread itself does, so a plain store suffices.
    pub fn count_fault(&self) {
        self.faults.store(self.faults.load(Relaxed) + 1, Relaxed);
    }
}

impl Process {
    /// What its threads used, those that ended included, and the memory that it has or had before `execve(2)`.
    pub fn resource_usage(&self) -> ResourceUsage {
        let ended = self.used.lock().ended_threads;
        let all = self.threads().iter().fold(ended, |sum, thread| sum.plus(thread.resource_usage()));
        // Without a reference: callers hold the process table, under which an address space cannot be dropped.
        let peak = self.vm.lock().as_ref().map_or(0, |vm| vm.peak_resident());
        all.with_peak(peak)
    }

    /// What the children that were waited for used, and theirs.
    pub fn children_resource_usage(&self) -> ResourceUsage {
        self.used.lock().children
    }

    /// Keeps the peak of an address space that it had.
    pub(super) fn keep_peak(&self, old: Option<&AddressSpace>) {
        let peak = old.map_or(0, AddressSpace::peak_resident);
        let mut used = self.used.lock();
        used.ended_threads = used.ended_threads.with_peak(peak);
    }
}
