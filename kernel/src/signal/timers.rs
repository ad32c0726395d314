// SPDX-License-Identifier: MPL-2.0

//! Timers of programs that send signals: `setitimer(2)`, `alarm(2)`, and those of [`super::posix_timer`]; and the limit of CPU time.
//!
//! # Protocol
//! Timers on the clocks of time use [`crate::time::Timer`]: their callbacks send the signal from interrupt context. Timers on
//! CPU time are looked at by [`check_cpu_timers`], which the tick asks a running thread of the process to call
//! ([`Work::CPU_TIME`]) while any is armed.
//!
//! # Concurrency
//! Callbacks hold only weak references to the process. [`ProcessTimers::stop_all`] runs before the last strong one goes, so that
//! a process never ends in an interrupt.

use core::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use spin::Once;

use super::{SigInfo, Signal, posix_timer::PosixTimers, send_to_process};
use crate::{
    prelude::*,
    process::{Process, Resource, limits::INFINITY},
    time::{Clock, Deadline, NANOS_PER_SEC, Timer, now_monotonic},
};

/// When something expires, and how often.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Schedule {
    /// The next expiration, in nanoseconds of the clock; `None` if disarmed.
    pub next: Option<u64>,
    /// Nanoseconds from one expiration to the next; 0 for one shot.
    pub interval: u64,
}

impl Schedule {
    /// Moves past `now`. Returns the number of expirations up to then.
    pub fn advance(&mut self, now: u64) -> u64 {
        let Some(next) = self.next.filter(|next| *next <= now) else {
            return 0;
        };
        let Some(periods) = (now - next).checked_div(self.interval) else {
            self.next = None;
            return 1;
        };
        let count = periods + 1;
        self.next = Some(next.saturating_add(self.interval.saturating_mul(count)));
        count
    }

    /// Nanoseconds to the next expiration; 0 if disarmed, at least 1 if not.
    pub fn remaining(&self, now: u64) -> u64 {
        self.next.map_or(0, |next| next.saturating_sub(now).max(1))
    }
}

/// A timer of the kernel with the state that its callback shares with its owner.
pub(super) struct Alarm {
    pub(super) schedule: Arc<SpinLock<Schedule, LocalIrqDisabled>>,
    timer: SpinLock<Timer, LocalIrqDisabled>,
}

impl Alarm {
    /// An alarm that calls `ring` with the number of expirations since it rang last. `ring` runs in interrupt context.
    pub(super) fn new(clock: Clock, ring: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let schedule = Arc::new(SpinLock::new(Schedule::default()));
        let shared = schedule.clone();
        let timer = Timer::new(move || {
            let (count, next) = {
                let mut schedule = shared.lock();
                (schedule.advance(clock.now()), schedule.next)
            };
            if count > 0 {
                ring(count);
            }
            next.map(|next| Deadline::at(clock, next))
        });
        Self { schedule, timer: SpinLock::new(timer) }
    }

    /// Arms it; the answer is the schedule that was in force.
    pub(super) fn set(&self, clock: Clock, schedule: Schedule) -> Schedule {
        let mut timer = self.timer.lock();
        timer.cancel();
        let old = core::mem::replace(&mut *self.schedule.lock(), schedule);
        if let Some(next) = schedule.next {
            timer.arm(Deadline::at(clock, next));
        }
        old
    }

    /// Disarms it and waits until its callback is over.
    pub(super) fn stop(&self) {
        loop {
            let mut timer = self.timer.lock();
            timer.cancel();
            if timer.is_idle() {
                return;
            }
            drop(timer);
            spin_loop();
        }
    }
}

/// The interval timers of `setitimer(2)`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Itimer {
    /// Real time, `SIGALRM`.
    Real,
    /// User time, `SIGVTALRM`.
    Virtual,
    /// User and system time, `SIGPROF`.
    Prof,
}

impl Itimer {
    /// # Errors
    /// `EINVAL` for an unknown number.
    pub fn new(number: i32) -> Result<Self> {
        match number {
            0 => Ok(Self::Real),
            1 => Ok(Self::Virtual),
            2 => Ok(Self::Prof),
            _ => Err(EINVAL),
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Real => Signal::ALRM,
            Self::Virtual => Signal::VTALRM,
            Self::Prof => Signal::PROF,
        }
    }

    fn now(self, process: &Process) -> u64 {
        match self {
            Self::Real => now_monotonic(),
            Self::Virtual => process.usage().user,
            Self::Prof => process.usage().total(),
        }
    }
}

/// All timers of a process.
pub(super) struct ProcessTimers {
    real: Once<Alarm>,
    /// `ITIMER_VIRTUAL` and `ITIMER_PROF`.
    cpu: SpinLock<[Schedule; 2]>,
    /// Whether the tick has to ask for [`check_cpu_timers`].
    has_cpu_timers: AtomicBool,
    pub(super) posix: PosixTimers,
}

impl ProcessTimers {
    pub(super) fn new() -> Self {
        Self {
            real: Once::new(),
            cpu: SpinLock::new([Schedule::default(); 2]),
            has_cpu_timers: AtomicBool::new(false),
            posix: PosixTimers::new(),
        }
    }

    /// Disarms everything; no callback runs when this returns.
    pub(super) fn stop_all(&self) {
        if let Some(real) = self.real.get() {
            real.stop();
        }
        self.posix.delete_all();
    }

    /// A signal of a timer was taken from a queue: notes its overrun.
    pub(super) fn on_taken(&self, info: &mut SigInfo) {
        if info.code == super::SI_TIMER {
            self.posix.on_taken(info);
        }
    }

    /// Whether ticks have to look after CPU time.
    pub(super) fn has_cpu_timers(&self) -> bool {
        self.has_cpu_timers.load(Relaxed)
    }

    /// Makes ticks look after CPU time.
    pub(super) fn watch_cpu_time(&self) {
        self.has_cpu_timers.store(true, Relaxed);
    }
}

/// The state of an interval timer (`getitimer(2)`): nanoseconds left (0 if disarmed) and the interval.
pub fn itimer(process: &Process, which: Itimer) -> (u64, u64) {
    let timers = &process.signals.timers;
    let schedule = match which {
        Itimer::Real => timers.real.get().map_or(Schedule::default(), |real| *real.schedule.lock()),
        _ => *cpu_schedule(&mut timers.cpu.lock(), which),
    };
    (schedule.remaining(which.now(process)), schedule.interval)
}

/// Sets an interval timer (`setitimer(2)`); `value` is the time to the first expiration, 0 to disarm. The answer is the
/// state before.
pub fn set_itimer(process: &Arc<Process>, which: Itimer, value: u64, interval: u64) -> (u64, u64) {
    let now = which.now(process);
    let schedule = Schedule { next: (value != 0).then(|| now.saturating_add(value)), interval };
    let timers = &process.signals.timers;
    let old = match which {
        Itimer::Real => real_alarm(process).set(Clock::Monotonic, schedule),
        _ => {
            let old = core::mem::replace(cpu_schedule(&mut timers.cpu.lock(), which), schedule);
            timers.watch_cpu_time();
            old
        }
    };
    (old.remaining(now), old.interval)
}

fn cpu_schedule(cpu: &mut [Schedule; 2], which: Itimer) -> &mut Schedule {
    let [virtual_time, prof] = cpu;
    if which == Itimer::Virtual { virtual_time } else { prof }
}

fn real_alarm(process: &Arc<Process>) -> &Alarm {
    process.signals.timers.real.call_once(|| {
        let process = Arc::downgrade(process);
        Alarm::new(Clock::Monotonic, move |_count| {
            if let Some(process) = process.upgrade() {
                // A signal of the kernel always finds room.
                let _ = send_to_process(&process, SigInfo::kernel(Signal::ALRM));
            }
        })
    })
}

/// Lets ticks look after `RLIMIT_CPU` if the process has a limit. To be called when that may be new.
pub fn watch_cpu_limit(process: &Process) {
    if process.limits.soft(Resource::Cpu) != INFINITY {
        process.signals.timers.watch_cpu_time();
    }
}

/// Sends `SIGKILL` at the hard `RLIMIT_CPU`, and `SIGXCPU` at the soft one and each second after that. Returns whether there is
/// a limit. Mirrors `check_process_timers`, down to the soft limit that moves.
fn check_cpu_limit(process: &Process) -> bool {
    let limit = process.limits.get(Resource::Cpu);
    if limit.soft == INFINITY {
        return false;
    }
    let seconds = process.usage().total() / NANOS_PER_SEC;
    // Signals of the kernel always find room.
    if seconds >= limit.hard {
        let _ = send_to_process(process, SigInfo::kernel(Signal::KILL));
    } else if seconds >= limit.soft {
        let _ = send_to_process(process, SigInfo::kernel(Signal::XCPU));
        process.limits.move_soft(Resource::Cpu, limit.soft, limit.soft + 1);
    }
    true
}

/// Sends the signals of the process's CPU timers that are due. Called by a running thread on its way to user mode.
pub fn check_cpu_timers(ctx: &Context) {
    let timers = &ctx.process.signals.timers;
    timers.has_cpu_timers.store(false, Relaxed);
    let mut is_armed = timers.posix.check_cpu_timers(&ctx.process) | check_cpu_limit(&ctx.process);
    for which in [Itimer::Virtual, Itimer::Prof] {
        let now = which.now(&ctx.process);
        let mut cpu = timers.cpu.lock();
        let schedule = cpu_schedule(&mut cpu, which);
        let count = schedule.advance(now);
        is_armed |= schedule.next.is_some();
        drop(cpu);
        if count > 0 {
            let _ = send_to_process(&ctx.process, SigInfo::kernel(which.signal()));
        }
    }
    if is_armed {
        timers.watch_cpu_time();
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn schedules_advance_without_drift() {
        let mut schedule = Schedule { next: Some(100), interval: 10 };
        assert_eq!(schedule.advance(99), 0);
        assert_eq!(schedule.advance(125), 3);
        assert_eq!(schedule.next, Some(130));
        assert_eq!(schedule.remaining(130), 1);
        let mut once = Schedule { next: Some(5), interval: 0 };
        assert_eq!((once.advance(u64::MAX), once.next), (1, None));
        let mut far = Schedule { next: Some(1), interval: u64::MAX };
        assert_eq!((far.advance(2), far.next), (1, Some(u64::MAX)));
    }
}
