// SPDX-License-Identifier: MPL-2.0

//! The clocks: monotonic time from the time-stamp counter (TSC), wall-clock time as an offset to it.
//!
//! # Protocol
//! [`init`] fixes the TSC value that means "boot" and the factor from cycles to nanoseconds, a fixed-point number with
//! [`SHIFT`] fraction bits: a reading costs one `rdtsc`, one multiplication and one shift. The wall clock is read once from
//! the CMOS at boot; `clock_settime(2)` changes only the offset.
//!
//! # Invariants
//! 1. Monotonic time never goes back on one CPU, because the TSC does not; machines whose CPUs disagree about the TSC are
//!    not supported (OSTD already relies on the same for its deadline timer).
//! 2. The factor is rounded down, so a computed duration is never longer than the real one by more than the calibration
//!    error of OSTD's TSC frequency.
//!
//! # Concurrency
//! `BASE` and `FACTOR` are written before the first thread runs. The offset is one atomic word; who sets it holds `SETTING`, so
//! that the copy that programs read ([`vdso`]) is of the same setting.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use ostd::arch::{read_tsc, tsc_freq};
use readiness::{IoEvents, Pollee};
use spin::Once;

use super::{NANOS_PER_SEC, TICK_NANOS, rtc, timer, vdso};
use crate::prelude::*;

/// Fraction bits of [`FACTOR`].
const SHIFT: u32 = 32;

static BASE: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per cycle, as a fixed-point number.
static FACTOR: AtomicU64 = AtomicU64::new(0);
/// Wall-clock time minus monotonic time, in nanoseconds.
static REALTIME_OFFSET: AtomicI64 = AtomicI64::new(0);
/// Held while the wall clock is set.
static SETTING: SpinLock<()> = SpinLock::new(());

/// Starts monotonic time at 0 and reads the wall clock.
pub(super) fn init() {
    let frequency = tsc_freq().max(1);
    BASE.store(read_tsc(), Relaxed);
    FACTOR.store((NANOS_PER_SEC << SHIFT) / frequency, Relaxed);
    let offset = rtc::read_unix_seconds().unwrap_or(0).saturating_mul(NANOS_PER_SEC as i64);
    REALTIME_OFFSET.store(offset.saturating_sub(now_monotonic() as i64), Relaxed);
}

/// What programs need to compute the time by themselves.
pub(super) fn parameters() -> vdso::Parameters {
    vdso::Parameters {
        base: BASE.load(Relaxed),
        factor: FACTOR.load(Relaxed),
        realtime_offset: REALTIME_OFFSET.load(Relaxed),
    }
}

/// Nanoseconds that `cycles` of the TSC take.
pub fn cycles_to_nanos(cycles: u64) -> u64 {
    // 2^32 times a nanosecond fits for 584 years of cycles.
    ((u128::from(cycles) * u128::from(FACTOR.load(Relaxed))) >> SHIFT) as u64
}

/// `CLOCK_MONOTONIC`: nanoseconds since boot. As the machine is never suspended, `CLOCK_BOOTTIME` is the same.
pub fn now_monotonic() -> u64 {
    cycles_to_nanos(read_tsc().saturating_sub(BASE.load(Relaxed)))
}

/// `CLOCK_REALTIME`: nanoseconds since 1970-01-01 00:00 UTC. `CLOCK_TAI` is the same: nobody tells us of leap seconds.
pub fn now_realtime() -> u64 {
    monotonic_to_realtime(now_monotonic())
}

/// `CLOCK_MONOTONIC_COARSE`: the time of the last tick.
pub fn now_monotonic_coarse() -> u64 {
    let now = now_monotonic();
    now - now % TICK_NANOS
}

/// `CLOCK_REALTIME_COARSE`: the wall-clock time of the last tick.
pub fn now_realtime_coarse() -> u64 {
    monotonic_to_realtime(now_monotonic_coarse())
}

/// The wall-clock time at a monotonic time, as the clock is set now.
pub fn monotonic_to_realtime(nanos: u64) -> u64 {
    nanos.saturating_add_signed(REALTIME_OFFSET.load(Relaxed))
}

/// The monotonic time at a wall-clock time, as the clock is set now; 0 if that was before boot.
pub fn realtime_to_monotonic(nanos: u64) -> u64 {
    nanos.saturating_sub_signed_or_zero(REALTIME_OFFSET.load(Relaxed))
}

/// Sets the wall clock, as `clock_settime(2)` does, and lets timers on it look again.
pub fn set_realtime(nanos: u64) {
    let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
    {
        let _setting = SETTING.lock();
        let offset = nanos.saturating_sub(now_monotonic() as i64);
        REALTIME_OFFSET.store(offset, Relaxed);
        vdso::set_realtime_offset(offset);
    }
    timer::wall_clock_changed();
    let _ = settings().notify(IoEvents::IN);
}

/// Notified whenever the wall clock is set.
pub fn settings() -> &'static Pollee {
    static SETTINGS: Once<Pollee> = Once::new();
    SETTINGS.call_once(Pollee::new)
}

/// The subtraction of a signed number that stops at 0 and at `u64::MAX`.
trait SaturatingSubSigned {
    fn saturating_sub_signed_or_zero(self, other: i64) -> u64;
}

impl SaturatingSubSigned for u64 {
    fn saturating_sub_signed_or_zero(self, other: i64) -> u64 {
        if other >= 0 { self.saturating_sub(other.unsigned_abs()) } else { self.saturating_add(other.unsigned_abs()) }
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn monotonic_time_goes_on() {
        // ktests run without the kernel's own start-up.
        init();
        let before = now_monotonic();
        while now_monotonic() < before + 1000 {}
        assert!(now_realtime() > now_monotonic());
    }

    #[ktest]
    fn wall_clock_conversion_is_reversible() {
        let now = now_monotonic();
        assert_eq!(realtime_to_monotonic(monotonic_to_realtime(now)), now);
        assert_eq!(realtime_to_monotonic(0), 0);
    }
}
