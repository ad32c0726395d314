// SPDX-License-Identifier: MPL-2.0

//! Signal numbers, sets of them, and what they do by default (`signal(7)`).

use core::ops::{BitAnd, BitOr, Not};

use crate::prelude::*;

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Signal(u8);

/// What a signal does if the program did not say otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends, and Linux would write a core dump.
    Core,
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// The process continues; it does so when the signal is sent, so nothing is left for the delivery.
    Continue,
}

macro_rules! signals {
    ($($name:ident = $number:literal, $action:ident;)*) => {
        #[allow(missing_docs, dead_code, reason = "the list is that of signal(7), whole")]
        impl Signal {
            $(pub const $name: Self = Self($number);)*

            /// What the signal does by default. Real-time signals terminate.
            pub fn default_action(self) -> DefaultAction {
                match self.0 {
                    $($number => DefaultAction::$action,)*
                    _ => DefaultAction::Terminate,
                }
            }
        }
    };
}

signals! {
    HUP = 1, Terminate;
    INT = 2, Terminate;
    QUIT = 3, Core;
    ILL = 4, Core;
    TRAP = 5, Core;
    ABRT = 6, Core;
    BUS = 7, Core;
    FPE = 8, Core;
    KILL = 9, Terminate;
    USR1 = 10, Terminate;
    SEGV = 11, Core;
    USR2 = 12, Terminate;
    PIPE = 13, Terminate;
    ALRM = 14, Terminate;
    TERM = 15, Terminate;
    STKFLT = 16, Terminate;
    CHLD = 17, Ignore;
    CONT = 18, Continue;
    STOP = 19, Stop;
    TSTP = 20, Stop;
    TTIN = 21, Stop;
    TTOU = 22, Stop;
    URG = 23, Ignore;
    XCPU = 24, Core;
    XFSZ = 25, Core;
    VTALRM = 26, Terminate;
    PROF = 27, Terminate;
    WINCH = 28, Ignore;
    IO = 29, Terminate;
    PWR = 30, Terminate;
    SYS = 31, Core;
}

impl Signal {
    /// Number of signals.
    pub const COUNT: usize = 64;

    /// The signal with this number.
    ///
    /// # Errors
    /// `EINVAL` if it is not one of 1 to 64.
    pub fn new(number: i32) -> Result<Self> {
        match u8::try_from(number) {
            Ok(number @ 1..=64) => Ok(Self(number)),
            _ => Err(EINVAL),
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its number less one.
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }

    /// Whether it is queued rather than merged (`SIGRTMIN` is 32 for the kernel).
    pub fn is_realtime(self) -> bool {
        self.0 >= 32
    }

    /// Whether its default action is to stop.
    pub fn is_stop(self) -> bool {
        self.default_action() == DefaultAction::Stop
    }

    /// Whether it can be neither handled, ignored nor blocked.
    pub fn is_unblockable(self) -> bool {
        SigSet::UNBLOCKABLE.contains(self)
    }
}

/// A set of signals, `sigset_t` of the kernel: bit `n - 1` for signal `n`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod)]
pub struct SigSet(pub u64);

impl SigSet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(u64::MAX);
    /// `SIGKILL` and `SIGSTOP`.
    pub const UNBLOCKABLE: Self = Self(1 << (9 - 1) | 1 << (19 - 1));
    /// Those whose default action is to stop.
    pub const STOPS: Self = Self(0b1111 << (19 - 1));
    /// Those that report a fault of the instruction at hand, and are delivered before others.
    pub const SYNCHRONOUS: Self =
        Self(1 << (11 - 1) | 1 << (7 - 1) | 1 << (4 - 1) | 1 << (5 - 1) | 1 << (8 - 1) | 1 << (31 - 1));

    /// The set of one signal.
    pub fn of(signal: Signal) -> Self {
        Self(1 << signal.index())
    }

    /// Whether `signal` is in it.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set without those of another.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The lowest signal.
    pub fn first(self) -> Option<Signal> {
        (self.0 != 0).then(|| Signal(self.0.trailing_zeros() as u8 + 1))
    }
}

impl BitAnd for SigSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for SigSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Not for SigSet {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}
