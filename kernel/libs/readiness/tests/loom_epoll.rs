// SPDX-License-Identifier: MPL-2.0

//! Models of epoll: the entry's state machine, the harvest, close and nesting (E1 to E3, H1 to H4, X1, X2, G1).

#![cfg(loom)]

mod support;

use std::sync::Arc;

use loom::thread;
use readiness::{
    IoEvents, Pollable, Timeout, Waiter,
    epoll::{
        AddError, Epoll, EpollEvent, WatchQuota,
        flags::{EDGE, ONESHOT},
    },
};
use support::{Buffer, File, TestParker, harvest, level, new_topology, wait, with_flags};

/// Explores all executions with at most `preemptions` preemptions; nearly all bugs need one or two.
fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS=N looks deeper.
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(body);
}

fn new_epoll() -> Arc<Epoll<File>> {
    Arc::new(support::new_epoll(new_topology()))
}

/// An epoll with one entry of these flags and data 1.
fn watching(file: &Arc<File>, flags: u32) -> Arc<Epoll<File>> {
    let epoll = new_epoll();
    epoll.add(0, file, with_flags(flags, 1)).unwrap();
    epoll
}

fn spawn<R: 'static>(work: impl FnOnce() -> R + 'static) -> thread::JoinHandle<R> {
    thread::spawn(work)
}

fn spawn_post(file: &Arc<File>) -> thread::JoinHandle<()> {
    let file = file.clone();
    spawn(move || file.post())
}

fn spawn_harvest(epoll: &Arc<Epoll<File>>, max: usize) -> thread::JoinHandle<Vec<u64>> {
    let epoll = epoll.clone();
    spawn(move || harvest(&epoll, max))
}

#[test]
fn x1_an_event_during_add_is_told_or_found() {
    model(3, || {
        let (epoll, file) = (new_epoll(), File::counter());
        let poster = spawn_post(&file);
        epoll.add(0, &file, with_flags(EDGE, 1)).unwrap();
        poster.join().unwrap();
        assert_eq!(harvest(&epoll, 9), [1]);
    });
}

#[test]
fn x1_an_event_during_mod_is_told_or_found() {
    model(3, || {
        let file = File::counter();
        let epoll = new_epoll();
        epoll.add(0, &file, EpollEvent { events: 0, data: 0 }).unwrap();
        let poster = spawn_post(&file);
        epoll.modify(0, &file, with_flags(EDGE, 1)).unwrap();
        poster.join().unwrap();
        assert_eq!(harvest(&epoll, 9), [1]);
    });
}

#[test]
fn x1_an_event_while_oneshot_is_armed_again_is_told_or_found() {
    model(3, || {
        let file = File::counter();
        let epoll = watching(&file, ONESHOT);
        file.post();
        assert_eq!(harvest(&epoll, 9), [1]);
        file.take();
        let poster = spawn_post(&file);
        epoll.modify(0, &file, with_flags(ONESHOT, 2)).unwrap();
        poster.join().unwrap();
        assert_eq!(harvest(&epoll, 9), [2]);
    });
}

#[test]
fn x1_adding_a_ready_file_wakes_a_waiter() {
    model(2, || {
        let (epoll, file) = (new_epoll(), File::counter());
        file.post();
        let waiter = spawn_wait(&epoll);
        epoll.add(0, &file, level(1)).unwrap();
        assert_eq!(waiter.join().unwrap(), [1]);
    });
}

/// A thread that waits for one event.
fn spawn_wait(epoll: &Arc<Epoll<File>>) -> thread::JoinHandle<Vec<u64>> {
    let epoll = epoll.clone();
    spawn(move || {
        let mut buffer = Buffer::default();
        wait(&epoll, &mut Waiter::new(TestParker::new()), 1, Timeout::Never, &mut buffer).unwrap();
        buffer.data()
    })
}

#[test]
fn e1_an_edge_while_the_file_is_found_unready_is_not_lost() {
    model(3, || {
        let file = File::counter();
        let epoll = watching(&file, EDGE);
        file.post();
        file.drain();
        // Queued, and not ready: the harvest finds nothing to report, while the event comes.
        let poster = spawn_post(&file);
        let mut reports = harvest(&epoll, 9);
        poster.join().unwrap();
        reports.extend(harvest(&epoll, 9));
        assert!(!reports.is_empty());
    });
}

#[test]
fn e1_an_event_while_a_level_triggered_file_is_found_unready_is_not_lost() {
    model(3, || {
        let file = File::counter();
        let epoll = watching(&file, 0);
        file.post();
        file.drain();
        let poster = spawn_post(&file);
        let _ = harvest(&epoll, 9);
        poster.join().unwrap();
        assert_eq!(harvest(&epoll, 9), [1]);
    });
}

#[test]
fn e1_an_edge_of_another_kind_during_a_report_is_not_lost() {
    model(3, || {
        // Full: readable, not writable, until the other thread takes one.
        let file = File::counter_up_to(1);
        file.post();
        let epoll = new_epoll();
        let both = IoEvents::IN | IoEvents::OUT;
        epoll.add(0, &file, EpollEvent { events: both.bits() | EDGE, data: 1 }).unwrap();
        let taker = {
            let file = file.clone();
            spawn(move || file.take())
        };
        let mut buffer = Buffer::default();
        let _ = epoll.harvest(9, &mut buffer);
        taker.join().unwrap();
        let _ = epoll.harvest(9, &mut buffer);
        assert!(buffer.events.iter().any(|event| event.events == IoEvents::OUT.bits()));
    });
}

#[test]
fn e2_oneshot_is_reported_once_however_events_and_harvests_interleave() {
    model(3, || {
        let file = File::counter();
        let epoll = watching(&file, ONESHOT);
        file.post();
        let poster = spawn_post(&file);
        let other = spawn_harvest(&epoll, 9);
        let mut reports = harvest(&epoll, 9).len();
        poster.join().unwrap();
        reports += other.join().unwrap().len() + harvest(&epoll, 9).len();
        assert_eq!(reports, 1);
    });
}

#[test]
fn e2_oneshot_is_reported_once_for_each_mod() {
    model(2, || {
        let file = File::counter();
        let epoll = watching(&file, ONESHOT);
        file.post();
        let poster = spawn_post(&file);
        let other = spawn_harvest(&epoll, 9);
        epoll.modify(0, &file, with_flags(ONESHOT, 2)).unwrap();
        let mut reports = other.join().unwrap();
        poster.join().unwrap();
        reports.extend(harvest(&epoll, 9));
        reports.extend(harvest(&epoll, 9));
        let count = |data| reports.iter().filter(|report| **report == data).count();
        assert!(count(1) <= 1);
        assert_eq!(count(2), 1);
    });
}

#[test]
fn e3_deleting_races_with_notifying_and_harvesting_harmlessly() {
    model(2, || {
        let file = File::counter();
        let epoll = watching(&file, 0);
        let poster = spawn_post(&file);
        let other = spawn_harvest(&epoll, 9);
        epoll.delete(0, &file).unwrap();
        // Takes the place of the deleted entry in the list. A late callback must not be an edge for it.
        let successor = File::counter();
        successor.post();
        epoll.add(1, &successor, with_flags(EDGE, 2)).unwrap();
        let mut reports = harvest(&epoll, 9);
        poster.join().unwrap();
        reports.extend(other.join().unwrap());
        reports.extend(harvest(&epoll, 9));
        let count = |data| reports.iter().filter(|report| **report == data).count();
        assert!(count(1) <= 1);
        assert_eq!(count(2), 1);
    });
}

#[test]
fn r2_one_event_wakes_one_waiter_of_an_epoll() {
    model(2, || {
        let file = File::counter();
        let epoll = watching(&file, EDGE);
        let parkers = [(); 2].map(|()| TestParker::new());
        let bells = [parkers[0].bell(), parkers[1].bell()];
        let waiters = parkers.map(|parker| {
            let epoll = epoll.clone();
            spawn(move || {
                let mut waiter = Waiter::new(parker);
                wait(&epoll, &mut waiter, 1, Timeout::At(()), &mut Buffer::default()).unwrap_or(0)
            })
        });
        file.post();
        bells.iter().for_each(|bell| bell.end(readiness::Parked::TimedOut));
        assert_eq!(waiters.map(|waiter| waiter.join().unwrap()).iter().sum::<usize>(), 1);
        assert!(bells.iter().map(|bell| bell.times_unparked()).sum::<u32>() <= 1);
    });
}

#[test]
fn r2_n_events_wake_n_waiters_of_an_epoll() {
    model(2, || {
        let files = [File::counter(), File::counter()];
        let epoll = new_epoll();
        for (fd, file) in (0..).zip(&files) {
            epoll.add(fd, file, with_flags(EDGE, fd as u64)).unwrap();
        }
        let waiters = [(); 2].map(|()| spawn_wait(&epoll));
        let poster = spawn_post(&files[0]);
        files[1].post();
        poster.join().unwrap();
        let mut events = waiters.map(|waiter| waiter.join().unwrap()).concat();
        events.sort_unstable();
        assert_eq!(events, [0, 1]);
    });
}

#[test]
fn h2_a_short_or_faulting_buffer_loses_and_duplicates_nothing() {
    model(3, || {
        let files = [File::counter(), File::counter(), File::counter()];
        let epoll = new_epoll();
        for (fd, file) in (0..).zip(&files) {
            epoll.add(fd, file, with_flags(EDGE, fd as u64)).unwrap();
        }
        files[0].post();
        files[1].post();
        let short = spawn_harvest(&epoll, 1);
        let poster = spawn_post(&files[2]);
        let mut faulting = Buffer::faulting_after(1);
        let _ = epoll.harvest(9, &mut faulting);
        let mut events = [short.join().unwrap(), faulting.data()].concat();
        poster.join().unwrap();
        events.extend(harvest(&epoll, 9));
        events.sort_unstable();
        assert_eq!(events, [0, 1, 2]);
    });
}

#[test]
fn h2_a_report_at_once_leaves_alone_what_another_harvest_has() {
    model(3, || {
        let file = File::counter();
        let epoll = watching(&file, ONESHOT);
        file.post();
        // Cannot copy at once, and takes its turn: it has the entry in its hands until it knows that the buffer has room after all.
        let slow = {
            let epoll = epoll.clone();
            spawn(move || {
                let mut buffer = Buffer::slow();
                let _ = epoll.harvest(9, &mut buffer);
                buffer.data()
            })
        };
        let mut reports = harvest(&epoll, 9);
        reports.extend(slow.join().unwrap());
        reports.extend(harvest(&epoll, 9));
        assert_eq!(reports, [1]);
    });
}

#[test]
fn h2_a_fault_leaves_what_was_added_meanwhile_alone() {
    model(2, || {
        let files = [File::counter(), File::counter(), File::counter()];
        files.iter().for_each(|file| file.post());
        let epoll = new_epoll();
        epoll.add(0, &files[0], level(0)).unwrap();
        epoll.add(1, &files[1], level(1)).unwrap();
        let faulting = {
            let epoll = epoll.clone();
            spawn(move || epoll.harvest(9, &mut Buffer::faulting_after(0)).is_err())
        };
        // Takes the place of the deleted entry in the list.
        epoll.delete(0, &files[0]).unwrap();
        epoll.add(2, &files[2], level(2)).unwrap();
        assert!(faulting.join().unwrap());
        assert_eq!(harvest(&epoll, 9), [1, 2]);
    });
}

#[test]
fn h3_a_poll_finds_what_another_thread_scans() {
    model(3, || {
        let (topology, file) = (new_topology(), File::counter());
        let epoll = File::epoll(topology);
        epoll.as_ep().add(0, &file, level(1)).unwrap();
        file.post();
        // The thread that comes first in loom's first execution must be the one that harvests. Loom remembers only the last
        // load of a location, so a harvester's own look at the count would hide that a poll's look before it matters, too.
        let other = {
            let epoll = epoll.clone();
            spawn(move || epoll.poll())
        };
        assert_eq!(harvest(epoll.as_ep(), 9), [1]);
        assert_eq!(other.join().unwrap(), IoEvents::READABLE);
    });
}

#[test]
fn h3_a_harvest_finds_what_another_thread_scans() {
    model(3, || {
        let file = File::counter();
        let epoll = watching(&file, 0);
        file.post();
        let other = spawn_harvest(&epoll, 9);
        assert_eq!(harvest(&epoll, 9), [1]);
        assert_eq!(other.join().unwrap(), [1]);
    });
}

#[test]
fn h4_queueing_again_is_silent() {
    model(3, || {
        let (topology, file) = (new_topology(), File::counter());
        let (outer, inner) = (support::new_epoll(topology), File::epoll(topology));
        inner.as_ep().add(0, &file, level(1)).unwrap();
        outer.add(0, &inner, with_flags(EDGE, 2)).unwrap();
        file.post();
        let other = {
            let inner = inner.clone();
            spawn(move || harvest(inner.as_ep(), 9))
        };
        let mut edges = harvest(&outer, 9).len();
        assert_eq!(other.join().unwrap(), [1]);
        edges += harvest(&outer, 9).len();
        assert_eq!(edges, 1);
    });
}

#[test]
fn x2_closing_races_with_notifying_and_harvesting_harmlessly() {
    model(2, || {
        let quota = Arc::new(WatchQuota::new(9));
        let epoll = Arc::new(Epoll::<File>::new(new_topology(), quota.clone()));
        let file = File::counter();
        epoll.add(0, &file, level(1)).unwrap();
        let other = spawn_harvest(&epoll, 9);
        let poster = {
            let file = file.clone();
            spawn(move || {
                file.post();
                drop(file);
            })
        };
        drop(file);
        assert!(other.join().unwrap().len() <= 1);
        poster.join().unwrap();
        assert_eq!(harvest(&epoll, 9), []);
        assert_eq!(quota.used(), 0);
    });
}

#[test]
fn x2_an_epoll_and_its_file_may_be_closed_at_once() {
    model(3, || {
        let quota = Arc::new(WatchQuota::new(9));
        let epoll = Epoll::<File>::new(new_topology(), quota.clone());
        let file = File::counter();
        epoll.add(0, &file, level(1)).unwrap();
        let closer = spawn(move || drop(epoll));
        file.post();
        drop(file);
        closer.join().unwrap();
        assert_eq!(quota.used(), 0);
    });
}

#[test]
fn g1_two_adds_that_would_close_a_cycle_do_not_both_succeed() {
    model(3, || {
        let topology = new_topology();
        let [a, b] = [(); 2].map(|()| File::epoll(topology));
        let other = {
            let (a, b) = (a.clone(), b.clone());
            spawn(move || b.as_ep().add(0, &a, level(0)))
        };
        let results = [a.as_ep().add(0, &b, level(0)), other.join().unwrap()];
        assert!(results.contains(&Ok(())));
        assert!(results.contains(&Err(AddError::WouldLoop)));
        // Taken apart again, or they would keep each other alive.
        let _ = a.as_ep().delete(0, &b);
        let _ = b.as_ep().delete(0, &a);
    });
}

#[test]
fn g1_turning_an_edge_round_does_not_deadlock_two_harvests() {
    model(2, || {
        let topology = new_topology();
        let [a, b] = [(); 2].map(|()| File::epoll(topology));
        let file = File::counter();
        // `a` watches `b`, and both watch the file. One thread harvests `a`, and asks `b`; meanwhile the edge is turned round,
        // and another thread harvests `b`, and asks `a`.
        a.as_ep().add(0, &b, level(0)).unwrap();
        b.as_ep().add(1, &file, level(1)).unwrap();
        a.as_ep().add(1, &file, level(1)).unwrap();
        file.post();
        let harvests_a = {
            let a = a.clone();
            spawn(move || harvest(a.as_ep(), 9))
        };
        let harvests_b = {
            let (b, file) = (b.clone(), file.clone());
            spawn(move || {
                file.post();
                harvest(b.as_ep(), 9)
            })
        };
        a.as_ep().delete(0, &b).unwrap();
        b.as_ep().add(0, &a, level(0)).unwrap();
        harvests_a.join().unwrap();
        harvests_b.join().unwrap();
        b.as_ep().delete(0, &a).unwrap();
    });
}
