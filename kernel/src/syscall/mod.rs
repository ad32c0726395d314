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

mod attributes;
mod credentials;
mod dir;
mod epoll;
mod eventfd;
mod fcntl;
mod file;
mod futex;
mod inotify;
mod inspect;
mod membarrier;
mod message;
mod mm;
mod mount;
mod pidfd;
mod pipe;
pub mod poll;
mod process;
mod random;
mod rw;
pub mod sched;
pub mod select;
mod sigmask;
pub mod signal;
mod signalfd;
mod socket;
mod splice;
mod stat;
mod storage;
mod sysinfo;
pub mod time;
mod timerfd;
mod xattr;

use ostd::arch::cpu::context::UserContext;
use syscalls::Sysno;

use self::{dir::DirentFormat, epoll::Wait, stat::AT_SYMLINK_NOFOLLOW, xattr::Target};
use crate::{fs::walk::AT_FDCWD, prelude::*, process::Work, trace};

/// Runs the system call that `regs` ask for and stores its answer in them.
pub fn handle(ctx: &Context, regs: &mut UserContext) {
    // The number is an `int`, too.
    let number = regs.rax() as u32 as usize;
    let traced = if trace::is_on() { trace::enter(ctx, number, words(regs)) } else { None };
    let result = dispatch(ctx, number, regs);
    if let Some(traced) = traced {
        trace::leave(ctx, traced, &result);
    }
    match result {
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

/// The six argument registers.
fn words(regs: &UserContext) -> [usize; 6] {
    core::array::from_fn(|index| argument(regs, index))
}

/// One of the six.
#[inline(always)]
fn argument(regs: &UserContext, index: usize) -> usize {
    match index {
        0 => regs.rdi(),
        1 => regs.rsi(),
        2 => regs.rdx(),
        3 => regs.r10(),
        4 => regs.r8(),
        _ => regs.r9(),
    }
}

/// A `match` on the number of a system call. The patterns are constants: to make a `Sysno` of the number first would cost as much
/// again as to find the arm.
macro_rules! table {
    ($number:expr; $(Sysno::$name:ident => $call:expr,)* other => $other:expr,) => {{
        #[allow(non_upper_case_globals, reason = "the names of system calls")]
        mod numbers {
            $(pub const $name: usize = super::Sysno::$name as usize;)*
        }
        match $number {
            $(numbers::$name => $call,)*
            _ => $other,
        }
    }};
}

/// One line per system call, in the order of their numbers. Always inlined, because it has one caller, which every call passes.
#[inline(always)]
fn dispatch(ctx: &Context, number: usize, regs: &mut UserContext) -> Result<isize> {
    let a = |index: usize| argument(regs, index);
    table! { number;
        Sysno::read => rw::sys_read(ctx, a(0) as i32, a(1), a(2)),
        Sysno::write => rw::sys_write(ctx, a(0) as i32, a(1), a(2)),
        Sysno::open => file::sys_open(ctx, a(0), a(1) as u32, a(2) as u32),
        Sysno::close => file::sys_close(ctx, a(0) as i32),
        Sysno::stat => stat::sys_newfstatat(ctx, AT_FDCWD, a(0), a(1), 0),
        Sysno::fstat => stat::sys_fstat(ctx, a(0) as i32, a(1)),
        Sysno::lstat => stat::sys_newfstatat(ctx, AT_FDCWD, a(0), a(1), AT_SYMLINK_NOFOLLOW),
        Sysno::poll => poll::sys_poll(ctx, a(0), a(1) as u32 as usize, a(2) as i32),
        Sysno::lseek => rw::sys_lseek(ctx, a(0) as i32, a(1) as i64, a(2) as u32),
        Sysno::mmap => mm::sys_mmap(ctx, a(0), a(1), a(2), a(3) as u32, a(4) as i32, a(5)),
        Sysno::mprotect => mm::sys_mprotect(ctx, a(0), a(1), a(2)),
        Sysno::munmap => mm::sys_munmap(ctx, a(0), a(1)),
        Sysno::brk => mm::sys_brk(ctx, a(0)),
        Sysno::rt_sigaction => signal::sys_rt_sigaction(ctx, a(0) as i32, a(1), a(2), a(3)),
        Sysno::rt_sigprocmask => signal::sys_rt_sigprocmask(ctx, a(0) as i32, a(1), a(2), a(3)),
        Sysno::rt_sigreturn => Ok(signal::sys_rt_sigreturn(ctx, regs)),
        Sysno::ioctl => fcntl::sys_ioctl(ctx, a(0) as i32, a(1) as u32, a(2)),
        Sysno::pread64 => rw::sys_pread64(ctx, a(0) as i32, a(1), a(2), a(3) as i64),
        Sysno::pwrite64 => rw::sys_pwrite64(ctx, a(0) as i32, a(1), a(2), a(3) as i64),
        Sysno::readv => rw::sys_readv(ctx, a(0) as i32, a(1), a(2)),
        Sysno::writev => rw::sys_writev(ctx, a(0) as i32, a(1), a(2)),
        Sysno::access => stat::sys_faccessat2(ctx, AT_FDCWD, a(0), a(1) as u32, 0),
        Sysno::pipe => pipe::sys_pipe2(ctx, a(0), 0),
        Sysno::select => select::sys_select(ctx, a(0) as i32, [a(1), a(2), a(3)], a(4)),
        Sysno::sched_yield => sched::sys_sched_yield(ctx),
        Sysno::mremap => mm::sys_mremap(ctx, a(0), a(1), a(2), a(3), a(4)),
        Sysno::msync => mm::sys_msync(ctx, a(0), a(1), a(2) as u32),
        Sysno::mincore => mm::sys_mincore(ctx, a(0), a(1), a(2)),
        Sysno::madvise => mm::sys_madvise(ctx, a(0), a(1), a(2) as i32),
        Sysno::dup => file::sys_dup(ctx, a(0) as i32),
        Sysno::dup2 => file::sys_dup2(ctx, a(0) as i32, a(1) as i32),
        Sysno::pause => signal::sys_pause(ctx),
        Sysno::nanosleep => time::sys_nanosleep(ctx, a(0), a(1)),
        Sysno::getitimer => time::sys_getitimer(ctx, a(0) as i32, a(1)),
        Sysno::alarm => time::sys_alarm(ctx, a(0) as u32),
        Sysno::setitimer => time::sys_setitimer(ctx, a(0) as i32, a(1), a(2)),
        Sysno::getpid => process::sys_getpid(ctx),
        Sysno::sendfile => storage::sys_sendfile(ctx, a(0) as i32, a(1) as i32, a(2), a(3)),
        Sysno::socket => socket::sys_socket(ctx, a(0) as u32, a(1) as u32, a(2) as i32),
        Sysno::connect => socket::sys_connect(ctx, a(0) as i32, a(1), a(2) as i32),
        Sysno::accept => socket::sys_accept4(ctx, a(0) as i32, a(1), a(2), 0),
        Sysno::sendto => message::sys_sendto(ctx, words(regs)),
        Sysno::recvfrom => message::sys_recvfrom(ctx, words(regs)),
        Sysno::sendmsg => message::sys_sendmsg(ctx, a(0) as i32, a(1), a(2) as u32),
        Sysno::recvmsg => message::sys_recvmsg(ctx, a(0) as i32, a(1), a(2) as u32),
        Sysno::shutdown => socket::sys_shutdown(ctx, a(0) as i32, a(1) as i32),
        Sysno::bind => socket::sys_bind(ctx, a(0) as i32, a(1), a(2) as i32),
        Sysno::listen => socket::sys_listen(ctx, a(0) as i32, a(1) as i32),
        Sysno::getsockname => socket::sys_getsockname(ctx, a(0) as i32, a(1), a(2)),
        Sysno::getpeername => socket::sys_getpeername(ctx, a(0) as i32, a(1), a(2)),
        Sysno::socketpair => socket::sys_socketpair(ctx, a(0) as u32, a(1) as u32, a(2) as i32, a(3)),
        Sysno::setsockopt => socket::sys_setsockopt(ctx, a(0) as i32, a(1) as i32, a(2) as i32, a(3), a(4) as i32),
        Sysno::getsockopt => socket::sys_getsockopt(ctx, a(0) as i32, a(1) as i32, a(2) as i32, a(3), a(4)),
        Sysno::clone => process::sys_clone(ctx, regs, a(0) as u64, a(1), a(2), a(3), a(4)),
        Sysno::fork => process::sys_fork(ctx, regs),
        Sysno::vfork => process::sys_vfork(ctx, regs),
        Sysno::execve => process::sys_execve(ctx, regs, words(regs)),
        Sysno::exit => process::sys_exit(ctx, a(0) as i32),
        Sysno::wait4 => process::sys_wait4(ctx, a(0) as i32, a(1), a(2) as u32, a(3)),
        Sysno::kill => signal::sys_kill(ctx, a(0) as i32, a(1) as i32),
        Sysno::uname => sysinfo::sys_uname(ctx, a(0)),
        Sysno::fcntl => fcntl::sys_fcntl(ctx, a(0) as i32, a(1) as u32, a(2)),
        Sysno::flock => fcntl::sys_flock(ctx, a(0) as i32, a(1) as u32),
        Sysno::fsync => storage::sys_fsync(ctx, a(0) as i32),
        Sysno::fdatasync => storage::sys_fsync(ctx, a(0) as i32),
        Sysno::truncate => storage::sys_truncate(ctx, a(0), a(1) as i64),
        Sysno::ftruncate => storage::sys_ftruncate(ctx, a(0) as i32, a(1) as i64),
        Sysno::getdents => dir::sys_getdents(ctx, a(0) as i32, a(1), a(2) as u32 as usize, DirentFormat::Old),
        Sysno::getcwd => dir::sys_getcwd(ctx, a(0), a(1)),
        Sysno::chdir => dir::sys_chdir(ctx, a(0)),
        Sysno::fchdir => dir::sys_fchdir(ctx, a(0) as i32),
        Sysno::rename => dir::sys_renameat2(ctx, AT_FDCWD, a(0), AT_FDCWD, a(1), 0),
        Sysno::mkdir => dir::sys_mkdirat(ctx, AT_FDCWD, a(0), a(1) as u32),
        Sysno::rmdir => dir::sys_rmdir(ctx, a(0)),
        Sysno::creat => file::sys_creat(ctx, a(0), a(1) as u32),
        Sysno::link => dir::sys_linkat(ctx, AT_FDCWD, a(0), AT_FDCWD, a(1), 0),
        Sysno::unlink => dir::sys_unlinkat(ctx, AT_FDCWD, a(0), 0),
        Sysno::symlink => dir::sys_symlinkat(ctx, a(0), AT_FDCWD, a(1)),
        Sysno::readlink => stat::sys_readlinkat(ctx, AT_FDCWD, a(0), a(1), a(2) as i32),
        Sysno::chmod => attributes::sys_fchmodat2(ctx, AT_FDCWD, a(0), a(1) as u32, 0),
        Sysno::fchmod => attributes::sys_fchmod(ctx, a(0) as i32, a(1) as u32),
        Sysno::chown => attributes::sys_fchownat(ctx, AT_FDCWD, a(0), a(1) as u32, a(2) as u32, 0),
        Sysno::fchown => attributes::sys_fchown(ctx, a(0) as i32, a(1) as u32, a(2) as u32),
        Sysno::lchown => attributes::sys_fchownat(ctx, AT_FDCWD, a(0), a(1) as u32, a(2) as u32, AT_SYMLINK_NOFOLLOW),
        Sysno::umask => dir::sys_umask(ctx, a(0) as u32),
        Sysno::gettimeofday => time::sys_gettimeofday(ctx, a(0), a(1)),
        Sysno::getrlimit => process::sys_prlimit64(ctx, 0, a(0) as u32, 0, a(1)),
        Sysno::getrusage => time::sys_getrusage(ctx, a(0) as i32, a(1)),
        Sysno::sysinfo => sysinfo::sys_sysinfo(ctx, a(0)),
        Sysno::times => time::sys_times(ctx, a(0)),
        Sysno::getuid => Ok(ctx.credentials().uid as isize),
        Sysno::syslog => sysinfo::sys_syslog(ctx, a(0) as i32, a(1), a(2) as i32),
        Sysno::getgid => Ok(ctx.credentials().gid as isize),
        Sysno::setuid => credentials::sys_setuid(ctx, a(0) as u32),
        Sysno::setgid => credentials::sys_setgid(ctx, a(0) as u32),
        Sysno::geteuid => Ok(ctx.credentials().euid as isize),
        Sysno::getegid => Ok(ctx.credentials().egid as isize),
        Sysno::setpgid => process::sys_setpgid(ctx, a(0) as i32, a(1) as i32),
        Sysno::getppid => Ok(ctx.process.parent_pid() as isize),
        Sysno::getpgrp => Ok(ctx.process.group() as isize),
        Sysno::setsid => process::sys_setsid(ctx),
        Sysno::setreuid => credentials::sys_setreuid(ctx, a(0) as u32, a(1) as u32),
        Sysno::setregid => credentials::sys_setregid(ctx, a(0) as u32, a(1) as u32),
        Sysno::getgroups => credentials::sys_getgroups(ctx, a(0) as i32, a(1)),
        Sysno::setgroups => credentials::sys_setgroups(ctx, a(0) as i32, a(1)),
        Sysno::setresuid => credentials::sys_setresuid(ctx, a(0) as u32, a(1) as u32, a(2) as u32),
        Sysno::getresuid => credentials::sys_getresuid(ctx, a(0), a(1), a(2)),
        Sysno::setresgid => credentials::sys_setresgid(ctx, a(0) as u32, a(1) as u32, a(2) as u32),
        Sysno::getresgid => credentials::sys_getresgid(ctx, a(0), a(1), a(2)),
        Sysno::getpgid => process::sys_getpgid(ctx, a(0) as i32),
        Sysno::setfsuid => credentials::sys_setfsuid(ctx, a(0) as u32),
        Sysno::setfsgid => credentials::sys_setfsgid(ctx, a(0) as u32),
        Sysno::getsid => process::sys_getsid(ctx, a(0) as i32),
        Sysno::capget => credentials::sys_capget(ctx, a(0), a(1)),
        Sysno::capset => credentials::sys_capset(ctx, a(0), a(1)),
        Sysno::rt_sigpending => signal::sys_rt_sigpending(ctx, a(0), a(1)),
        Sysno::rt_sigtimedwait => signal::sys_rt_sigtimedwait(ctx, a(0), a(1), a(2), a(3)),
        Sysno::rt_sigqueueinfo => signal::sys_rt_sigqueueinfo(ctx, a(0) as i32, a(1) as i32, a(2)),
        Sysno::rt_sigsuspend => signal::sys_rt_sigsuspend(ctx, a(0), a(1)),
        Sysno::sigaltstack => signal::sys_sigaltstack(ctx, regs, a(0), a(1)),
        Sysno::utime => attributes::sys_utime(ctx, a(0), a(1)),
        Sysno::mknod => dir::sys_mknodat(ctx, AT_FDCWD, a(0), a(1) as u32, a(2) as u32),
        Sysno::statfs => stat::sys_statfs(ctx, a(0), a(1)),
        Sysno::fstatfs => stat::sys_fstatfs(ctx, a(0) as i32, a(1)),
        Sysno::getpriority => sched::sys_getpriority(ctx, a(0) as i32, a(1) as i32),
        Sysno::setpriority => sched::sys_setpriority(ctx, a(0) as i32, a(1) as i32, a(2) as i32),
        Sysno::sched_setparam => sched::sys_sched_setparam(ctx, a(0) as i32, a(1)),
        Sysno::sched_getparam => sched::sys_sched_getparam(ctx, a(0) as i32, a(1)),
        Sysno::sched_setscheduler => sched::sys_sched_setscheduler(ctx, a(0) as i32, a(1) as i32, a(2)),
        Sysno::sched_getscheduler => sched::sys_sched_getscheduler(ctx, a(0) as i32),
        Sysno::sched_get_priority_max => sched::sys_sched_get_priority_max(a(0) as i32),
        Sysno::sched_get_priority_min => sched::sys_sched_get_priority_min(a(0) as i32),
        Sysno::sched_rr_get_interval => sched::sys_sched_rr_get_interval(ctx, a(0) as i32, a(1)),
        Sysno::mlock => mm::sys_mlock(ctx, a(0), a(1)),
        Sysno::munlock => mm::sys_munlock(ctx, a(0), a(1)),
        Sysno::mlockall => mm::sys_mlockall(ctx, a(0) as u32),
        Sysno::munlockall => mm::sys_munlockall(ctx),
        Sysno::prctl => process::sys_prctl(ctx, a(0) as i32, a(1), a(2)),
        Sysno::arch_prctl => process::sys_arch_prctl(ctx, a(0) as i32, a(1)),
        Sysno::adjtimex => time::sys_adjtimex(ctx, a(0)),
        Sysno::setrlimit => process::sys_prlimit64(ctx, 0, a(0) as u32, a(1), 0),
        Sysno::chroot => dir::sys_chroot(ctx, a(0)),
        Sysno::sync => Ok(0),
        Sysno::settimeofday => time::sys_settimeofday(ctx, a(0), a(1)),
        Sysno::mount => mount::sys_mount(ctx, a(0), a(1), a(2), a(3) as u64, a(4)),
        Sysno::umount2 => mount::sys_umount2(ctx, a(0), a(1) as u32),
        Sysno::reboot => sysinfo::sys_reboot(ctx, a(0) as u32, a(1) as u32, a(2) as u32),
        Sysno::sethostname => sysinfo::sys_sethostname(ctx, a(0), a(1) as i32),
        Sysno::setdomainname => sysinfo::sys_setdomainname(ctx, a(0), a(1) as i32),
        Sysno::gettid => Ok(ctx.thread.tid() as isize),
        Sysno::readahead => storage::sys_readahead(ctx, a(0) as i32),
        Sysno::setxattr => xattr::sys_setxattr(ctx, Target::Path(a(0)), a(1), a(2), a(3), a(4) as u32),
        Sysno::lsetxattr => xattr::sys_setxattr(ctx, Target::Link(a(0)), a(1), a(2), a(3), a(4) as u32),
        Sysno::fsetxattr => xattr::sys_setxattr(ctx, Target::Descriptor(a(0) as i32), a(1), a(2), a(3), a(4) as u32),
        Sysno::getxattr => xattr::sys_getxattr(ctx, Target::Path(a(0)), a(1), a(2), a(3)),
        Sysno::lgetxattr => xattr::sys_getxattr(ctx, Target::Link(a(0)), a(1), a(2), a(3)),
        Sysno::fgetxattr => xattr::sys_getxattr(ctx, Target::Descriptor(a(0) as i32), a(1), a(2), a(3)),
        Sysno::listxattr => xattr::sys_listxattr(ctx, Target::Path(a(0)), a(1), a(2)),
        Sysno::llistxattr => xattr::sys_listxattr(ctx, Target::Link(a(0)), a(1), a(2)),
        Sysno::flistxattr => xattr::sys_listxattr(ctx, Target::Descriptor(a(0) as i32), a(1), a(2)),
        Sysno::removexattr => xattr::sys_removexattr(ctx, Target::Path(a(0)), a(1)),
        Sysno::lremovexattr => xattr::sys_removexattr(ctx, Target::Link(a(0)), a(1)),
        Sysno::fremovexattr => xattr::sys_removexattr(ctx, Target::Descriptor(a(0) as i32), a(1)),
        Sysno::tkill => signal::sys_tkill(ctx, a(0) as i32, a(1) as i32),
        Sysno::time => time::sys_time(ctx, a(0)),
        Sysno::futex => futex::sys_futex(ctx, a(0), a(1) as i32, a(2) as u32, a(3), a(4), a(5) as u32),
        Sysno::sched_setaffinity => sched::sys_sched_setaffinity(ctx, a(0) as i32, a(1) as u32 as usize, a(2)),
        Sysno::sched_getaffinity => sched::sys_sched_getaffinity(ctx, a(0) as i32, a(1) as u32 as usize, a(2)),
        Sysno::epoll_create => epoll::sys_epoll_create(ctx, a(0) as i32),
        Sysno::getdents64 => dir::sys_getdents(ctx, a(0) as i32, a(1), a(2) as u32 as usize, DirentFormat::Wide),
        Sysno::set_tid_address => process::sys_set_tid_address(ctx, a(0)),
        Sysno::restart_syscall => signal::sys_restart_syscall(ctx),
        Sysno::fadvise64 => storage::sys_fadvise64(ctx, a(0) as i32, a(1) as i64, a(2) as i64, a(3) as u32),
        Sysno::timer_create => time::sys_timer_create(ctx, a(0) as i32, a(1), a(2)),
        Sysno::timer_settime => time::sys_timer_settime(ctx, a(0) as i32, a(1) as i32, a(2), a(3)),
        Sysno::timer_gettime => time::sys_timer_gettime(ctx, a(0) as i32, a(1)),
        Sysno::timer_getoverrun => time::sys_timer_getoverrun(ctx, a(0) as i32),
        Sysno::timer_delete => time::sys_timer_delete(ctx, a(0) as i32),
        Sysno::clock_settime => time::sys_clock_settime(ctx, a(0) as i32, a(1)),
        Sysno::clock_gettime => time::sys_clock_gettime(ctx, a(0) as i32, a(1)),
        Sysno::clock_getres => time::sys_clock_getres(ctx, a(0) as i32, a(1)),
        Sysno::clock_nanosleep => time::sys_clock_nanosleep(ctx, a(0) as i32, a(1) as i32, a(2), a(3)),
        Sysno::exit_group => process::sys_exit_group(ctx, a(0) as i32),
        Sysno::epoll_wait => epoll::sys_epoll_wait(ctx, a(0) as i32, a(1), a(2) as i32, a(3) as i32),
        Sysno::epoll_ctl => epoll::sys_epoll_ctl(ctx, a(0) as i32, a(1) as i32, a(2) as i32, a(3)),
        Sysno::tgkill => signal::sys_tgkill(ctx, a(0) as i32, a(1) as i32, a(2) as i32),
        Sysno::utimes => attributes::sys_futimesat(ctx, AT_FDCWD, a(0), a(1)),
        Sysno::waitid => process::sys_waitid(ctx, a(0) as i32, a(1) as u32, a(2), a(3) as u32, a(4)),
        Sysno::inotify_init => inotify::sys_inotify_init1(ctx, 0),
        Sysno::inotify_add_watch => inotify::sys_inotify_add_watch(ctx, a(0) as i32, a(1), a(2) as u32),
        Sysno::inotify_rm_watch => inotify::sys_inotify_rm_watch(ctx, a(0) as i32, a(1) as i32),
        Sysno::openat => file::sys_openat(ctx, a(0) as i32, a(1), a(2) as u32, a(3) as u32),
        Sysno::mkdirat => dir::sys_mkdirat(ctx, a(0) as i32, a(1), a(2) as u32),
        Sysno::mknodat => dir::sys_mknodat(ctx, a(0) as i32, a(1), a(2) as u32, a(3) as u32),
        Sysno::fchownat => attributes::sys_fchownat(ctx, a(0) as i32, a(1), a(2) as u32, a(3) as u32, a(4) as u32),
        Sysno::futimesat => attributes::sys_futimesat(ctx, a(0) as i32, a(1), a(2)),
        Sysno::newfstatat => stat::sys_newfstatat(ctx, a(0) as i32, a(1), a(2), a(3) as u32),
        Sysno::unlinkat => dir::sys_unlinkat(ctx, a(0) as i32, a(1), a(2) as u32),
        Sysno::renameat => dir::sys_renameat2(ctx, a(0) as i32, a(1), a(2) as i32, a(3), 0),
        Sysno::linkat => dir::sys_linkat(ctx, a(0) as i32, a(1), a(2) as i32, a(3), a(4) as u32),
        Sysno::symlinkat => dir::sys_symlinkat(ctx, a(0), a(1) as i32, a(2)),
        Sysno::readlinkat => stat::sys_readlinkat(ctx, a(0) as i32, a(1), a(2), a(3) as i32),
        Sysno::fchmodat => attributes::sys_fchmodat2(ctx, a(0) as i32, a(1), a(2) as u32, 0),
        Sysno::faccessat => stat::sys_faccessat2(ctx, a(0) as i32, a(1), a(2) as u32, 0),
        Sysno::pselect6 => select::sys_pselect6(ctx, a(0) as i32, [a(1), a(2), a(3)], a(4), a(5)),
        Sysno::ppoll => poll::sys_ppoll(ctx, a(0), a(1) as u32 as usize, a(2), a(3), a(4)),
        Sysno::set_robust_list => futex::sys_set_robust_list(ctx, a(0), a(1)),
        Sysno::get_robust_list => futex::sys_get_robust_list(ctx, a(0) as i32, a(1), a(2)),
        Sysno::unshare => process::sys_unshare(ctx, a(0) as u64),
        Sysno::splice => splice::sys_splice(ctx, words(regs)),
        Sysno::tee => splice::sys_tee(ctx, a(0) as i32, a(1) as i32, a(2), a(3) as u32),
        Sysno::sync_file_range => storage::sys_sync_file_range(ctx, a(0) as i32, a(1) as i64, a(2) as i64, a(3) as u32),
        Sysno::vmsplice => splice::sys_vmsplice(ctx, a(0) as i32, a(1), a(2), a(3) as u32),
        Sysno::utimensat => attributes::sys_utimensat(ctx, a(0) as i32, a(1), a(2), a(3) as u32),
        Sysno::epoll_pwait => epoll::sys_epoll_pwait(ctx, Wait::in_millis(words(regs)), a(4), a(5)),
        Sysno::signalfd => signalfd::sys_signalfd4(ctx, a(0) as i32, a(1), a(2), 0),
        Sysno::timerfd_create => timerfd::sys_timerfd_create(ctx, a(0) as i32, a(1) as u32),
        Sysno::eventfd => eventfd::sys_eventfd2(ctx, a(0) as u32, 0),
        Sysno::fallocate => storage::sys_fallocate(ctx, a(0) as i32, a(1) as u32, a(2) as i64, a(3) as i64),
        Sysno::timerfd_settime => timerfd::sys_timerfd_settime(ctx, a(0) as i32, a(1) as u32, a(2), a(3)),
        Sysno::timerfd_gettime => timerfd::sys_timerfd_gettime(ctx, a(0) as i32, a(1)),
        Sysno::signalfd4 => signalfd::sys_signalfd4(ctx, a(0) as i32, a(1), a(2), a(3) as u32),
        Sysno::eventfd2 => eventfd::sys_eventfd2(ctx, a(0) as u32, a(1) as u32),
        Sysno::epoll_create1 => epoll::sys_epoll_create1(ctx, a(0) as u32),
        Sysno::dup3 => file::sys_dup3(ctx, a(0) as i32, a(1) as i32, a(2) as u32),
        Sysno::pipe2 => pipe::sys_pipe2(ctx, a(0), a(1) as u32),
        Sysno::inotify_init1 => inotify::sys_inotify_init1(ctx, a(0) as u32),
        Sysno::preadv => rw::sys_preadv(ctx, a(0) as i32, a(1), a(2), a(3) as i64),
        Sysno::pwritev => rw::sys_pwritev(ctx, a(0) as i32, a(1), a(2), a(3) as i64),
        Sysno::rt_tgsigqueueinfo => signal::sys_rt_tgsigqueueinfo(ctx, a(0) as i32, a(1) as i32, a(2) as i32, a(3)),
        Sysno::prlimit64 => process::sys_prlimit64(ctx, a(0) as i32, a(1) as u32, a(2), a(3)),
        Sysno::clock_adjtime => time::sys_clock_adjtime(ctx, a(0) as i32, a(1)),
        Sysno::syncfs => storage::sys_syncfs(ctx, a(0) as i32),
        Sysno::getcpu => sysinfo::sys_getcpu(ctx, a(0), a(1)),
        Sysno::renameat2 => dir::sys_renameat2(ctx, a(0) as i32, a(1), a(2) as i32, a(3), a(4) as u32),
        Sysno::process_vm_readv => {
            inspect::sys_process_vm_readv(ctx, a(0) as i32, [a(1), a(2)], [a(3), a(4)], a(5) as u64)
        },
        Sysno::process_vm_writev => {
            inspect::sys_process_vm_writev(ctx, a(0) as i32, [a(1), a(2)], [a(3), a(4)], a(5) as u64)
        },
        Sysno::kcmp => inspect::sys_kcmp(ctx, [a(0) as i32, a(1) as i32], a(2) as i32, a(3), a(4)),
        Sysno::getrandom => random::sys_getrandom(ctx, a(0), a(1), a(2) as u32),
        Sysno::memfd_create => file::sys_memfd_create(ctx, a(0), a(1) as u32),
        Sysno::execveat => process::sys_execveat(ctx, regs, words(regs)),
        Sysno::membarrier => membarrier::sys_membarrier(ctx, a(0) as u32, a(1) as u32),
        Sysno::mlock2 => mm::sys_mlock2(ctx, a(0), a(1), a(2) as u32),
        Sysno::copy_file_range => {
            storage::sys_copy_file_range(ctx, a(0) as i32, a(1), a(2) as i32, a(3), a(4), a(5) as u32)
        },
        Sysno::accept4 => socket::sys_accept4(ctx, a(0) as i32, a(1), a(2), a(3) as u32),
        Sysno::recvmmsg => message::sys_recvmmsg(ctx, a(0) as i32, a(1), a(2) as u32, a(3) as u32, a(4)),
        Sysno::sendmmsg => message::sys_sendmmsg(ctx, a(0) as i32, a(1), a(2) as u32, a(3) as u32),
        Sysno::preadv2 => rw::sys_preadv2(ctx, a(0) as i32, a(1), a(2), a(3) as i64, a(5) as u32),
        Sysno::pwritev2 => rw::sys_pwritev2(ctx, a(0) as i32, a(1), a(2), a(3) as i64, a(5) as u32),
        Sysno::statx => stat::sys_statx(ctx, a(0) as i32, a(1), a(2) as u32, a(3) as u32, a(4)),
        Sysno::clone3 => process::sys_clone3(ctx, regs, a(0), a(1)),
        Sysno::pidfd_send_signal => pidfd::sys_pidfd_send_signal(ctx, a(0) as i32, a(1) as i32, a(2), a(3) as u32),
        Sysno::pidfd_open => pidfd::sys_pidfd_open(ctx, a(0) as i32, a(1) as u32),
        Sysno::pidfd_getfd => pidfd::sys_pidfd_getfd(ctx, a(0) as i32, a(1) as i32, a(2) as u32),
        Sysno::close_range => file::sys_close_range(ctx, a(0) as u32, a(1) as u32, a(2) as u32),
        Sysno::openat2 => file::sys_openat2(ctx, a(0) as i32, a(1), a(2), a(3)),
        Sysno::faccessat2 => stat::sys_faccessat2(ctx, a(0) as i32, a(1), a(2) as u32, a(3) as u32),
        Sysno::epoll_pwait2 => epoll::sys_epoll_pwait(ctx, Wait::in_timespec(ctx, words(regs))?, a(4), a(5)),
        Sysno::fchmodat2 => attributes::sys_fchmodat2(ctx, a(0) as i32, a(1), a(2) as u32, a(3) as u32),
        other => not_implemented(number),
    }
}

/// A call that does not exist here: `ENOSYS`, and one line in the log per call and boot.
#[cold]
fn not_implemented(number: usize) -> Result<isize> {
    if Sysno::new(number).is_some() {
        crate::log::unimplemented_syscall(number);
    }
    Err(ENOSYS)
}
