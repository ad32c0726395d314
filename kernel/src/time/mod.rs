// SPDX-License-Identifier: MPL-2.0

//! Time: clocks, timers, and the one way in which a thread sleeps.
//!
//! # Role
//! - [`clock`] reads the time-stamp counter and turns it into nanoseconds since boot or since 1970.
//! - [`deadline`] is a point on one of those two clocks; every wait of the kernel has at most one.
//! - [`timer`] calls something back when a deadline has passed, from the tick or from an idle CPU.
//! - [`parker`] puts the calling thread to sleep until a wake-up, a deadline or a signal.
//! - [`types`] are the structures that programs see.
//! - [`vdso`] lets programs read the clocks by themselves.
//!
//! Programs' own timers (`setitimer(2)`, `timer_create(2)`) send signals and are part of [`crate::signal`].

pub mod clock;
pub mod clock_id;
pub mod cpu_time;
mod deadline;
mod heap;
pub mod parker;
mod rtc;
pub mod timer;
pub mod types;
pub mod vdso;

pub use self::{
    clock::{now_monotonic, now_realtime},
    deadline::{Clock, Deadline},
    parker::ThreadParker,
    timer::Timer,
};

/// Nanoseconds of a second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Nanoseconds from one tick of the timer interrupt to the next.
pub const TICK_NANOS: u64 = NANOS_PER_SEC / ostd::timer::TIMER_FREQ;

/// Starts the clocks. Call once, on the boot CPU, before the first thread and before [`init_on_cpu`].
pub fn init() {
    clock::init();
    vdso::init(&clock::parameters());
    timer::init();
    cpu_time::init();
}

/// Starts timers and the accounting of CPU time on this CPU. Every CPU calls this once.
pub fn init_on_cpu() {
    ostd::timer::register_callback_on_cpu(|| {
        timer::on_tick();
        cpu_time::on_tick();
    });
}

/// What an idle CPU does instead of halting: watches timers that are due before the next tick.
///
/// Returns whether there was such a timer; if not, the CPU may halt until the next interrupt. Call it in a loop that gives
/// way to ready tasks.
pub fn poll_while_idle() -> bool {
    timer::poll_while_idle()
}
