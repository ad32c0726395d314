// SPDX-License-Identifier: MPL-2.0

//! System calls about time.

use readiness::{Nothing, Timeout, WaitError};

use crate::{
    prelude::*,
    process::credentials::Capabilities,
    signal::{
        self, Itimer, Signal,
        posix_timer::{self, Notify},
    },
    time::{
        Clock, Deadline, NANOS_PER_SEC, TICK_NANOS, clock,
        clock_id::{self, ClockId},
        types::{CLOCK_TICK_NANOS, Itimerspec, Itimerval, RUsage, Timespec, Timeval},
    },
};

const TIMER_ABSTIME: i32 = 1;
/// `KTIME_SEC_MAX`: what fits into a signed 64-bit number of nanoseconds.
const MAX_SECONDS: i64 = i64::MAX / NANOS_PER_SEC as i64;

/// `clock_gettime(2)`
///
/// # Errors
/// `EINVAL` for an unknown clock; `EFAULT`.
pub fn sys_clock_gettime(ctx: &Context, clock: i32, address: Vaddr) -> Result<isize> {
    let now = ClockId::new(clock)?.now(ctx)?;
    ctx.write_val(address, &Timespec::from_nanos(now))?;
    Ok(0)
}

/// `clock_getres(2)`
///
/// # Errors
/// `EINVAL` for an unknown clock; `EFAULT`.
pub fn sys_clock_getres(ctx: &Context, clock: i32, address: Vaddr) -> Result<isize> {
    let clock = ClockId::new(clock)?;
    if matches!(clock, ClockId::Cpu(..)) {
        clock.now(ctx)?;
    }
    if address != 0 {
        ctx.write_val(address, &Timespec::from_nanos(clock.resolution()))?;
    }
    Ok(0)
}

/// `clock_settime(2)`
///
/// # Errors
/// `EINVAL` for a clock that cannot be set or a bad time; `EPERM` without `CAP_SYS_TIME`; `EFAULT`.
pub fn sys_clock_settime(ctx: &Context, clock: i32, address: Vaddr) -> Result<isize> {
    const CLOCK_REALTIME: i32 = 0;
    if clock != CLOCK_REALTIME {
        ClockId::new(clock)?;
        return Err(EINVAL);
    }
    let time: Timespec = ctx.read_val(address)?;
    let nanos = time.to_nanos()?;
    // Linux: neither beyond what it can represent nor before boot.
    if time.sec > MAX_SECONDS - 30 * 365 * 24 * 3600 || nanos < clock::now_monotonic() {
        return Err(EINVAL);
    }
    set_wall_clock(ctx, nanos)
}

fn set_wall_clock(ctx: &Context, nanos: u64) -> Result<isize> {
    if !ctx.credentials().has(Capabilities::SYS_TIME) {
        return Err(EPERM);
    }
    clock::set_realtime(nanos);
    Ok(0)
}

/// `struct timezone`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod)]
struct Timezone {
    minutes_west: i32,
    dst_time: i32,
}

/// `gettimeofday(2)`
///
/// # Errors
/// `EFAULT`.
pub fn sys_gettimeofday(ctx: &Context, time: Vaddr, zone: Vaddr) -> Result<isize> {
    if time != 0 {
        ctx.write_val(time, &Timeval::from_nanos(clock::now_realtime()))?;
    }
    if zone != 0 {
        ctx.write_val(zone, &Timezone::default())?;
    }
    Ok(0)
}

/// `settimeofday(2)`. A time zone is accepted and forgotten, as nothing in the kernel depends on it.
///
/// # Errors
/// `EINVAL` for a bad time or zone; `EPERM` without `CAP_SYS_TIME`; `EFAULT`.
pub fn sys_settimeofday(ctx: &Context, time: Vaddr, zone: Vaddr) -> Result<isize> {
    let time = if time == 0 { None } else { Some(ctx.read_val::<Timeval>(time)?.to_nanos()?) };
    if zone != 0 {
        let zone: Timezone = ctx.read_val(zone)?;
        if !(-15 * 60..=15 * 60).contains(&zone.minutes_west) {
            return Err(EINVAL);
        }
    }
    time.map_or(Ok(0), |nanos| set_wall_clock(ctx, nanos))
}

/// `time(2)`
///
/// # Errors
/// `EFAULT`.
pub fn sys_time(ctx: &Context, address: Vaddr) -> Result<isize> {
    let seconds = (clock::now_realtime() / NANOS_PER_SEC).cast_signed();
    if address != 0 {
        ctx.write_val(address, &seconds)?;
    }
    Ok(seconds as isize)
}

/// `struct tms`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct Tms {
    user: u64,
    system: u64,
    children_user: u64,
    children_system: u64,
}

/// `times(2)`
///
/// # Errors
/// `EFAULT`.
pub fn sys_times(ctx: &Context, address: Vaddr) -> Result<isize> {
    if address != 0 {
        let (own, children) = (ctx.process.usage(), ctx.process.children_usage());
        let tms = Tms {
            user: own.user / CLOCK_TICK_NANOS,
            system: own.system / CLOCK_TICK_NANOS,
            children_user: children.user / CLOCK_TICK_NANOS,
            children_system: children.system / CLOCK_TICK_NANOS,
        };
        ctx.write_val(address, &tms)?;
    }
    Ok((clock::now_monotonic() / CLOCK_TICK_NANOS) as isize)
}

/// `getrusage(2)`
///
/// # Errors
/// `EINVAL` for an unknown `who`; `EFAULT`.
pub fn sys_getrusage(ctx: &Context, who: i32, address: Vaddr) -> Result<isize> {
    const RUSAGE_SELF: i32 = 0;
    const RUSAGE_CHILDREN: i32 = -1;
    const RUSAGE_THREAD: i32 = 1;
    let usage = match who {
        RUSAGE_SELF => ctx.process.resource_usage(),
        RUSAGE_CHILDREN => ctx.process.children_resource_usage(),
        // Memory is not a thread's own.
        RUSAGE_THREAD => ctx.thread.resource_usage().with_peak(ctx.process.resource_usage().peak_resident),
        _ => return Err(EINVAL),
    };
    ctx.write_val(address, &RUsage::from(usage))?;
    Ok(0)
}

/// `struct timex`; only the fields that a query fills have names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct Timex {
    modes: u32,
    padding: u32,
    offset: i64,
    frequency: i64,
    max_error: i64,
    estimated_error: i64,
    status: i32,
    padding2: u32,
    constant: i64,
    precision: i64,
    tolerance: i64,
    time: Timeval,
    tick: i64,
    unused: [i64; 14],
}

const _: () = assert!(size_of::<Timex>() == 208);

/// `adjtimex(2)`: queries only; the clock is not disciplined.
///
/// # Errors
/// `EPERM` for a change; `EFAULT`.
pub fn sys_adjtimex(ctx: &Context, address: Vaddr) -> Result<isize> {
    const STA_UNSYNC: i32 = 0x40;
    const TIME_ERROR: isize = 5;
    let request: Timex = ctx.read_val(address)?;
    if request.modes != 0 {
        return Err(EPERM);
    }
    let answer = Timex {
        modes: 0,
        padding: 0,
        offset: 0,
        frequency: 0,
        max_error: 16_000_000,
        estimated_error: 16_000_000,
        status: STA_UNSYNC,
        padding2: 0,
        constant: 2,
        precision: 1,
        tolerance: 32_768_000,
        time: Timeval::from_nanos(clock::now_realtime()),
        tick: 10_000,
        unused: [0; 14],
    };
    ctx.write_val(address, &answer)?;
    Ok(TIME_ERROR)
}

/// `clock_adjtime(2)` on the wall clock: as [`sys_adjtimex`].
///
/// # Errors
/// `EINVAL` for an unknown clock, `EOPNOTSUPP` for others than `CLOCK_REALTIME`; as [`sys_adjtimex`].
pub fn sys_clock_adjtime(ctx: &Context, clock: i32, address: Vaddr) -> Result<isize> {
    match ClockId::new(clock)? {
        ClockId::Realtime => sys_adjtimex(ctx, address),
        _ => Err(EOPNOTSUPP),
    }
}

/// `nanosleep(2)`
///
/// # Errors
/// `EINVAL` for a bad time; `EINTR` after a handler ran, with the time left at `remaining`; `EFAULT`.
pub fn sys_nanosleep(ctx: &Context, request: Vaddr, remaining: Vaddr) -> Result<isize> {
    let nanos = ctx.read_val::<Timespec>(request)?.to_nanos()?;
    sleep_relative(ctx, Deadline::after_nanos(nanos), remaining)
}

/// `clock_nanosleep(2)`
///
/// # Errors
/// `EINVAL` for a bad clock or time, or the caller's own CPU time; `EOPNOTSUPP` for a clock that nothing can wait on;
/// `EINTR` after a handler ran; `EFAULT`.
pub fn sys_clock_nanosleep(ctx: &Context, clock: i32, flags: i32, request: Vaddr, remaining: Vaddr) -> Result<isize> {
    let clock = ClockId::new(clock)?;
    let nanos = ctx.read_val::<Timespec>(request)?.to_nanos()?;
    let is_absolute = flags & TIMER_ABSTIME != 0;
    let Some(timer_clock) = clock.timer_clock()? else {
        return sleep_on_cpu_time(ctx, clock, nanos, is_absolute);
    };
    let deadline = clock_id::deadline(timer_clock, nanos, is_absolute);
    if is_absolute {
        // Restarted as it is: the deadline does not move.
        sleep(ctx, deadline).map(|()| 0).map_err(|_| ERESTARTNOHAND)
    } else {
        sleep_relative(ctx, deadline, remaining)
    }
}

fn sleep_relative(ctx: &Context, deadline: Deadline, remaining: Vaddr) -> Result<isize> {
    if sleep(ctx, deadline).is_ok() {
        return Ok(0);
    }
    if remaining != 0 {
        ctx.write_val(remaining, &Timespec::from_nanos(deadline.remaining_nanos()))?;
    }
    Err(signal::restart_with(ctx, move |ctx| sleep_relative(ctx, deadline, remaining)))
}

/// # Errors
/// `EINTR` if a signal came first.
fn sleep(ctx: &Context, deadline: Deadline) -> Result<()> {
    match ctx.wait(&Nothing, Timeout::At(deadline), || None::<()>) {
        Err(WaitError::Interrupted) => Err(EINTR),
        Err(WaitError::TimedOut) | Ok(()) => Ok(()),
    }
}

/// Sleeps until a clock of CPU time has reached a point: looks again when it could have, at the soonest.
fn sleep_on_cpu_time(ctx: &Context, clock: ClockId, nanos: u64, is_absolute: bool) -> Result<isize> {
    if clock == ClockId::new(3)? {
        return Err(EINVAL); // The caller's own time stands still while it sleeps.
    }
    let start = clock.now(ctx)?;
    let end = if is_absolute { nanos } else { start.saturating_add(nanos) };
    let cpus = ostd::cpu::num_cpus().max(1) as u64;
    loop {
        let left = end.saturating_sub(clock.now(ctx)?);
        if left == 0 {
            return Ok(0);
        }
        let pause = Deadline::after_nanos((left / cpus).max(TICK_NANOS));
        sleep(ctx, pause).map_err(|_| ERESTARTNOHAND)?;
    }
}

fn to_timeval((remaining, interval): (u64, u64)) -> Itimerval {
    // Rounded up: a timer that is armed does not look disarmed.
    let value = Timeval::from_nanos(remaining.saturating_add(999));
    Itimerval { interval: Timeval::from_nanos(interval), value }
}

/// `getitimer(2)`
///
/// # Errors
/// `EINVAL` for an unknown timer; `EFAULT`.
pub fn sys_getitimer(ctx: &Context, which: i32, address: Vaddr) -> Result<isize> {
    let state = signal::itimer(&ctx.process, Itimer::new(which)?);
    ctx.write_val(address, &to_timeval(state))?;
    Ok(0)
}

/// `setitimer(2)`
///
/// # Errors
/// `EINVAL` for an unknown timer or a bad time; `EFAULT`.
pub fn sys_setitimer(ctx: &Context, which: i32, new: Vaddr, old: Vaddr) -> Result<isize> {
    let which = Itimer::new(which)?;
    // A null pointer disarms, as Linux has it.
    let request = if new == 0 { Itimerval::default() } else { ctx.read_val(new)? };
    let (value, interval) = (request.value.to_nanos()?, request.interval.to_nanos()?);
    let state = signal::set_itimer(&ctx.process, which, value, interval);
    if old != 0 {
        ctx.write_val(old, &to_timeval(state))?;
    }
    Ok(0)
}

/// `alarm(2)`
pub fn sys_alarm(ctx: &Context, seconds: u32) -> Result<isize> {
    let value = u64::from(seconds) * NANOS_PER_SEC;
    let (remaining, _) = signal::set_itimer(&ctx.process, Itimer::Real, value, 0);
    // Rounded to the nearest second, but an armed timer is never 0.
    let rounded = (remaining.saturating_add(NANOS_PER_SEC / 2)) / NANOS_PER_SEC;
    let answer = if remaining > 0 { rounded.max(1) } else { 0 };
    Ok(answer as isize)
}

/// `struct sigevent`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct Sigevent {
    value: u64,
    signo: i32,
    notify: i32,
    tid: i32,
    unused: [i32; 11],
}

const _: () = assert!(size_of::<Sigevent>() == 64);

/// # Errors
/// `EINVAL` for an unknown way of notifying, a bad signal, or a thread of another process.
fn parse_notify(ctx: &Context, event: &Sigevent) -> Result<Notify> {
    const SIGEV_SIGNAL: i32 = 0;
    const SIGEV_NONE: i32 = 1;
    const SIGEV_THREAD: i32 = 2;
    const SIGEV_THREAD_ID: i32 = 4;
    match event.notify {
        SIGEV_NONE => Ok(Notify::Nobody),
        SIGEV_SIGNAL | SIGEV_THREAD => Ok(Notify::Process(Signal::new(event.signo)?, event.value)),
        SIGEV_THREAD_ID => {
            let tid = u32::try_from(event.tid).map_err(|_| EINVAL)?;
            let is_ours = |threads: &[Arc<crate::process::Thread>]| threads.iter().any(|thread| thread.tid() == tid);
            if !ctx.process.with_threads(is_ours) {
                return Err(EINVAL);
            }
            Ok(Notify::Thread(tid, Signal::new(event.signo)?, event.value))
        }
        _ => Err(EINVAL),
    }
}

/// `timer_create(2)`
///
/// # Errors
/// `EINVAL` for a bad clock or event; `EOPNOTSUPP` for a clock that nothing can wait on; `EAGAIN` for too many timers;
/// `EFAULT`.
pub fn sys_timer_create(ctx: &Context, clock: i32, event: Vaddr, id: Vaddr) -> Result<isize> {
    let clock = ClockId::new(clock)?;
    clock.timer_clock()?;
    let notify = match event {
        0 => None,
        address => Some(parse_notify(ctx, &ctx.read_val(address)?)?),
    };
    let default = |id: i32| Notify::Process(Signal::ALRM, u64::from(id.cast_unsigned()));
    let number = posix_timer::create(ctx, clock, |id| notify.unwrap_or_else(|| default(id)))?;
    if let Err(error) = ctx.write_val(id, &number) {
        posix_timer::delete(ctx, number)?;
        return Err(error);
    }
    Ok(0)
}

fn to_itimerspec((remaining, interval): (u64, u64)) -> Itimerspec {
    Itimerspec { interval: Timespec::from_nanos(interval), value: Timespec::from_nanos(remaining) }
}

/// `timer_settime(2)`
///
/// # Errors
/// `EINVAL` for an unknown timer or a bad time; `EFAULT`.
pub fn sys_timer_settime(ctx: &Context, id: i32, flags: i32, new: Vaddr, old: Vaddr) -> Result<isize> {
    if new == 0 {
        return Err(EINVAL);
    }
    let request: Itimerspec = ctx.read_val(new)?;
    let (value, interval) = (request.value.to_nanos()?, request.interval.to_nanos()?);
    let state = posix_timer::set(ctx, id, value, interval, flags & TIMER_ABSTIME != 0)?;
    if old != 0 {
        ctx.write_val(old, &to_itimerspec(state))?;
    }
    Ok(0)
}

/// `timer_gettime(2)`
///
/// # Errors
/// `EINVAL` for an unknown timer; `EFAULT`.
pub fn sys_timer_gettime(ctx: &Context, id: i32, address: Vaddr) -> Result<isize> {
    ctx.write_val(address, &to_itimerspec(posix_timer::state(ctx, id)?))?;
    Ok(0)
}

/// `timer_getoverrun(2)`
///
/// # Errors
/// `EINVAL` for an unknown timer.
pub fn sys_timer_getoverrun(ctx: &Context, id: i32) -> Result<isize> {
    Ok(posix_timer::overrun(ctx, id)? as isize)
}

/// `timer_delete(2)`
///
/// # Errors
/// `EINVAL` for an unknown timer.
pub fn sys_timer_delete(ctx: &Context, id: i32) -> Result<isize> {
    posix_timer::delete(ctx, id).map(|()| 0)
}

/// Reads the optional relative timeout of a call as a deadline: a null pointer is none, zero is the present.
///
/// # Errors
/// `EINVAL` for a bad time; `EFAULT`.
pub fn read_timeout(ctx: &Context, address: Vaddr) -> Result<Option<Deadline>> {
    match address {
        0 => Ok(None),
        _ => Ok(Some(Deadline::after_nanos(ctx.read_val::<Timespec>(address)?.to_nanos()?))),
    }
}

/// Reads an absolute time as a deadline; a null pointer is none.
///
/// # Errors
/// `EINVAL` for a bad time; `EFAULT`.
pub fn read_absolute(ctx: &Context, clock: Clock, address: Vaddr) -> Result<Option<Deadline>> {
    match address {
        0 => Ok(None),
        _ => Ok(Some(Deadline::at(clock, ctx.read_val::<Timespec>(address)?.to_nanos()?))),
    }
}
