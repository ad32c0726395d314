// SPDX-License-Identifier: MPL-2.0

//! Job control: which session a terminal controls, and which process group is in its foreground.
//!
//! # Role
//! Mirrors `tty_jobctrl.c` of Linux. The controlling terminal belongs to the session, so it is found by the session's
//! number; `fork(2)` inherits it with the session, `setsid(2)` leaves it by leaving the session.
//!
//! # Concurrency
//! [`CONTROLLING`] is taken before a terminal's [`JobControl`]; both are leaves otherwise. Signals are sent with neither.

use super::Tty;
use crate::{
    prelude::*,
    process::{Pid, Process},
    signal::{is_ignored_or_blocked, is_orphaned, numbers::*, send_to_group_by_kernel, send_to_process_by_kernel},
};

/// Terminals that control a session, by the session's number.
static CONTROLLING: SpinLock<BTreeMap<Pid, Arc<Tty>>> = SpinLock::new(BTreeMap::new());

/// A terminal's session and foreground.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobControl {
    /// The session that it controls.
    session: Option<Pid>,
    /// The process group in the foreground.
    foreground: Option<Pid>,
}

/// The terminal that controls the session of `process`.
pub fn controlling(process: &Process) -> Option<Arc<Tty>> {
    CONTROLLING.lock().get(&process.session()).cloned()
}

impl Tty {
    /// The session that it controls.
    pub fn session(&self) -> Option<Pid> {
        self.job.lock().session
    }

    /// The process group in the foreground.
    pub fn foreground(&self) -> Option<Pid> {
        self.job.lock().foreground
    }

    fn controls(&self, process: &Process) -> bool {
        self.session() == Some(process.session())
    }
}

/// Makes `tty` the controlling terminal of the caller's session when it is opened without `O_NOCTTY`, if the caller leads a
/// session without one and the terminal controls none.
pub fn acquire_on_open(tty: &Arc<Tty>, process: &Process) {
    if process.pid == process.session() && tty.session().is_none() && controlling(process).is_none() {
        set_controlling(tty, process);
    }
}

/// `TIOCSCTTY`.
///
/// # Errors
/// `EPERM` if the caller does not lead a session, has another terminal, or the terminal controls another session and is not
/// stolen (`force`, for root).
pub fn acquire(tty: &Arc<Tty>, process: &Process, force: bool) -> Result<()> {
    let leads = process.pid == process.session();
    if leads && tty.controls(process) {
        return Ok(());
    }
    if !leads || controlling(process).is_some() {
        return Err(EPERM);
    }
    if let Some(victim) = tty.session() {
        if !force {
            return Err(EPERM);
        }
        CONTROLLING.lock().remove(&victim);
    }
    set_controlling(tty, process);
    Ok(())
}

fn set_controlling(tty: &Arc<Tty>, process: &Process) {
    let mut terminals = CONTROLLING.lock();
    terminals.insert(process.session(), tty.clone());
    let job = JobControl { session: Some(process.session()), foreground: Some(process.group()) };
    *tty.job.lock() = job;
}

/// `TIOCNOTTY`: the session's leader gives the terminal up.
///
/// # Errors
/// `ENOTTY` if it is not the caller's terminal.
pub fn release(tty: &Tty, process: &Process) -> Result<()> {
    if !tty.controls(process) {
        return Err(ENOTTY);
    }
    if process.pid == process.session() {
        disassociate(process.session());
    }
    Ok(())
}

/// A process ended. If it led a session with a terminal, a serial line is hung up, and the foreground of a pseudo terminal is
/// told (`disassociate_ctty` on Linux).
pub fn on_process_exit(process: &Process) {
    if process.pid != process.session() {
        return;
    }
    let Some(tty) = controlling(process) else {
        return;
    };
    if tty.is_pty() {
        CONTROLLING.lock().remove(&process.session());
        let foreground = core::mem::take(&mut *tty.job.lock()).foreground;
        foreground.into_iter().for_each(|group| send_to_group_by_kernel(group, SIGHUP));
    } else {
        tty.hang_up();
    }
}

/// A session leader gave its terminal up: the foreground is told, the session has no terminal any more.
fn disassociate(session: Pid) {
    let Some(tty) = CONTROLLING.lock().remove(&session) else {
        return;
    };
    let foreground = core::mem::take(&mut *tty.job.lock()).foreground;
    if let Some(group) = foreground {
        send_to_group_by_kernel(group, SIGHUP);
        send_to_group_by_kernel(group, SIGCONT);
    }
}

/// The terminal was hung up: session leader and foreground get `SIGHUP`, then `SIGCONT`.
pub(super) fn on_hang_up(tty: &Tty) {
    let job = core::mem::take(&mut *tty.job.lock());
    if let Some(session) = job.session {
        CONTROLLING.lock().remove(&session);
        send_to_process_by_kernel(session, SIGHUP);
        send_to_process_by_kernel(session, SIGCONT);
    }
    if let Some(group) = job.foreground {
        send_to_group_by_kernel(group, SIGHUP);
        send_to_group_by_kernel(group, SIGCONT);
    }
}

/// Sends `signal` to the foreground, if there is one.
pub(super) fn signal_foreground(tty: &Tty, signal: u8) {
    if let Some(group) = tty.foreground() {
        send_to_group_by_kernel(group, signal);
    }
}

/// What a process in the background gets for touching its terminal: `signal` is `SIGTTIN` for reading, else `SIGTTOU`.
///
/// # Errors
/// `ERESTARTSYS` after the signal was sent; `EIO` if it would not stop the process (ignored or blocked `SIGTTIN`, orphaned
/// group).
pub(super) fn check_foreground(tty: &Tty, ctx: &Context, signal: u8) -> Result<()> {
    let group = ctx.process.group();
    if !tty.controls(&ctx.process) || tty.foreground().is_none_or(|foreground| foreground == group) {
        return Ok(());
    }
    if is_ignored_or_blocked(ctx, signal) {
        return if signal == SIGTTIN { Err(EIO) } else { Ok(()) };
    }
    if is_orphaned(group) {
        return Err(EIO);
    }
    send_to_group_by_kernel(group, signal);
    Err(ERESTARTSYS)
}

/// `TIOCSPGRP`: puts `group` into the foreground.
///
/// # Errors
/// `ENOTTY` if it is not the caller's terminal; `EPERM` or `ESRCH` if the group is not one of its session; what
/// [`check_foreground`] says.
pub(super) fn set_foreground(tty: &Tty, ctx: &Context, group: Pid) -> Result<()> {
    match check_foreground(tty, ctx, SIGTTOU) {
        Err(EIO) => return Err(ENOTTY),
        other => other?,
    }
    if !tty.controls(&ctx.process) {
        return Err(ENOTTY);
    }
    let members = crate::process::table::group(group);
    let member = members.first().ok_or(ESRCH)?;
    if member.session() != ctx.process.session() {
        return Err(EPERM);
    }
    tty.job.lock().foreground = Some(group);
    Ok(())
}
