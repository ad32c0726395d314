// SPDX-License-Identifier: MPL-2.0

//! System calls about signals.

use ostd::arch::cpu::context::UserContext;
use readiness::{Nothing, Timeout, WaitError};

use crate::{
    prelude::*,
    process::{Process, Thread, credentials::Capabilities, table},
    signal::{self, Action, SI_TKILL, SI_USER, SigInfo, SigSet, Signal, UserSigInfo, send_to_process, send_to_thread},
    time::{Deadline, types::Timespec},
};

/// `sizeof(sigset_t)` of the kernel, which programs must name.
const SET_SIZE: usize = size_of::<SigSet>();

fn check_set_size(size: usize) -> Result<()> {
    if size == SET_SIZE { Ok(()) } else { Err(EINVAL) }
}

/// Reads an optional set: 0 is none.
pub(super) fn read_set(ctx: &Context, address: Vaddr) -> Result<Option<SigSet>> {
    if address == 0 { Ok(None) } else { ctx.read_val(address).map(Some) }
}

/// `rt_sigaction(2)`
///
/// # Errors
/// `EINVAL` for a bad number or size, or an action for `SIGKILL` or `SIGSTOP`; `EFAULT`.
pub fn sys_rt_sigaction(ctx: &Context, number: i32, new: Vaddr, old: Vaddr, size: usize) -> Result<isize> {
    check_set_size(size)?;
    let signal = Signal::new(number)?;
    let requested = if new == 0 { None } else { Some(ctx.read_val::<Action>(new)?) };
    if requested.is_some() && signal.is_unblockable() {
        return Err(EINVAL);
    }
    let current = ctx.process.signals.actions().get(signal);
    if let Some(mut action) = requested {
        action.mask = action.mask.without(SigSet::UNBLOCKABLE);
        signal::set_action(ctx, signal, action);
    }
    if old != 0 {
        ctx.write_val(old, &current)?;
    }
    Ok(0)
}

/// `rt_sigprocmask(2)`
///
/// # Errors
/// `EINVAL` for a bad size or `how`; `EFAULT`.
pub fn sys_rt_sigprocmask(ctx: &Context, how: i32, new: Vaddr, old: Vaddr, size: usize) -> Result<isize> {
    const SIG_BLOCK: i32 = 0;
    const SIG_UNBLOCK: i32 = 1;
    const SIG_SETMASK: i32 = 2;
    check_set_size(size)?;
    let current = signal::mask(ctx);
    if let Some(set) = read_set(ctx, new)? {
        let mask = match how {
            SIG_BLOCK => current | set,
            SIG_UNBLOCK => current.without(set),
            SIG_SETMASK => set,
            _ => return Err(EINVAL),
        };
        signal::set_mask(ctx, mask);
    }
    if old != 0 {
        ctx.write_val(old, &current)?;
    }
    Ok(0)
}

/// `rt_sigpending(2)`
///
/// # Errors
/// `EINVAL` for a size that is too large; `EFAULT`.
pub fn sys_rt_sigpending(ctx: &Context, address: Vaddr, size: usize) -> Result<isize> {
    if size > SET_SIZE {
        return Err(EINVAL);
    }
    let pending = signal::pending(ctx) & signal::mask(ctx);
    ctx.write_bytes(address, pending.as_bytes().get(..size).unwrap_or_default())?;
    Ok(0)
}

/// `rt_sigsuspend(2)`
///
/// # Errors
/// `EINTR` after a handler ran; `EINVAL` for a bad size; `EFAULT`.
pub fn sys_rt_sigsuspend(ctx: &Context, mask: Vaddr, size: usize) -> Result<isize> {
    check_set_size(size)?;
    let mask = ctx.read_val(mask)?;
    signal::begin_temporary_mask(ctx, mask);
    sleep_until_signal(ctx);
    signal::end_temporary_mask(ctx, true);
    Err(ERESTARTNOHAND)
}

/// `pause(2)`
///
/// # Errors
/// `EINTR` after a handler ran.
pub fn sys_pause(ctx: &Context) -> Result<isize> {
    sleep_until_signal(ctx);
    Err(ERESTARTNOHAND)
}

fn sleep_until_signal(ctx: &Context) {
    // Nothing but a signal ends it.
    let _ = ctx.wait(&Nothing, Timeout::Never, || None::<()>);
}

/// `rt_sigtimedwait(2)`
///
/// # Errors
/// `EAGAIN` when time is up; `EINTR` if a handler ran for another signal; `EINVAL` for a bad size or time; `EFAULT`.
pub fn sys_rt_sigtimedwait(ctx: &Context, set: Vaddr, info: Vaddr, timeout: Vaddr, size: usize) -> Result<isize> {
    check_set_size(size)?;
    let wanted = ctx.read_val::<SigSet>(set)?.without(SigSet::UNBLOCKABLE);
    let timeout = match timeout {
        0 => None,
        address => Some(ctx.read_val::<Timespec>(address)?.to_nanos()?),
    };
    let taken = wait_for_signal(ctx, wanted, timeout)?;
    if info != 0 {
        ctx.write_val(info, &UserSigInfo::from(taken))?;
    }
    Ok(taken.signal().number().into())
}

fn wait_for_signal(ctx: &Context, wanted: SigSet, timeout: Option<u64>) -> Result<SigInfo> {
    if let Some(info) = signal::take(ctx, wanted) {
        return Ok(info);
    }
    if timeout == Some(0) {
        return Err(EAGAIN);
    }
    let timeout = timeout.map_or(Timeout::Never, |nanos| Timeout::At(Deadline::after_nanos(nanos)));
    signal::set_awaited(ctx, wanted);
    // Asked after saying what is awaited: a signal sent since then is either here or ends the sleep.
    let result = ctx.wait(&Nothing, timeout, || signal::take(ctx, wanted));
    signal::set_awaited(ctx, SigSet::EMPTY);
    result.map_err(|error| match error {
        WaitError::TimedOut => EAGAIN,
        WaitError::Interrupted => EINTR,
    })
}

/// Whether the caller may signal `target` (`kill(2)`): the same user, `CAP_KILL`, or `SIGCONT` within the session.
///
/// # Errors
/// `EPERM` if not.
pub fn check_permission(ctx: &Context, target: &Process, signal: Option<Signal>) -> Result<()> {
    if Arc::as_ptr(&ctx.process) == core::ptr::from_ref(target) {
        return Ok(());
    }
    let own = ctx.credentials();
    if own.has(Capabilities::KILL) {
        return Ok(());
    }
    if signal == Some(Signal::CONT) && target.session() == ctx.process.session() {
        return Ok(());
    }
    let Some(thread) = target.main_thread() else {
        return if target.uid() == own.uid { Ok(()) } else { Err(EPERM) };
    };
    let other = thread.credentials.lock().clone();
    let is_same_user = [own.euid, own.uid].iter().any(|user| [other.suid, other.uid].contains(user));
    if is_same_user { Ok(()) } else { Err(EPERM) }
}

/// Signal 0 only asks.
pub(super) fn parse_signal(number: i32) -> Result<Option<Signal>> {
    if number == 0 { Ok(None) } else { Signal::new(number).map(Some) }
}

fn send_checked(ctx: &Context, target: &Process, signal: Option<Signal>) -> Result<()> {
    check_permission(ctx, target, signal)?;
    match signal {
        Some(signal) => send_to_process(target, signal::info_from(ctx, signal, SI_USER)),
        None => Ok(()),
    }
}

/// `kill(2)`
///
/// # Errors
/// `EINVAL` for a bad signal; `ESRCH` if no process fits; `EPERM` if none of those that fit may be signalled.
pub fn sys_kill(ctx: &Context, pid: i32, number: i32) -> Result<isize> {
    let signal = parse_signal(number)?;
    let targets = match pid {
        1.. => {
            let target = table::process_of_id(pid.unsigned_abs()).ok_or(ESRCH)?;
            return send_checked(ctx, &target, signal).map(|()| 0);
        }
        0 => table::group(ctx.process.group()),
        -1 => {
            let mut all = table::processes();
            all.retain(|process| process.pid > 1 && process.pid != ctx.process.pid);
            all
        }
        i32::MIN => return Err(ESRCH),
        _ => table::group(pid.unsigned_abs()),
    };
    let mut result = Err(ESRCH);
    for target in &targets {
        // One success counts; of the errors, that of the last one.
        match send_checked(ctx, target, signal) {
            Err(error) if result.is_err() => result = Err(error),
            Err(_) => {}
            Ok(()) => result = Ok(0),
        }
    }
    result
}

fn find_thread(group: Option<i32>, tid: i32) -> Result<Arc<Thread>> {
    if tid <= 0 || group.is_some_and(|group| group <= 0) {
        return Err(EINVAL);
    }
    let thread = table::thread(tid.unsigned_abs()).ok_or(ESRCH)?;
    let fits = group.is_none_or(|group| thread.process.pid == group.unsigned_abs());
    if fits { Ok(thread) } else { Err(ESRCH) }
}

fn send_to_tid(ctx: &Context, group: Option<i32>, tid: i32, number: i32) -> Result<isize> {
    let thread = find_thread(group, tid)?;
    let signal = parse_signal(number)?;
    check_permission(ctx, &thread.process, signal)?;
    if let Some(signal) = signal {
        send_to_thread(&thread, signal::info_from(ctx, signal, SI_TKILL))?;
    }
    Ok(0)
}

/// `tkill(2)`
///
/// # Errors
/// `EINVAL` for a bad number or signal; `ESRCH` if there is no such thread; `EPERM`.
pub fn sys_tkill(ctx: &Context, tid: i32, number: i32) -> Result<isize> {
    send_to_tid(ctx, None, tid, number)
}

/// `tgkill(2)`
///
/// # Errors
/// As [`sys_tkill`]; `ESRCH` if the thread is of another process than `group`.
pub fn sys_tgkill(ctx: &Context, group: i32, tid: i32, number: i32) -> Result<isize> {
    send_to_tid(ctx, Some(group), tid, number)
}

/// Reads what a program says about a signal that it sends to `target`; only about itself may it claim what the kernel says.
pub(super) fn read_info(ctx: &Context, target: u32, number: i32, address: Vaddr) -> Result<Option<SigInfo>> {
    let user: UserSigInfo = ctx.read_val(address)?;
    if user.info.is_impersonation() && target != ctx.process.pid {
        return Err(EPERM);
    }
    Ok(parse_signal(number)?.map(|signal| SigInfo::from_user(signal, user)))
}

/// `rt_sigqueueinfo(2)`
///
/// # Errors
/// `EPERM` for a claim to be the kernel, or without permission; `EINVAL`; `ESRCH`; `EFAULT`; `EAGAIN` beyond
/// `RLIMIT_SIGPENDING`.
pub fn sys_rt_sigqueueinfo(ctx: &Context, pid: i32, number: i32, info: Vaddr) -> Result<isize> {
    let info = read_info(ctx, pid.cast_unsigned(), number, info)?;
    let pid = u32::try_from(pid).map_err(|_| ESRCH)?;
    let target = table::process_of_id(pid).ok_or(ESRCH)?;
    check_permission(ctx, &target, info.map(|info| info.signal()))?;
    info.map_or(Ok(()), |info| send_to_process(&target, info))?;
    Ok(0)
}

/// `rt_tgsigqueueinfo(2)`
///
/// # Errors
/// As [`sys_rt_sigqueueinfo`] and [`sys_tgkill`].
pub fn sys_rt_tgsigqueueinfo(ctx: &Context, group: i32, tid: i32, number: i32, info: Vaddr) -> Result<isize> {
    let info = read_info(ctx, group.cast_unsigned(), number, info)?;
    let thread = find_thread(Some(group), tid)?;
    check_permission(ctx, &thread.process, info.map(|info| info.signal()))?;
    info.map_or(Ok(()), |info| send_to_thread(&thread, info))?;
    Ok(0)
}

/// `sigaltstack(2)`
///
/// # Errors
/// `EFAULT`; `EPERM` while on the stack; `EINVAL` for unknown flags; `ENOMEM` for a stack that is too small.
pub fn sys_sigaltstack(ctx: &Context, regs: &UserContext, new: Vaddr, old: Vaddr) -> Result<isize> {
    signal::sigaltstack(ctx, new, old, regs.rsp())
}

/// `rt_sigreturn(2)`. The answer is what the frame says, so that it survives being stored again.
pub fn sys_rt_sigreturn(ctx: &Context, regs: &mut UserContext) -> isize {
    signal::sigreturn(ctx, regs);
    regs.rax().cast_signed()
}

/// `restart_syscall(2)`
///
/// # Errors
/// `EINTR` if there is nothing to restart; those of the restarted call.
pub fn sys_restart_syscall(ctx: &Context) -> Result<isize> {
    match signal::take_restart(ctx) {
        Some(restart) => restart(ctx),
        None => Err(EINTR),
    }
}
