// SPDX-License-Identifier: MPL-2.0

//! Sending signals.
//!
//! # Protocol
//! All senders end in [`send`]: effects that happen at once (`SIGCONT` continues, stop signals take back `SIGCONT`), then
//! the signal is dropped if it would have no effect, else it becomes pending, and a thread that accepts it is asked to look.
//! Mirrors `__send_signal_locked` and `complete_signal`.
//!
//! # Concurrency
//! Callable in any context. The thread is asked under the process's lock, so that no reference to it is needed, which might
//! turn out to be the last one in an interrupt; the scheduler's locks are leaves below ours.

use readiness::IoEvents;

use super::{
    SI_KERNEL, SI_QUEUE, SI_TIMER, SI_USER, SigInfo, SigSet, Signal,
    pending::Pushed,
    state::{ProcessSignals, Shared},
};
use crate::{
    prelude::*,
    process::{Pid, Process, Resource, Thread, Tid, Work, table},
};

/// Who is to get a signal.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// Any thread of the process.
    Process,
    /// This thread.
    Thread(&'a Thread),
    /// The thread of the process with this number, if it still exists.
    Tid(Tid),
}

/// Sends a signal to a process: any thread that does not block it takes it.
///
/// # Errors
/// `EAGAIN` if the signal would have to queue and `RLIMIT_SIGPENDING` is reached.
pub fn send_to_process(process: &Process, info: SigInfo) -> Result<()> {
    send(process, Target::Process, info)
}

/// Sends a signal to one thread.
///
/// # Errors
/// `EAGAIN` as for [`send_to_process`].
pub fn send_to_thread(thread: &Thread, info: SigInfo) -> Result<()> {
    send(&thread.process, Target::Thread(thread), info)
}

/// Sends a signal to all processes of a group, as a terminal does. Returns their number.
pub fn send_to_group(group: Pid, info: SigInfo) -> usize {
    let members = table::group(group);
    for process in &members {
        // The kernel's signals need no room in a queue.
        let _ = send_to_process(process, info);
    }
    members.len()
}

/// Sends a signal to the thread of a process with number `tid`; nothing happens if it has ended.
pub(super) fn send_to_tid(process: &Process, tid: Tid, info: SigInfo) -> Result<()> {
    send(process, Target::Tid(tid), info)
}

fn send(process: &Process, target: Target<'_>, info: SigInfo) -> Result<()> {
    let limit = queue_limit(process, &info);
    let mut shared = process.signals.shared.lock();
    let is_new = process.with_threads(|threads| -> Result<bool> {
        let target = match target {
            Target::Tid(tid) => match threads.iter().find(|thread| thread.tid() == tid) {
                Some(thread) => Target::Thread(thread),
                None => return Ok(false),
            },
            other => other,
        };
        apply_at_once(&process.signals, &mut shared, threads, info.signal());
        if is_ignored(process, target, threads, &info) {
            return Ok(false);
        }
        let is_new = push(&process.signals, &mut shared, target, info, limit)?;
        if is_new {
            ask(target, threads, &info);
        }
        Ok(is_new)
    })?;
    drop(shared);
    if is_new {
        let _ = process.signals.arrivals.notify(IoEvents::IN);
    }
    Ok(())
}

/// How many entries the queues may have for this signal to get one. Standard signals from the kernel and from `kill(2)`
/// always get one, and a timer has reserved it.
fn queue_limit(process: &Process, info: &SigInfo) -> u64 {
    let is_standard = !info.signal().is_realtime() && info.code >= SI_USER;
    if is_standard || info.code == SI_TIMER || info.code == SI_KERNEL {
        u64::MAX
    } else {
        process.limits.soft(Resource::Sigpending)
    }
}

/// What a signal does before anybody takes it.
fn apply_at_once(signals: &ProcessSignals, shared: &mut Shared, threads: &[Arc<Thread>], signal: Signal) {
    let revoked = match signal {
        Signal::CONT => SigSet::STOPS,
        _ if signal.is_stop() => SigSet::of(Signal::CONT),
        _ => return,
    };
    let mut dropped = shared.pending.discard(revoked);
    for thread in threads {
        dropped += thread.signals.pending.lock().discard(revoked);
    }
    signals.forget(dropped);
    if signal != Signal::CONT {
        return;
    }
    shared.is_stop_coming = false;
    // Only who is stopped has to be woken: a signal that nobody handles must not end the sleeps of a process that runs.
    if let Some(stop) = shared.stop.take() {
        shared.has_continued = stop.is_reported;
        threads.iter().for_each(|thread| thread.request(Work::SIGNAL));
    }
}

/// Whether the signal would have no effect. A blocked one may have, later.
fn is_ignored(process: &Process, target: Target<'_>, threads: &[Arc<Thread>], info: &SigInfo) -> bool {
    let thread = match target {
        Target::Thread(thread) => Some(thread),
        Target::Process | Target::Tid(_) => threads.first().map(Arc::as_ref),
    };
    if thread.is_none_or(|thread| thread.signals.blocks(info)) {
        return false;
    }
    let action = process.signals.actions().get(info.signal());
    action.ignores(info.signal()) || (process.pid == 1 && action.handler == super::action::SIG_DFL)
}

/// Makes the signal pending; `false` if it merged with one that is.
///
/// # Errors
/// `EAGAIN` if a real-time signal with facts of its own finds no room: `sigqueue(3)` promises all or nothing.
fn push(signals: &ProcessSignals, shared: &mut Shared, target: Target<'_>, info: SigInfo, limit: u64) -> Result<bool> {
    let is_full = signals.queued() as u64 >= limit;
    if is_full && info.signal().is_realtime() && info.code != SI_USER {
        return Err(EAGAIN);
    }
    let pushed = match target {
        Target::Process | Target::Tid(_) => signals.push(&mut shared.pending, info, !is_full),
        Target::Thread(thread) => signals.push(&mut thread.signals.pending.lock(), info, !is_full),
    };
    Ok(pushed != Pushed::Merged)
}

/// Asks a thread to look: the target, or one that accepts the signal, the main thread first. `SIGKILL` concerns them all.
fn ask(target: Target<'_>, threads: &[Arc<Thread>], info: &SigInfo) {
    if info.signal() == Signal::KILL {
        threads.iter().for_each(|thread| thread.request(Work::SIGNAL));
        return;
    }
    match target {
        Target::Thread(thread) if thread.signals.accepts(info) => thread.request(Work::SIGNAL),
        Target::Thread(_) => {}
        Target::Process | Target::Tid(_) => {
            let accepting = || threads.iter().filter(|thread| thread.signals.accepts(info));
            let unasked = accepting().find(|thread| !thread.is_requested(Work::SIGNAL));
            if let Some(thread) = unasked.or(accepting().next()) {
                thread.request(Work::SIGNAL);
            }
        }
    }
}

/// Sends the calling thread a signal that it cannot escape: if it blocks or ignores it, the default action applies. For
/// faults, and for frames that cannot be written. Mirrors `force_sig_info`. A thread that has been killed ends by that: where memory
/// is short, its frames could not be written because of it.
pub fn force(ctx: &Context, info: SigInfo) {
    if super::is_killed(&ctx.thread) {
        return;
    }
    let signal = info.signal();
    let actions = ctx.process.signals.actions();
    let is_blocked = ctx.thread.signals.mask().contains(signal);
    if is_blocked || actions.get(signal).handler == super::action::SIG_IGN {
        actions.set(signal, super::action::Action::default());
    }
    if is_blocked {
        super::set_mask(ctx, ctx.thread.signals.mask().without(info.set()));
    }
    let signals = &ctx.process.signals;
    signals.push(&mut ctx.thread.signals.pending.lock(), info, true);
    ctx.thread.request_self(Work::SIGNAL);
}

/// The facts of a signal that `process` sends by `kill(2)` or a close relative.
pub fn info_from(ctx: &Context, signal: Signal, code: i32) -> SigInfo {
    debug_assert!(code != SI_QUEUE, "a queued signal brings its own facts");
    SigInfo::from_process(signal, code, ctx.process.pid, ctx.credentials().uid)
}

/// Sends a signal of the kernel to the process with number `pid`, if it exists.
pub fn send_to_process_by_kernel(pid: Pid, number: u8) {
    if let (Some(process), Ok(signal)) = (table::process(pid), Signal::new(number.into())) {
        // A signal of the kernel always finds room.
        let _ = send_to_process(&process, SigInfo::kernel(signal));
    }
}

/// Sends a signal of the kernel to the processes of a group.
pub fn send_to_group_by_kernel(group: Pid, number: u8) {
    if let Ok(signal) = Signal::new(number.into()) {
        send_to_group(group, SigInfo::kernel(signal));
    }
}

/// Whether a signal sent to the caller now would neither stop, end nor interrupt it.
pub fn is_ignored_or_blocked(ctx: &Context, number: u8) -> bool {
    Signal::new(number.into()).is_ok_and(|signal| {
        ctx.thread.signals.mask().contains(signal)
            || ctx.process.signals.actions().get(signal).handler == super::action::SIG_IGN
    })
}
