// SPDX-License-Identifier: MPL-2.0

//! The system call border: from registers to functions, from results to registers.
//!
//! # Role
//! [`handle`] is entered for every `syscall` instruction. `dispatch` is the table: it names the function of each call and
//! converts its arguments. The functions are in one file per family and answer `Result<isize>`.
//!
//! # Arguments
//! A register holds 64 bits; a C `int` is its low half. The table narrows with `as`, which is exactly what the ABI says
//! (the upper half of an `int` argument is undefined), and nothing else in the kernel does.

mod credentials;
mod mm;
mod process;

use ostd::arch::cpu::context::UserContext;
use syscalls::Sysno;

use crate::{prelude::*, process::Work};

/// Runs the system call that `regs` ask for and stores its answer in them.
pub fn handle(ctx: &Context, regs: &mut UserContext) {
    let number = regs.rax();
    match dispatch(ctx, number, regs) {
        Ok(value) => regs.set_rax(value as usize),
        Err(error) => {
            if error.is_restart() {
                ctx.local.set_interrupted_call(Some(number));
                ctx.thread.request_self(Work::SIGNAL);
            }
            regs.set_rax((error as isize).wrapping_neg() as usize);
        }
    }
}

/// One line per system call, in the order of their numbers.
fn dispatch(ctx: &Context, number: usize, regs: &mut UserContext) -> Result<isize> {
    let a = [regs.rdi(), regs.rsi(), regs.rdx(), regs.r10(), regs.r8(), regs.r9()];
    let Some(call) = Sysno::new(number) else {
        return Err(ENOSYS);
    };
    match call {
        Sysno::mmap => mm::sys_mmap(ctx, a[0], a[1], a[2], a[3] as u32, a[4] as i32, a[5]),
        Sysno::mprotect => mm::sys_mprotect(ctx, a[0], a[1], a[2]),
        Sysno::munmap => mm::sys_munmap(ctx, a[0], a[1]),
        Sysno::brk => mm::sys_brk(ctx, a[0]),
        Sysno::mremap => mm::sys_mremap(ctx, a[0], a[1], a[2], a[3], a[4]),
        Sysno::msync => mm::sys_msync(ctx, a[0], a[1], a[2] as u32),
        Sysno::mincore => mm::sys_mincore(ctx, a[0], a[1], a[2]),
        Sysno::madvise => mm::sys_madvise(ctx, a[0], a[1], a[2] as i32),
        Sysno::getpid => process::sys_getpid(ctx),
        Sysno::clone => process::sys_clone(ctx, regs, a[0] as u64, a[1], a[2], a[3], a[4]),
        Sysno::fork => process::sys_fork(ctx, regs),
        Sysno::vfork => process::sys_vfork(ctx, regs),
        Sysno::execve => process::sys_execve(ctx, regs, a[0], a[1], a[2]),
        Sysno::exit => process::sys_exit(ctx, a[0] as i32),
        Sysno::wait4 => process::sys_wait4(ctx, a[0] as i32, a[1], a[2] as u32, a[3]),
        Sysno::getrlimit => process::sys_prlimit64(ctx, 0, a[0] as u32, 0, a[1]),
        Sysno::getuid => Ok(ctx.credentials().uid as isize),
        Sysno::getgid => Ok(ctx.credentials().gid as isize),
        Sysno::setuid => credentials::sys_setuid(ctx, a[0] as u32),
        Sysno::setgid => credentials::sys_setgid(ctx, a[0] as u32),
        Sysno::geteuid => Ok(ctx.credentials().euid as isize),
        Sysno::getegid => Ok(ctx.credentials().egid as isize),
        Sysno::setpgid => process::sys_setpgid(ctx, a[0] as i32, a[1] as i32),
        Sysno::getppid => Ok(ctx.process.parent_pid() as isize),
        Sysno::getpgrp => Ok(ctx.process.group() as isize),
        Sysno::setsid => process::sys_setsid(ctx),
        Sysno::setreuid => credentials::sys_setreuid(ctx, a[0] as u32, a[1] as u32),
        Sysno::setregid => credentials::sys_setregid(ctx, a[0] as u32, a[1] as u32),
        Sysno::getgroups => credentials::sys_getgroups(ctx, a[0] as i32, a[1]),
        Sysno::setgroups => credentials::sys_setgroups(ctx, a[0] as i32, a[1]),
        Sysno::setresuid => credentials::sys_setresuid(ctx, a[0] as u32, a[1] as u32, a[2] as u32),
        Sysno::getresuid => credentials::sys_getresuid(ctx, a[0], a[1], a[2]),
        Sysno::setresgid => credentials::sys_setresgid(ctx, a[0] as u32, a[1] as u32, a[2] as u32),
        Sysno::getresgid => credentials::sys_getresgid(ctx, a[0], a[1], a[2]),
        Sysno::getpgid => process::sys_getpgid(ctx, a[0] as i32),
        Sysno::setfsuid => credentials::sys_setfsuid(ctx, a[0] as u32),
        Sysno::setfsgid => credentials::sys_setfsgid(ctx, a[0] as u32),
        Sysno::getsid => process::sys_getsid(ctx, a[0] as i32),
        Sysno::capget => credentials::sys_capget(ctx, a[0], a[1]),
        Sysno::capset => credentials::sys_capset(ctx, a[0], a[1]),
        Sysno::prctl => process::sys_prctl(ctx, a[0] as i32, a[1], a[2]),
        Sysno::mlock => mm::sys_mlock(ctx, a[0], a[1]),
        Sysno::munlock => mm::sys_munlock(ctx, a[0], a[1]),
        Sysno::mlockall => mm::sys_mlockall(ctx, a[0] as u32),
        Sysno::munlockall => mm::sys_munlockall(ctx),
        Sysno::arch_prctl => process::sys_arch_prctl(ctx, a[0] as i32, a[1]),
        Sysno::setrlimit => process::sys_prlimit64(ctx, 0, a[0] as u32, a[1], 0),
        Sysno::gettid => Ok(ctx.thread.tid() as isize),
        Sysno::set_tid_address => process::sys_set_tid_address(ctx, a[0]),
        Sysno::exit_group => process::sys_exit_group(ctx, a[0] as i32),
        Sysno::waitid => process::sys_waitid(ctx, a[0] as i32, a[1] as u32, a[2], a[3] as u32, a[4]),
        Sysno::prlimit64 => process::sys_prlimit64(ctx, a[0] as i32, a[1] as u32, a[2], a[3]),
        Sysno::execveat => {
            process::sys_execveat(ctx, regs, a[0] as i32, a[1], a[2], a[3], a[4] as u32)
        }
        Sysno::clone3 => process::sys_clone3(ctx, regs, a[0], a[1]),
        Sysno::mlock2 => mm::sys_mlock2(ctx, a[0], a[1], a[2] as u32),
        _ => not_implemented(call),
    }
}

/// A call that does not exist here: `ENOSYS`, and one line in the log per call and boot.
#[cold]
fn not_implemented(call: Sysno) -> Result<isize> {
    crate::log::unimplemented_syscall(call as usize);
    Err(ENOSYS)
}
