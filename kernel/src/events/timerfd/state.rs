// SPDX-License-Identifier: MPL-2.0

//! What a timer is set to, where it is on its way, and what it has counted.

use core::mem;

use readiness::{IoEvents, Readiness};

use crate::{
    prelude::*,
    time::{Clock, Deadline},
};

/// The clocks that a timer can be on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimerClock {
    /// `CLOCK_REALTIME`
    Realtime,
    /// `CLOCK_MONOTONIC`
    Monotonic,
    /// `CLOCK_BOOTTIME`
    Boottime,
    /// `CLOCK_REALTIME_ALARM`
    RealtimeAlarm,
    /// `CLOCK_BOOTTIME_ALARM`
    BoottimeAlarm,
}

impl TimerClock {
    /// # Errors
    /// `EINVAL` for other clocks.
    pub fn new(number: i32) -> Result<Self> {
        match number {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            7 => Ok(Self::Boottime),
            8 => Ok(Self::RealtimeAlarm),
            9 => Ok(Self::BoottimeAlarm),
            _ => Err(EINVAL),
        }
    }

    pub(super) fn number(self) -> i32 {
        match self {
            Self::Realtime => 0,
            Self::Monotonic => 1,
            Self::Boottime => 7,
            Self::RealtimeAlarm => 8,
            Self::BoottimeAlarm => 9,
        }
    }

    /// Whether it would wake a machine that sleeps, which takes `CAP_WAKE_ALARM`.
    pub fn is_alarm(self) -> bool {
        matches!(self, Self::RealtimeAlarm | Self::BoottimeAlarm)
    }

    fn is_settable(self) -> bool {
        matches!(self, Self::Realtime | Self::RealtimeAlarm)
    }

    /// The clock that a setting waits on. Relative times do not follow when the wall clock is set.
    fn base(self, is_absolute: bool) -> Clock {
        if self.is_settable() && is_absolute { Clock::Realtime } else { Clock::Monotonic }
    }
}

bitflags::bitflags! {
    /// The flags of `timerfd_settime(2)`.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct SetFlags: u32 {
        /// `TFD_TIMER_ABSTIME`
        const ABSOLUTE = 1;
        /// `TFD_TIMER_CANCEL_ON_SET`
        const CANCEL_ON_SET = 2;
    }
}

/// What a timer is set to, in nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Setting {
    /// The first expiration; 0 disarms. As an answer, the time left.
    pub value: u64,
    /// From one expiration to the next; 0 for one shot.
    pub interval: u64,
}

/// A timer.
pub(super) struct State {
    pub(super) clock: TimerClock,
    /// The clock on which `next` lies.
    pub(super) base: Clock,
    pub(super) phase: Phase,
    /// The expiration that the phase is about.
    pub(super) next: u64,
    pub(super) interval: u64,
    /// Expirations that nobody read yet.
    pub(super) ticks: u64,
    pub(super) flags: SetFlags,
    /// Whether setting the wall clock cancels.
    pub(super) watches_clock: bool,
    /// The wall clock was set, and nobody was told yet.
    pub(super) was_set: bool,
}

/// Where a timer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Disarmed, or gone off once and for all.
    Idle,
    /// On its way to `next`.
    Armed,
    /// `next` has passed and was counted.
    Expired,
}

/// Times end where Linux's do.
const LARGEST: u64 = i64::MAX as u64;

impl State {
    pub(super) fn new(clock: TimerClock) -> Self {
        Self {
            clock,
            base: Clock::Monotonic,
            phase: Phase::Idle,
            next: 0,
            interval: 0,
            ticks: 0,
            flags: SetFlags::empty(),
            watches_clock: false,
            was_set: false,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.phase == Phase::Armed && self.base.now() >= self.next
    }

    /// What it waits for.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        (self.phase == Phase::Armed).then(|| Deadline::at(self.base, self.next))
    }

    /// Counts the periods that passed since a periodic timer went off, and starts the next. Returns its end.
    pub(super) fn renew(&mut self) -> Option<Deadline> {
        if self.phase != Phase::Expired {
            return None;
        }
        // A timer of one shot rests for ever.
        let missed = self.base.now().saturating_sub(self.next).checked_div(self.interval)?;
        self.ticks = self.ticks.saturating_add(missed);
        self.next = self.next.saturating_add(self.interval.saturating_mul(missed + 1)).min(LARGEST);
        self.phase = Phase::Armed;
        self.deadline()
    }

    /// Time left and interval.
    pub(super) fn setting(&self) -> Setting {
        let left = if self.phase == Phase::Armed { self.next.saturating_sub(self.base.now()) } else { 0 };
        Setting { value: left, interval: self.interval }
    }

    /// Takes up a setting. Returns when it expires first.
    pub(super) fn set(&mut self, flags: SetFlags, setting: Setting) -> Option<Deadline> {
        let is_absolute = flags.contains(SetFlags::ABSOLUTE);
        self.base = self.clock.base(is_absolute);
        let start = if is_absolute { 0 } else { self.base.now() };
        self.next = start.saturating_add(setting.value).min(LARGEST);
        self.interval = setting.interval;
        self.phase = if setting.value == 0 { Phase::Idle } else { Phase::Armed };
        (self.ticks, self.flags) = (0, flags);
        self.watches_clock = self.clock.is_settable() && flags.contains(SetFlags::ABSOLUTE | SetFlags::CANCEL_ON_SET);
        self.deadline()
    }

    /// Whether the wall clock was set since the last question.
    pub(super) fn take_cancellation(&mut self) -> bool {
        self.watches_clock && mem::take(&mut self.was_set)
    }

    /// Takes the ticks. `None`: there are none. `ECANCELED`: they mean nothing, for the clock was set.
    pub(super) fn take(&mut self) -> (Option<Result<u64>>, Option<Deadline>) {
        if self.take_cancellation() {
            self.ticks = 0;
            self.rest();
            return (Some(Err(ECANCELED)), None);
        }
        let next = self.renew();
        self.rest();
        (Some(Ok(mem::take(&mut self.ticks))), next)
    }

    /// What has expired is done with.
    fn rest(&mut self) {
        if self.phase == Phase::Expired {
            self.phase = Phase::Idle;
        }
    }
}

impl Readiness for State {
    fn readiness(&self, _side: usize) -> IoEvents {
        if self.ticks > 0 { IoEvents::IN } else { IoEvents::empty() }
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::ktest;

    use super::*;

    fn expired(next: u64, interval: u64) -> State {
        State { phase: Phase::Expired, next, interval, ticks: 1, ..State::new(TimerClock::Monotonic) }
    }

    #[ktest]
    fn periods_are_counted_when_somebody_looks() {
        let now = Clock::Monotonic.now();
        let mut state = expired(now, u64::MAX);
        assert!(state.renew().is_some());
        assert_eq!((state.ticks, state.next, state.phase), (1, LARGEST, Phase::Armed));
        let mut once = expired(now, 0);
        assert_eq!((once.renew(), once.phase), (None, Phase::Expired));
        assert_eq!((once.take().0, once.phase, once.ticks), (Some(Ok(1)), Phase::Idle, 0));
    }

    #[ktest]
    fn a_clock_that_was_set_cancels_once() {
        let mut state = expired(0, 0);
        state.watches_clock = true;
        state.was_set = true;
        assert_eq!(state.take().0, Some(Err(ECANCELED)));
        assert_eq!((state.ticks, state.take_cancellation()), (0, false));
    }
}
