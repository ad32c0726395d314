// SPDX-License-Identifier: MPL-2.0

//! `siginfo_t`: what came with a signal (`sigaction(2)`).
//!
//! The kernel keeps the 48 bytes that any signal uses; a program sees 128, the rest zero.

use super::{SigSet, Signal};
use crate::process::{ChildEvent, Pid, Process};

/// By `kill(2)`.
pub const SI_USER: i32 = 0;
/// By the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// By `sigqueue(3)`.
pub const SI_QUEUE: i32 = -1;
/// By a timer of `timer_create(2)`.
pub const SI_TIMER: i32 = -2;
/// By a file's readiness, where the queue was full.
const SI_SIGIO: i32 = -5;
/// By `tkill(2)` or `tgkill(2)`.
pub const SI_TKILL: i32 = -6;

/// Which members of the union a `siginfo_t` uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InfoLayout {
    /// `si_pid`, `si_uid`.
    Kill,
    /// Those and `si_value`: what programs send.
    Queue,
    /// `si_timerid`, `si_overrun`, `si_value`.
    Timer,
    /// `si_band`, `si_fd`.
    Poll,
    /// `si_addr`, `si_addr_lsb`.
    Fault,
    /// `si_pid`, `si_uid`, `si_status`, `si_utime`, `si_stime`.
    Child,
    /// `si_call_addr`, `si_syscall`, `si_arch`.
    Syscall,
}

/// The used part of a `siginfo_t`, in the layout of x86-64.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod)]
pub struct SigInfo {
    /// `si_signo`; valid by construction.
    signo: i32,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    padding: u32,
    /// The union, as 64-bit words; halves are little-endian pairs.
    pub fields: [u64; 4],
}

/// A `siginfo_t` as programs see it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
pub struct UserSigInfo {
    /// The used part.
    pub info: SigInfo,
    /// Zero.
    pub rest: [u64; 10],
}

impl From<SigInfo> for UserSigInfo {
    fn from(info: SigInfo) -> Self {
        Self { info, rest: [0; 10] }
    }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl SigInfo {
    /// A signal without further facts.
    pub fn new(signal: Signal, code: i32) -> Self {
        Self { signo: i32::from(signal.number()), code, ..Self::default() }
    }

    /// A signal that the kernel sends on its own account.
    pub fn kernel(signal: Signal) -> Self {
        Self::new(signal, SI_KERNEL)
    }

    /// A signal from a process: `SI_USER` or `SI_TKILL`.
    pub fn from_process(signal: Signal, code: i32, pid: Pid, uid: u32) -> Self {
        Self { fields: [pair(pid, uid), 0, 0, 0], ..Self::new(signal, code) }
    }

    /// A fault at an address.
    pub fn fault(signal: Signal, code: i32, address: usize) -> Self {
        Self { fields: [address as u64, 0, 0, 0], ..Self::new(signal, code) }
    }

    /// What a child did; `times` are user and system time in clock ticks of 10 ms.
    pub fn child(signal: Signal, child: &Process, uid: u32, event: ChildEvent, times: [u64; 2]) -> Self {
        let (code, status) = event.to_siginfo();
        let fields = [pair(child.pid, uid), u64::from(status.cast_unsigned()), times[0], times[1]];
        Self { fields, ..Self::new(signal, code) }
    }

    /// The expiration of a timer of `timer_create(2)`.
    pub fn timer(signal: Signal, id: i32, value: u64) -> Self {
        Self { fields: [pair(id.cast_unsigned(), 0), value, 0, 0], ..Self::new(signal, SI_TIMER) }
    }

    /// `SIGIO`-like events of a file (`fcntl(2)` `F_SETSIG`).
    pub fn file(signal: Signal, code: i32, band: u64, fd: i32) -> Self {
        Self { fields: [band, u64::from(fd.cast_unsigned()), 0, 0], ..Self::new(signal, code) }
    }

    /// What a program passed to `rt_sigqueueinfo(2)`, with the number that it passed beside it.
    pub fn from_user(signal: Signal, user: UserSigInfo) -> Self {
        Self { signo: i32::from(signal.number()), padding: 0, ..user.info }
    }

    /// The signal.
    pub fn signal(&self) -> Signal {
        // Constructors take a `Signal`; a value of zero cannot occur.
        Signal::new(self.signo).unwrap_or(Signal::KILL)
    }

    /// The set of its signal.
    pub fn set(&self) -> SigSet {
        SigSet::of(self.signal())
    }

    /// Which members of the union it uses. Mirrors `siginfo_layout`.
    pub fn layout(&self) -> InfoLayout {
        let code = self.code;
        match self.signal() {
            Signal::ILL if (1..=11).contains(&code) => InfoLayout::Fault,
            Signal::FPE if (1..=15).contains(&code) => InfoLayout::Fault,
            Signal::SEGV if (1..=10).contains(&code) => InfoLayout::Fault,
            Signal::BUS if (1..=5).contains(&code) => InfoLayout::Fault,
            Signal::TRAP if (1..=6).contains(&code) => InfoLayout::Fault,
            Signal::CHLD if (1..=6).contains(&code) => InfoLayout::Child,
            Signal::SYS if (1..=2).contains(&code) => InfoLayout::Syscall,
            _ if (1..=6).contains(&code) || code == SI_SIGIO => InfoLayout::Poll,
            _ if code == SI_TIMER => InfoLayout::Timer,
            _ if code < 0 => InfoLayout::Queue,
            _ => InfoLayout::Kill,
        }
    }

    /// Whether it says "by a process", which only the process itself may claim (`rt_sigqueueinfo(2)`).
    pub fn is_impersonation(&self) -> bool {
        self.code >= 0 || self.code == SI_TKILL
    }

    /// The id of the timer that expired, for `SI_TIMER`.
    pub fn timer_id(&self) -> i32 {
        (self.fields[0] as u32).cast_signed()
    }

    /// `si_overrun`, for `SI_TIMER`.
    pub fn overrun(&self) -> i32 {
        ((self.fields[0] >> 32) as u32).cast_signed()
    }

    /// Sets `si_overrun`, for `SI_TIMER`.
    pub fn set_overrun(&mut self, overrun: i32) {
        self.fields[0] = pair(self.fields[0] as u32, overrun.cast_unsigned());
    }
}
