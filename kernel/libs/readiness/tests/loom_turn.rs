// SPDX-License-Identifier: MPL-2.0

//! Models of the turn: K1 and K2. A thread that is not woken sleeps for ever, which loom reports as a deadlock; of two
//! that have the turn at once, one's count is lost.

#![cfg(loom)]

use std::sync::Arc;

use loom::{
    sync::{
        Mutex,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{AcqRel, Relaxed},
        },
    },
    thread,
};
use readiness::turn::{Queue, TurnLock};

/// OSTD's wait queue: a thread goes into it, asks its condition and parks until its flag is raised. It leaves its place behind; whoever
/// wakes the next finds the flag raised, and passes on.
struct WaitQueue(Mutex<Vec<(thread::Thread, Arc<AtomicBool>)>>);

impl Queue for WaitQueue {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        if condition() {
            return;
        }
        let is_woken = Arc::new(AtomicBool::new(false));
        loop {
            self.0.lock().unwrap().push((thread::current(), is_woken.clone()));
            if condition() {
                is_woken.swap(true, AcqRel);
                return;
            }
            while !is_woken.swap(false, AcqRel) {
                thread::park();
            }
        }
    }

    fn spins() -> u32 {
        1
    }

    fn wake_one(&self) {
        loop {
            let first = {
                let mut queue = self.0.lock().unwrap();
                (!queue.is_empty()).then(|| queue.remove(0))
            };
            let Some((thread, is_woken)) = first else { return };
            if !is_woken.swap(true, AcqRel) {
                return thread.unpark();
            }
        }
    }
}

struct Counter {
    turn: TurnLock<WaitQueue>,
    /// Loaded and stored as if it were no atomic: all ordering has to come from the turn.
    count: AtomicU32,
}

impl Counter {
    fn new() -> Arc<Self> {
        Arc::new(Self { turn: TurnLock::new(), count: AtomicU32::new(0) })
    }

    fn add(&self) {
        let _turn = self.turn.lock();
        let before = self.count.load(Relaxed);
        self.count.store(before + 1, Relaxed);
    }

    fn total(&self) -> u32 {
        let _turn = self.turn.lock();
        self.count.load(Relaxed)
    }
}

/// Lets `threads` threads take the turn once each.
fn count_with(threads: u32) {
    let counter = Counter::new();
    let spawn = |_| {
        let counter = counter.clone();
        thread::spawn(move || counter.add())
    };
    let others: Vec<_> = (1..threads).map(spawn).collect();
    counter.add();
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(counter.total(), threads);
}

#[test]
fn k1_two_threads_exclude_each_other_and_none_is_left_asleep() {
    loom::model(|| count_with(2));
}

#[test]
fn k2_of_three_threads_none_is_left_asleep() {
    let mut builder = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS=N looks deeper.
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(|| count_with(3));
}
