// SPDX-License-Identifier: MPL-2.0

//! Out of memory: who has to end so that the others can go on (Linux's `mm/oom_kill.c`).
//!
//! # Protocol
//! A fault for which there is no page calls [`relieve`]. It picks the process with the most pages, as adjusted by
//! `/proc/PID/oom_score_adj`, ends it by `SIGKILL`, and lets the caller try again once there is memory. One at a time: while a victim still
//! has its memory, for a while, nobody else is picked.

use core::sync::atomic::Ordering::Relaxed;

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
const GRACE: u64 = 2_000_000_000;
/// How long one call waits at most, in nanoseconds.
const PATIENCE: u64 = 10_000_000;
/// The adjustment of those that are never picked (`OOM_SCORE_ADJ_MIN`); the opposite is the greatest.
const NEVER: i32 = -1000;

/// The last one picked, and when somebody else may be.
static VICTIM: SpinLock<Option<(Weak<Process>, u64)>> = SpinLock::new(None);

/// Waits a moment for memory, after it has seen to it that somebody ends. `false`: the caller is the one to end. Call it where one may
/// sleep.
pub fn relieve(thread: &Thread) -> bool {
    if signal::is_killed(thread) {
        return false;
    }
    let Some(victim) = pick() else {
        return false;
    };
    if Arc::ptr_eq(&victim, &thread.process) {
        return false;
    }
    let until = now_monotonic().saturating_add(PATIENCE);
    while reserve::is_short() && now_monotonic() < until && !thread.is_requested(Work::INTERRUPTS) {
        Task::yield_now();
    }
    true
}

/// How much a process weighs, in pages, each descriptor that it has room for like a page; `None` if it is not to be picked. Linux's `oom_badness`.
fn weight(process: &Process) -> Option<i64> {
    let vm = process.vm.lock().clone()?;
    let adjustment = process.oom_score_adj.load(Relaxed);
    let all = (system::memory().total / PAGE_SIZE) as i64;
    // What hangs on a descriptor, the bytes in a socket above all, is nobody's resident memory.
    let files = process.main_thread().map(|thread| thread.files.lock().clone());
    let pages = vm.resident() + files.map_or(0, |files| files.capacity());
    (process.pid != 1 && adjustment != NEVER).then(|| pages as i64 + i64::from(adjustment) * all / i64::from(-NEVER))
}

/// `/proc/PID/oom_score`, from 0 to 2000: Linux's `proc_oom_score`.
pub fn score(process: &Process) -> i64 {
    let all = (system::memory().total / PAGE_SIZE) as i64;
    weight(process).map_or(0, |weight| (1000 + weight * 1000 / all) * 2 / 3)
}

/// The present victim, or a new one, which gets its signal.
fn pick() -> Option<Arc<Process>> {
    let mut last = VICTIM.lock();
    if let Some((victim, until)) = &*last
        && let Some(victim) = victim.upgrade()
        && victim.vm.lock().is_some()
        && now_monotonic() < *until
    {
        return Some(victim);
    }
    let (weight, victim) = table::processes()
        .into_iter()
        .filter_map(|process| Some((weight(&process)?, process)))
        .max_by_key(|(weight, _)| *weight)?;
    *last = Some((Arc::downgrade(&victim), now_monotonic().saturating_add(GRACE)));
    drop(last);
    let name = victim.main_thread().map_or([0; 16], |thread| *thread.name.lock());
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default().escape_ascii().to_string();
    ostd::warn!(
        "out of memory: killed process {} ({name}), which weighs {weight} pages; {}",
        victim.pid,
        reserve::state()
    );
    kill(&victim);
    Some(victim)
}

/// Kills a process, and all that share its memory.
fn kill(victim: &Arc<Process>) {
    let memory = victim.vm.lock().clone();
    let shares = |process: &Arc<Process>| match (&*process.vm.lock(), &memory) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    for process in table::processes().iter().filter(|process| Arc::ptr_eq(process, victim) || shares(process)) {
        // A signal of the kernel always finds room.
        let _ = send_to_process(process, SigInfo::kernel(Signal::KILL));
    }
}
