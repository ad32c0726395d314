// SPDX-License-Identifier: MPL-2.0

//! What the arguments of each system call are.

use syscalls::Sysno;

use super::flags::{self, Names};

/// How an argument is shown. Those that the kernel fills are shown when the call is over.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// An `int`.
    Int,
    /// A 64-bit number, signed.
    Long,
    /// A 64-bit number, unsigned.
    Unsigned,
    /// A number in hexadecimal.
    Hex,
    /// An address.
    Pointer,
    /// A file mode, octal.
    Mode,
    /// A file descriptor.
    Fd,
    /// A directory's descriptor, or `AT_FDCWD`.
    DirFd,
    /// A path or other string.
    Text,
    /// Bytes whose number is in the argument with this index.
    Bytes(usize),
    /// An array of strings, as `execve(2)` takes it.
    Texts,
    /// The same, only counted.
    TextCount,
    /// Flags.
    Flags(Names),
    /// One of several values.
    Choice(Names),
    /// `open(2)`'s flags.
    OpenFlags,
    /// `clone(2)`'s flags with the exit signal.
    CloneFlags,
    /// A signal's number.
    Signal,
    /// A set of signals.
    SignalSet,
    /// `struct sigaction` as the kernel has it.
    SignalAction,
    /// `siginfo_t`.
    SignalInfo,
    /// `struct timespec`.
    Timespec,
    /// `struct timeval`.
    Timeval,
    /// `struct itimerspec`.
    TimerSpec,
    /// `struct rlimit`.
    Limit,
    /// `struct pollfd`s whose number is in the argument with this index.
    PollFds(usize),
    /// `fd_set`, with the number of descriptors in argument 0.
    FdSet,
    /// One `struct epoll_event`.
    EpollEvent,
    /// `struct iovec`s whose number is in the argument with this index.
    Vectors(usize),
    /// A socket address of the length in the argument with this index.
    Address(usize),
    /// Filled: as many bytes as the call answers.
    OutBytes,
    /// Filled: a string.
    OutText,
    /// Filled: two descriptors.
    OutFds,
    /// Filled: a number of 32 bits.
    OutInt,
    /// Filled: the status of a child.
    OutWaitStatus,
    /// Filled: `struct stat`.
    OutStat,
    /// Filled: as many `struct epoll_event` as the call answers.
    OutEpollEvents,
    /// Filled: `struct iovec`s, their number in the argument with this index, the bytes as the call answers.
    OutVectors(usize),
    /// Filled: a set of signals.
    OutSignalSet,
    /// Filled: `struct sigaction`.
    OutSignalAction,
    /// Filled: `siginfo_t`.
    OutSignalInfo,
    /// Filled: `struct timespec`.
    OutTimespec,
    /// Filled: `struct timeval`.
    OutTimeval,
    /// Filled: `struct itimerspec`.
    OutTimerSpec,
    /// Filled: `struct rlimit`.
    OutLimit,
    /// Filled: a socket address whose length is where the argument with this index points.
    OutAddress(usize),
    /// Filled: a structure that is not shown.
    OutPointer,
}

impl Arg {
    /// Whether the kernel fills it.
    pub fn is_output(self) -> bool {
        use Arg::*;
        matches!(
            self,
            OutBytes
                | OutText
                | OutFds
                | OutInt
                | OutWaitStatus
                | OutStat
                | OutEpollEvents
                | OutVectors(_)
                | OutSignalSet
                | OutSignalAction
                | OutSignalInfo
                | OutTimespec
                | OutTimeval
                | OutTimerSpec
                | OutLimit
                | OutAddress(_)
                | OutPointer
        )
    }
}

/// Whether the call answers an address.
pub fn answers_address(call: Sysno) -> bool {
    matches!(call, Sysno::mmap | Sysno::brk | Sysno::mremap | Sysno::shmat)
}

/// Whether the call never comes back.
pub fn never_returns(call: Sysno) -> bool {
    matches!(call, Sysno::exit | Sysno::exit_group | Sysno::rt_sigreturn)
}

/// The arguments of `call` with these words: those that the call does not look at are left out.
pub fn arguments(call: Sysno, words: &[usize; 6]) -> &'static [Arg] {
    const MAKES_FILE: usize = 0o100 | 0o20_000_000;
    let all = all_arguments(call);
    let count = match call {
        Sysno::open if words[1] & MAKES_FILE == 0 => 2,
        Sysno::openat if words[2] & MAKES_FILE == 0 => 3,
        // F_GETFD, F_GETFL, F_GETOWN, F_GETSIG, F_GETLEASE, F_GETPIPE_SZ, F_GET_SEALS
        Sysno::fcntl if matches!(words[1], 1 | 3 | 9 | 11 | 1025 | 1032 | 1034) => 2,
        Sysno::futex => match words[1] & 0x7f {
            1 => 3, // FUTEX_WAKE
            0 => 4, // FUTEX_WAIT
            _ => 6,
        },
        Sysno::mremap if words[3] & 2 == 0 => 4,
        Sysno::clone if words[0] & 0x0138_1000 == 0 => 2,
        _ => all.len(),
    };
    &all[..count.min(all.len())]
}

/// All arguments of `call`; unknown calls show six words.
fn all_arguments(call: Sysno) -> &'static [Arg] {
    use Arg::*;
    match call {
        Sysno::read => &[Fd, OutBytes, Unsigned],
        Sysno::write => &[Fd, Bytes(2), Unsigned],
        Sysno::open => &[Text, OpenFlags, Mode],
        Sysno::close | Sysno::fsync | Sysno::fdatasync | Sysno::fchdir | Sysno::dup | Sysno::syncfs => &[Fd],
        Sysno::stat | Sysno::lstat => &[Text, OutStat],
        Sysno::fstat => &[Fd, OutStat],
        Sysno::poll => &[PollFds(1), Unsigned, Int],
        Sysno::lseek => &[Fd, Long, Choice(flags::WHENCE)],
        Sysno::mmap => &[Pointer, Unsigned, Flags(flags::PROT), Flags(flags::MAP), Fd, Hex],
        Sysno::mprotect => &[Pointer, Unsigned, Flags(flags::PROT)],
        Sysno::munmap | Sysno::mlock | Sysno::munlock => &[Pointer, Unsigned],
        Sysno::brk | Sysno::set_tid_address => &[Pointer],
        Sysno::rt_sigaction => &[Signal, SignalAction, OutSignalAction, Unsigned],
        Sysno::rt_sigprocmask => &[Choice(flags::SIGPROCMASK), SignalSet, OutSignalSet, Unsigned],
        Sysno::ioctl => &[Fd, Choice(flags::IOCTLS), Pointer],
        Sysno::pread64 => &[Fd, OutBytes, Unsigned, Long],
        Sysno::pwrite64 => &[Fd, Bytes(2), Unsigned, Long],
        Sysno::readv => &[Fd, OutVectors(2), Unsigned],
        Sysno::writev => &[Fd, Vectors(2), Unsigned],
        Sysno::access => &[Text, Flags(flags::ACCESS)],
        Sysno::pipe => &[OutFds],
        Sysno::select => &[Int, FdSet, FdSet, FdSet, Timeval],
        Sysno::mremap => &[Pointer, Unsigned, Unsigned, Flags(flags::MREMAP), Pointer],
        Sysno::msync => &[Pointer, Unsigned, Hex],
        Sysno::madvise => &[Pointer, Unsigned, Choice(flags::MADVICE)],
        Sysno::dup2 => &[Fd, Fd],
        Sysno::pause
        | Sysno::getpid
        | Sysno::gettid
        | Sysno::getppid
        | Sysno::getuid
        | Sysno::geteuid
        | Sysno::getgid
        | Sysno::getegid
        | Sysno::getpgrp
        | Sysno::setsid
        | Sysno::sched_yield
        | Sysno::sync
        | Sysno::fork
        | Sysno::vfork
        | Sysno::rt_sigreturn
        | Sysno::munlockall
        | Sysno::restart_syscall
        | Sysno::inotify_init => &[],
        Sysno::nanosleep => &[Timespec, OutTimespec],
        Sysno::getitimer => &[Choice(flags::ITIMERS), OutPointer],
        Sysno::setitimer => &[Choice(flags::ITIMERS), Pointer, OutPointer],
        Sysno::alarm => &[Unsigned],
        Sysno::sendfile => &[Fd, Fd, Pointer, Unsigned],
        Sysno::socket => &[Choice(flags::FAMILIES), Flags(flags::SOCKET_TYPES), Int],
        Sysno::socketpair => &[Choice(flags::FAMILIES), Flags(flags::SOCKET_TYPES), Int, OutFds],
        Sysno::connect | Sysno::bind => &[Fd, Address(2), Unsigned],
        Sysno::accept => &[Fd, OutAddress(2), OutInt],
        Sysno::accept4 => &[Fd, OutAddress(2), OutInt, Flags(flags::SOCKET_TYPES)],
        Sysno::sendto => &[Fd, Bytes(2), Unsigned, Flags(flags::MESSAGE), Address(5), Unsigned],
        Sysno::recvfrom => &[Fd, OutBytes, Unsigned, Flags(flags::MESSAGE), OutAddress(5), OutInt],
        Sysno::sendmsg => &[Fd, Pointer, Flags(flags::MESSAGE)],
        Sysno::recvmsg => &[Fd, OutPointer, Flags(flags::MESSAGE)],
        Sysno::shutdown => &[Fd, Choice(flags::SHUTDOWN)],
        Sysno::listen => &[Fd, Int],
        Sysno::getsockname | Sysno::getpeername => &[Fd, OutAddress(2), OutInt],
        Sysno::setsockopt => &[Fd, Choice(flags::SOCKET_LEVELS), Int, Bytes(4), Unsigned],
        Sysno::getsockopt => &[Fd, Choice(flags::SOCKET_LEVELS), Int, OutInt, OutInt],
        Sysno::clone => &[CloneFlags, Pointer, Pointer, Pointer, Pointer],
        Sysno::unshare => &[Flags(flags::CLONE)],
        Sysno::clone3 => &[Pointer, Unsigned],
        Sysno::execve => &[Text, Texts, TextCount],
        Sysno::execveat => &[DirFd, Text, Texts, TextCount, Flags(flags::AT)],
        Sysno::exit | Sysno::exit_group => &[Int],
        Sysno::wait4 => &[Int, OutWaitStatus, Flags(flags::WAIT), OutPointer],
        Sysno::waitid => &[Choice(flags::ID_TYPE), Int, OutSignalInfo, Flags(flags::WAIT), OutPointer],
        Sysno::kill => &[Int, Signal],
        Sysno::tgkill => &[Int, Int, Signal],
        Sysno::tkill => &[Int, Signal],
        Sysno::uname | Sysno::sysinfo => &[OutPointer],
        Sysno::fcntl => &[Fd, Choice(flags::FCNTL), Hex],
        Sysno::flock => &[Fd, Flags(flags::LOCK)],
        Sysno::truncate => &[Text, Long],
        Sysno::ftruncate => &[Fd, Long],
        Sysno::getdents64 | Sysno::getdents => &[Fd, OutPointer, Unsigned],
        Sysno::getcwd => &[OutText, Unsigned],
        Sysno::chdir | Sysno::rmdir | Sysno::unlink | Sysno::chroot => &[Text],
        Sysno::rename | Sysno::link | Sysno::symlink => &[Text, Text],
        Sysno::mkdir | Sysno::chmod | Sysno::creat => &[Text, Mode],
        Sysno::fchmod => &[Fd, Mode],
        Sysno::readlink => &[Text, OutBytes, Unsigned],
        Sysno::umask => &[Mode],
        Sysno::gettimeofday => &[OutTimeval, OutPointer],
        Sysno::getrlimit => &[Choice(flags::RESOURCES), OutLimit],
        Sysno::setrlimit => &[Choice(flags::RESOURCES), Limit],
        Sysno::prlimit64 => &[Int, Choice(flags::RESOURCES), Limit, OutLimit],
        Sysno::getrusage => &[Choice(flags::USAGE), OutPointer],
        Sysno::times => &[OutPointer],
        Sysno::setuid | Sysno::setgid | Sysno::getpgid | Sysno::getsid => &[Int],
        Sysno::setpgid => &[Int, Int],
        Sysno::rt_sigpending => &[OutSignalSet, Unsigned],
        Sysno::rt_sigtimedwait => &[SignalSet, OutSignalInfo, Timespec, Unsigned],
        Sysno::rt_sigqueueinfo => &[Int, Signal, SignalInfo],
        Sysno::rt_tgsigqueueinfo => &[Int, Int, Signal, SignalInfo],
        Sysno::rt_sigsuspend => &[SignalSet, Unsigned],
        Sysno::sigaltstack => &[Pointer, OutPointer],
        Sysno::statfs => &[Text, OutPointer],
        Sysno::fstatfs => &[Fd, OutPointer],
        Sysno::prctl => &[Choice(flags::PRCTL), Hex, Hex, Hex, Hex],
        Sysno::arch_prctl => &[Choice(flags::ARCH_PRCTL), Pointer],
        Sysno::mount => &[Text, Text, Text, Hex, Pointer],
        Sysno::umount2 => &[Text, Hex],
        Sysno::futex => &[Pointer, Choice(flags::FUTEX), Int, Timespec, Pointer, Hex],
        Sysno::sched_setaffinity | Sysno::sched_getaffinity => &[Int, Unsigned, OutPointer],
        Sysno::epoll_create => &[Int],
        Sysno::epoll_create1 => &[Flags(flags::EPOLL_CREATE)],
        Sysno::epoll_ctl => &[Fd, Choice(flags::EPOLL_OP), Fd, EpollEvent],
        Sysno::epoll_wait => &[Fd, OutEpollEvents, Int, Int],
        Sysno::epoll_pwait => &[Fd, OutEpollEvents, Int, Int, SignalSet, Unsigned],
        Sysno::epoll_pwait2 => &[Fd, OutEpollEvents, Int, Timespec, SignalSet, Unsigned],
        Sysno::clock_gettime | Sysno::clock_getres => &[Choice(flags::CLOCKS), OutTimespec],
        Sysno::clock_settime => &[Choice(flags::CLOCKS), Timespec],
        Sysno::clock_nanosleep => &[Choice(flags::CLOCKS), Flags(flags::TIMER_FLAGS), Timespec, OutTimespec],
        Sysno::inotify_init1 => &[Flags(flags::INOTIFY_INIT)],
        Sysno::inotify_add_watch => &[Fd, Text, Flags(flags::INOTIFY)],
        Sysno::inotify_rm_watch => &[Fd, Int],
        Sysno::openat => &[DirFd, Text, OpenFlags, Mode],
        Sysno::mkdirat => &[DirFd, Text, Mode],
        Sysno::newfstatat => &[DirFd, Text, OutStat, Flags(flags::AT)],
        Sysno::unlinkat => &[DirFd, Text, Flags(flags::AT_UNLINK)],
        Sysno::renameat2 => &[DirFd, Text, DirFd, Text, Flags(flags::RENAME)],
        Sysno::readlinkat => &[DirFd, Text, OutBytes, Unsigned],
        Sysno::faccessat => &[DirFd, Text, Flags(flags::ACCESS)],
        Sysno::faccessat2 => &[DirFd, Text, Flags(flags::ACCESS), Flags(flags::AT)],
        Sysno::statx => &[DirFd, Text, Flags(flags::AT), Hex, OutPointer],
        Sysno::pselect6 => &[Int, FdSet, FdSet, FdSet, Timespec, Pointer],
        Sysno::ppoll => &[PollFds(1), Unsigned, Timespec, SignalSet, Unsigned],
        Sysno::set_robust_list => &[Pointer, Unsigned],
        Sysno::utimensat => &[DirFd, Text, Pointer, Flags(flags::AT)],
        Sysno::timerfd_create => &[Choice(flags::CLOCKS), Flags(flags::TIMERFD_CREATE)],
        Sysno::timerfd_settime => &[Fd, Flags(flags::TIMERFD_SET), TimerSpec, OutTimerSpec],
        Sysno::timerfd_gettime => &[Fd, OutTimerSpec],
        Sysno::signalfd => &[Fd, SignalSet, Unsigned],
        Sysno::signalfd4 => &[Fd, SignalSet, Unsigned, Flags(flags::SIGNALFD)],
        Sysno::eventfd => &[Unsigned],
        Sysno::eventfd2 => &[Unsigned, Flags(flags::EVENTFD)],
        Sysno::dup3 => &[Fd, Fd, Flags(flags::OPEN)],
        Sysno::pipe2 => &[OutFds, Flags(flags::OPEN)],
        Sysno::getrandom => &[OutBytes, Unsigned, Flags(flags::RANDOM)],
        Sysno::memfd_create => &[Text, Flags(flags::MEMFD)],
        Sysno::rseq => &[Pointer, Hex, Flags(flags::RSEQ), Hex],
        Sysno::pidfd_open => &[Int, Flags(flags::PIDFD)],
        Sysno::pidfd_send_signal => &[Fd, Signal, SignalInfo, Hex],
        Sysno::pidfd_getfd => &[Fd, Fd, Hex],
        Sysno::close_range => &[Unsigned, Unsigned, Hex],
        Sysno::setxattr | Sysno::lsetxattr => &[Text, Text, Pointer, Unsigned, Hex],
        Sysno::fsetxattr => &[Fd, Text, Pointer, Unsigned, Hex],
        Sysno::getxattr | Sysno::lgetxattr => &[Text, Text, Pointer, Unsigned],
        Sysno::fgetxattr => &[Fd, Text, Pointer, Unsigned],
        Sysno::listxattr | Sysno::llistxattr => &[Text, Pointer, Unsigned],
        Sysno::flistxattr => &[Fd, Pointer, Unsigned],
        Sysno::removexattr | Sysno::lremovexattr => &[Text, Text],
        Sysno::fremovexattr => &[Fd, Text],
        Sysno::kcmp => &[Int, Int, Int, Hex, Hex],
        Sysno::process_vm_readv | Sysno::process_vm_writev => &[Int, Pointer, Unsigned, Pointer, Unsigned, Hex],
        Sysno::membarrier => &[Hex, Hex],
        _ => &[Hex, Hex, Hex, Hex, Hex, Hex],
    }
}
