// SPDX-License-Identifier: MPL-2.0

//! Signals (`signal(7)`).
//!
//! # Role
//! - [`send`]: a signal becomes pending for a process or a thread, and a thread is asked to look.
//! - [`deliver`]: a thread on its way to its program takes what is pending: handlers, default actions, restarts of
//!   interrupted calls. [`frame`] and [`fpstate`] are what a handler finds on its stack.
//! - [`stop`]: job control. [`exception`]: faults of programs. [`timers`] and [`posix_timer`]: signals by time.
//!
//! # Protocol
//! `Work::SIGNAL` of a thread is set by whoever makes a signal pending that the thread does not block, and by the thread
//! itself when it unblocks one. It ends interruptible sleeps and makes the thread call [`handle_pending`], which clears it
//! first: nothing pending costs one load per return to user mode.
//!
//! # Invariants
//! 1. A pending signal that some thread of the process does not block has such a thread with `Work::SIGNAL` set.
//! 2. `SIGKILL` and `SIGSTOP` are in no mask and have no handler.

mod action;
mod altstack;
mod deliver;
mod exception;
mod fpstate;
mod frame;
mod info;
mod number;
pub mod numbers;
mod pending;
pub mod posix_timer;
mod report;
mod send;
mod state;
mod stop;
mod timers;

use self::state::restore_mask;
pub use self::{
    action::{Action, ActionFlags, Disposition, SIG_IGN},
    altstack::sigaltstack,
    deliver::{handle_pending, pending, pending_for, take},
    exception::handle_exception,
    frame::pop as sigreturn,
    info::{InfoLayout, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_TKILL, SI_USER, SigInfo, UserSigInfo},
    number::{DefaultAction, SigSet, Signal},
    report::sets,
    send::{
        force, info_from, is_ignored_or_blocked, send_to_group, send_to_group_by_kernel, send_to_process,
        send_to_process_by_kernel, send_to_thread,
    },
    state::{
        ProcessSignals, Restart, ThreadSignals, begin_temporary_mask, end_temporary_mask, mask, on_thread_exit,
        restart_with, set_mask,
    },
    stop::{ignores_children, is_killed, is_orphaned, notify_parent},
    timers::{Itimer, check_cpu_timers, itimer, set_itimer, watch_cpu_limit},
};
use crate::{
    prelude::*,
    process::{Process, Thread, Work},
};

/// The number of `SIGCHLD`, as `clone(2)` takes it.
pub const SIGCHLD: u32 = 17;

/// The least room for a signal frame, for `AT_MINSIGSTKSZ`: the frame, floating point state, red zone and alignment.
pub const MIN_STACK_SIZE: usize = 3632;

/// For the end of a process: its timers stop.
pub fn on_process_exit(process: &Arc<Process>) {
    process.signals.timers.stop_all();
}

/// For `execve(2)`, when the caller is the only thread left: handlers become defaults, the alternate stack and the timers of
/// `timer_create(2)` go. Mask and pending signals stay.
pub fn on_exec(ctx: &Context) {
    ctx.process.signals.unshare_and_reset();
    ctx.process.signals.timers.posix.delete_all();
    let mut own = ctx.thread.signals.own.lock();
    own.alt_stack = altstack::AltStack::default();
    let restart = own.restart.take();
    drop(own);
    drop(restart);
}

/// Takes how the interrupted call goes on, for `restart_syscall(2)`.
pub fn take_restart(ctx: &Context) -> Option<Restart> {
    ctx.thread.signals.own.lock().restart.take()
}

/// Says which blocked signals the caller waits for, so that one of them ends its sleep; empty when the wait is over.
pub fn set_awaited(ctx: &Context, set: SigSet) {
    ctx.thread.signals.set_awaited(set);
}

/// Lets a program's action for `signal` take effect, and forgets pending signals that are now ignored (POSIX 2.4.3).
pub fn set_action(ctx: &Context, signal: Signal, action: Action) {
    ctx.process.signals.actions().set(signal, action);
    if !action.ignores(signal) {
        return;
    }
    let set = SigSet::of(signal);
    let mut shared = ctx.process.signals.shared.lock();
    let mut dropped = shared.pending.discard(set);
    dropped += ctx
        .process
        .with_threads(|threads| threads.iter().map(|thread| thread.signals.pending.lock().discard(set)).sum::<usize>());
    ctx.process.signals.forget(dropped);
}

/// For the tick: lets the thread that it interrupted look after the CPU timers of its process.
pub fn on_tick(thread: &Thread) {
    if thread.process.signals.timers.has_cpu_timers() {
        thread.request_self(Work::CPU_TIME);
    }
}
