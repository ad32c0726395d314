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

mod state;

use readiness::{Claim, InTurn, IoEvents, Mode, Observer, Pollable, Pollee, Registration, Timeout, Tracked, WaitError};

use self::state::{Phase, State};
pub use self::state::{SetFlags, Setting, TimerClock};
use crate::{
    file::{AccessMode, Description, File, IoDst, StatusFlags},
    fs::{AnonInode, Inode},
    prelude::*,
    time::{NANOS_PER_SEC, Timer, clock},
};

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
