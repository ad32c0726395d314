// SPDX-License-Identifier: MPL-2.0

//! CPU time of threads and processes.
//!
//! # Protocol
//! Run time is exact: the switching hooks note the time-stamp counter when a thread gets a CPU and when it loses it. How much
//! of it was user and how much system time is sampled: each tick counts for the mode that it interrupted, and the run time is
//! split in that proportion. So a system call costs nothing for accounting.
//!
//! # Concurrency
//! Only the thread itself (or the tick on its CPU) writes; others read. A reader that meets a switch retries.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use ostd::{
    arch::read_tsc,
    cpu::{PinCurrentCpu, PrivilegeLevel, num_cpus},
    irq::InterruptLevel,
    task::{Task, disable_preempt},
    util::id_set::Id,
};
use spin::Once;

use super::clock::cycles_to_nanos;
use crate::{prelude::*, process::TaskData};

/// The CPU time of a thread.
#[derive(Default)]
pub struct CpuTime {
    /// TSC cycles of all earlier turns on a CPU.
    cycles: AtomicU64,
    /// TSC at the start of the present turn, or 0 if it has none.
    since: AtomicU64,
    /// Ticks that interrupted user mode.
    user_ticks: AtomicU64,
    /// Ticks that interrupted the kernel.
    system_ticks: AtomicU64,
}

/// User and system time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Nanoseconds in user mode.
    pub user: u64,
    /// Nanoseconds in the kernel.
    pub system: u64,
}

impl Usage {
    /// The sum of two.
    pub fn plus(self, other: Self) -> Self {
        Self { user: self.user.saturating_add(other.user), system: self.system.saturating_add(other.system) }
    }

    /// All of it.
    pub fn total(self) -> u64 {
        self.user.saturating_add(self.system)
    }
}

impl CpuTime {
    /// The thread gets a CPU. For the switching hook.
    pub fn switch_in(&self) {
        self.since.store(read_tsc(), Release);
    }

    /// The thread loses its CPU. For the switching hook.
    pub fn switch_out(&self) {
        let since = self.since.load(Relaxed);
        if since != 0 {
            let turn = read_tsc().saturating_sub(since);
            self.cycles.store(self.cycles.load(Relaxed) + turn, Relaxed);
            // Release pairs with the Acquire in `nanos`: who sees the turn over sees it added.
            self.since.store(0, Release);
        }
    }

    /// Whether the thread has a CPU now.
    pub fn is_running(&self) -> bool {
        self.since.load(Acquire) != 0
    }

    /// Time on a CPU so far, the present turn included, in nanoseconds.
    pub fn nanos(&self) -> u64 {
        loop {
            let since = self.since.load(Acquire);
            let cycles = self.cycles.load(Acquire);
            if self.since.load(Acquire) == since {
                let turn = if since == 0 { 0 } else { read_tsc().saturating_sub(since) };
                return cycles_to_nanos(cycles.saturating_add(turn));
            }
        }
    }

    /// The time so far, split into user and system time.
    pub fn usage(&self) -> Usage {
        let total = self.nanos();
        let user_ticks = u128::from(self.user_ticks.load(Relaxed));
        let ticks = user_ticks + u128::from(self.system_ticks.load(Relaxed));
        // A thread that no tick has met yet gets it all as user time, as on Linux.
        let user = (u128::from(total) * user_ticks).checked_div(ticks).unwrap_or(u128::from(total));
        let user = user as u64;
        Usage { user, system: total - user }
    }

    fn count_tick(&self, interrupted: PrivilegeLevel) {
        let ticks = match interrupted {
            PrivilegeLevel::User => &self.user_ticks,
            PrivilegeLevel::Kernel => &self.system_ticks,
        };
        ticks.store(ticks.load(Relaxed) + 1, Relaxed);
    }
}

/// Ticks of each CPU that interrupted a program, the kernel working for one, and an idle CPU.
static CPU_TICKS: Once<Box<[[AtomicU64; 3]]>> = Once::new();

/// Ticks of CPU `cpu` in user mode, in the kernel, and idle.
pub fn cpu_ticks(cpu: usize) -> [u64; 3] {
    let ticks = CPU_TICKS.get().and_then(|ticks| ticks.get(cpu));
    ticks.map_or([0; 3], |ticks| ticks.each_ref().map(|count| count.load(Relaxed)))
}

/// Makes room for the counters. Call before the first tick.
pub(super) fn init() {
    let zeros = || [const { AtomicU64::new(0) }; 3];
    CPU_TICKS.call_once(|| (0..num_cpus()).map(|_| zeros()).collect());
}

fn count_cpu_tick(kind: usize) {
    let cpu = disable_preempt().current_cpu().as_usize();
    if let Some(ticks) = CPU_TICKS.get().and_then(|ticks| ticks.get(cpu)) {
        // Only this CPU writes.
        ticks[kind].store(ticks[kind].load(Relaxed) + 1, Relaxed);
    }
}

/// Counts this tick for the CPU, and for the thread that it interrupted.
pub(super) fn on_tick() {
    let InterruptLevel::L1(interrupted) = InterruptLevel::current() else {
        return;
    };
    let Some(task) = Task::current() else {
        return;
    };
    match task.data().downcast_ref() {
        Some(TaskData::User(thread)) => {
            thread.cpu_time.count_tick(interrupted);
            crate::signal::on_tick(thread);
            count_cpu_tick(if interrupted == PrivilegeLevel::User { 0 } else { 1 });
        }
        Some(TaskData::Kernel) => count_cpu_tick(1),
        _ => count_cpu_tick(2),
    }
}
