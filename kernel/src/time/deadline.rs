// SPDX-License-Identifier: MPL-2.0

//! Points in time until which something waits.

use core::time::Duration;

use super::clock::{now_monotonic, now_realtime, realtime_to_monotonic};
use crate::prelude::*;

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
    /// The point `delay` from now.
    pub fn after(delay: Duration) -> Self {
        Self::after_nanos(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX))
    }

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

    /// The point on the monotonic clock, in nanoseconds, as the wall clock is set now.
    pub fn to_monotonic(self) -> u64 {
        match self.clock {
            Clock::Monotonic => self.nanos,
            Clock::Realtime => realtime_to_monotonic(self.nanos),
        }
    }

    /// Whether it is now or was before.
    pub fn has_passed(self) -> bool {
        self.clock.now() >= self.nanos
    }

    /// The time left; zero if it has passed.
    pub fn remaining(self) -> Duration {
        Duration::from_nanos(self.remaining_nanos())
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
        let deadline = Deadline::after(Duration::MAX);
        assert_eq!(deadline.nanos(), u64::MAX);
        assert!(!deadline.has_passed());
    }

    #[ktest]
    fn now_has_passed() {
        assert!(Deadline::after(Duration::ZERO).has_passed());
        assert!(Deadline::at(Clock::Realtime, 0).has_passed());
        assert_eq!(Deadline::at(Clock::Realtime, 0).remaining(), Duration::ZERO);
    }
}
