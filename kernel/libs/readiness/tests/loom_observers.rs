// SPDX-License-Identifier: MPL-2.0

//! Models of the observer lists: registering, leaving and notifying at once (O1, O5, O6).
//!
//! All executions are explored; `LOOM_MAX_PREEMPTIONS=N` bounds that.

#![cfg(loom)]

use std::sync::Arc;

use loom::{
    model,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};
use readiness::{Claim, IoEvents, Mode, Observer, Pollee};

struct Counts {
    calls: AtomicU32,
    claim: Claim,
}

impl Counts {
    fn new(claim: Claim) -> Arc<Self> {
        Arc::new(Self { calls: AtomicU32::new(0), claim })
    }

    fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }
}

impl Observer for Counts {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        self.calls.fetch_add(1, Relaxed);
        self.claim
    }
}

fn spawn_notify(pollee: &Arc<Pollee>, events: IoEvents) -> thread::JoinHandle<Claim> {
    let pollee = pollee.clone();
    thread::spawn(move || pollee.notify(events))
}

#[test]
fn o6_registering_twice_with_different_masks_loses_neither() {
    model(|| {
        let pollee = Arc::new(Pollee::new());
        let (reads, writes) = (Counts::new(Claim::NotTaken), Counts::new(Claim::NotTaken));
        let other = {
            let (pollee, reads) = (pollee.clone(), reads.clone());
            thread::spawn(move || pollee.register(reads, IoEvents::IN, Mode::Shared))
        };
        let _second = pollee.register(writes.clone(), IoEvents::OUT, Mode::Shared);
        let _first = other.join().unwrap();
        let notifier = spawn_notify(&pollee, IoEvents::IN);
        let _ = pollee.notify(IoEvents::OUT);
        let _ = notifier.join().unwrap();
        assert_eq!((reads.calls(), writes.calls()), (1, 1));
    });
}

#[test]
fn o6_leaving_takes_nobody_else_along() {
    model(|| {
        let pollee = Arc::new(Pollee::new());
        let (leaver, stayer) = (Counts::new(Claim::NotTaken), Counts::new(Claim::NotTaken));
        let registration = pollee.register(leaver, IoEvents::IN, Mode::Shared);
        let other = {
            let (pollee, stayer) = (pollee.clone(), stayer.clone());
            thread::spawn(move || pollee.register(stayer, IoEvents::IN, Mode::Shared))
        };
        pollee.deregister(registration);
        let _stays = other.join().unwrap();
        let _ = pollee.notify(IoEvents::IN);
        assert_eq!(stayer.calls(), 1);
    });
}

#[test]
fn o1_deregistering_races_with_notifying_harmlessly() {
    model(|| {
        let pollee = Arc::new(Pollee::new());
        let (leaver, stayer) = (Counts::new(Claim::NotTaken), Counts::new(Claim::NotTaken));
        let leaves = pollee.register(leaver.clone(), IoEvents::IN, Mode::Shared);
        let _stays = pollee.register(stayer.clone(), IoEvents::IN, Mode::Shared);
        let notifier = spawn_notify(&pollee, IoEvents::IN);
        assert!(pollee.deregister(leaves));
        let _ = notifier.join().unwrap();
        assert!(leaver.calls() <= 1);
        assert_eq!(stayer.calls(), 1);
        let before = leaver.calls();
        let _ = pollee.notify(IoEvents::IN);
        assert_eq!(leaver.calls(), before);
    });
}

#[test]
fn o1_a_callback_may_leave_and_notify() {
    /// Leaves its pollee when called, while the other thread does the same for it.
    struct Leaves(Arc<Pollee>, loom::sync::Mutex<Option<readiness::Registration>>);
    impl Leaves {
        fn leave(&self) {
            let own = self.1.lock().unwrap().take();
            if let Some(own) = own {
                self.0.deregister(own);
            }
        }
    }
    impl Observer for Leaves {
        fn on_ready(&self, _events: IoEvents) -> Claim {
            self.leave();
            self.0.invalidate();
            Claim::NotTaken
        }
    }
    model(|| {
        let pollee = Arc::new(Pollee::new());
        let leaves = Arc::new(Leaves(pollee.clone(), loom::sync::Mutex::new(None)));
        let registration = pollee.register(leaves.clone(), IoEvents::IN, Mode::Shared);
        *leaves.1.lock().unwrap() = Some(registration);
        let notifier = spawn_notify(&pollee, IoEvents::IN);
        leaves.leave();
        let _ = notifier.join().unwrap();
    });
}

#[test]
fn o4_one_event_is_taken_by_one_observer() {
    model(|| {
        let pollee = Arc::new(Pollee::new());
        let observers = [Counts::new(Claim::Taken), Counts::new(Claim::Taken)];
        for observer in &observers {
            let _ = pollee.register(observer.clone(), IoEvents::IN, Mode::Exclusive);
        }
        let notifier = spawn_notify(&pollee, IoEvents::IN);
        assert_eq!(pollee.notify(IoEvents::IN), Claim::Taken);
        assert_eq!(notifier.join().unwrap(), Claim::Taken);
        // Two events, two turns.
        assert_eq!((observers[0].calls(), observers[1].calls()), (1, 1));
    });
}

#[test]
fn o5_one_notification_asks_each_exclusive_observer_at_most_once() {
    model(|| {
        let pollee = Arc::new(Pollee::new());
        let observers = [Counts::new(Claim::NotTaken), Counts::new(Claim::NotTaken)];
        for observer in &observers {
            let _ = pollee.register(observer.clone(), IoEvents::IN, Mode::Exclusive);
        }
        let notifier = spawn_notify(&pollee, IoEvents::IN);
        let _ = pollee.notify(IoEvents::IN);
        let _ = notifier.join().unwrap();
        // Each was asked after the first event, and at most once per event.
        assert!(observers.iter().all(|observer| (1..=2).contains(&observer.calls())));
    });
}

#[test]
fn o6_an_event_reaches_those_behind_an_observer_that_moved() {
    model(|| {
        let pollee = Arc::new(Pollee::new());
        for claim in [Claim::NotTaken, Claim::Taken, Claim::Taken] {
            let _ = pollee.register(Counts::new(claim), IoEvents::IN, Mode::Exclusive);
        }
        let notifier = spawn_notify(&pollee, IoEvents::IN);
        assert_eq!(pollee.notify(IoEvents::IN), Claim::Taken);
        assert_eq!(notifier.join().unwrap(), Claim::Taken);
    });
}
