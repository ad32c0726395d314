// SPDX-License-Identifier: MPL-2.0

//! The structures of time that programs see, on x86-64.

use super::NANOS_PER_SEC;
use crate::{prelude::*, process::ResourceUsage};

/// Nanoseconds of the unit in which programs get CPU times (`sysconf(_SC_CLK_TCK)` is 100).
pub const CLOCK_TICK_NANOS: u64 = NANOS_PER_SEC / 100;

/// `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, 0 to 999 999 999 if valid.
    pub nsec: i64,
}

/// `struct timeval`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod)]
pub struct Timeval {
    /// Seconds.
    pub sec: i64,
    /// Microseconds, 0 to 999 999 if valid.
    pub usec: i64,
}

/// `struct itimerspec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod)]
pub struct Itimerspec {
    /// Time from one expiration to the next; zero for one shot.
    pub interval: Timespec,
    /// Time to the next expiration; zero if disarmed.
    pub value: Timespec,
}

/// `struct itimerval`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod)]
pub struct Itimerval {
    /// Time from one expiration to the next; zero for one shot.
    pub interval: Timeval,
    /// Time to the next expiration; zero if disarmed.
    pub value: Timeval,
}

impl Timespec {
    /// Splits a number of nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { sec: (nanos / NANOS_PER_SEC) as i64, nsec: (nanos % NANOS_PER_SEC) as i64 }
    }

    /// The total in nanoseconds, saturating at `u64::MAX`.
    ///
    /// # Errors
    /// `EINVAL` if a field is negative or there are a thousand million nanoseconds or more.
    pub fn to_nanos(self) -> Result<u64> {
        let sec = u64::try_from(self.sec).map_err(|_| EINVAL)?;
        let nsec = u64::try_from(self.nsec).map_err(|_| EINVAL)?;
        if nsec >= NANOS_PER_SEC {
            return Err(EINVAL);
        }
        Ok(sec.saturating_mul(NANOS_PER_SEC).saturating_add(nsec))
    }
}

impl Timeval {
    /// Splits a number of nanoseconds, rounding down.
    pub const fn from_nanos(nanos: u64) -> Self {
        let usec = nanos % NANOS_PER_SEC / 1000;
        Self { sec: (nanos / NANOS_PER_SEC) as i64, usec: usec as i64 }
    }

    /// The total in nanoseconds, saturating at `u64::MAX`.
    ///
    /// # Errors
    /// `EINVAL` if a field is negative or there are a million microseconds or more.
    pub fn to_nanos(self) -> Result<u64> {
        if !(0..1_000_000).contains(&self.usec) {
            return Err(EINVAL);
        }
        Timespec { sec: self.sec, nsec: self.usec * 1000 }.to_nanos()
    }
}

/// `struct rusage`. What no kernel keeps (`getrusage(2)` names those that Linux does not) is zero, and so is what no device here does:
/// faults that wait for one, its blocks, swapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
pub struct RUsage {
    /// Time in user mode.
    pub user: Timeval,
    /// Time in the kernel.
    pub system: Timeval,
    /// `ru_maxrss` in KiB.
    pub max_resident: i64,
    /// `ru_ixrss`, `ru_idrss`, `ru_isrss`
    pub integral_sizes: [i64; 3],
    /// `ru_minflt`
    pub minor_faults: i64,
    /// `ru_majflt` to `ru_nsignals`.
    pub rest: [i64; 7],
    /// `ru_nvcsw`
    pub voluntary_switches: i64,
    /// `ru_nivcsw`
    pub involuntary_switches: i64,
}

impl From<ResourceUsage> for RUsage {
    fn from(usage: ResourceUsage) -> Self {
        Self {
            user: Timeval::from_nanos(usage.cpu.user),
            system: Timeval::from_nanos(usage.cpu.system),
            max_resident: (usage.peak_resident * PAGE_SIZE / 1024) as i64,
            integral_sizes: [0; 3],
            minor_faults: usage.faults as i64,
            rest: [0; 7],
            voluntary_switches: usage.voluntary_switches as i64,
            involuntary_switches: usage.involuntary_switches as i64,
        }
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn hostile_values_are_refused_and_large_ones_saturate() {
        assert_eq!(Timespec { sec: -1, nsec: 0 }.to_nanos(), Err(EINVAL));
        assert_eq!(Timespec { sec: 0, nsec: 1_000_000_000 }.to_nanos(), Err(EINVAL));
        assert_eq!(Timespec { sec: i64::MAX, nsec: 999_999_999 }.to_nanos(), Ok(u64::MAX));
        assert_eq!(Timeval { sec: 0, usec: 1_000_000 }.to_nanos(), Err(EINVAL));
        assert_eq!(Timeval { sec: 1, usec: 1 }.to_nanos(), Ok(1_000_001_000));
    }
}
