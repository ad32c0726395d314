// SPDX-License-Identifier: MPL-2.0

//! Out of memory: who has to end so that the others can go on (Linux's `mm/oom_kill.c`).
//!
//! # Protocol
//! A fault for which there is no page calls [`relieve`]. It picks the process with the most pages, as adjusted by
//! `/proc/PID/oom_score_adj`, ends it by `SIGKILL`, and lets the caller try again once there is memory. One at a time: while a victim still
//! has its memory, for a while, nobody else is picked; then it is somebody else's turn.

use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};

use ostd::task::Task;

use super::{Process, Thread, Work, table};
use crate::{
    prelude::*,
    signal::{self, SigInfo, Signal, send_to_process},
    system,
    time::now_monotonic,
    vm::reserve,
};

/// How long a victim may take before another one is picked, in nanoseconds.
const GRACE: u64 = 10_000_000_000;
/// How long one call waits at most, in nanoseconds.
const PATIENCE: u64 = 10_000_000;
/// The adjustment of those that are never picked (`OOM_SCORE_ADJ_MIN`); the opposite is the greatest.
const NEVER: i32 = -1000;

/// The last one picked, and when somebody else may be. Nothing is dropped under the lock: an address space needs more than that.
static VICTIM: SpinLock<Option<(Weak<Process>, u64)>> = SpinLock::new(None);
/// Whether somebody picks one.
static IS_PICKING: AtomicBool = AtomicBool::new(false);

/// Waits a moment for memory, after it has seen to it that somebody ends. `false`: the caller is the one to end. Call it where one may
/// sleep.
pub fn relieve(thread: &Thread) -> bool {
    if signal::is_killed(thread) {
        return false;
    }
    let victim = match present_victim() {
        // Another CPU picks one.
        None if IS_PICKING.swap(true, Acquire) => None,
        None => {
            let picked = pick();
            IS_PICKING.store(false, Release);
            if picked.is_none() {
                return false;
            }
            picked
        }
        present => present,
    };
    if victim.is_some_and(|victim| Arc::ptr_eq(&victim, &thread.process)) {
        return false;
    }
    let until = now_monotonic().saturating_add(PATIENCE);
    while reserve::is_short() && now_monotonic() < until && !thread.is_requested(Work::INTERRUPTS) {
        Task::yield_now();
    }
    true
}

/// The last one picked, if it still has its memory and some time.
fn present_victim() -> Option<Arc<Process>> {
    let (victim, until) = VICTIM.lock().clone()?;
    let victim = victim.upgrade().filter(|_| now_monotonic() < until)?;
    let has_memory = victim.vm.lock().is_some();
    has_memory.then_some(victim)
}

/// How much a process weighs, in pages, each descriptor that it has room for like a page; `None` if it is not to be picked. Linux's
/// `oom_badness`. Takes no reference: to drop the last one of a descriptor table could need what the caller has locked.
fn weight(process: &Process) -> Option<i64> {
    let resident = process.vm.lock().as_ref()?.resident();
    // What hangs on a descriptor, the bytes in a socket above all, is nobody's resident memory.
    let descriptors =
        process.with_threads(|threads| threads.first().map_or(0, |thread| thread.files.lock().capacity()));
    let adjustment = process.oom_score_adj.load(Relaxed);
    let all = (system::memory().total / PAGE_SIZE) as i64;
    let adjusted = (resident + descriptors) as i64 + i64::from(adjustment) * all / i64::from(-NEVER);
    (process.pid != 1 && adjustment != NEVER).then_some(adjusted)
}

/// `/proc/PID/oom_score`, from 0 to 2000: Linux's `proc_oom_score`.
pub fn score(process: &Process) -> i64 {
    let all = (system::memory().total / PAGE_SIZE) as i64;
    weight(process).map_or(0, |weight| (1000 + weight * 1000 / all) * 2 / 3)
}

/// Picks the heaviest process and kills it; `None` if there is none.
fn pick() -> Option<Arc<Process>> {
    let processes = table::processes();
    // Relaxed: one picks at a time.
    let alive = processes.iter().filter(|process| !process.is_oom_victim.load(Relaxed));
    let (weight, victim) =
        alive.filter_map(|process| Some((weight(process)?, process))).max_by_key(|(weight, _)| *weight)?;
    *VICTIM.lock() = Some((Arc::downgrade(victim), now_monotonic().saturating_add(GRACE)));
    let name = victim.with_threads(|threads| threads.first().map_or([0; 16], |thread| *thread.name.lock()));
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default().escape_ascii();
    let (pid, state) = (victim.pid, reserve::state());
    ostd::warn!("out of memory: killed process {pid} ({name}), which weighs {weight} pages; {state}");
    kill(victim);
    Some(victim.clone())
}

/// Kills a process, and all that share its memory.
fn kill(victim: &Arc<Process>) {
    let memory_of = |process: &Process| process.vm.lock().as_ref().map(Arc::as_ptr);
    let memory = memory_of(victim);
    for process in table::processes() {
        if Arc::ptr_eq(&process, victim) || memory.is_some() && memory_of(&process) == memory {
            process.is_oom_victim.store(true, Relaxed);
            // A signal of the kernel always finds room.
            let _ = send_to_process(&process, SigInfo::kernel(Signal::KILL));
        }
    }
}
