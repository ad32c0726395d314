// SPDX-License-Identifier: MPL-2.0

//! Points in time until which something waits.

use super::clock::{now_monotonic, now_realtime};

/// The clocks on which deadlines lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clock {
    /// Nanoseconds since boot; never jumps.
    Monotonic,
    /// Nanoseconds since 1970; may be set.
    Realtime,
}

impl Clock {
    /// The present time on this clock, in nanoseconds.
    pub fn now(self) -> u64 {
        match self {
            Self::Monotonic => now_monotonic(),
            Self::Realtime => now_realtime(),
        }
    }
}

/// An absolute point in time. Far ones saturate: `u64::MAX` nanoseconds are 584 years.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadline {
    clock: Clock,
    nanos: u64,
}

impl Deadline {
    /// The point `nanos` nanoseconds from now.
    pub fn after_nanos(nanos: u64) -> Self {
        Self::at(Clock::Monotonic, now_monotonic().saturating_add(nanos))
    }

    /// A point on a clock, in nanoseconds.
    pub const fn at(clock: Clock, nanos: u64) -> Self {
        Self { clock, nanos }
    }

    /// The clock it lies on.
    pub fn clock(self) -> Clock {
        self.clock
    }

    /// Nanoseconds on its clock.
    pub fn nanos(self) -> u64 {
        self.nanos
    }

    /// Whether it is now or was before.
    pub fn has_passed(self) -> bool {
        self.clock.now() >= self.nanos
    }

    /// The nanoseconds left; 0 if it has passed.
    pub fn remaining_nanos(self) -> u64 {
        self.nanos.saturating_sub(self.clock.now())
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn far_deadlines_saturate() {
        let deadline = Deadline::after_nanos(u64::MAX);
        assert_eq!(deadline.nanos(), u64::MAX);
        assert!(!deadline.has_passed());
    }

    #[ktest]
    fn now_has_passed() {
        assert!(Deadline::after_nanos(0).has_passed());
        assert!(Deadline::at(Clock::Realtime, 0).has_passed());
        assert_eq!(Deadline::at(Clock::Realtime, 0).remaining_nanos(), 0);
    }
}
