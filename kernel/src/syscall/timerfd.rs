// SPDX-License-Identifier: MPL-2.0

//! `timerfd_create(2)`, `timerfd_settime(2)`, `timerfd_gettime(2)`.

use crate::{
    events::timerfd::{SetFlags, Setting, TimerClock, TimerFile},
    file::{Description, StatusFlags, table::Fd},
    prelude::*,
    process::credentials::Capabilities,
    time::types::{Itimerspec, Timespec},
};

const TFD_CLOEXEC: u32 = 0o2000000;

/// # Errors
/// `EPERM` if the clock would wake the machine and the caller may not.
fn check_alarm(ctx: &Context, clock: TimerClock) -> Result<()> {
    if clock.is_alarm() && !ctx.credentials().has(Capabilities::WAKE_ALARM) { Err(EPERM) } else { Ok(()) }
}

fn timer_of(description: &Description) -> Result<&TimerFile> {
    description.downcast().ok_or(EINVAL)
}

fn to_itimerspec(setting: Setting) -> Itimerspec {
    Itimerspec { interval: Timespec::from_nanos(setting.interval), value: Timespec::from_nanos(setting.value) }
}

/// `timerfd_create(2)`
///
/// # Errors
/// `EINVAL` for an unknown clock or flag; `EPERM` for an alarm clock without `CAP_WAKE_ALARM`; `EMFILE`.
pub fn sys_timerfd_create(ctx: &Context, clock: i32, flags: u32) -> Result<isize> {
    let status = StatusFlags::from_bits_truncate(flags) & StatusFlags::NONBLOCK;
    if flags & !(TFD_CLOEXEC | status.bits()) != 0 {
        return Err(EINVAL);
    }
    let clock = TimerClock::new(clock)?;
    check_alarm(ctx, clock)?;
    let file = TimerFile::open(clock, status);
    let fd = ctx.files().insert(file, 0, ctx.process.limits.max_files(), flags & TFD_CLOEXEC != 0)?;
    Ok(fd as isize)
}

/// `timerfd_settime(2)`
///
/// # Errors
/// `EINVAL` for unknown flags, a bad time, or if it is no timer; `EBADF`; `EPERM` as for [`sys_timerfd_create`]; `ECANCELED` if
/// the wall clock was set since it was last told; `EFAULT`.
pub fn sys_timerfd_settime(ctx: &Context, fd: Fd, flags: u32, new: Vaddr, old: Vaddr) -> Result<isize> {
    let request: Itimerspec = ctx.read_val(new)?;
    let flags = SetFlags::from_bits(flags).ok_or(EINVAL)?;
    let setting = Setting { value: request.value.to_nanos()?, interval: request.interval.to_nanos()? };
    let description = ctx.file(fd)?;
    let timer = timer_of(&description)?;
    check_alarm(ctx, timer.clock())?;
    let before = timer.set(flags, setting)?;
    if old != 0 {
        ctx.write_val(old, &to_itimerspec(before))?;
    }
    Ok(0)
}

/// `timerfd_gettime(2)`
///
/// # Errors
/// `EBADF`; `EINVAL` if it is no timer; `EFAULT`.
pub fn sys_timerfd_gettime(ctx: &Context, fd: Fd, address: Vaddr) -> Result<isize> {
    let description = ctx.file(fd)?;
    let setting = timer_of(&description)?.setting();
    ctx.write_val(address, &to_itimerspec(setting))?;
    Ok(0)
}
