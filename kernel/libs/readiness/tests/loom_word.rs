// SPDX-License-Identifier: MPL-2.0

//! Models of the word and the pollee: no wake-up is lost, no answer is stale (W1 to W3, P1, P2, T2).
//!
//! The state of the modelled file is a `Relaxed` atomic, so that all ordering has to come from the crate. All
//! executions are explored; `LOOM_MAX_PREEMPTIONS=N` bounds that.

#![cfg(loom)]

use std::sync::Arc;

use loom::{
    model,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};
use readiness::{Claim, IoEvents, Mode, Observer, Pollee, Readiness, Tracked};

/// A file that is nothing but bits.
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

    fn compute(&self) -> IoEvents {
        IoEvents::from_bits_retain(self.bits.load(Relaxed))
    }

    fn poll(&self) -> IoEvents {
        self.pollee.look_up(|| self.compute())
    }
}

struct Heard(AtomicU32);

impl Heard {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU32::new(0)))
    }

    fn events(&self) -> IoEvents {
        IoEvents::from_bits_retain(self.0.load(Relaxed))
    }
}

impl Observer for Heard {
    fn on_ready(&self, events: IoEvents) -> Claim {
        self.0.fetch_or(events.bits(), Relaxed);
        Claim::NotTaken
    }
}

fn spawn_set(file: &Arc<Bits>, events: IoEvents) -> thread::JoinHandle<()> {
    let file = file.clone();
    thread::spawn(move || file.set(events))
}

#[test]
fn p1_no_wakeup_is_lost_without_a_cached_answer() {
    model(|| {
        let (file, heard) = (Bits::new(), Heard::new());
        let notifier = spawn_set(&file, IoEvents::IN);
        let _registration = file.pollee.register(heard.clone(), IoEvents::IN, Mode::Shared);
        let seen = file.compute();
        notifier.join().unwrap();
        assert!((seen | heard.events()).contains(IoEvents::IN));
    });
}

#[test]
fn p1_no_wakeup_is_lost_with_a_cached_answer() {
    model(|| {
        let (file, heard) = (Bits::new(), Heard::new());
        file.poll();
        let notifier = spawn_set(&file, IoEvents::IN);
        let _registration = file.pollee.register(heard.clone(), IoEvents::IN, Mode::Shared);
        let seen = file.poll();
        notifier.join().unwrap();
        assert!((seen | heard.events()).contains(IoEvents::IN));
    });
}

#[test]
fn p1_no_wakeup_is_lost_with_two_notifiers() {
    model(|| {
        let (file, heard) = (Bits::new(), Heard::new());
        file.poll();
        let both = IoEvents::IN | IoEvents::OUT;
        let notifiers = [spawn_set(&file, IoEvents::IN), spawn_set(&file, IoEvents::OUT)];
        let _registration = file.pollee.register(heard.clone(), both, Mode::Shared);
        let seen = file.poll();
        notifiers.into_iter().for_each(|notifier| notifier.join().unwrap());
        assert!((seen | heard.events()).contains(both));
    });
}

#[test]
fn p1_no_wakeup_is_lost_with_two_notifiers_without_a_cached_answer() {
    model(|| {
        let (file, heard) = (Bits::new(), Heard::new());
        let both = IoEvents::IN | IoEvents::OUT;
        let notifiers = [spawn_set(&file, IoEvents::IN), spawn_set(&file, IoEvents::OUT)];
        let _registration = file.pollee.register(heard.clone(), both, Mode::Shared);
        let seen = file.compute();
        notifiers.into_iter().for_each(|notifier| notifier.join().unwrap());
        assert!((seen | heard.events()).contains(both));
    });
}

#[test]
fn p1_no_wakeup_is_lost_when_the_mask_is_modified() {
    model(|| {
        let (file, heard) = (Bits::new(), Heard::new());
        file.poll();
        let registration = file.pollee.register(heard.clone(), IoEvents::OUT, Mode::Shared);
        let notifier = spawn_set(&file, IoEvents::IN);
        file.pollee.modify(&registration, IoEvents::IN);
        let seen = file.poll();
        notifier.join().unwrap();
        assert!((seen | heard.events()).contains(IoEvents::IN));
    });
}

#[test]
fn p2_no_stale_answer_survives_a_notify() {
    model(|| {
        let file = Bits::new();
        let notifier = spawn_set(&file, IoEvents::IN);
        file.poll(); // may race: either answer is fine
        file.poll();
        notifier.join().unwrap();
        assert!(file.poll().contains(IoEvents::IN));
    });
}

#[test]
fn p2_no_stale_answer_survives_with_two_checkers() {
    model(|| {
        let file = Bits::new();
        let checker = {
            let file = file.clone();
            thread::spawn(move || file.poll())
        };
        let notifier = {
            let file = file.clone();
            thread::spawn(move || {
                file.set(IoEvents::IN);
                // The notifier itself must see what it said.
                assert!(file.poll().contains(IoEvents::IN));
            })
        };
        file.poll();
        checker.join().unwrap();
        notifier.join().unwrap();
        assert!(file.poll().contains(IoEvents::IN));
    });
}

#[test]
fn p2_no_stale_answer_survives_with_two_checkers_and_two_notifiers() {
    // Five threads are too many for all executions: those with at most two preemptions.
    let mut bounded = loom::model::Builder::new();
    bounded.preemption_bound = bounded.preemption_bound.or(Some(2));
    bounded.check(|| {
        let file = Bits::new();
        let checker = {
            let file = file.clone();
            thread::spawn(move || file.poll())
        };
        let notifier = spawn_set(&file, IoEvents::IN);
        let invalidator = {
            let file = file.clone();
            thread::spawn(move || {
                file.bits.fetch_or(IoEvents::OUT.bits(), Relaxed);
                file.pollee.invalidate();
                assert!(file.poll().contains(IoEvents::OUT));
            })
        };
        file.poll();
        notifier.join().unwrap();
        assert!(file.poll().contains(IoEvents::IN));
        checker.join().unwrap();
        invalidator.join().unwrap();
        assert_eq!(file.poll(), IoEvents::IN | IoEvents::OUT);
    });
}

/// A flag under the lock of a [`Tracked`].
struct Flag(bool);

impl Readiness for Flag {
    fn readiness(&self, _side: usize) -> IoEvents {
        if self.0 { IoEvents::IN } else { IoEvents::empty() }
    }
}

#[test]
fn t2_who_sees_the_new_state_gets_no_old_answer() {
    model(|| {
        let file = Arc::new(Tracked::<Flag>::new(Flag(false)));
        file.poll(0);
        let writer = {
            let file = file.clone();
            thread::spawn(move || {
                file.update(|flag| {
                    flag.0 = true;
                    flag.notify(0, IoEvents::IN);
                });
            })
        };
        if file.read(|flag| flag.0) {
            assert!(file.poll(0).contains(IoEvents::IN));
        }
        writer.join().unwrap();
        assert!(file.poll(0).contains(IoEvents::IN));
    });
}

#[test]
fn t3_observers_may_use_the_state() {
    struct Peeks(Arc<Tracked<Flag>>, AtomicU32);
    impl Observer for Peeks {
        fn on_ready(&self, _events: IoEvents) -> Claim {
            self.1.store(self.0.poll(0).bits(), Relaxed);
            Claim::NotTaken
        }
    }
    model(|| {
        let file = Arc::new(Tracked::<Flag>::new(Flag(false)));
        let peeks = Arc::new(Peeks(file.clone(), AtomicU32::new(0)));
        let registration = file.pollee(0).register(peeks.clone(), IoEvents::IN, Mode::Shared);
        file.update(|flag| flag.0 = true);
        assert_eq!(peeks.1.load(Relaxed), IoEvents::IN.bits());
        file.pollee(0).deregister(registration);
    });
}
