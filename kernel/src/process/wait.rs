// SPDX-License-Identifier: MPL-2.0

//! Waiting for children: `wait4(2)` and `waitid(2)`.

use super::{ChildEvent, Pid, Process, ResourceUsage, table};
use core::sync::atomic::Ordering::Relaxed;

use readiness::{IoEvents, Pollee, Timeout, Together};

use crate::prelude::*;

bitflags::bitflags! {
    /// The options of `wait4(2)` and `waitid(2)`.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct WaitOptions: u32 {
        /// Answer at once.
        const NOHANG = 1;
        /// Children that a signal stopped (`WUNTRACED`, `WSTOPPED`).
        const STOPPED = 2;
        /// Children that ended.
        const EXITED = 4;
        /// Children that `SIGCONT` continued.
        const CONTINUED = 8;
        /// Leave the child waitable.
        const NOWAIT = 0x0100_0000;
        /// Children of this thread only; ours belong to the process, so it changes nothing for single threads.
        const NOTHREAD = 0x2000_0000;
        /// Whatever the exit signal.
        const ALL = 0x4000_0000;
        /// Only children whose exit signal is not `SIGCHLD`.
        const CLONE = 0x8000_0000;
    }
}

/// Which children a wait is for.
#[derive(Clone, Copy)]
pub enum Selector<'a> {
    /// Any child.
    Any,
    /// The child with this number.
    Pid(Pid),
    /// Children of this process group.
    Group(Pid),
    /// This process, if it is a child.
    Process(&'a Arc<Process>),
}

/// What a wait found.
pub struct Waited {
    /// The child's number.
    pub pid: Pid,
    /// What it did.
    pub event: ChildEvent,
    /// What the child and the descendants that it waited for used.
    pub usage: ResourceUsage,
    /// The child's real user id.
    pub uid: u32,
}

/// Waits for a child to do what `options` ask for; `None` with `NOHANG` if none did yet.
///
/// # Errors
/// `ECHILD` if no child fits; `ERESTARTSYS` if a signal came.
pub fn wait(ctx: &Context, selector: Selector<'_>, options: WaitOptions) -> Result<Option<Waited>> {
    if options.contains(WaitOptions::NOHANG) {
        return look(&ctx.process, selector, options);
    }
    let subjects = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| {
        register(&ctx.process.child_events, IoEvents::IN);
    });
    let look = || look(&ctx.process, selector, options).transpose();
    ctx.wait(&subjects, Timeout::Never, look).map_err(|_| ERESTARTSYS)?.map(Some)
}

/// One look at the children.
fn look(parent: &Arc<Process>, selector: Selector<'_>, options: WaitOptions) -> Result<Option<Waited>> {
    let mut table = table::lock();
    let children = parent.children.lock();
    let mut fits = children.iter().filter(|child| is_selected(child, selector, options)).peekable();
    if fits.peek().is_none() {
        return Err(ECHILD);
    }
    let found = fits.find_map(|child| Some((child.clone(), take_event(child, options)?)));
    drop(children);
    let Some((child, event)) = found else {
        return Ok(None);
    };
    let waited = Waited {
        pid: child.pid,
        event,
        usage: child.resource_usage().plus(child.children_resource_usage()),
        uid: child.uid.load(Relaxed),
    };
    let is_end = matches!(event, ChildEvent::Exited(_));
    if is_end && !options.contains(WaitOptions::NOWAIT) {
        let mut used = parent.used.lock();
        used.children = used.children.plus(waited.usage);
        drop(used);
        reap(&mut table, &child);
    }
    Ok(Some(waited))
}

fn is_selected(child: &Arc<Process>, selector: Selector<'_>, options: WaitOptions) -> bool {
    let is_clone_child = child.exit_signal() != crate::signal::SIGCHLD;
    let is_right_kind = options.contains(WaitOptions::ALL) || is_clone_child == options.contains(WaitOptions::CLONE);
    is_right_kind
        && match selector {
            Selector::Any => true,
            Selector::Pid(pid) => child.pid == pid,
            Selector::Group(group) => child.group() == group,
            Selector::Process(process) => Arc::ptr_eq(child, process),
        }
}

/// The event that `options` ask for, consumed unless `NOWAIT`. An end is consumed by reaping.
fn take_event(child: &Process, options: WaitOptions) -> Option<ChildEvent> {
    let mut life = child.life.lock();
    if life.is_zombie {
        let status = life.ending?;
        return options.contains(WaitOptions::EXITED).then_some(ChildEvent::Exited(status));
    }
    let is_wanted = match life.news? {
        ChildEvent::Stopped(_) => options.contains(WaitOptions::STOPPED),
        ChildEvent::Continued => options.contains(WaitOptions::CONTINUED),
        ChildEvent::Exited(_) => false,
    };
    let event = life.news.filter(|_| is_wanted)?;
    if !options.contains(WaitOptions::NOWAIT) {
        life.news = None;
    }
    Some(event)
}

/// Forgets a zombie.
pub(super) fn reap(table: &mut table::Table, child: &Arc<Process>) {
    table.remove_process(child.pid);
    if let Some(parent) = child.parent() {
        parent.children.lock().retain(|other| !Arc::ptr_eq(other, child));
    }
}
