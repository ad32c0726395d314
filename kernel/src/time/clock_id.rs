// SPDX-License-Identifier: MPL-2.0

//! The clocks that programs name by number (`clock_gettime(2)`).

use super::{Clock, Deadline, TICK_NANOS, clock};
use crate::{
    prelude::*,
    process::{Process, Thread, table},
};

/// Whose CPU time a clock shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CpuClock {
    /// A process's, by its number; 0 is the caller's.
    Process(u32),
    /// A thread's of the caller's process, by its number; 0 is the caller.
    Thread(u32),
}

/// Which part of the CPU time a clock counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CpuKind {
    /// User and system time by ticks (`CPUCLOCK_PROF`).
    Prof,
    /// User time (`CPUCLOCK_VIRT`).
    Virt,
    /// Exact run time (`CPUCLOCK_SCHED`).
    Sched,
}

/// A clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClockId {
    /// `CLOCK_REALTIME`, `CLOCK_TAI`, `CLOCK_REALTIME_ALARM`.
    Realtime,
    /// `CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`, `CLOCK_BOOTTIME_ALARM`.
    Monotonic,
    /// `CLOCK_MONOTONIC_RAW`: like the above, but nothing waits on it.
    MonotonicRaw,
    /// `CLOCK_REALTIME_COARSE`.
    RealtimeCoarse,
    /// `CLOCK_MONOTONIC_COARSE`.
    MonotonicCoarse,
    /// CPU time.
    Cpu(CpuClock, CpuKind),
}

impl ClockId {
    /// The clock with this number.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub fn new(number: i32) -> Result<Self> {
        Ok(match number {
            0 | 8 | 11 => Self::Realtime,
            1 | 7 | 9 => Self::Monotonic,
            2 => Self::Cpu(CpuClock::Process(0), CpuKind::Sched),
            3 => Self::Cpu(CpuClock::Thread(0), CpuKind::Sched),
            4 => Self::MonotonicRaw,
            5 => Self::RealtimeCoarse,
            6 => Self::MonotonicCoarse,
            _ if number < 0 => Self::dynamic(number)?,
            _ => return Err(EINVAL),
        })
    }

    /// A clock of `clock_getcpuclockid(3)` or `pthread_getcpuclockid(3)`: the complement of a number, a bit for threads, and
    /// two bits for the kind.
    fn dynamic(number: i32) -> Result<Self> {
        let id = (!(number >> 3)).cast_unsigned();
        let kind = match number & 3 {
            0 => CpuKind::Prof,
            1 => CpuKind::Virt,
            2 => CpuKind::Sched,
            _ => return Err(EINVAL), // A clock behind a descriptor.
        };
        let whose = if number & 4 != 0 { CpuClock::Thread(id) } else { CpuClock::Process(id) };
        Ok(Self::Cpu(whose, kind))
    }

    /// Nanoseconds on this clock.
    ///
    /// # Errors
    /// `EINVAL` if it is the CPU time of a process or thread that does not exist.
    pub fn now(self, ctx: &Context) -> Result<u64> {
        Ok(match self {
            Self::Realtime => clock::now_realtime(),
            Self::Monotonic | Self::MonotonicRaw => clock::now_monotonic(),
            Self::RealtimeCoarse => clock::now_realtime_coarse(),
            Self::MonotonicCoarse => clock::now_monotonic_coarse(),
            Self::Cpu(whose, kind) => whose.now(ctx, kind)?,
        })
    }

    /// Nanoseconds between two values that the clock can have.
    pub fn resolution(self) -> u64 {
        match self {
            Self::RealtimeCoarse | Self::MonotonicCoarse => TICK_NANOS,
            Self::Cpu(_, CpuKind::Prof | CpuKind::Virt) => TICK_NANOS,
            _ => 1,
        }
    }

    /// The clock on which a timer of this clock waits; `None` for CPU time.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if nothing can wait on it.
    pub fn timer_clock(self) -> Result<Option<Clock>> {
        match self {
            Self::Realtime => Ok(Some(Clock::Realtime)),
            Self::Monotonic => Ok(Some(Clock::Monotonic)),
            Self::Cpu(..) => Ok(None),
            _ => Err(EOPNOTSUPP),
        }
    }
}

impl CpuClock {
    /// # Errors
    /// `EINVAL` if there is no such process, or no such thread in the caller's process.
    fn now(self, ctx: &Context, kind: CpuKind) -> Result<u64> {
        match self {
            Self::Process(0) => Ok(process_time(&ctx.process, kind)),
            Self::Thread(0) => Ok(thread_time(&ctx.thread, kind)),
            Self::Process(pid) => table::process(pid).map(|process| process_time(&process, kind)).ok_or(EINVAL),
            Self::Thread(tid) => {
                let thread = table::thread(tid).ok_or(EINVAL)?;
                let is_ours = Arc::ptr_eq(&thread.process, &ctx.process);
                if is_ours { Ok(thread_time(&thread, kind)) } else { Err(EINVAL) }
            }
        }
    }

    /// The clock with the number of the caller in place of 0, for timers.
    pub fn resolved(self, ctx: &Context) -> Self {
        match self {
            Self::Process(0) => Self::Process(ctx.process.pid),
            Self::Thread(0) => Self::Thread(ctx.thread.tid()),
            other => other,
        }
    }
}

fn process_time(process: &Process, kind: CpuKind) -> u64 {
    match kind {
        CpuKind::Virt => process.usage().user,
        CpuKind::Prof | CpuKind::Sched => process.usage().total(),
    }
}

fn thread_time(thread: &Thread, kind: CpuKind) -> u64 {
    match kind {
        CpuKind::Virt => thread.cpu_time.usage().user,
        CpuKind::Prof | CpuKind::Sched => thread.cpu_time.nanos(),
    }
}

/// A deadline on `clock`: `nanos` is a point on it if `is_absolute`, else a distance from now. Relative waits do not care
/// whether the wall clock is set meanwhile.
pub fn deadline(clock: Clock, nanos: u64, is_absolute: bool) -> Deadline {
    if is_absolute { Deadline::at(clock, nanos) } else { Deadline::after_nanos(nanos) }
}
