// SPDX-License-Identifier: MPL-2.0

//! Signals.

/// What a process keeps for signals.
pub struct ProcessSignals {}

/// What a thread keeps for signals.
pub struct ThreadSignals {}

// The seam to the rest of the kernel, filled by this module's author.

use ostd::arch::cpu::context::UserContext;

use crate::{
    prelude::*,
    process::{ChildEvent, Process},
};

/// The number of `SIGCHLD`.
pub const SIGCHLD: u32 = 17;

impl ProcessSignals {
    /// Default actions, nothing pending.
    pub fn new() -> Self {
        Self {}
    }

    /// For a child: shares the actions (`CLONE_SIGHAND`) or copies them.
    pub fn inherit(&self, _shares_actions: bool) -> Self {
        Self {}
    }

    /// `CLONE_CLEAR_SIGHAND`: handlers become defaults, ignored signals stay ignored.
    pub fn reset_handlers(&self) {}
}

/// `MINSIGSTKSZ`: what the kernel needs for a frame with AVX-512 state.
pub const MIN_STACK_SIZE: usize = 3632;

impl ThreadSignals {
    /// Nothing blocked, nothing pending.
    pub fn new() -> Self {
        Self {}
    }

    /// For a new thread: the mask; the alternate stack unless `drops_stack`.
    pub fn inherit(&self, _drops_stack: bool) -> Self {
        Self {}
    }
}

/// `SIGCHLD` to the parent, with siginfo, respecting SA_NOCLDSTOP.
pub fn notify_parent(_parent: &Arc<Process>, _child: &Arc<Process>, _event: ChildEvent) {}

/// Whether `parent` ignores `SIGCHLD` or has SA_NOCLDWAIT: children reap themselves.
pub fn ignores_children(_parent: &Arc<Process>) -> bool {
    false
}

/// Timers of the process go.
pub fn on_process_exit(_process: &Arc<Process>) {}

/// Handlers to defaults, alternate stack off, timers gone.
pub fn on_exec(_ctx: &Context) {}

/// A CPU exception in user mode.
pub fn handle_exception(ctx: &Context, regs: &mut UserContext) {
    use ostd::arch::cpu::context::CpuException;
    let is_resolved = match regs.take_exception() {
        Some(CpuException::PageFault(fault)) => crate::vm::fault_from_user(&ctx.vm, &fault).is_ok(),
        _ => false,
    };
    if !is_resolved {
        let status = crate::process::ExitStatus::Signaled { signal: 11, core: true };
        ctx.process.begin_exit(status);
    }
}

/// Delivers what is pending; converts restart errors (`ctx.local.take_interrupted_call()`); called when Work::SIGNAL is set.
pub fn handle_pending(_ctx: &Context, _regs: &mut UserContext) {}
