// SPDX-License-Identifier: MPL-2.0

//! What must not allocate does not: notifying, waiting again, registering again, reporting.

#![cfg(not(any(loom, shuttle)))]

mod support;

use std::sync::Arc;

use allocation_counter::measure;
use readiness::{
    Claim, IoEvents, Mode, Observer, Parked, Parker, Pollable, Pollee, Timeout, Together, Unpark, Waiter,
    epoll::{EpollEvent, Sink, flags::EDGE},
};
use support::{File, level, new_epoll, new_topology, wait, with_flags};

fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

struct Deaf;

impl Observer for Deaf {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        Claim::NotTaken
    }
}

/// Sleeps not at all: every park times out.
struct Restless;

struct Ignored;

impl Unpark for Ignored {
    fn unpark(&self) {}
}

impl Parker for Restless {
    type Deadline = ();
    type Unparker = Ignored;

    fn unparker(&self) -> Ignored {
        Ignored
    }

    fn park(&mut self, _deadline: Option<()>) -> Parked {
        Parked::TimedOut
    }
}

/// Counts events without keeping them.
struct Counted(usize);

impl Sink for Counted {
    fn put(&mut self, events: &[EpollEvent]) -> usize {
        self.0 += events.len();
        events.len()
    }

    fn put_now(&mut self, events: &[EpollEvent]) -> bool {
        self.put(events) == events.len()
    }
}

#[test]
fn the_first_observer_and_every_notification_allocate_nothing() {
    let pollee = Pollee::new();
    let deaf = Arc::new(Deaf);
    assert_eq!(allocations(|| drop(pollee.register(deaf.clone(), IoEvents::IN, Mode::Shared))), 0);
    for _ in 0..1000 {
        let _ = pollee.register(deaf.clone(), IoEvents::IN, Mode::Shared);
        let _ = pollee.register(deaf.clone(), IoEvents::IN, Mode::Exclusive);
    }
    assert_eq!(allocations(|| assert_eq!(pollee.notify(IoEvents::IN), Claim::NotTaken)), 0);
    assert_eq!(allocations(|| assert_eq!(pollee.notify(IoEvents::HUP), Claim::NotTaken)), 0);
}

#[test]
fn registering_as_many_as_before_allocates_nothing() {
    let pollee = Pollee::new();
    let deaf = Arc::new(Deaf);
    let mut registrations = Vec::with_capacity(100);
    let mut register_and_leave = || {
        registrations.extend((0..100).map(|_| pollee.register(deaf.clone(), IoEvents::IN, Mode::Shared)));
        registrations.drain(..).for_each(|registration| assert!(pollee.deregister(registration)));
    };
    register_and_leave();
    assert_eq!(allocations(register_and_leave), 0);
}

#[test]
fn the_second_wait_of_a_thread_allocates_nothing() {
    let files: Vec<_> = (0..100).map(|_| File::counter()).collect();
    let mut waiter = Waiter::new(Restless);
    let mut wait = || {
        let subjects = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| {
            files.iter().for_each(|file| register(file.pollee(), IoEvents::IN));
        });
        let _ = waiter.wait_until(&subjects, Timeout::At(()), || None::<()>);
    };
    wait();
    assert_eq!(allocations(wait), 0);
}

#[test]
fn events_of_an_epoll_allocate_nothing() {
    let epoll = new_epoll(new_topology());
    let files: Vec<_> = (0..100).map(|_| File::counter()).collect();
    for (fd, file) in (0..).zip(&files) {
        let event = if fd % 2 == 0 { level(fd as u64) } else { with_flags(EDGE, fd as u64) };
        epoll.add(fd, file, event).unwrap();
    }
    let mut waiter = Waiter::new(Restless);
    let mut counted = Counted(0);
    let _ = wait(&epoll, &mut waiter, 200, Timeout::At(()), &mut counted);
    let count = allocations(|| {
        files.iter().for_each(|file| file.post());
        epoll.harvest(200, &mut counted).unwrap();
        files.iter().for_each(|file| assert_eq!(file.drain(), 1));
        let _ = wait(&epoll, &mut waiter, 200, Timeout::At(()), &mut counted);
        epoll.modify(1, &files[1], level(1)).unwrap();
    });
    assert_eq!(count, 0);
    assert_eq!(counted.0, 100);
}

#[test]
fn an_entry_costs_at_most_160_bytes() {
    const ENTRIES: i32 = 100_000;
    let quota = Arc::new(readiness::epoll::WatchQuota::new(usize::MAX));
    let epoll = readiness::epoll::Epoll::new(new_topology(), quota);
    let files: Vec<_> = (0..ENTRIES).map(|_| File::counter()).collect();
    let used = measure(|| {
        for (fd, file) in (0..).zip(&files) {
            epoll.add(fd, file, level(0)).unwrap();
        }
    });
    let per_entry = used.bytes_current / i64::from(ENTRIES);
    println!("{per_entry} bytes per entry");
    assert!(per_entry <= 160, "{per_entry} bytes per entry");
}
