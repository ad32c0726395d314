#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Shows that every test can fail: runs the programs on a kernel that lies about one system call at a time.

A test that passes under every lie proves nothing about the kernel; its name is printed and the exit status is 1. Linux
only. Tests that hang under a lie are ended by a watchdog of two seconds, so this takes some minutes.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
BUILD = HERE / "build"

# x86-64 numbers, and what the call answers: 0 is "success, nothing done".
NUMBERS = {
    "read": 0, "open": 2, "close": 3, "stat": 4, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10,
    "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "ioctl": 16, "pread64": 17, "pwrite64": 18,
    "readv": 19, "writev": 20, "access": 21, "pipe": 22, "select": 23, "sched_yield": 24, "mremap": 25, "msync": 26,
    "madvise": 28, "dup": 32, "dup2": 33, "pause": 34, "nanosleep": 35, "getitimer": 36, "setitimer": 38, "getpid": 39,
    "sendfile": 40, "vfork": 58, "wait4": 61, "kill": 62, "uname": 63, "fcntl": 72, "fsync": 74, "truncate": 76,
    "ftruncate": 77, "getcwd": 79, "chdir": 80, "rename": 82, "mkdir": 83, "rmdir": 84, "link": 86, "unlink": 87,
    "symlink": 88, "readlink": 89, "chmod": 90, "fchmod": 91, "umask": 95, "getrlimit": 97, "sysinfo": 99, "times": 100,
    "setpgid": 109, "getppid": 110, "setsid": 112, "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigqueueinfo": 129,
    "rt_sigsuspend": 130, "sigaltstack": 131, "mknod": 133, "statfs": 137, "prctl": 157, "setrlimit": 160, "gettid": 186,
    "tkill": 200, "time": 201, "futex": 202, "sched_getaffinity": 204, "epoll_create": 213, "getdents64": 217,
    "set_tid_address": 218, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
    "epoll_wait": 232, "epoll_ctl": 233, "tgkill": 234, "waitid": 247, "openat": 257, "mkdirat": 258, "newfstatat": 262,
    "unlinkat": 263, "pselect6": 270, "ppoll": 271, "utimensat": 280, "epoll_pwait": 281, "eventfd": 284, "eventfd2": 290,
    "epoll_create1": 291, "dup3": 292, "pipe2": 293, "preadv": 295, "prlimit64": 302, "renameat2": 316, "getrandom": 318,
    "memfd_create": 319, "execve": 59, "execveat": 322, "statx": 332, "clone3": 435, "close_range": 436,
    "faccessat2": 439, "epoll_pwait2": 441, "write": 1, "clone": 56, "socket": 41, "signalfd": 282, "signalfd4": 289,
    "timerfd_create": 283, "timerfd_settime": 286, "timerfd_gettime": 287, "inotify_init": 253, "inotify_init1": 294,
    "inotify_add_watch": 254, "inotify_rm_watch": 255, "pidfd_open": 434, "pidfd_send_signal": 424, "pidfd_getfd": 438,
    "connect": 42, "accept": 43, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "bind": 49,
    "listen": 50, "getsockname": 51, "getpeername": 52, "socketpair": 53, "setsockopt": 54, "getsockopt": 55,
    "accept4": 288, "recvmmsg": 299, "sendmmsg": 307, "splice": 275, "copy_file_range": 326, "fallocate": 285, "mount": 165, "umount2": 166,
}
EPERM, ENOSYS = 1, 38
# These would end the harness itself.
SPARED = {("wait4", 0), ("wait4", ENOSYS), ("exit_group", 0), ("exit_group", ENOSYS), ("execve", 0), ("execve", ENOSYS),
          ("kill", 0), ("kill", ENOSYS), ("clone", ENOSYS), ("clone", 0), ("mmap", 0), ("mmap", ENOSYS)}


def programs() -> list[str]:
    lines = (HERE / "manifest").read_text().splitlines()
    return [line.split()[1] for line in lines if line.strip() and not line.startswith("#")]


def tests(program: str) -> set[str]:
    listing = subprocess.run([BUILD / program, "--list"], check=True, capture_output=True, text=True)
    return {line.split()[1] for line in listing.stdout.splitlines()}


def title(name: str) -> str:
    """As the harness prints it: the leading numbers of a name are set off."""
    words = name.split("_")
    count = 1
    while words[0] == "row" and words[count].lstrip("S").isdigit():
        count += 1
    return " ".join(words[:count]) + " " + "_".join(words[count:])


def failing(program: str, lie: str) -> set[str]:
    """The titles of the tests that do not pass under this lie, those never answered included."""
    run = subprocess.run([BUILD / "mutant", lie, BUILD / program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True, env={**os.environ, "WATCHDOG_SECONDS": "2"}, timeout=900)
    passed = {line.split(" [")[0][3:] for line in run.stdout.splitlines() if line.startswith(("ok ", "skip "))}
    return {title(t) for t in tests(program)} - {p.strip() for p in passed}


def used_by(program: str) -> set[str]:
    """The system calls that a program makes at all, so that only those are lied about."""
    run = subprocess.run(["strace", "-f", "-qq", "-c", "-S", "name", BUILD / program], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    return {line.split()[-1] for line in run.stderr.splitlines() if line.split()}


def check(program: str) -> tuple[str, set[str]]:
    unproven = {title(t) for t in tests(program)}
    used = used_by(program)
    for call in sorted(NUMBERS):
        for error in (0, ENOSYS):
            if unproven and (call, error) not in SPARED and (not used or call in used):
                unproven -= failing(program, f"{NUMBERS[call]}={error}")
    return program, unproven


def main() -> int:
    chosen = sys.argv[1:] or programs()
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for program, unproven in pool.map(check, chosen):
            print(f"{program}: {'every test can fail' if not unproven else ''}", flush=True)
            for name in sorted(unproven):
                print(f"  {name} passes under every lie")
            bad += len(unproven)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
