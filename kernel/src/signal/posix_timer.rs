// SPDX-License-Identifier: MPL-2.0

//! The timers of `timer_create(2)`.
//!
//! # Protocol
//! A timer has at most one signal pending; expirations meanwhile are its overrun and are counted in that pending signal
//! ([`super::pending::Pending::push`]). Taking the signal fixes the number that `timer_getoverrun(2)` answers.

use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use super::{
    SigInfo, Signal,
    send::send_to_tid,
    send_to_process,
    timers::{Alarm, Schedule},
};
use crate::{
    prelude::*,
    process::{Process, Tid},
    time::{
        Clock,
        clock_id::{ClockId, CpuClock, CpuKind},
    },
};

/// Whom a timer tells.
#[derive(Clone, Copy, Debug)]
pub enum Notify {
    /// Nobody (`SIGEV_NONE`).
    Nobody,
    /// The process.
    Process(Signal, u64),
    /// A thread of the process.
    Thread(Tid, Signal, u64),
}

/// How a timer measures.
enum Source {
    /// Time goes by.
    Time(Clock, Alarm),
    /// A thread or the process runs.
    Cpu(CpuClock, CpuKind, SpinLock<Schedule>),
}

struct PosixTimer {
    id: i32,
    notify: Notify,
    source: Source,
    overrun: AtomicI32,
}

/// The timers of a process.
pub(super) struct PosixTimers(SpinLock<Table>);

#[derive(Default)]
struct Table {
    timers: BTreeMap<i32, Arc<PosixTimer>>,
    next_id: i32,
}

impl PosixTimer {
    fn schedule(&self) -> Schedule {
        match &self.source {
            Source::Time(_, alarm) => *alarm.schedule.lock(),
            Source::Cpu(_, _, schedule) => *schedule.lock(),
        }
    }

    fn now(&self, process: &Process) -> u64 {
        match &self.source {
            Source::Time(clock, _) => clock.now(),
            Source::Cpu(whose, kind, _) => cpu_now(process, *whose, *kind),
        }
    }

    /// Time left and interval, with expirations that nobody was told of counted in.
    fn state(&self, process: &Process) -> (u64, u64) {
        let now = self.now(process);
        let mut schedule = self.schedule();
        if matches!(self.notify, Notify::Nobody) {
            schedule.advance(now);
        }
        (schedule.remaining(now), schedule.interval)
    }
}

/// The CPU time of the process or of one of its threads.
fn cpu_now(process: &Process, whose: CpuClock, kind: CpuKind) -> u64 {
    let usage = match whose {
        CpuClock::Process(_) => process.usage(),
        CpuClock::Thread(tid) => process.with_threads(|threads| {
            let thread = threads.iter().find(|thread| thread.tid() == tid);
            thread.map(|thread| thread.cpu_time.usage()).unwrap_or_default()
        }),
    };
    if kind == CpuKind::Virt { usage.user } else { usage.total() }
}

impl PosixTimers {
    pub(super) fn new() -> Self {
        Self(SpinLock::new(Table::default()))
    }

    fn get(&self, id: i32) -> Result<Arc<PosixTimer>> {
        self.0.lock().timers.get(&id).cloned().ok_or(EINVAL)
    }

    /// Deletes all timers; no callback runs when this returns.
    pub(super) fn delete_all(&self) {
        let timers = core::mem::take(&mut self.0.lock().timers);
        for timer in timers.values() {
            if let Source::Time(_, alarm) = &timer.source {
                alarm.stop();
            }
        }
    }

    /// Notes the overrun of a signal that was taken.
    pub(super) fn on_taken(&self, info: &mut SigInfo) {
        if let Ok(timer) = self.get(info.timer_id()) {
            timer.overrun.store(info.overrun(), Relaxed);
        }
    }

    /// Sends the signals of timers on CPU time that are due. Returns whether any is still armed.
    pub(super) fn check_cpu_timers(&self, process: &Process) -> bool {
        let timers: Vec<_> = self.0.lock().timers.values().cloned().collect();
        let mut is_armed = false;
        for timer in timers {
            let Source::Cpu(whose, kind, schedule) = &timer.source else {
                continue;
            };
            let now = cpu_now(process, *whose, *kind);
            let (count, next) = {
                let mut schedule = schedule.lock();
                (schedule.advance(now), schedule.next)
            };
            is_armed |= next.is_some();
            if count > 0 {
                ring(process, timer.id, timer.notify, count);
            }
        }
        is_armed
    }
}

/// Tells whom a timer tells, of `count` expirations.
fn ring(process: &Process, id: i32, notify: Notify, count: u64) {
    let overrun = i32::try_from(count - 1).unwrap_or(i32::MAX);
    let info = |signal, value| {
        let mut info = SigInfo::timer(signal, id, value);
        info.set_overrun(overrun);
        info
    };
    // A timer's signal finds room: it was reserved with the timer.
    let _ = match notify {
        Notify::Nobody => Ok(()),
        Notify::Process(signal, value) => send_to_process(process, info(signal, value)),
        Notify::Thread(tid, signal, value) => send_to_tid(process, tid, info(signal, value)),
    };
}

/// Makes a timer on `clock` and returns its id. `notify` gets the id, for the default of a null `sigevent`.
///
/// # Errors
/// `EAGAIN` beyond `RLIMIT_SIGPENDING` timers; `EOPNOTSUPP` if nothing can wait on `clock`.
pub fn create(ctx: &Context, clock: ClockId, notify: impl FnOnce(i32) -> Notify) -> Result<i32> {
    let process = &ctx.process;
    let timers = &process.signals.timers.posix;
    let limit = process.limits.soft(crate::process::Resource::Sigpending);
    let id = {
        let mut table = timers.0.lock();
        if table.timers.len() as u64 >= limit {
            return Err(EAGAIN);
        }
        while table.timers.contains_key(&table.next_id) {
            table.next_id = table.next_id.checked_add(1).unwrap_or(0);
        }
        let id = table.next_id;
        table.next_id = id.checked_add(1).unwrap_or(0);
        id
    };
    let notify = notify(id);
    let source = match (clock.timer_clock()?, clock) {
        (Some(clock), _) => Source::Time(clock, make_alarm(ctx, clock, id, notify)),
        (None, ClockId::Cpu(whose, kind)) => {
            clock.now(ctx)?;
            Source::Cpu(whose.resolved(ctx), kind, SpinLock::new(Schedule::default()))
        }
        (None, _) => return Err(EINVAL),
    };
    let timer = Arc::new(PosixTimer { id, notify, source, overrun: AtomicI32::new(0) });
    timers.0.lock().timers.insert(id, timer);
    Ok(id)
}

fn make_alarm(ctx: &Context, clock: Clock, id: i32, notify: Notify) -> Alarm {
    let process = Arc::downgrade(&ctx.process);
    Alarm::new(clock, move |count| {
        if let Some(process) = process.upgrade() {
            ring(&process, id, notify, count);
        }
    })
}

/// Arms a timer; `value` 0 disarms. The answer is what [`state`] was before.
///
/// # Errors
/// `EINVAL` if there is no such timer.
pub fn set(ctx: &Context, id: i32, value: u64, interval: u64, is_absolute: bool) -> Result<(u64, u64)> {
    let timer = ctx.process.signals.timers.posix.get(id)?;
    let old = timer.state(&ctx.process);
    let now = timer.now(&ctx.process);
    let first = if is_absolute { value } else { now.saturating_add(value) };
    let schedule = Schedule { next: (value != 0).then_some(first), interval };
    timer.overrun.store(0, Relaxed);
    match &timer.source {
        // Nobody is told: the state is computed when asked.
        Source::Time(_, alarm) if matches!(timer.notify, Notify::Nobody) => {
            *alarm.schedule.lock() = schedule;
        }
        Source::Time(clock, alarm) => drop(alarm.set(*clock, schedule)),
        Source::Cpu(_, _, own) => {
            *own.lock() = schedule;
            ctx.process.signals.timers.watch_cpu_time();
        }
    }
    Ok(old)
}

/// Nanoseconds left (0 if disarmed) and the interval.
///
/// # Errors
/// `EINVAL` if there is no such timer.
pub fn state(ctx: &Context, id: i32) -> Result<(u64, u64)> {
    Ok(ctx.process.signals.timers.posix.get(id)?.state(&ctx.process))
}

/// The overrun of the signal that was delivered last (`timer_getoverrun(2)`).
///
/// # Errors
/// `EINVAL` if there is no such timer.
pub fn overrun(ctx: &Context, id: i32) -> Result<i32> {
    Ok(ctx.process.signals.timers.posix.get(id)?.overrun.load(Relaxed))
}

/// Deletes a timer (`timer_delete(2)`).
///
/// # Errors
/// `EINVAL` if there is no such timer.
pub fn delete(ctx: &Context, id: i32) -> Result<()> {
    let timer = ctx.process.signals.timers.posix.0.lock().timers.remove(&id).ok_or(EINVAL)?;
    if let Source::Time(_, alarm) = &timer.source {
        alarm.stop();
    }
    Ok(())
}
