// SPDX-License-Identifier: MPL-2.0

//! Timers as files (`timerfd_create(2)`).
//!
//! # Protocol
//! As on Linux a timer that went off rests until somebody takes note by a read, `timerfd_gettime(2)` or a new setting: only
//! then are the periods counted that passed meanwhile, and the next one is waited for. So a periodic timer that nobody
//! reads costs one interrupt, and is one edge for an edge-triggered epoll.
//!
//! The kernel's timer may come a tick late while all CPUs are busy. Reads do not depend on that: they look at the clock
//! themselves. [`Pollable::poll`] does not: an expiration that was noticed while an epoll asks would be a second edge.
//!
//! # Invariants
//! 1. While the phase is [`Phase::Armed`], the kernel's timer is armed or about to call back. It may be in other phases: then nothing
//!    is due when it does.
//! 2. In phase [`Phase::Expired`] there are ticks to read.
//! 3. The observer of the wall clock is registered exactly while `watches_clock` is set.
//!
//! # Concurrency
//! `source` is taken before the tracked state, both with IRQs disabled. The callback takes the state only, so arming and
//! cancelling under `source` is safe. It may come too late for a setting that was replaced: then nothing is due.

use core::mem;

use readiness::{
    Claim, InTurn, IoEvents, Mode, Observer, Pollable, Pollee, Readiness, Registration, Timeout, Tracked, WaitError,
};

use crate::{
    file::{AccessMode, Description, File, IoDst, StatusFlags},
    fs::{AnonInode, Inode},
    prelude::*,
    time::{Clock, Deadline, NANOS_PER_SEC, Timer, clock},
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

    fn number(self) -> i32 {
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

/// A timer as a file.
pub struct TimerFile {
    shared: Arc<Shared>,
    source: SpinLock<Source, LocalIrqDisabled>,
}

/// Where a timer hears from that something happened.
struct Source {
    timer: Timer,
    /// At [`clock::settings`], with `CANCEL_ON_SET`.
    watch: Option<Registration>,
}

/// What callbacks share with the file.
struct Shared {
    state: Tracked<State>,
}

struct State {
    clock: TimerClock,
    /// The clock on which `next` lies.
    base: Clock,
    phase: Phase,
    /// The expiration that the phase is about.
    next: u64,
    interval: u64,
    /// Expirations that nobody read yet.
    ticks: u64,
    flags: SetFlags,
    /// Whether setting the wall clock cancels.
    watches_clock: bool,
    /// The wall clock was set, and nobody was told yet.
    was_set: bool,
}

/// Where a timer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
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
    fn new(clock: TimerClock) -> Self {
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

    fn is_due(&self) -> bool {
        self.phase == Phase::Armed && self.base.now() >= self.next
    }

    /// What it waits for.
    fn deadline(&self) -> Option<Deadline> {
        (self.phase == Phase::Armed).then(|| Deadline::at(self.base, self.next))
    }

    /// Counts the periods that passed since a periodic timer went off, and starts the next. Returns its end.
    fn renew(&mut self) -> Option<Deadline> {
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
    fn setting(&self) -> Setting {
        let left = if self.phase == Phase::Armed { self.next.saturating_sub(self.base.now()) } else { 0 };
        Setting { value: left, interval: self.interval }
    }

    /// Takes up a setting. Returns when it expires first.
    fn set(&mut self, flags: SetFlags, setting: Setting) -> Option<Deadline> {
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
    fn take_cancellation(&mut self) -> bool {
        self.watches_clock && mem::take(&mut self.was_set)
    }

    /// Takes the ticks. `None`: there are none. `ECANCELED`: they mean nothing, for the clock was set.
    fn take(&mut self) -> (Option<Result<u64>>, Option<Deadline>) {
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

impl Shared {
    /// Counts the expiration if it is time.
    fn expire(&self) {
        self.state.update(|state| {
            if state.is_due() {
                state.phase = Phase::Expired;
                state.ticks = state.ticks.saturating_add(1);
                state.notify(0, IoEvents::IN);
            }
        });
    }
}

/// The wall clock was set. Mirrors `timerfd_clock_was_set`.
impl Observer for Shared {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        self.state.update(|state| {
            if state.watches_clock {
                state.was_set = true;
                state.ticks = state.ticks.saturating_add(1);
                state.notify(0, IoEvents::IN);
            }
        });
        Claim::NotTaken
    }
}

impl TimerFile {
    /// The description that `timerfd_create(2)` makes.
    pub fn open(clock: TimerClock, status: StatusFlags) -> Arc<Description> {
        let shared = Arc::new(Shared { state: Tracked::new(State::new(clock)) });
        let called = shared.clone();
        let timer = Timer::new(move || {
            called.expire();
            // Not due after all: the wall clock was set back meanwhile.
            called.state.read(State::deadline)
        });
        let source = SpinLock::new(Source { timer, watch: None });
        Description::new(Self { shared, source }, AccessMode::READ | AccessMode::WRITE, status)
    }

    /// The clock it is on.
    pub fn clock(&self) -> TimerClock {
        self.shared.state.read(|state| state.clock)
    }

    /// Sets the timer (`timerfd_settime(2)`). The answer is the setting before.
    ///
    /// # Errors
    /// `ECANCELED` if the wall clock was set and nobody has heard of it; the setting is in force all the same.
    pub fn set(&self, flags: SetFlags, setting: Setting) -> Result<Setting> {
        let (old, is_cancelled) = {
            let mut source = self.source.lock();
            source.timer.cancel();
            let (old, next, is_cancelled) = self.shared.state.update(|state| {
                state.renew();
                let old = state.setting();
                let next = state.set(flags, setting);
                let is_cancelled = next.is_some() && state.take_cancellation();
                state.notify_nothing();
                (old, next, is_cancelled)
            });
            self.watch_clock(&mut source);
            if let Some(next) = next {
                source.timer.arm(next);
            }
            (old, is_cancelled)
        };
        // What lies in the past has expired.
        self.shared.expire();
        if is_cancelled { Err(ECANCELED) } else { Ok(old) }
    }

    /// Registers at the wall clock, or no longer, as the setting has it.
    fn watch_clock(&self, source: &mut Source) {
        let wanted = self.shared.state.read(|state| state.watches_clock);
        if wanted && source.watch.is_none() {
            source.watch = Some(clock::settings().register(self.shared.clone(), IoEvents::IN, Mode::Shared));
        } else if !wanted && let Some(watch) = source.watch.take() {
            clock::settings().deregister(watch);
        }
    }

    /// Time left and interval (`timerfd_gettime(2)`).
    pub fn setting(&self) -> Setting {
        self.shared.expire();
        let mut source = self.source.lock();
        let (setting, next) = self.shared.state.update(|state| {
            let next = if state.phase == Phase::Expired { state.renew() } else { None };
            state.notify_nothing();
            (state.setting(), next)
        });
        if let Some(next) = next {
            source.timer.arm(next);
        }
        setting
    }

    /// Takes the ticks, and starts the next period. `None`: there are none.
    fn take(&self) -> Option<Result<u64>> {
        self.shared.expire();
        if self.shared.state.read(|state| state.ticks == 0) {
            return None;
        }
        let mut source = self.source.lock();
        let (taken, next) = self.shared.state.update(|state| {
            if state.ticks == 0 {
                return (None, None); // Somebody was faster.
            }
            state.notify_nothing();
            state.take()
        });
        if let Some(next) = next {
            source.timer.arm(next);
        }
        taken
    }

    /// `TFD_IOC_SET_TICKS`, by which a program that was frozen gets its ticks back.
    ///
    /// # Errors
    /// `EINVAL` for zero; `ECANCELED` as for a read.
    fn set_ticks(&self, ticks: u64) -> Result<()> {
        if ticks == 0 {
            return Err(EINVAL);
        }
        self.shared.state.update(|state| {
            if state.watches_clock && state.was_set {
                state.was_set = false;
                state.notify_nothing();
                return Err(ECANCELED);
            }
            state.ticks = ticks;
            state.notify(0, IoEvents::IN);
            Ok(())
        })
    }
}

impl Drop for TimerFile {
    fn drop(&mut self) {
        let watch = self.source.lock().watch.take();
        if let Some(watch) = watch {
            clock::settings().deregister(watch);
        }
    }
}

impl Pollable for TimerFile {
    fn pollee(&self) -> &Pollee {
        self.shared.state.pollee(0)
    }

    fn readiness(&self) -> IoEvents {
        self.shared.state.readiness(0)
    }
}

impl File for TimerFile {
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        if dst.avail() < size_of::<u64>() {
            return Err(EINVAL);
        }
        let is_nonblocking = status.contains(StatusFlags::NONBLOCK);
        let timeout = if is_nonblocking { Timeout::Now } else { Timeout::Never };
        let waited = ctx.wait(&InTurn(self, IoEvents::IN), timeout, || self.take());
        let ticks = waited.map_err(|error| match error {
            WaitError::TimedOut => EAGAIN,
            WaitError::Interrupted => ERESTARTSYS,
        })??;
        // As on Linux, what was taken is lost if it cannot be copied out.
        dst.write_val(&ticks)?;
        Ok(size_of::<u64>())
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        AnonInode::shared()
    }

    fn name(&self) -> Vec<u8> {
        b"anon_inode:[timerfd]".to_vec()
    }

    fn ignores_lseek(&self) -> bool {
        true
    }

    fn fdinfo(&self, out: &mut String) {
        let (clock, ticks, flags, setting) = self.shared.state.read(|state| {
            let setting = state.setting();
            (state.clock.number(), state.ticks, state.flags.bits(), setting)
        });
        let split = |nanos: u64| (nanos / NANOS_PER_SEC, nanos % NANOS_PER_SEC);
        let ((seconds, nanos), (every_seconds, every_nanos)) = (split(setting.value), split(setting.interval));
        *out += &alloc::format!(
            "clockid: {clock}\nticks: {ticks}\nsettime flags: 0{flags:o}\n\
             it_value: ({seconds}, {nanos})\nit_interval: ({every_seconds}, {every_nanos})\n"
        );
    }

    fn ioctl(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        const TFD_IOC_SET_TICKS: u32 = 0x4008_5400;
        match command {
            TFD_IOC_SET_TICKS => self.set_ticks(ctx.read_val(argument)?).map(|()| 0),
            _ => Err(ENOTTY),
        }
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
