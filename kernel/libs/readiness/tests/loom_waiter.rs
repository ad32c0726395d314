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
use readiness::{InTurn, IoEvents, Parked, Parker, Pollable, Pollee, Timeout, Together, Unpark, WaitError, Waiter};
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
    model(3, || {
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
    model(3, || {
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

/// A thread that sleeps, and once it is woken does not get to run before it is released.
#[derive(Clone)]
struct Unscheduled(Arc<(Mutex<Scheduling>, Condvar)>);

#[derive(Default)]
struct Scheduling {
    is_asleep: bool,
    is_released: bool,
}

impl Unscheduled {
    fn new() -> Self {
        Self(Arc::new((Mutex::default(), Condvar::new())))
    }

    fn change(&self, change: impl FnOnce(&mut Scheduling)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn wait_until(&self, condition: impl Fn(&Scheduling) -> bool) {
        let mut state = self.0.0.lock().unwrap();
        while !condition(&state) {
            state = self.0.1.wait(state).unwrap();
        }
    }
}

impl Unpark for Unscheduled {
    fn unpark(&self) {}
}

impl Parker for Unscheduled {
    type Deadline = ();
    type Unparker = Self;

    fn unparker(&self) -> Self {
        self.clone()
    }

    fn park(&mut self, _deadline: Option<()>) -> Parked {
        self.change(|state| state.is_asleep = true);
        self.wait_until(|state| state.is_released);
        Parked::TimedOut
    }
}

#[test]
fn r2_a_waiter_that_is_woken_and_does_not_run_keeps_no_other_event() {
    model(3, || {
        let (file, scheduling) = (File::counter(), Unscheduled::new());
        let slow = {
            let (file, parker) = (file.clone(), scheduling.clone());
            thread::spawn(move || {
                let _ = Waiter::new(parker).wait_until(&InTurn(&*file, IoEvents::IN), Timeout::At(()), || file.take());
            })
        };
        scheduling.wait_until(|state| state.is_asleep);
        file.post();
        let quick = {
            let file = file.clone();
            thread::spawn(move || {
                let (subject, mut waiter) = (InTurn(&*file, IoEvents::IN), Waiter::new(TestParker::new()));
                for _ in 0..2 {
                    waiter.wait_until(&subject, Timeout::Never, || file.take()).unwrap();
                }
                scheduling.change(|state| state.is_released = true);
            })
        };
        file.post();
        quick.join().unwrap();
        slow.join().unwrap();
    });
}

/// One waiter may end for another reason while it is woken; the other must not sleep through an event that is there.
fn a_wake_is_passed_on(ending: Parked) {
    model(3, move || {
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
    model(3, || {
        let file = File::counter();
        let takers = [(); 2].map(|()| spawn_taker(&file, TestParker::new(), Timeout::Never));
        file.post_many(2);
        takers.into_iter().for_each(|taker| assert_eq!(taker.join().unwrap(), Ok(())));
    });
}

#[test]
fn r3_a_wake_between_the_check_and_the_end_is_passed_on() {
    model(3, || {
        let file = File::counter();
        let other = spawn_taker(&file, TestParker::new(), Timeout::Never);
        let poster = {
            let file = file.clone();
            thread::spawn(move || file.post())
        };
        // The first event comes before the registration, so it rings nowhere here; the second one may come when this waiter
        // has what it wants, and is armed still.
        let mut has_posted = false;
        let check = || {
            let taken = file.take();
            if !std::mem::replace(&mut has_posted, true) {
                file.post();
            }
            taken
        };
        let mut waiter = Waiter::new(TestParker::new());
        let outcome = waiter.wait_until(&InTurn(&*file, IoEvents::IN), Timeout::Never, check);
        assert_eq!(outcome, Ok(()));
        poster.join().unwrap();
        assert_eq!(other.join().unwrap(), Ok(()));
    });
}
