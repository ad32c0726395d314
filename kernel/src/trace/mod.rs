// SPDX-License-Identifier: MPL-2.0

//! Names of system calls, and the trace of them that `pollux.trace=1` prints.

use syscalls::x86_64::Sysno;

/// The name of system call `number` of x86-64, without `sys_`; `None` if Linux has none of that number.
pub fn syscall_name(number: usize) -> Option<&'static str> {
    Sysno::new(number).map(|call| call.name())
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn names_are_those_of_the_manual() {
        assert_eq!(syscall_name(0), Some("read"));
        assert_eq!(syscall_name(232), Some("epoll_wait"));
        assert_eq!(syscall_name(441), Some("epoll_pwait2"));
        assert_eq!(syscall_name(400), None);
        assert_eq!(syscall_name(usize::MAX), None);
    }
}
