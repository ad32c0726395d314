// SPDX-License-Identifier: MPL-2.0

//! System calls about scheduling: CPUs, policies and priorities.
//!
//! The scheduler gives all threads equal turns, like `SCHED_OTHER` at nice 0. Nice values are kept and reported; real-time
//! policies are refused, because nothing would honour them.

use core::sync::atomic::Ordering::Relaxed;

use ostd::{task::Task, util::id_set::Id};

use crate::{
    prelude::*,
    process::{Process, Thread, Work, credentials::Capabilities, table},
    time::{TICK_NANOS, types::Timespec},
};

const SCHED_OTHER: i32 = 0;
const SCHED_FIFO: i32 = 1;
const SCHED_RR: i32 = 2;
const SCHED_BATCH: i32 = 3;
const SCHED_IDLE: i32 = 5;
const SCHED_DEADLINE: i32 = 6;
const SCHED_RESET_ON_FORK: i32 = 0x4000_0000;

/// `sched_yield(2)`
pub fn sys_sched_yield(_ctx: &Context) -> Result<isize> {
    Task::yield_now();
    Ok(0)
}

/// The thread that a pid argument names: 0 is the caller.
///
/// # Errors
/// `EINVAL` if it is negative; `ESRCH`.
fn find(ctx: &Context, pid: i32) -> Result<Arc<Thread>> {
    match u32::try_from(pid) {
        Ok(0) => Ok(ctx.thread.clone()),
        Ok(tid) => table::thread(tid).ok_or(ESRCH),
        Err(_) => Err(EINVAL),
    }
}

/// [`find`] of the calls about affinity, which look for any number.
///
/// # Errors
/// `ESRCH`
fn find_any(ctx: &Context, pid: i32) -> Result<Arc<Thread>> {
    find(ctx, pid).map_err(|_| ESRCH)
}

/// # Errors
/// `EPERM` unless the caller is the target's user or has `CAP_SYS_NICE`.
fn check_owner(ctx: &Context, target: &Thread) -> Result<()> {
    let own = ctx.credentials();
    let other = target.credentials.lock().clone();
    let is_owner = own.euid == other.euid || own.euid == other.uid;
    if is_owner || own.has(Capabilities::SYS_NICE) { Ok(()) } else { Err(EPERM) }
}

/// The mask of the CPUs that run programs.
fn all_cpus() -> u64 {
    ostd::cpu::all_cpus().fold(0, |mask, cpu| mask | 1u64.checked_shl(cpu.as_usize() as u32).unwrap_or(0))
}

/// `sched_getaffinity(2)`: the number of bytes written.
///
/// # Errors
/// `EINVAL` if `len` is no multiple of 8 or too small; `ESRCH`; `EFAULT`.
pub fn sys_sched_getaffinity(ctx: &Context, pid: i32, len: usize, mask: Vaddr) -> Result<isize> {
    if !len.is_multiple_of(size_of::<u64>()) || len == 0 {
        return Err(EINVAL);
    }
    let affinity = find_any(ctx, pid)?.sched.affinity() & all_cpus();
    ctx.write_val(mask, &affinity)?;
    Ok(size_of::<u64>() as isize)
}

/// `sched_setaffinity(2)`
///
/// # Errors
/// `EINVAL` if no CPU is left; `ESRCH`; `EPERM`; `EFAULT`.
pub fn sys_sched_setaffinity(ctx: &Context, pid: i32, len: usize, mask: Vaddr) -> Result<isize> {
    let mut bytes = [0u8; size_of::<u64>()];
    let len = len.min(bytes.len());
    let mut dst = VmWriter::from(&mut bytes[..len]).to_fallible();
    ctx.reader(mask, len)?.read_fallible(&mut dst)?;
    let target = find_any(ctx, pid)?;
    check_owner(ctx, &target)?;
    let affinity = u64::from_le_bytes(bytes) & all_cpus();
    if affinity == 0 {
        return Err(EINVAL);
    }
    target.sched.set_affinity(affinity);
    if target.sched.last_cpu().is_some_and(|cpu| !target.sched.may_run_on(cpu)) {
        target.request(Work::MOVE);
    }
    Ok(0)
}

/// # Errors
/// `EINVAL` for an unknown policy, or a priority that it does not have.
fn check_priority(policy: i32, priority: i32) -> Result<()> {
    let range = priorities(policy)?;
    if range.contains(&priority) { Ok(()) } else { Err(EINVAL) }
}

fn priorities(policy: i32) -> Result<core::ops::RangeInclusive<i32>> {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(1..=99),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok(0..=0),
        _ => Err(EINVAL),
    }
}

/// `sched_get_priority_max(2)`
///
/// # Errors
/// `EINVAL` for an unknown policy.
pub fn sys_sched_get_priority_max(policy: i32) -> Result<isize> {
    priorities(policy).map(|range| *range.end() as isize)
}

/// `sched_get_priority_min(2)`
///
/// # Errors
/// `EINVAL` for an unknown policy.
pub fn sys_sched_get_priority_min(policy: i32) -> Result<isize> {
    priorities(policy).map(|range| *range.start() as isize)
}

/// `sched_getscheduler(2)`
///
/// # Errors
/// `EINVAL`, `ESRCH`.
pub fn sys_sched_getscheduler(ctx: &Context, pid: i32) -> Result<isize> {
    find(ctx, pid).map(|thread| thread.sched.policy() as isize)
}

/// `sched_setscheduler(2)`: among the policies that share time.
///
/// # Errors
/// `EINVAL` for an unknown policy or priority; `ESRCH`; `EPERM` for real-time policies, which are not offered.
pub fn sys_sched_setscheduler(ctx: &Context, pid: i32, policy: i32, param: Vaddr) -> Result<isize> {
    if policy < 0 || param == 0 {
        return Err(EINVAL);
    }
    let priority: i32 = ctx.read_val(param)?;
    set_policy(ctx, pid, policy & !SCHED_RESET_ON_FORK, priority)
}

fn set_policy(ctx: &Context, pid: i32, policy: i32, priority: i32) -> Result<isize> {
    let target = find(ctx, pid)?;
    if policy == SCHED_DEADLINE {
        return Err(EINVAL); // Needs the parameters of sched_setattr(2).
    }
    check_priority(policy, priority)?;
    check_owner(ctx, &target)?;
    if matches!(policy, SCHED_FIFO | SCHED_RR) {
        return Err(EPERM);
    }
    target.sched.set_policy(policy);
    Ok(0)
}

/// `sched_getparam(2)`
///
/// # Errors
/// `EINVAL`, `ESRCH`, `EFAULT`.
pub fn sys_sched_getparam(ctx: &Context, pid: i32, param: Vaddr) -> Result<isize> {
    if param == 0 {
        return Err(EINVAL);
    }
    find(ctx, pid)?;
    ctx.write_val(param, &0i32)?;
    Ok(0)
}

/// `sched_setparam(2)`
///
/// # Errors
/// `EINVAL` for a priority that the policy does not have; `ESRCH`; `EPERM`; `EFAULT`.
pub fn sys_sched_setparam(ctx: &Context, pid: i32, param: Vaddr) -> Result<isize> {
    if param == 0 {
        return Err(EINVAL);
    }
    let priority: i32 = ctx.read_val(param)?;
    let policy = find(ctx, pid)?.sched.policy();
    set_policy(ctx, pid, policy, priority)
}

/// `sched_rr_get_interval(2)`: the time slice.
///
/// # Errors
/// `EINVAL`, `ESRCH`, `EFAULT`.
pub fn sys_sched_rr_get_interval(ctx: &Context, pid: i32, address: Vaddr) -> Result<isize> {
    find(ctx, pid)?;
    let slice = u64::from(crate::sched::SLICE_TICKS) * TICK_NANOS;
    ctx.write_val(address, &Timespec::from_nanos(slice))?;
    Ok(0)
}

/// Processes that `getpriority(2)` means.
fn select(ctx: &Context, which: i32, who: i32) -> Result<Vec<Arc<Process>>> {
    const PRIO_PROCESS: i32 = 0;
    const PRIO_PGRP: i32 = 1;
    const PRIO_USER: i32 = 2;
    let id = who.cast_unsigned();
    let found = match (which, who) {
        (PRIO_PROCESS, 0) => alloc::vec![ctx.process.clone()],
        (PRIO_PROCESS, _) => table::process_of_id(id).into_iter().collect(),
        (PRIO_PGRP, 0) => table::group(ctx.process.group()),
        (PRIO_PGRP, _) => table::group(id),
        (PRIO_USER, _) => {
            let uid = if who == 0 { ctx.credentials().uid } else { id };
            table::processes().into_iter().filter(|process| process.uid() == uid).collect()
        }
        _ => return Err(EINVAL),
    };
    if found.is_empty() { Err(ESRCH) } else { Ok(found) }
}

/// `getpriority(2)`: 20 less the nice value, the highest of those selected.
///
/// # Errors
/// `EINVAL` for an unknown selection; `ESRCH` if nothing fits.
pub fn sys_getpriority(ctx: &Context, which: i32, who: i32) -> Result<isize> {
    let processes = select(ctx, which, who)?;
    let nice = processes.iter().map(|process| process.nice.load(Relaxed)).min().unwrap_or(0);
    Ok(20 - nice as isize)
}

/// `setpriority(2)`
///
/// # Errors
/// `EINVAL`, `ESRCH`; `EPERM` for other users' processes; `EACCES` to raise a priority without `CAP_SYS_NICE`.
pub fn sys_setpriority(ctx: &Context, which: i32, who: i32, nice: i32) -> Result<isize> {
    let nice = nice.clamp(-20, 19);
    let own = ctx.credentials();
    let mut result = Ok(0);
    for process in select(ctx, which, who)? {
        if process.uid() != own.euid && !own.has(Capabilities::SYS_NICE) {
            result = Err(EPERM);
        } else if nice < process.nice.load(Relaxed) && !own.has(Capabilities::SYS_NICE) {
            result = Err(EACCES);
        } else {
            process.nice.store(nice, Relaxed);
        }
    }
    result
}
