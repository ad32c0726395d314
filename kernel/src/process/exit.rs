// SPDX-License-Identifier: MPL-2.0

//! The end of threads and processes.
//!
//! A process ends when [`Process::begin_exit`] was called (by `exit_group(2)` or a fatal signal) or its last thread called
//! `exit(2)`. Each thread leaves by itself, on its own stack, through [`exit_thread`]; the last one out turns the process into
//! a zombie, hands its children on and tells the parent.

use core::sync::atomic::Ordering::Relaxed;

use readiness::IoEvents;

use super::{ChildEvent, ExitStatus, Process, Thread, ThreadLocal, Work, table};
use crate::{prelude::*, signal};

impl Process {
    /// Decides that, and how, the process ends, and asks all its threads to leave. A second decision is ignored: the
    /// first status stands. Mirrors `do_group_exit`.
    pub fn begin_exit(&self, status: ExitStatus) {
        self.life.lock().ending.get_or_insert(status);
        self.request_of_all(Work::EXIT);
    }

    /// Asks every thread for `work`.
    pub fn request_of_all(&self, work: Work) {
        for thread in self.threads() {
            thread.request(work);
        }
    }

    /// Asks every thread but `survivor` to leave, for `execve(2)`. `false` if the process ends or another thread was first.
    pub(super) fn begin_exec(&self, survivor: &Arc<Thread>) -> bool {
        let mut life = self.life.lock();
        if life.ending.is_some() || life.executing.is_some() {
            return false;
        }
        life.executing = Some(survivor.clone());
        drop(life);
        for thread in self.threads() {
            if !Arc::ptr_eq(&thread, survivor) {
                thread.request(Work::EXIT);
            }
        }
        true
    }

    /// Lets other threads execute or be made again.
    pub(super) fn end_exec(&self) {
        self.life.lock().executing = None;
    }

    /// Adds a thread; `false` if the process ends or executes another program, so that no thread escapes its end.
    pub(super) fn add_thread(&self, thread: Arc<Thread>) -> bool {
        let life = self.life.lock();
        if life.ending.is_some() || life.executing.is_some() {
            return false;
        }
        self.threads.lock().push(thread);
        true
    }

    /// Removes a thread and keeps what it used; `true` if it was the last.
    fn remove_thread(&self, thread: &Arc<Thread>) -> bool {
        let mut used = self.used.lock();
        used.ended_threads = used.ended_threads.plus(thread.resource_usage());
        drop(used);
        let mut threads = self.threads.lock();
        threads.retain(|other| !Arc::ptr_eq(other, thread));
        threads.is_empty()
    }
}

/// Ends the calling thread: the last thing it does, after [`leave_program`]. `code` is the argument of `exit(2)`, 0 for a thread that
/// was told to.
pub fn exit_thread(thread: &Arc<Thread>, local: &ThreadLocal, code: u8) {
    // Frees the memory here, before the parent hears of the exit, and not when the task happens to be dropped.
    local.replace_vm(crate::vm::nowhere().clone());
    let process = &thread.process;
    if process.remove_thread(thread) {
        exit_process(process, ExitStatus::Exited(code));
    }
    let executing = process.life.lock().executing.clone();
    if let Some(executing) = executing {
        executing.wake();
    }
}

/// What a thread that ends does in its program's memory and files: the last thing with a context.
pub fn leave_program(mut ctx: Context) {
    let (thread, process) = (&ctx.thread.clone(), &ctx.process.clone());
    let ctx = &mut ctx;
    crate::futex::exit_robust_list(ctx);
    super::clone::release_vfork_parent(thread);
    signal::on_thread_exit(ctx);
    clear_child_tid(ctx);
    // Descriptors close here, in a context that may sleep, and before the parent hears of the exit.
    process.uid.store(ctx.credentials().uid, Relaxed);
    let none = Arc::new(crate::file::table::FileTable::new());
    *thread.files.lock() = none.clone();
    ctx.own_files = none;
    // A zombie keeps no mount busy.
    let fs = core::mem::replace(&mut *thread.fs.lock(), crate::fs::FsContext::of_nobody());
    drop(fs);
    table::lock().remove_thread(thread.tid());
    if thread.tid() == process.pid {
        *process.last_name.lock() = *thread.name.lock();
    }
}

/// `CLONE_CHILD_CLEARTID`: clears the word and wakes one waiter, if anybody else could see it.
pub(super) fn clear_child_tid(ctx: &Context) {
    let address = ctx.thread.clear_child_tid.swap(0, Relaxed);
    if address != 0 && ctx.write_val(address, &0u32).is_ok() {
        crate::futex::wake_at(ctx, address, 1);
    }
}

/// The last thread is gone.
fn exit_process(process: &Arc<Process>, status: ExitStatus) {
    let status = *process.life.lock().ending.get_or_insert(status);
    if crate::trace::is_on() {
        crate::trace::exited(process, status);
    }
    let vm = process.vm.lock().take();
    process.keep_peak(vm.as_deref());
    drop(vm);
    let executable = process.program.lock().executable.take();
    drop(executable);
    signal::on_process_exit(process);
    crate::device::tty::job::on_process_exit(process);
    hand_over_children(process);
    let parent = become_zombie(process);
    let _ = process.exits.notify(IoEvents::READABLE);
    let Some(parent) = parent else {
        return crate::boot::on_init_exit(status);
    };
    signal::notify_parent(&parent, process, ChildEvent::Exited(status));
    let _ = parent.child_events.notify(IoEvents::IN);
}

/// Turns an ended process into a zombie, or forgets it if its parent does not want to know. Returns the parent.
fn become_zombie(process: &Arc<Process>) -> Option<Arc<Process>> {
    // Looked up under the lock under which children are handed over: a parent that ends meanwhile either finds a zombie among
    // its children and tells its heir, or the heir is the parent here.
    let mut table = table::lock();
    let parent = process.parent();
    let reaps_itself = parent.as_ref().is_none_or(signal::ignores_children) && process.exit_signal() == signal::SIGCHLD;
    process.life.lock().is_zombie = true;
    if reaps_itself || parent.is_none() {
        super::wait::reap(&mut table, process);
    }
    parent
}

/// Gives the children of an ended process to the nearest subreaper above it, else to the first process.
fn hand_over_children(process: &Arc<Process>) {
    let mut heir = process.parent();
    while let Some(candidate) = &heir {
        let is_subreaper = candidate.is_subreaper.load(Relaxed);
        if is_subreaper || candidate.pid == 1 {
            break;
        }
        heir = candidate.parent();
    }
    let Some(heir) = heir else {
        return;
    };
    let table = table::lock();
    let orphans = core::mem::take(&mut *process.children.lock());
    for orphan in &orphans {
        *orphan.parent.lock() = Arc::downgrade(&heir);
        orphan.parent_pid.store(heir.pid, Relaxed);
    }
    let has_zombie = orphans.iter().any(|orphan| orphan.is_zombie());
    heir.children.lock().extend(orphans);
    drop(table);
    if has_zombie {
        let _ = heir.child_events.notify(IoEvents::IN);
    }
}

/// Takes back a thread whose task could not be made.
pub(super) fn undo(thread: &Arc<Thread>) {
    table::lock().remove_thread(thread.tid());
    if thread.process.remove_thread(thread) {
        super::wait::reap(&mut table::lock(), &thread.process);
    }
}
