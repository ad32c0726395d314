// SPDX-License-Identifier: MPL-2.0

//! Observers one at a time: who is called, in which turn, and what a callback may do.

#![cfg(not(any(loom, shuttle)))]

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use readiness::{Claim, IoEvents, Mode, Observer, Pollee, Registration};

type Log = Arc<Mutex<Vec<usize>>>;

struct Named {
    name: usize,
    claim: Claim,
    log: Log,
}

impl Observer for Named {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        self.log.lock().unwrap().push(self.name);
        self.claim
    }
}

fn add(pollee: &Pollee, log: &Log, name: usize, mask: IoEvents, mode: Mode, claim: Claim) -> Registration {
    pollee.register(Arc::new(Named { name, claim, log: log.clone() }), mask, mode)
}

fn add_shared(pollee: &Pollee, log: &Log, name: usize, mask: IoEvents) -> Registration {
    add(pollee, log, name, mask, Mode::Shared, Claim::NotTaken)
}

fn called(log: &Log) -> Vec<usize> {
    std::mem::take(&mut log.lock().unwrap())
}

#[test]
fn every_interested_shared_observer_is_called_newest_first() {
    let (pollee, log) = (Pollee::new(), Log::default());
    for name in 0..40 {
        let mask = if name % 2 == 0 { IoEvents::IN } else { IoEvents::IN | IoEvents::OUT };
        let _ = add_shared(&pollee, &log, name, mask);
    }
    let _ = pollee.notify(IoEvents::IN);
    assert_eq!(called(&log), (0..40).rev().collect::<Vec<_>>());
    let _ = pollee.notify(IoEvents::OUT);
    assert_eq!(called(&log), (0..40).rev().filter(|name| name % 2 == 1).collect::<Vec<_>>());
}

#[test]
fn who_only_takes_note_hears_first() {
    let (pollee, log) = (Pollee::new(), Log::default());
    for name in 0..40 {
        let mode = if name % 2 == 0 { Mode::Noting } else { Mode::Shared };
        let _ = add(&pollee, &log, name, IoEvents::IN, mode, Claim::NotTaken);
    }
    let _ = pollee.notify(IoEvents::IN);
    let (noting, shared): (Vec<_>, Vec<_>) = (0..40).rev().partition(|name| name % 2 == 0);
    assert_eq!(called(&log), [noting, shared].concat());
}

#[test]
fn err_and_hup_reach_everybody() {
    let (pollee, log) = (Pollee::new(), Log::default());
    let _ = add_shared(&pollee, &log, 1, IoEvents::empty());
    let _ = add_shared(&pollee, &log, 2, IoEvents::OUT);
    let _ = pollee.notify(IoEvents::IN);
    assert_eq!(called(&log), []);
    let _ = pollee.notify(IoEvents::HUP);
    assert_eq!(called(&log), [2, 1]);
}

#[test]
fn exclusive_observers_take_turns() {
    let (pollee, log) = (Pollee::new(), Log::default());
    for name in 0..3 {
        let _ = add(&pollee, &log, name, IoEvents::IN, Mode::Exclusive, Claim::Taken);
    }
    for round in 0..7 {
        assert_eq!(pollee.notify(IoEvents::IN), Claim::Taken);
        assert_eq!(called(&log), [round % 3]);
    }
}

#[test]
fn exclusive_observers_that_do_not_take_are_each_asked_once() {
    let (pollee, log) = (Pollee::new(), Log::default());
    for name in 0..40 {
        let _ = add(&pollee, &log, name, IoEvents::IN, Mode::Exclusive, Claim::NotTaken);
    }
    assert_eq!(pollee.notify(IoEvents::IN), Claim::NotTaken);
    assert_eq!(called(&log), (0..40).collect::<Vec<_>>());
}

#[test]
fn shared_observers_are_called_before_the_exclusive_turn() {
    let (pollee, log) = (Pollee::new(), Log::default());
    let _ = add(&pollee, &log, 1, IoEvents::IN, Mode::Exclusive, Claim::Taken);
    let _ = add_shared(&pollee, &log, 2, IoEvents::IN);
    let _ = pollee.notify(IoEvents::IN);
    assert_eq!(called(&log), [2, 1]);
    let _ = pollee.pass_on(IoEvents::IN);
    assert_eq!(called(&log), [1]);
}

#[test]
fn a_modified_mask_counts_from_then_on() {
    let (pollee, log) = (Pollee::new(), Log::default());
    let one = add_shared(&pollee, &log, 1, IoEvents::IN);
    let two = add_shared(&pollee, &log, 2, IoEvents::IN);
    assert!(pollee.modify(&one, IoEvents::OUT));
    assert!(pollee.modify(&two, IoEvents::IN | IoEvents::RDHUP));
    let _ = pollee.notify(IoEvents::OUT);
    assert_eq!(called(&log), [1]);
    let _ = pollee.notify(IoEvents::RDHUP);
    assert_eq!(called(&log), [2]);
}

#[test]
fn a_registration_is_given_back_once_and_its_slot_is_used_again() {
    let (pollee, log) = (Pollee::new(), Log::default());
    for name in 0..100 {
        let first = add_shared(&pollee, &log, name, IoEvents::IN);
        let second = add_shared(&pollee, &log, name + 1000, IoEvents::OUT);
        assert!(pollee.deregister(first));
        let _ = pollee.notify(IoEvents::IN | IoEvents::OUT);
        assert_eq!(called(&log), [name + 1000]);
        assert!(pollee.deregister(second));
    }
    let _ = pollee.notify(IoEvents::all());
    assert_eq!(called(&log), []);
}

/// Deregisters everybody, itself included, and registers somebody new.
struct Upheaval {
    pollee: Arc<Pollee>,
    registrations: Mutex<Vec<Registration>>,
    newcomer: OnceLock<Registration>,
    log: Log,
}

impl Observer for Upheaval {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        for registration in self.registrations.lock().unwrap().drain(..) {
            self.pollee.deregister(registration);
        }
        let _ = self.newcomer.set(add_shared(&self.pollee, &self.log, 99, IoEvents::IN));
        Claim::NotTaken
    }
}

#[test]
fn a_callback_may_turn_the_lists_upside_down() {
    let (pollee, log) = (Arc::new(Pollee::new()), Log::default());
    let mut registrations: Vec<_> = (0..30).map(|name| add_shared(&pollee, &log, name, IoEvents::IN)).collect();
    let upheaval = Arc::new(Upheaval {
        pollee: pollee.clone(),
        registrations: Mutex::default(),
        newcomer: OnceLock::new(),
        log: log.clone(),
    });
    registrations.push(pollee.register(upheaval.clone(), IoEvents::IN, Mode::Shared));
    *upheaval.registrations.lock().unwrap() = registrations;
    let _ = pollee.notify(IoEvents::IN);
    // The first batch was taken before the upheaval; the rest left, and the newcomer was not there when it began.
    let first = called(&log);
    assert_eq!(first, (23..30).rev().collect::<Vec<_>>());
    let _ = pollee.notify(IoEvents::IN);
    assert_eq!(called(&log), [99]);
}

#[test]
fn observers_that_leave_between_batches_hide_nobody() {
    // Whatever leaves while a batch is called, those who stay are called exactly once.
    for victim in 0..24 {
        let (pollee, log) = (Arc::new(Pollee::new()), Log::default());
        let mut registrations: Vec<_> =
            (0..24).map(|name| Some(add_shared(&pollee, &log, name, IoEvents::IN))).collect();
        let leaver = Arc::new(Upheaval {
            pollee: pollee.clone(),
            registrations: Mutex::default(),
            newcomer: OnceLock::new(),
            log: log.clone(),
        });
        let _leaver = pollee.register(leaver.clone(), IoEvents::IN, Mode::Shared);
        leaver.registrations.lock().unwrap().push(registrations[victim].take().unwrap());
        let _ = pollee.notify(IoEvents::IN);
        let mut seen = called(&log);
        seen.retain(|name| *name != victim);
        assert_eq!(seen, (0..24).rev().filter(|name| *name != victim).collect::<Vec<_>>());
    }
}

#[test]
fn dropping_the_last_reference_in_a_callback_is_harmless() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);

    struct Suicidal {
        pollee: Arc<Pollee>,
        own: Mutex<Option<Registration>>,
    }
    impl Observer for Suicidal {
        fn on_ready(&self, _events: IoEvents) -> Claim {
            if let Some(own) = self.own.lock().unwrap().take() {
                self.pollee.deregister(own);
            }
            Claim::NotTaken
        }
    }
    impl Drop for Suicidal {
        fn drop(&mut self) {
            // The last reference goes while the notification is under way; the pollee must not be locked.
            let _ = self.pollee.notify(IoEvents::OUT);
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }

    let pollee = Arc::new(Pollee::new());
    let observer = Arc::new(Suicidal { pollee: pollee.clone(), own: Mutex::default() });
    let registration = pollee.register(observer.clone(), IoEvents::IN, Mode::Shared);
    *observer.own.lock().unwrap() = Some(registration);
    drop(observer);
    let _ = pollee.notify(IoEvents::IN);
    assert_eq!(DROPS.load(Ordering::Relaxed), 1);
}
