// SPDX-License-Identifier: MPL-2.0

//! Processes and threads: making, ending, waiting, relations, limits.

use alloc::ffi::CString;
use core::sync::atomic::Ordering::Relaxed;

use ostd::{arch::cpu::context::UserContext, mm::MAX_USERSPACE_VADDR};

use super::pidfd;
use crate::{
    file::{StatusFlags, table::Fd},
    fs::{InodeKind, PATH_MAX, Path, Start, Walk, WalkFlags},
    prelude::*,
    process::{
        ChildEvent, ExitStatus, Flow, Process,
        clone::{self, CloneArgs, CloneFlags},
        credentials::Capabilities,
        exec::{self, Executable},
        limits::Limit,
        table,
        wait::{self, Selector, WaitOptions, Waited},
    },
    time::types::RUsage,
};

/// `getpid(2)`
pub fn sys_getpid(ctx: &Context) -> Result<isize> {
    Ok(ctx.process.pid as isize)
}

/// `fork(2)`
pub fn sys_fork(ctx: &Context, regs: &UserContext) -> Result<isize> {
    clone::clone(ctx, regs, CloneArgs::fork()).map(|pid| pid as isize)
}

/// `vfork(2)`
pub fn sys_vfork(ctx: &Context, regs: &UserContext) -> Result<isize> {
    let flags = CloneFlags::VM | CloneFlags::VFORK;
    clone::clone(ctx, regs, CloneArgs { flags, ..CloneArgs::fork() }).map(|pid| pid as isize)
}

/// `clone(2)`: the low byte of `flags` is the exit signal.
pub fn sys_clone(
    ctx: &Context,
    regs: &UserContext,
    flags: u64,
    stack: Vaddr,
    parent_tid: Vaddr,
    child_tid: Vaddr,
    tls: usize,
) -> Result<isize> {
    const EXIT_SIGNAL: u64 = 0xff;
    // The upper half is ignored, as the system call's argument is: flags beyond it are for clone3 alone.
    let known = CloneFlags::from_bits_truncate(flags & 0xffff_ffff & !EXIT_SIGNAL);
    let exit_signal = (flags & EXIT_SIGNAL) as u32;
    // One argument for two things: only one of them can be wanted.
    let pidfd = parent_tid;
    let args = CloneArgs { flags: known, exit_signal, stack, parent_tid, child_tid, pidfd, tls };
    clone::clone(ctx, regs, args).map(|pid| pid as isize)
}

/// `struct clone_args` of `clone3(2)`, as far as version 0 of it goes.
#[repr(C)]
#[derive(Clone, Copy, Pod)]
struct CloneArgsV0 {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// `clone3(2)`
pub fn sys_clone3(ctx: &Context, regs: &UserContext, address: Vaddr, size: usize) -> Result<isize> {
    if size < size_of::<CloneArgsV0>() {
        return Err(EINVAL);
    }
    if size > PAGE_SIZE {
        return Err(E2BIG);
    }
    let raw: CloneArgsV0 = ctx.read_val(address)?;
    let mut tail = alloc::vec![0u8; size - size_of::<CloneArgsV0>()];
    ctx.read_bytes(address + size_of::<CloneArgsV0>(), &mut tail)?;
    if tail.iter().any(|byte| *byte != 0) {
        return Err(E2BIG); // Later versions: set_tid, cgroup.
    }
    let flags = CloneFlags::from_bits(raw.flags).ok_or(EINVAL)?;
    let address = |value: u64| usize::try_from(value).map_err(|_| EINVAL);
    let is_sane =
        raw.exit_signal <= 64 && !flags.contains(CloneFlags::DETACHED) && (raw.stack == 0) == (raw.stack_size == 0);
    if !is_sane {
        return Err(EINVAL);
    }
    let args = CloneArgs {
        flags,
        exit_signal: raw.exit_signal as u32,
        stack: address(raw.stack.wrapping_add(raw.stack_size))?,
        parent_tid: address(raw.parent_tid)?,
        child_tid: address(raw.child_tid)?,
        pidfd: address(raw.pidfd)?,
        tls: address(raw.tls)?,
    };
    clone::clone(ctx, regs, args).map(|pid| pid as isize)
}

/// `unshare(2)`: the caller gets its own copy of what it shared. Mirrors Linux's `ksys_unshare`.
///
/// # Errors
/// `EINVAL` for unknown flags, for memory or signal actions that are shared, and for namespaces, which do not exist here; `EPERM` for
/// namespaces without `CAP_SYS_ADMIN`.
pub fn sys_unshare(ctx: &Context, flags: u64) -> Result<isize> {
    const MEMORY: CloneFlags = CloneFlags::THREAD.union(CloneFlags::SIGHAND).union(CloneFlags::VM);
    const COPIED: CloneFlags = CloneFlags::FS.union(CloneFlags::FILES).union(CloneFlags::SYSVSEM);
    let flags = CloneFlags::from_bits(flags).ok_or(EINVAL)?;
    if !(MEMORY | COPIED | CloneFlags::NAMESPACES).contains(flags) {
        return Err(EINVAL);
    }
    let shares = |process: &Arc<Process>| {
        let vm = || process.vm.lock().as_ref().is_some_and(|vm| Arc::ptr_eq(vm, ctx.vm));
        let actions = || Arc::ptr_eq(&process.signals.actions(), &ctx.process.signals.actions());
        !Arc::ptr_eq(process, &ctx.process)
            && (flags.contains(CloneFlags::VM) && vm()
                || flags.intersects(CloneFlags::VM | CloneFlags::SIGHAND) && actions())
    };
    if flags.intersects(MEMORY) && (ctx.process.threads().len() > 1 || table::processes().iter().any(shares)) {
        return Err(EINVAL);
    }
    if flags.intersects(CloneFlags::NAMESPACES) {
        let needs_root = flags.intersects(CloneFlags::NAMESPACES - CloneFlags::NEWUSER);
        let may = !needs_root || ctx.credentials().has(Capabilities::SYS_ADMIN);
        return Err(if may { EINVAL } else { EPERM });
    }
    if flags.contains(CloneFlags::FS) {
        let own = Arc::new(ctx.fs().duplicate());
        let old = core::mem::replace(&mut *ctx.thread.fs.lock(), own);
        drop(old);
    }
    if flags.contains(CloneFlags::FILES) {
        ctx.replace_files(Arc::new(ctx.files().duplicate()));
    }
    Ok(0)
}

/// `execve(2)`
pub fn sys_execve(ctx: &Context, regs: &mut UserContext, [path, argv, envp, ..]: [usize; 6]) -> Result<isize> {
    execute(ctx, regs, AT_FDCWD, [path, argv, envp], 0)
}

/// `execveat(2)`
pub fn sys_execveat(
    ctx: &Context,
    regs: &mut UserContext,
    [dirfd, path, argv, envp, flags, _]: [usize; 6],
) -> Result<isize> {
    execute(ctx, regs, dirfd as i32, [path, argv, envp], flags as u32)
}

/// Executes the program at the path, with the arguments and the environment, that three addresses name.
fn execute(
    ctx: &Context,
    regs: &mut UserContext,
    dirfd: i32,
    [path, argv, envp]: [Vaddr; 3],
    flags: u32,
) -> Result<isize> {
    let name = ctx.read_cstring(path, PATH_MAX)?;
    let path = resolve_executable(ctx, dirfd, name.as_bytes(), flags)?;
    let executable = Executable::new(ctx, path)?;
    let name = match (name.is_empty(), dirfd) {
        (true, _) => CString::new(alloc::format!("/dev/fd/{dirfd}")).map_err(|_| EINVAL)?,
        (false, _) => name,
    };
    let mut argv = read_strings(ctx, argv)?;
    if argv.is_empty() {
        argv.push(CString::default()); // Since Linux 5.18 a program always has an argv[0].
    }
    let request = exec::Request { executable, name, argv, envp: read_strings(ctx, envp)? };
    exec::execute(ctx, regs, request)?;
    Ok(0)
}

/// The directory descriptor that means the working directory.
const AT_FDCWD: i32 = -100;

/// The file that `execveat(2)` names.
///
/// # Errors
/// `EINVAL` for unknown flags, `ELOOP` for a symbolic link with `AT_SYMLINK_NOFOLLOW`.
fn resolve_executable(ctx: &Context, dirfd: i32, path: &[u8], flags: u32) -> Result<Path> {
    const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    const AT_EMPTY_PATH: u32 = 0x1000;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let mut walk_flags = WalkFlags::empty();
    walk_flags.set(WalkFlags::NO_FOLLOW, flags & AT_SYMLINK_NOFOLLOW != 0);
    walk_flags.set(WalkFlags::EMPTY_PATH, flags & AT_EMPTY_PATH != 0);
    let start = if dirfd == AT_FDCWD { Start::Cwd } else { Start::Descriptor(dirfd) };
    let path = Walk::new(ctx, walk_flags).resolve(start, path)?;
    if path.inode().kind() == InodeKind::Symlink { Err(ELOOP) } else { Ok(path) }
}

/// Copies a null-terminated array of strings in; a null array is an empty one.
fn read_strings(ctx: &Context, array: Vaddr) -> Result<Vec<CString>> {
    /// Far beyond what the size check of `execve` lets through.
    const MAX_STRINGS: usize = 1 << 20;
    let mut strings = Vec::new();
    if array == 0 {
        return Ok(strings);
    }
    let mut total = 0;
    for index in 0..MAX_STRINGS {
        let slot = array.checked_add(index * size_of::<usize>()).ok_or(EFAULT)?;
        let address: usize = ctx.read_val(slot)?;
        if address == 0 {
            return Ok(strings);
        }
        let string = ctx.read_cstring(address, exec::MAX_STRING).map_err(|error| match error {
            ENAMETOOLONG => E2BIG,
            other => other,
        })?;
        total += string.as_bytes_with_nul().len();
        if total > exec::MAX_ARGUMENTS {
            return Err(E2BIG);
        }
        strings.push(string);
    }
    Err(E2BIG)
}

/// `exit(2)`: ends the calling thread.
pub fn sys_exit(ctx: &Context, code: i32) -> Result<isize> {
    ctx.local.set_flow(&ctx.thread, Flow::Exit(code as u8));
    Ok(0)
}

/// `exit_group(2)`
pub fn sys_exit_group(ctx: &Context, code: i32) -> Result<isize> {
    ctx.process.begin_exit(ExitStatus::Exited(code as u8));
    Ok(0)
}

/// `wait4(2)`
pub fn sys_wait4(ctx: &Context, pid: i32, status: Vaddr, options: u32, rusage: Vaddr) -> Result<isize> {
    let allowed = WaitOptions::NOHANG
        | WaitOptions::STOPPED
        | WaitOptions::CONTINUED
        | WaitOptions::NOTHREAD
        | WaitOptions::ALL
        | WaitOptions::CLONE;
    let options = WaitOptions::from_bits(options).ok_or(EINVAL)?;
    if !allowed.contains(options) {
        return Err(EINVAL);
    }
    if pid == i32::MIN {
        return Err(ESRCH);
    }
    let selector = match pid {
        -1 => Selector::Any,
        0 => Selector::Group(ctx.process.group()),
        1.. => Selector::Pid(pid.unsigned_abs()),
        _ => Selector::Group(pid.unsigned_abs()),
    };
    let Some(waited) = wait::wait(ctx, selector, options | WaitOptions::EXITED)? else {
        return Ok(0);
    };
    if status != 0 {
        ctx.write_val(status, &waited.event.to_wait_status())?;
    }
    if rusage != 0 {
        ctx.write_val(rusage, &RUsage::from(waited.usage))?;
    }
    Ok(waited.pid as isize)
}

/// The part of `siginfo_t` that `waitid(2)` fills, padded to its size.
#[repr(C)]
#[derive(Clone, Copy, Pod)]
struct WaitInfo {
    signo: i32,
    errno: i32,
    code: i32,
    pad: i32,
    pid: i32,
    uid: u32,
    status: i32,
    rest: [u32; 25],
}

impl WaitInfo {
    fn new(waited: &Waited) -> Self {
        let (code, status) = waited.event.to_siginfo();
        let signo = crate::signal::SIGCHLD as i32;
        Self { signo, errno: 0, code, pad: 0, pid: waited.pid as i32, uid: waited.uid, status, rest: [0; 25] }
    }
}

/// `waitid(2)`
pub fn sys_waitid(ctx: &Context, id_type: i32, id: u32, info: Vaddr, options: u32, rusage: Vaddr) -> Result<isize> {
    const P_ALL: i32 = 0;
    const P_PID: i32 = 1;
    const P_PGID: i32 = 2;
    const P_PIDFD: i32 = 3;
    let options = WaitOptions::from_bits(options).ok_or(EINVAL)?;
    if !options.intersects(WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED) {
        return Err(EINVAL);
    }
    let described = match id_type {
        P_PIDFD => Some(pidfd::process_of(ctx, Fd::try_from(id).map_err(|_| EINVAL)?)?),
        _ => None,
    };
    let selector = match (&described, id_type) {
        (Some((process, _)), _) => Selector::Process(process),
        (None, P_ALL) => Selector::Any,
        (None, P_PID) if id > 0 && id <= i32::MAX as u32 => Selector::Pid(id),
        (None, P_PGID) if id == 0 => Selector::Group(ctx.process.group()),
        (None, P_PGID) if id <= i32::MAX as u32 => Selector::Group(id),
        _ => return Err(EINVAL),
    };
    // A descriptor that does not block asks as with WNOHANG, but says so otherwise.
    let is_nonblocking = described.as_ref().is_some_and(|(_, status)| status.contains(StatusFlags::NONBLOCK));
    let effective = if is_nonblocking { options | WaitOptions::NOHANG } else { options };
    let waited = wait::wait(ctx, selector, effective)?;
    if waited.is_none() && !options.contains(WaitOptions::NOHANG) {
        return Err(EAGAIN);
    }
    if rusage != 0
        && let Some(waited) = &waited
    {
        ctx.write_val(rusage, &RUsage::from(waited.usage))?;
    }
    if info != 0 {
        // With nothing to tell, pid and signo are zeroed (waitid(2), NOTES).
        let nothing = Waited::nothing();
        let mut value = WaitInfo::new(waited.as_ref().unwrap_or(&nothing));
        if waited.is_none() {
            value = WaitInfo { signo: 0, code: 0, status: 0, ..value };
        }
        ctx.write_bytes(info, &value.as_bytes()[..28])?;
    }
    Ok(0)
}

/// `set_tid_address(2)`
pub fn sys_set_tid_address(ctx: &Context, address: Vaddr) -> Result<isize> {
    ctx.thread.clear_child_tid.store(address, Relaxed);
    Ok(ctx.thread.tid() as isize)
}

/// The process that a pid argument names: 0 is the caller.
fn process_or_self(ctx: &Context, pid: i32) -> Result<Arc<Process>> {
    match u32::try_from(pid) {
        Ok(0) => Ok(ctx.process.clone()),
        Ok(pid) => table::process_of_id(pid).ok_or(ESRCH),
        Err(_) => Err(ESRCH),
    }
}

/// `getpgid(2)`
pub fn sys_getpgid(ctx: &Context, pid: i32) -> Result<isize> {
    Ok(process_or_self(ctx, pid)?.group() as isize)
}

/// `getsid(2)`
pub fn sys_getsid(ctx: &Context, pid: i32) -> Result<isize> {
    Ok(process_or_self(ctx, pid)?.session() as isize)
}

/// `setpgid(2)`
///
/// # Errors
/// `EINVAL` for a negative group; `ESRCH` if the process is neither the caller nor its child; `EACCES` if the child has
/// executed a program; `EPERM` if it leads a session, is in another one, or the group is not of this session.
pub fn sys_setpgid(ctx: &Context, pid: i32, group: i32) -> Result<isize> {
    let group = u32::try_from(group).map_err(|_| EINVAL)?;
    let table = table::lock();
    let target = match u32::try_from(pid).map_err(|_| EINVAL)? {
        0 => ctx.process.clone(),
        pid => table.process(pid).cloned().ok_or(ESRCH)?,
    };
    let is_self = target.pid == ctx.process.pid;
    if !is_self && target.parent_pid() != ctx.process.pid {
        return Err(ESRCH);
    }
    if target.session() != ctx.process.session() {
        return Err(EPERM);
    }
    if !is_self && target.has_executed.load(Relaxed) {
        return Err(EACCES);
    }
    if target.session() == target.pid {
        return Err(EPERM);
    }
    let group = if group == 0 { target.pid } else { group };
    let is_here = |member: &Arc<Process>| member.session() == ctx.process.session();
    if group != target.pid && !table.members_of_group(group).any(is_here) {
        return Err(EPERM);
    }
    target.set_group(group, &table);
    Ok(0)
}

/// `setsid(2)`
///
/// # Errors
/// `EPERM` if a process group of the caller's number exists.
pub fn sys_setsid(ctx: &Context) -> Result<isize> {
    let table = table::lock();
    let pid = ctx.process.pid;
    if table.members_of_group(pid).next().is_some() {
        return Err(EPERM);
    }
    ctx.process.set_session(pid, &table);
    Ok(pid as isize)
}

/// `prlimit64(2)`; `getrlimit(2)` and `setrlimit(2)` are its halves.
pub fn sys_prlimit64(ctx: &Context, pid: i32, resource: u32, new: Vaddr, old: Vaddr) -> Result<isize> {
    let target = process_or_self(ctx, pid)?;
    let new: Option<Limit> = if new == 0 { None } else { Some(ctx.read_val(new)?) };
    let privileged = ctx.credentials().has(Capabilities::SYS_RESOURCE);
    let previous = target.limits.exchange(resource as usize, new, privileged)?;
    crate::signal::watch_cpu_limit(&target);
    if old != 0 {
        ctx.write_val(old, &previous)?;
    }
    Ok(0)
}

/// `prctl(2)`, as far as it concerns what exists here.
pub fn sys_prctl(ctx: &Context, option: i32, argument: usize, second: usize) -> Result<isize> {
    const PR_SET_PDEATHSIG: i32 = 1;
    const PR_GET_PDEATHSIG: i32 = 2;
    const PR_GET_DUMPABLE: i32 = 3;
    const PR_SET_DUMPABLE: i32 = 4;
    const PR_SET_NAME: i32 = 15;
    const PR_GET_NAME: i32 = 16;
    const PR_SET_CHILD_SUBREAPER: i32 = 36;
    const PR_GET_CHILD_SUBREAPER: i32 = 37;
    const PR_SET_NO_NEW_PRIVS: i32 = 38;
    const PR_GET_NO_NEW_PRIVS: i32 = 39;
    let process = &ctx.process;
    match option {
        PR_SET_PDEATHSIG if argument > 64 => Err(EINVAL),
        PR_SET_PDEATHSIG => {
            ctx.thread.parent_death_signal.store(argument as u32, Relaxed);
            Ok(0)
        }
        PR_GET_PDEATHSIG => {
            ctx.write_val(argument, &ctx.thread.parent_death_signal.load(Relaxed))?;
            Ok(0)
        }
        PR_GET_DUMPABLE => Ok(isize::from(process.is_dumpable.load(Relaxed))),
        PR_SET_DUMPABLE if argument > 1 => Err(EINVAL),
        PR_SET_DUMPABLE => {
            process.is_dumpable.store(argument == 1, Relaxed);
            Ok(0)
        }
        PR_SET_NAME => set_name(ctx, argument),
        PR_GET_NAME => {
            let name = *ctx.thread.name.lock();
            ctx.write_bytes(argument, &name)?;
            Ok(0)
        }
        PR_SET_CHILD_SUBREAPER => {
            process.is_subreaper.store(argument != 0, Relaxed);
            Ok(0)
        }
        PR_GET_CHILD_SUBREAPER => {
            let is_subreaper = i32::from(process.is_subreaper.load(Relaxed));
            ctx.write_val(argument, &is_subreaper)?;
            Ok(0)
        }
        PR_SET_NO_NEW_PRIVS if argument != 1 || second != 0 => Err(EINVAL),
        PR_SET_NO_NEW_PRIVS => {
            process.has_no_new_privileges.store(true, Relaxed);
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS => Ok(isize::from(process.has_no_new_privileges.load(Relaxed))),
        _ => Err(EINVAL),
    }
}

/// Cuts the string at `address` to 15 bytes.
fn set_name(ctx: &Context, address: Vaddr) -> Result<isize> {
    let mut name = [0u8; 16];
    for (index, byte) in name[..15].iter_mut().enumerate() {
        *byte = ctx.read_val(address.checked_add(index).ok_or(EFAULT)?)?;
        if *byte == 0 {
            break;
        }
    }
    *ctx.thread.name.lock() = name;
    Ok(0)
}

/// `arch_prctl(2)`
///
/// # Errors
/// `EPERM` for a base outside user space, `EINVAL` for an unknown code.
pub fn sys_arch_prctl(ctx: &Context, code: i32, address: usize) -> Result<isize> {
    const ARCH_SET_GS: i32 = 0x1001;
    const ARCH_SET_FS: i32 = 0x1002;
    const ARCH_GET_FS: i32 = 0x1003;
    const ARCH_GET_GS: i32 = 0x1004;
    let is_kernel = address >= MAX_USERSPACE_VADDR;
    match code {
        ARCH_SET_FS | ARCH_SET_GS if is_kernel => return Err(EPERM),
        ARCH_SET_FS => ctx.local.set_fs_base(address),
        ARCH_SET_GS => ctx.local.set_gs_base(address),
        ARCH_GET_FS => ctx.write_val(address, &ctx.local.fs_base())?,
        ARCH_GET_GS => ctx.write_val(address, &ctx.local.gs_base())?,
        _ => return Err(EINVAL),
    }
    Ok(0)
}

impl Waited {
    fn nothing() -> Self {
        let event = ChildEvent::Continued;
        Self { pid: 0, event, usage: Default::default(), uid: 0 }
    }
}
