// SPDX-License-Identifier: MPL-2.0

//! `pidfd_open(2)`, `pidfd_send_signal(2)`, `pidfd_getfd(2)`.

use super::{
    inspect::check_access,
    signal::{check_permission, parse_signal, read_info},
};
use crate::{
    events::PidFile,
    file::{StatusFlags, table::Fd},
    fs::procfs,
    prelude::*,
    process::{Process, table},
    signal::{self, SI_USER, send_to_process},
};

/// `pidfd_open(2)`
///
/// # Errors
/// `EINVAL` for unknown flags, a number that is not positive, or a thread that is not the first of its process; `ESRCH` if
/// nobody has the number; `EMFILE`.
pub fn sys_pidfd_open(ctx: &Context, pid: i32, flags: u32) -> Result<isize> {
    let status = StatusFlags::from_bits_truncate(flags) & StatusFlags::NONBLOCK;
    let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(EINVAL)?;
    if flags != status.bits() {
        return Err(EINVAL);
    }
    let process = match table::process(pid) {
        Some(process) => process,
        None if table::thread(pid).is_some() => return Err(EINVAL),
        None => return Err(ESRCH),
    };
    let file = PidFile::open(process, status);
    let fd = ctx.files().insert(file, 0, ctx.process.limits.max_files(), true)?;
    Ok(fd as isize)
}

/// The process that a descriptor is of, and the description's status flags.
///
/// # Errors
/// `EBADF` if it is none of a process.
pub fn process_of(ctx: &Context, fd: Fd) -> Result<(Arc<Process>, StatusFlags)> {
    let description = ctx.file(fd)?;
    let file = description.downcast::<PidFile>().ok_or(EBADF)?;
    Ok((file.process().clone(), description.status()))
}

/// The process that a signal is for: here the directory `/proc/PID` will do as well.
fn addressee(ctx: &Context, fd: Fd) -> Result<Arc<Process>> {
    let description = ctx.file(fd)?;
    if description.is_path() {
        return Err(EBADF);
    }
    match description.downcast::<PidFile>() {
        Some(file) => Ok(file.process().clone()),
        None => procfs::process_of_directory(description.inode()).ok_or(EBADF),
    }
}

/// `pidfd_send_signal(2)`
///
/// # Errors
/// `EINVAL` for flags, a bad signal, or facts of another one; `EBADF` for another kind of descriptor; `ESRCH` if the process
/// was waited for; `EPERM`; `EFAULT`; `EAGAIN` beyond `RLIMIT_SIGPENDING`.
pub fn sys_pidfd_send_signal(ctx: &Context, fd: Fd, number: i32, info: Vaddr, flags: u32) -> Result<isize> {
    if flags != 0 {
        return Err(EINVAL);
    }
    let process = addressee(ctx, fd)?;
    let (signal, info) = match info {
        0 => {
            let signal = parse_signal(number)?;
            (signal, signal.map(|signal| signal::info_from(ctx, signal, SI_USER)))
        }
        address => {
            if ctx.read_val::<i32>(address)? != number {
                return Err(EINVAL);
            }
            let info = read_info(ctx, process.pid, number, address)?;
            (info.map(|info| info.signal()), info)
        }
    };
    if !table::contains(&process) {
        return Err(ESRCH);
    }
    check_permission(ctx, &process, signal)?;
    info.map_or(Ok(()), |info| send_to_process(&process, info))?;
    Ok(0)
}

/// `pidfd_getfd(2)`
///
/// # Errors
/// `EINVAL` for flags; `EBADF` if either is no descriptor, or the first not of a process; `ESRCH` if the process was waited
/// for; `EPERM` if the caller might not trace it; `EMFILE`.
pub fn sys_pidfd_getfd(ctx: &Context, pidfd: Fd, fd: Fd, flags: u32) -> Result<isize> {
    if flags != 0 {
        return Err(EINVAL);
    }
    let (process, _) = process_of(ctx, pidfd)?;
    if !table::contains(&process) {
        return Err(ESRCH);
    }
    // A process that ended has no descriptors, nor one whose first thread did.
    let leader = process.threads().into_iter().find(|thread| thread.tid() == process.pid).ok_or(EBADF)?;
    check_access(ctx, &leader)?;
    let files = leader.files.lock().clone();
    let description = files.get(fd)?;
    let fd = ctx.files().insert(description, 0, ctx.process.limits.max_files(), true)?;
    Ok(fd as isize)
}
