// SPDX-License-Identifier: MPL-2.0

//! How a process ended, and what its parent may learn of it by `wait(2)`.

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    /// By `exit(2)` with this code.
    Exited(u8),
    /// By a signal.
    Signaled {
        /// Its number.
        signal: u8,
        /// Whether the default action includes a core dump. None is written; the parent sees the bit as on Linux with
        /// a core pattern that discards.
        core: bool,
    },
}

impl ExitStatus {
    /// The status word of `wait4(2)`.
    pub fn to_wait_status(self) -> i32 {
        match self {
            Self::Exited(code) => i32::from(code) << 8,
            Self::Signaled { signal, core } => i32::from(signal) | if core { 0x80 } else { 0 },
        }
    }
}

/// What a child did that its parent may wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChildEvent {
    /// It ended.
    Exited(ExitStatus),
    /// A signal stopped it.
    Stopped(u8),
    /// `SIGCONT` continued it.
    Continued,
}

impl ChildEvent {
    /// The status word of `wait4(2)`.
    pub fn to_wait_status(self) -> i32 {
        match self {
            Self::Exited(status) => status.to_wait_status(),
            Self::Stopped(signal) => i32::from(signal) << 8 | 0x7f,
            Self::Continued => 0xffff,
        }
    }

    /// `si_code` and `si_status` of `SIGCHLD` and `waitid(2)`.
    pub fn to_siginfo(self) -> (i32, i32) {
        const CLD_EXITED: i32 = 1;
        const CLD_KILLED: i32 = 2;
        const CLD_DUMPED: i32 = 3;
        const CLD_STOPPED: i32 = 5;
        const CLD_CONTINUED: i32 = 6;
        match self {
            Self::Exited(ExitStatus::Exited(code)) => (CLD_EXITED, i32::from(code)),
            Self::Exited(ExitStatus::Signaled { signal, core: false }) => (CLD_KILLED, i32::from(signal)),
            Self::Exited(ExitStatus::Signaled { signal, core: true }) => (CLD_DUMPED, i32::from(signal)),
            Self::Stopped(signal) => (CLD_STOPPED, i32::from(signal)),
            Self::Continued => (CLD_CONTINUED, 18),
        }
    }
}
