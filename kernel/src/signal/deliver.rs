// SPDX-License-Identifier: MPL-2.0

//! Delivering signals: what a thread does before it returns to its program.
//!
//! # Protocol
//! [`handle_pending`] takes deliverable signals one by one. Each handler gets a frame on the stack, so that the last one
//! taken runs first and returns into the one before. A system call that was interrupted is decided on by the first
//! handler, or, if there was none, restarted (`signal(7)`, "Interruption of system calls").

use ostd::arch::cpu::context::UserContext;

use super::{
    Action, ActionFlags, DefaultAction, Disposition, SigInfo, SigSet, Signal, force, frame, restore_mask, stop,
};
use crate::{
    prelude::*,
    process::{ExitStatus, Resource, Thread, Work},
};

/// Length of the `syscall` instruction.
const SYSCALL_LEN: usize = 2;

/// Delivers what is pending, stops the thread if its process is stopped, and settles an interrupted system call. Called when
/// [`Work::SIGNAL`] is set.
pub fn handle_pending(ctx: &Context, regs: &mut UserContext) {
    let mut call = ctx.local.take_interrupted_call();
    ctx.thread.clear_work(Work::SIGNAL);
    loop {
        stop::wait_while_stopped(ctx);
        if ctx.thread.is_requested(Work::EXIT) {
            return;
        }
        let Some(info) = take(ctx, !ctx.thread.signals.mask()) else {
            break;
        };
        if crate::trace::is_on() {
            crate::trace::signal(ctx, &info);
        }
        match ctx.process.signals.actions().deliver(info.signal()) {
            Disposition::Ignore => {}
            Disposition::Default(action) => take_default_action(ctx, info.signal(), action),
            Disposition::Handle(action) => {
                if let Some(number) = call.take() {
                    settle_before_handler(regs, number, &action);
                }
                run_handler(ctx, regs, info, &action);
            }
        }
    }
    if let Some(number) = call {
        restart_call(regs, number);
    }
    restore_mask(ctx);
}

/// Takes a pending signal of `wanted`: a fault of the thread's own, then its other signals, then those of the process.
pub fn take(ctx: &Context, wanted: SigSet) -> Option<SigInfo> {
    let signals = &ctx.process.signals;
    let mut shared = signals.shared.lock();
    let mut own = ctx.thread.signals.pending.lock();
    let queued = own.len() + shared.pending.len();
    let taken = own.take_synchronous(wanted).or_else(|| own.take(wanted)).or_else(|| shared.pending.take(wanted));
    signals.forget(queued - own.len() - shared.pending.len());
    shared.is_stop_coming |= taken.is_some_and(|info| info.signal().is_stop());
    drop(own);
    drop(shared);
    let mut info = taken?;
    signals.timers.on_taken(&mut info);
    Some(info)
}

/// Signals pending for the caller or its process (`sigpending(2)`).
pub fn pending(ctx: &Context) -> SigSet {
    pending_for(&ctx.thread)
}

/// Signals pending for a thread or its process: what it can read from a `signalfd`.
pub fn pending_for(thread: &Thread) -> SigSet {
    let shared = thread.process.signals.shared.lock();
    shared.pending.set() | thread.signals.pending()
}

fn take_default_action(ctx: &Context, signal: Signal, action: DefaultAction) {
    // The first process has no defaults but for faults of its own, which end the system.
    let is_fault = SigSet::SYNCHRONOUS.contains(signal);
    if ctx.process.pid == 1 && !is_fault {
        return;
    }
    match action {
        DefaultAction::Ignore | DefaultAction::Continue => {}
        DefaultAction::Stop => stop::stop(ctx, signal),
        DefaultAction::Terminate => terminate(ctx, signal, false),
        DefaultAction::Core => {
            terminate(ctx, signal, ctx.process.limits.soft(Resource::Core) > 0);
        }
    }
}

fn terminate(ctx: &Context, signal: Signal, core: bool) {
    ctx.process.begin_exit(ExitStatus::Signaled { signal: signal.number(), core });
}

/// Lets the program continue in its handler.
fn run_handler(ctx: &Context, regs: &mut UserContext, info: SigInfo, action: &Action) {
    let signal = info.signal();
    let current = ctx.thread.signals.mask();
    let saved = ctx.thread.signals.own.lock().saved_mask.take();
    if frame::push(ctx, regs, &info, action, saved.unwrap_or(current)).is_err() {
        return force_segv(ctx, signal);
    }
    let itself = if action.flags().contains(ActionFlags::NODEFER) { SigSet::EMPTY } else { SigSet::of(signal) };
    super::set_mask(ctx, current | action.mask | itself);
}

/// A frame could not be written or read. Mirrors `force_sigsegv`: a second failure is not survived.
pub(super) fn force_segv(ctx: &Context, failed: Signal) {
    if failed == Signal::SEGV {
        ctx.process.signals.actions().set(Signal::SEGV, Action::default());
    }
    force(ctx, SigInfo::kernel(Signal::SEGV));
}

/// A handler is about to run: `EINTR`, or a restart after it.
fn settle_before_handler(regs: &mut UserContext, number: usize, action: &Action) {
    let restarts = match interruption(regs) {
        Some(ERESTARTNOINTR) => true,
        Some(ERESTARTSYS) => action.flags().contains(ActionFlags::RESTART),
        Some(_) => false,
        None => return,
    };
    if restarts {
        repeat_with(regs, number);
    } else {
        regs.set_rax((EINTR as isize).wrapping_neg().cast_unsigned());
    }
}

/// No handler ran: the call is made again as if nothing had happened.
fn restart_call(regs: &mut UserContext, number: usize) {
    match interruption(regs) {
        Some(ERESTART_RESTARTBLOCK) => repeat_with(regs, syscalls::Sysno::restart_syscall.id() as usize),
        Some(_) => repeat_with(regs, number),
        None => {}
    }
}

fn repeat_with(regs: &mut UserContext, number: usize) {
    regs.set_rax(number);
    regs.set_rip(regs.rip().wrapping_sub(SYSCALL_LEN));
}

/// The restart error in `rax`, if it is one.
fn interruption(regs: &UserContext) -> Option<Errno> {
    let value = regs.rax().cast_signed().wrapping_neg();
    [ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK]
        .into_iter()
        .find(|errno| *errno as isize == value)
}
