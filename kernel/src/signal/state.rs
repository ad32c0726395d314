// SPDX-License-Identifier: MPL-2.0

//! What a process and a thread keep for signals.
//!
//! # Concurrency
//! Lock order: a process's `shared`, its thread list, a thread's `pending`, the actions. All are taken with IRQs disabled:
//! timers send signals from interrupts. A thread's mask is an atomic that only the thread itself writes; senders read it
//! under `shared`, and a thread that unblocks something looks at `shared` after writing it, so one of the two notices.

use core::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use readiness::Pollee;

use super::{
    SigInfo, SigSet,
    action::Actions,
    altstack::AltStack,
    pending::{Pending, Pushed},
    timers::ProcessTimers,
};
use crate::{
    prelude::*,
    process::{Process, Thread, Work},
};

/// What a process keeps for signals.
pub struct ProcessSignals {
    actions: SpinLock<Arc<Actions>, LocalIrqDisabled>,
    pub(super) shared: SpinLock<Shared, LocalIrqDisabled>,
    /// Notified whenever a signal becomes pending for the process or one of its threads: what `signalfd`s wait for.
    pub arrivals: Pollee,
    /// Entries in all queues of the process, for `RLIMIT_SIGPENDING`.
    queued: AtomicUsize,
    /// `setitimer(2)` and `timer_create(2)`.
    pub(super) timers: ProcessTimers,
}

/// What senders and all threads of a process share.
#[derive(Default)]
pub(super) struct Shared {
    /// Signals for any thread.
    pub(super) pending: Pending,
    /// A thread took a stop signal and is about to act on it, unless `SIGCONT` comes first.
    pub(super) is_stop_coming: bool,
    /// The stop in force.
    pub(super) stop: Option<Stop>,
    /// `SIGCONT` ended a stop and the parent was not told yet.
    pub(super) has_continued: bool,
}

/// A stop of the whole process.
pub(super) struct Stop {
    /// The signal that caused it.
    pub(super) signal: u8,
    /// Threads that have stopped.
    pub(super) stopped: usize,
    /// Whether the parent was told.
    pub(super) is_reported: bool,
}

/// How a call goes on after an interruption (`restart_syscall(2)`).
pub type Restart = Box<dyn FnOnce(&Context) -> Result<isize> + Send>;

/// What a thread keeps for signals.
pub struct ThreadSignals {
    mask: AtomicU64,
    /// Blocked signals that the thread waits for in `rt_sigtimedwait(2)`.
    awaited: AtomicU64,
    pub(super) pending: SpinLock<Pending, LocalIrqDisabled>,
    pub(super) own: SpinLock<Own>,
}

/// What only the thread itself touches.
#[derive(Default)]
pub(super) struct Own {
    pub(super) alt_stack: AltStack,
    /// The mask to return to, while a call like `ppoll(2)` has put another one in its place.
    pub(super) saved_mask: Option<SigSet>,
    pub(super) restart: Option<Restart>,
    pub(super) last_fault: LastFault,
}

/// What signal frames say about the last CPU exception of the thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastFault {
    /// The exception's vector.
    pub(super) vector: u64,
    /// Its error code.
    pub(super) error_code: u64,
    /// The address of the last page fault.
    pub(super) address: u64,
}

impl ProcessSignals {
    /// Default actions, nothing pending.
    pub fn new() -> Self {
        Self::with_actions(Arc::new(Actions::new()))
    }

    /// For a child: shares the actions (`CLONE_SIGHAND`) or copies them.
    pub fn inherit(&self, shares_actions: bool) -> Self {
        let actions = self.actions();
        Self::with_actions(if shares_actions { actions } else { Arc::new(actions.duplicate()) })
    }

    fn with_actions(actions: Arc<Actions>) -> Self {
        Self {
            actions: SpinLock::new(actions),
            shared: SpinLock::new(Shared::default()),
            arrivals: Pollee::new(),
            queued: AtomicUsize::new(0),
            timers: ProcessTimers::new(),
        }
    }

    /// The actions.
    pub fn actions(&self) -> Arc<Actions> {
        self.actions.lock().clone()
    }

    /// `CLONE_CLEAR_SIGHAND`: handlers become defaults, ignored signals stay ignored.
    pub fn reset_handlers(&self) {
        self.actions().reset_handlers();
    }

    /// For `execve(2)`: as [`Self::reset_handlers`], and no longer shared with other processes.
    pub(super) fn unshare_and_reset(&self) {
        let fresh = Arc::new(self.actions().duplicate());
        fresh.reset_handlers();
        let old = core::mem::replace(&mut *self.actions.lock(), fresh);
        drop(old);
    }

    /// Adds a signal to a queue of this process; `has_room` says whether it may have an entry.
    pub(super) fn push(&self, pending: &mut Pending, info: SigInfo, has_room: bool) -> Pushed {
        let pushed = pending.push(info, has_room);
        if pushed == Pushed::Queued {
            // Relaxed: a limit need not be exact under races.
            self.queued.fetch_add(1, Relaxed);
        }
        pushed
    }

    /// Notes that `count` entries left a queue.
    pub(super) fn forget(&self, count: usize) {
        self.queued.fetch_sub(count, Relaxed);
    }

    /// Number of queued signals, for `/proc`.
    pub fn queued(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// Signals pending for the process, for `/proc`.
    pub fn pending(&self) -> SigSet {
        self.shared.lock().pending.set()
    }
}

impl Default for ProcessSignals {
    fn default() -> Self {
        Self::new()
    }
}

impl ThreadSignals {
    /// Nothing blocked, nothing pending: for the first thread.
    pub fn new() -> Self {
        Self::with(SigSet::EMPTY, AltStack::default())
    }

    /// For a new thread: the mask, and the alternate stack unless `drops_stack`.
    pub fn inherit(&self, drops_stack: bool) -> Self {
        let own = self.own.lock();
        let alt_stack = if drops_stack { AltStack::default() } else { own.alt_stack };
        Self::with(self.mask(), alt_stack)
    }

    fn with(mask: SigSet, alt_stack: AltStack) -> Self {
        Self {
            mask: AtomicU64::new(mask.0),
            awaited: AtomicU64::new(0),
            pending: SpinLock::new(Pending::default()),
            own: SpinLock::new(Own { alt_stack, ..Own::default() }),
        }
    }

    /// The blocked signals.
    pub fn mask(&self) -> SigSet {
        SigSet(self.mask.load(SeqCst))
    }

    /// Signals pending for the thread alone.
    pub fn pending(&self) -> SigSet {
        self.pending.lock().set()
    }

    /// Whether the thread would look at a signal if it were sent now.
    pub(super) fn accepts(&self, info: &SigInfo) -> bool {
        !(info.set() & (!self.mask() | self.awaited())).is_empty()
    }

    /// Whether the signal is blocked, be it that it is waited for.
    pub(super) fn blocks(&self, info: &SigInfo) -> bool {
        self.mask().contains(info.signal())
    }

    fn awaited(&self) -> SigSet {
        SigSet(self.awaited.load(SeqCst))
    }

    /// Says which signals `rt_sigtimedwait(2)` waits for. For the thread itself.
    pub(super) fn set_awaited(&self, set: SigSet) {
        self.awaited.store(set.0, SeqCst);
    }
}

impl Default for ThreadSignals {
    fn default() -> Self {
        Self::new()
    }
}

/// The blocked signals of the caller.
pub fn mask(ctx: &Context) -> SigSet {
    ctx.thread.signals.mask()
}

/// Sets the blocked signals of the caller; `SIGKILL` and `SIGSTOP` cannot be among them. Mirrors `set_current_blocked`.
pub fn set_mask(ctx: &Context, mask: SigSet) {
    let (process, thread) = (&ctx.process, &ctx.thread);
    let new = mask.without(SigSet::UNBLOCKABLE);
    let old = SigSet(thread.signals.mask.swap(new.0, SeqCst));
    if old == new {
        return;
    }
    let shared = process.signals.shared.lock();
    let orphaned = shared.pending.set() & new.without(old);
    if !orphaned.is_empty() {
        hand_on(process, thread, orphaned);
    }
    let pending = shared.pending.set() | thread.signals.pending.lock().set();
    drop(shared);
    if !pending.without(new).is_empty() {
        thread.request_self(Work::SIGNAL);
    }
}

/// Lets other threads look at signals that `thread` was asked to take and will not.
fn hand_on(process: &Process, thread: &Thread, signals: SigSet) {
    process.with_threads(|threads| {
        for other in threads.iter().filter(|other| !core::ptr::eq(other.as_ref(), thread)) {
            if !signals.without(other.signals.mask()).is_empty() {
                other.request(Work::SIGNAL);
            }
        }
    });
}

/// For the end of a thread: signals of the process that it was asked to take go to others.
pub fn on_thread_exit(ctx: &Context) {
    let shared = ctx.process.signals.shared.lock();
    let left = shared.pending.set();
    if !left.is_empty() {
        hand_on(&ctx.process, &ctx.thread, left);
    }
    drop(shared);
    super::stop::on_thread_exit(ctx);
    let dropped = ctx.thread.signals.pending.lock().discard(SigSet::ALL);
    ctx.process.signals.forget(dropped);
}

/// Puts another mask in place until the call returns (`ppoll(2)`, `epoll_pwait(2)`, `rt_sigsuspend(2)`). Follow it by
/// [`end_temporary_mask`] in every case.
pub fn begin_temporary_mask(ctx: &Context, mask: SigSet) {
    let old = ctx.thread.signals.mask();
    ctx.thread.signals.own.lock().saved_mask = Some(old);
    set_mask(ctx, mask);
}

/// Ends what [`begin_temporary_mask`] began. If the call `was_interrupted`, the temporary mask stays in force until a handler
/// was chosen under it: the handler returns to the old mask.
pub fn end_temporary_mask(ctx: &Context, was_interrupted: bool) {
    if was_interrupted {
        ctx.thread.request_self(Work::SIGNAL);
    } else {
        restore_mask(ctx);
    }
}

/// Returns to the mask that was in force before [`begin_temporary_mask`], if any.
pub(super) fn restore_mask(ctx: &Context) {
    let saved = ctx.thread.signals.own.lock().saved_mask.take();
    if let Some(saved) = saved {
        set_mask(ctx, saved);
    }
}

/// Says how the interrupted call goes on when it is restarted, and answers the error that asks for it.
pub fn restart_with(ctx: &Context, restart: impl FnOnce(&Context) -> Result<isize> + Send + 'static) -> Errno {
    let old = ctx.thread.signals.own.lock().restart.replace(Box::new(restart));
    drop(old);
    ERESTART_RESTARTBLOCK
}
