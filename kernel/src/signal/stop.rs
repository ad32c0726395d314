// SPDX-License-Identifier: MPL-2.0

//! Job control: stopping and continuing whole processes.
//!
//! # Protocol
//! The thread that takes a stop signal sets [`Stop`] and asks the others to look; each then sleeps in
//! [`wait_while_stopped`]. The last one to stop tells the parent. `SIGCONT` takes the stop away when it is *sent* and wakes all;
//! the first to run again tells the parent.

use readiness::IoEvents;

use super::{ActionFlags, SigInfo, SigSet, Signal, send_to_process, state::Stop};
use crate::{
    prelude::*,
    process::{ChildEvent, Pid, Process, Thread, Work, table},
    time::types::CLOCK_TICK_NANOS,
};

/// Stops the process. Signals of terminals leave orphaned process groups alone (POSIX 11.1.4): nobody could continue them.
pub(super) fn stop(ctx: &Context, signal: Signal) {
    if signal != Signal::STOP && is_orphaned(ctx.process.group()) {
        return;
    }
    let mut shared = ctx.process.signals.shared.lock();
    // A SIGCONT that came since the signal was taken has won (Linux's `JOBCTL_STOP_DEQUEUED`).
    let is_moot = !shared.is_stop_coming || shared.stop.is_some();
    if !is_moot {
        shared.stop = Some(Stop { signal: signal.number(), stopped: 0, is_reported: false });
        ctx.process.with_threads(|threads| {
            let others = threads.iter().filter(|thread| !Arc::ptr_eq(thread, &ctx.thread));
            others.for_each(|thread| thread.request(Work::SIGNAL));
        });
    }
    drop(shared);
    wait_while_stopped(ctx);
}

/// Sleeps while the process is stopped. `SIGKILL` and the end of the process go through.
pub(super) fn wait_while_stopped(ctx: &Context) {
    if !enter_stop(ctx) {
        return tell_of_continuation(ctx);
    }
    report_if_complete(ctx);
    ctx.wait_whatever_comes(|| (!is_stopped(ctx)).then_some(()));
    tell_of_continuation(ctx);
}

fn enter_stop(ctx: &Context) -> bool {
    let mut shared = ctx.process.signals.shared.lock();
    if has_kill(&ctx.thread, shared.pending.set()) {
        return false;
    }
    shared.stop.as_mut().map(|stop| stop.stopped += 1).is_some()
}

fn is_stopped(ctx: &Context) -> bool {
    let mut shared = ctx.process.signals.shared.lock();
    let is_killed = has_kill(&ctx.thread, shared.pending.set());
    if let Some(stop) = &mut shared.stop
        && is_killed
    {
        stop.stopped = stop.stopped.saturating_sub(1);
    }
    shared.stop.is_some() && !is_killed
}

/// Whether the thread is about to end.
pub fn is_killed(thread: &Thread) -> bool {
    let shared = thread.process.signals.shared.lock().pending.set();
    has_kill(thread, shared)
}

fn has_kill(thread: &Thread, shared: SigSet) -> bool {
    let own = thread.signals.pending();
    thread.is_requested(Work::EXIT) || (shared | own).contains(Signal::KILL)
}

/// Tells the parent once all threads have stopped.
fn report_if_complete(ctx: &Context) {
    let mut shared = ctx.process.signals.shared.lock();
    let threads = ctx.process.with_threads(|threads| threads.len());
    let Some(stop) = shared.stop.as_mut().filter(|stop| !stop.is_reported && stop.stopped >= threads) else {
        return;
    };
    stop.is_reported = true;
    let signal = stop.signal;
    drop(shared);
    if ctx.process.mark_stopped(signal) {
        tell_parent(&ctx.process, ChildEvent::Stopped(signal));
    }
}

/// A thread that ends may have been the only one that had not stopped. Called when it is no longer in the thread list or is
/// about to leave it.
pub(super) fn on_thread_exit(ctx: &Context) {
    let has_stop = ctx.process.signals.shared.lock().stop.as_mut().map(|stop| stop.stopped += 1);
    if has_stop.is_some() {
        report_if_complete(ctx);
        // The thread leaves the list: from now on the count is about the others.
        if let Some(stop) = &mut ctx.process.signals.shared.lock().stop {
            stop.stopped = stop.stopped.saturating_sub(1);
        }
    }
}

fn tell_of_continuation(ctx: &Context) {
    let has_continued = core::mem::take(&mut ctx.process.signals.shared.lock().has_continued);
    if has_continued && ctx.process.mark_continued() {
        tell_parent(&ctx.process, ChildEvent::Continued);
    }
}

fn tell_parent(process: &Arc<Process>, event: ChildEvent) {
    if let Some(parent) = process.parent() {
        notify_parent(&parent, process, event);
        let _ = parent.child_events.notify(IoEvents::IN);
    }
}

/// Tells the parent by a signal what its child did: the child's exit signal when it ended, `SIGCHLD` when it stopped or
/// continued, unless `SA_NOCLDSTOP` says not to.
pub fn notify_parent(parent: &Arc<Process>, child: &Arc<Process>, event: ChildEvent) {
    let is_end = matches!(event, ChildEvent::Exited(_));
    let action = parent.signals.actions().get(Signal::CHLD);
    if !is_end && action.flags().contains(ActionFlags::NOCLDSTOP) {
        return;
    }
    let number = if is_end { child.exit_signal() } else { super::SIGCHLD };
    let Ok(signal) = Signal::new(i32::try_from(number).unwrap_or(0)) else {
        return; // No exit signal.
    };
    let usage = child.usage();
    let times = [usage.user, usage.system].map(|nanos| nanos / CLOCK_TICK_NANOS);
    let info = SigInfo::child(signal, child, child.uid(), event, times);
    // SIGCHLD from the kernel always finds room.
    let _ = send_to_process(parent, info);
}

/// Whether children of `parent` reap themselves: it ignores `SIGCHLD` or has `SA_NOCLDWAIT`.
pub fn ignores_children(parent: &Arc<Process>) -> bool {
    let action = parent.signals.actions().get(Signal::CHLD);
    action.handler == super::action::SIG_IGN || action.flags().contains(ActionFlags::NOCLDWAIT)
}

/// Whether no member of the group has a parent in another group of the same session.
pub fn is_orphaned(group: Pid) -> bool {
    let table = table::lock();
    let mut members = table.members_of_group(group);
    !members.any(|member| {
        let Some(parent) = table.process(member.parent_pid()) else {
            return false;
        };
        !member.is_zombie() && parent.group() != group && parent.session() == member.session()
    })
}
