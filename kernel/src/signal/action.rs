// SPDX-License-Identifier: MPL-2.0

//! What a process does with each signal (`sigaction(2)`).
//!
//! # Concurrency
//! The table is shared between processes under `CLONE_SIGHAND`. Its lock is a leaf, taken with IRQs disabled because timers
//! send signals from interrupts.

use super::{DefaultAction, SigSet, Signal};
use crate::prelude::*;

/// `SIG_DFL`.
pub const SIG_DFL: usize = 0;
/// `SIG_IGN`.
pub const SIG_IGN: usize = 1;

bitflags::bitflags! {
    /// The flags of `sigaction(2)`, x86-64.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct ActionFlags: u64 {
        /// No `SIGCHLD` when children stop or continue.
        const NOCLDSTOP = 1;
        /// Children leave no zombies.
        const NOCLDWAIT = 2;
        /// The handler gets three arguments; ours always gets them.
        const SIGINFO = 4;
        /// `restorer` is valid; without it there is no way back on x86-64.
        const RESTORER = 0x0400_0000;
        /// The handler runs on the alternate stack.
        const ONSTACK = 0x0800_0000;
        /// Interrupted calls restart.
        const RESTART = 0x1000_0000;
        /// The signal is not blocked while its handler runs.
        const NODEFER = 0x4000_0000;
        /// The action becomes the default when the handler starts.
        const RESETHAND = 0x8000_0000;
    }
}

/// What a process does with one signal; the `struct sigaction` of the kernel on x86-64.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod)]
pub struct Action {
    /// Address of the handler, [`SIG_DFL`] or [`SIG_IGN`].
    pub handler: usize,
    flags: u64,
    /// Where the handler returns to.
    pub restorer: usize,
    /// Blocked while the handler runs.
    pub mask: SigSet,
}

/// What follows from an action.
#[derive(Clone, Copy, Debug)]
pub enum Disposition {
    /// Nothing.
    Ignore,
    /// The default action.
    Default(DefaultAction),
    /// The program's handler runs.
    Handle(Action),
}

impl Action {
    /// The flags; unknown ones are kept and ignored.
    pub fn flags(&self) -> ActionFlags {
        ActionFlags::from_bits_retain(self.flags)
    }

    /// Whether a program's function handles the signal.
    pub fn is_handler(&self) -> bool {
        self.handler != SIG_DFL && self.handler != SIG_IGN
    }

    /// Whether `signal` would have no effect.
    pub fn ignores(&self, signal: Signal) -> bool {
        self.handler == SIG_IGN || (self.handler == SIG_DFL && signal.default_action() == DefaultAction::Ignore)
    }

    fn disposition(&self, signal: Signal) -> Disposition {
        match self.handler {
            SIG_IGN => Disposition::Ignore,
            SIG_DFL => Disposition::Default(signal.default_action()),
            _ => Disposition::Handle(*self),
        }
    }
}

/// The actions for all signals.
pub struct Actions(SpinLock<[Action; Signal::COUNT], LocalIrqDisabled>);

impl Actions {
    /// The defaults.
    pub fn new() -> Self {
        Self(SpinLock::new([Action::default(); Signal::COUNT]))
    }

    /// A copy, for a process that does not share.
    pub fn duplicate(&self) -> Self {
        Self(SpinLock::new(*self.0.lock()))
    }

    /// The action for `signal`.
    pub fn get(&self, signal: Signal) -> Action {
        self.0.lock()[signal.index()]
    }

    /// Replaces the action for `signal`.
    pub fn set(&self, signal: Signal, action: Action) {
        self.0.lock()[signal.index()] = action;
    }

    /// Handlers become the default; what is ignored stays ignored. For `execve(2)` and `CLONE_CLEAR_SIGHAND`.
    pub fn reset_handlers(&self) {
        for action in self.0.lock().iter_mut() {
            let handler = if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *action = Action { handler, ..Action::default() };
        }
    }

    /// What to do with `signal`, which is delivered now; honours `SA_RESETHAND`.
    pub fn deliver(&self, signal: Signal) -> Disposition {
        let mut actions = self.0.lock();
        let action = &mut actions[signal.index()];
        let disposition = action.disposition(signal);
        if action.is_handler() && action.flags().contains(ActionFlags::RESETHAND) {
            action.handler = SIG_DFL;
        }
        disposition
    }
}
