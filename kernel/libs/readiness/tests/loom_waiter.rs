// SPDX-License-Identifier: MPL-2.0

//! Models of waiting: R1 to R3. A waiter that misses its event sleeps for ever, which loom reports as a deadlock.

#![cfg(loom)]

mod support;

use std::sync::Arc;

use loom::{
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};
use readiness::{InTurn, IoEvents, Parked, Pollable, Pollee, Timeout, Together, WaitError, Waiter};
use support::{File, TestParker};

/// Explores all executions with at most `preemptions` preemptions; nearly all bugs need one or two.
fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS=N looks deeper.
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(body);
}

/// A thread that waits in turn to take one from `file`.
fn spawn_taker(
    file: &Arc<File>,
    parker: TestParker,
    timeout: Timeout<()>,
) -> thread::JoinHandle<Result<(), WaitError>> {
    let file = file.clone();
    thread::spawn(move || Waiter::new(parker).wait_until(&InTurn(&*file, IoEvents::IN), timeout, || file.take()))
}

/// A file without any lock: all ordering has to come from the protocol.
struct Bits {
    bits: AtomicU32,
    pollee: Pollee,
}

impl Bits {
    fn new() -> Arc<Self> {
        Arc::new(Self { bits: AtomicU32::new(0), pollee: Pollee::new() })
    }

    fn set(&self, events: IoEvents) {
        self.bits.fetch_or(events.bits(), Relaxed);
        let _ = self.pollee.notify(events);
    }
}

impl Pollable for Bits {
    fn pollee(&self) -> &Pollee {
        &self.pollee
    }

    fn readiness(&self) -> IoEvents {
        IoEvents::from_bits_retain(self.bits.load(Relaxed))
    }
}

/// A thread that waits until `file` is ready for all of `events`.
fn spawn_waiter(file: &Arc<Bits>, parker: TestParker, events: IoEvents) -> thread::JoinHandle<Result<(), WaitError>> {
    let file = file.clone();
    thread::spawn(move || {
        let check = || file.poll().contains(events).then_some(());
        Waiter::new(parker).wait_until(&InTurn(&*file, events), Timeout::At(()), check)
    })
}

#[test]
fn r1_a_woken_waiter_sees_why() {
    // Two events: one that ends the sleep, and one that may come while the waiter is awake and arms itself again.
    model(4, || {
        let file = Bits::new();
        let waiter = spawn_waiter(&file, TestParker::new(), IoEvents::IN | IoEvents::OUT);
        file.set(IoEvents::IN);
        file.set(IoEvents::OUT);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

#[test]
fn r1_the_last_check_sees_what_came_before_it() {
    // The event is announced to nobody else: if the waiter was told and times out, it must have seen the event.
    model(4, || {
        let (file, parker) = (Bits::new(), TestParker::new());
        let bell = parker.bell();
        let told = Arc::new(AtomicU32::new(0));
        let waiter = spawn_waiter(&file, parker, IoEvents::IN);
        let ender = thread::spawn(move || bell.end(Parked::TimedOut));
        file.bits.fetch_or(IoEvents::IN.bits(), Relaxed);
        if file.pollee.notify(IoEvents::IN) == readiness::Claim::Taken {
            told.store(1, Relaxed);
        }
        let result = waiter.join().unwrap();
        ender.join().unwrap();
        assert!(result.is_ok() || told.load(Relaxed) == 0);
    });
}

#[test]
fn r1_an_event_wakes_a_waiter() {
    model(4, || {
        let file = File::counter();
        let taker = spawn_taker(&file, TestParker::new(), Timeout::Never);
        file.post();
        assert_eq!(taker.join().unwrap(), Ok(()));
    });
}

#[test]
fn r1_an_event_on_one_of_two_files_wakes_a_poller() {
    model(3, || {
        let files = [File::counter(), File::counter()];
        let poller = {
            let files = files.clone();
            thread::spawn(move || {
                let subjects = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| {
                    files.iter().for_each(|file| register(file.pollee(), IoEvents::IN));
                });
                let mut waiter = Waiter::new(TestParker::new());
                let scan = || files.iter().any(|file| !file.poll().is_empty()).then_some(());
                waiter.wait_until(&subjects, Timeout::Never, scan)
            })
        };
        files[1].post();
        assert_eq!(poller.join().unwrap(), Ok(()));
    });
}

#[test]
fn r1_an_event_beats_a_timeout_and_a_signal() {
    for ending in [Parked::TimedOut, Parked::Interrupted] {
        model(3, move || {
            let file = File::counter();
            let parker = TestParker::new();
            let bell = parker.bell();
            let taker = spawn_taker(&file, parker, Timeout::At(()));
            file.post();
            bell.end(ending);
            assert_eq!(taker.join().unwrap(), Ok(()));
        });
    }
}

#[test]
fn r2_one_event_wakes_one_waiter() {
    model(2, || {
        let file = File::counter();
        let parkers = [TestParker::new(), TestParker::new()];
        let bells = [parkers[0].bell(), parkers[1].bell()];
        let takers = parkers.map(|parker| spawn_taker(&file, parker, Timeout::At(())));
        file.post();
        bells.iter().for_each(|bell| bell.end(Parked::TimedOut));
        let results = takers.map(|taker| taker.join().unwrap());
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(bells.iter().map(|bell| bell.times_unparked()).sum::<u32>() <= 1);
    });
}

#[test]
fn r2_n_events_wake_n_waiters() {
    model(2, || {
        let file = File::counter();
        let takers = [(); 2].map(|()| spawn_taker(&file, TestParker::new(), Timeout::Never));
        let poster = {
            let file = file.clone();
            thread::spawn(move || file.post())
        };
        file.post();
        poster.join().unwrap();
        takers.into_iter().for_each(|taker| assert_eq!(taker.join().unwrap(), Ok(())));
    });
}

#[test]
fn r2_a_slow_waiter_does_not_keep_the_next_event_from_others() {
    model(2, || {
        let file = File::counter();
        let quick_is_done = Arc::new((Mutex::new(false), Condvar::new()));
        let slow = {
            let (file, quick_is_done) = (file.clone(), quick_is_done.clone());
            thread::spawn(move || {
                let check = || {
                    if file.poll().is_empty() {
                        return None;
                    }
                    // Woken, but held up until the other one is through.
                    let mut is_done = quick_is_done.0.lock().unwrap();
                    while !*is_done {
                        is_done = quick_is_done.1.wait(is_done).unwrap();
                    }
                    file.take()
                };
                Waiter::new(TestParker::new()).wait_until(&InTurn(&*file, IoEvents::IN), Timeout::Never, check)
            })
        };
        // Twice, so that the slow one is at the head of the queue again for the third event.
        let quick = {
            let file = file.clone();
            thread::spawn(move || {
                let (subject, mut waiter) = (InTurn(&*file, IoEvents::IN), Waiter::new(TestParker::new()));
                for _ in 0..2 {
                    waiter.wait_until(&subject, Timeout::Never, || file.take()).unwrap();
                }
                *quick_is_done.0.lock().unwrap() = true;
                quick_is_done.1.notify_one();
            })
        };
        for _ in 0..3 {
            file.post();
        }
        quick.join().unwrap();
        assert_eq!(slow.join().unwrap(), Ok(()));
    });
}

/// One waiter may end for another reason while it is woken; the other must not sleep through an event that is there.
fn a_wake_is_passed_on(ending: Parked) {
    model(2, move || {
        let file = File::counter();
        let parker = TestParker::new();
        let bell = parker.bell();
        let fickle = spawn_taker(&file, parker, Timeout::At(()));
        let faithful = spawn_taker(&file, TestParker::new(), Timeout::Never);
        let ender = thread::spawn(move || bell.end(ending));
        file.post();
        if fickle.join().unwrap() == Ok(()) {
            file.post();
        }
        assert_eq!(faithful.join().unwrap(), Ok(()));
        ender.join().unwrap();
    });
}

#[test]
fn r3_a_waiter_that_times_out_passes_its_wake_on() {
    a_wake_is_passed_on(Parked::TimedOut);
}

#[test]
fn r3_a_waiter_that_is_interrupted_passes_its_wake_on() {
    a_wake_is_passed_on(Parked::Interrupted);
}

#[test]
fn r3_a_wake_for_more_than_was_taken_is_passed_on() {
    // One event brings two units; each waiter takes one.
    model(2, || {
        let file = File::counter();
        let takers = [(); 2].map(|()| spawn_taker(&file, TestParker::new(), Timeout::Never));
        file.post_many(2);
        takers.into_iter().for_each(|taker| assert_eq!(taker.join().unwrap(), Ok(())));
    });
}
