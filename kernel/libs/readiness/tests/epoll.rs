// SPDX-License-Identifier: MPL-2.0

//! Epoll, one thread: the rows of the semantics that need no concurrency.

#![cfg(not(any(loom, shuttle)))]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use readiness::{
    Claim, IoEvents, Mode, Observer, Pollable, Timeout, WaitError, Waiter,
    epoll::{
        AddError, Epoll, EpollEvent, EpollWaitError, Fault, ModifyError, NoEntry, WatchQuota,
        flags::{EDGE, EXCLUSIVE, ONESHOT},
    },
};
use support::{Buffer, File, TestParker, harvest, level, new_epoll, new_topology, wait, with_flags};

#[test]
fn the_key_is_number_and_description() {
    let (epoll, file) = (new_epoll(new_topology()), File::counter());
    assert_eq!(epoll.add(3, &file, level(3)), Ok(()));
    assert_eq!(epoll.add(3, &file, level(3)), Err(AddError::AlreadyThere));
    assert_eq!(epoll.add(4, &file, level(4)), Ok(()));
    assert_eq!(epoll.add(3, &File::counter(), level(5)), Ok(()));
    assert_eq!(epoll.modify(5, &file, level(5)), Err(ModifyError::NoEntry));
    assert_eq!(epoll.delete(5, &file), Err(NoEntry));
    file.post();
    assert_eq!(harvest(&epoll, 10), [4, 3]);
    assert_eq!(epoll.delete(3, &file), Ok(()));
    assert_eq!(harvest(&epoll, 10), [4]);
    assert_eq!(epoll.delete(3, &file), Err(NoEntry));
}

#[test]
fn level_is_reported_until_drained() {
    let (epoll, file) = (new_epoll(new_topology()), File::counter());
    epoll.add(3, &file, level(7)).unwrap();
    assert_eq!(harvest(&epoll, 10), []);
    file.post();
    assert_eq!(harvest(&epoll, 10), [7]);
    assert_eq!(harvest(&epoll, 10), [7]);
    file.drain();
    assert_eq!(harvest(&epoll, 10), []);
}

#[test]
fn edge_is_reported_once_per_edge() {
    let (epoll, file) = (new_epoll(new_topology()), File::counter());
    file.post();
    epoll.add(3, &file, with_flags(EDGE, 7)).unwrap();
    assert_eq!(harvest(&epoll, 10), [7]);
    assert_eq!(harvest(&epoll, 10), []);
    file.post();
    file.post();
    assert_eq!(harvest(&epoll, 10), [7]);
    assert_eq!(harvest(&epoll, 10), []);
}

#[test]
fn an_edge_report_carries_the_full_mask() {
    let (epoll, file) = (new_epoll(new_topology()), File::counter_up_to(10));
    let both = IoEvents::IN | IoEvents::OUT;
    epoll.add(3, &file, EpollEvent { events: both.bits() | EDGE, data: 0 }).unwrap();
    let mut buffer = Buffer::default();
    epoll.harvest(1, &mut buffer).unwrap();
    assert_eq!(buffer.events[0].events, IoEvents::OUT.bits());
    file.post();
    epoll.harvest(1, &mut buffer).unwrap();
    assert_eq!(buffer.events[1].events, both.bits());
}

#[test]
fn oneshot_is_reported_once_and_armed_again_by_mod() {
    for flags in [ONESHOT, ONESHOT | EDGE] {
        let (epoll, file) = (new_epoll(new_topology()), File::counter());
        epoll.add(3, &file, with_flags(flags, 7)).unwrap();
        file.post();
        assert_eq!(harvest(&epoll, 10), [7]);
        file.post();
        assert_eq!(harvest(&epoll, 10), []);
        epoll.modify(3, &file, with_flags(flags, 8)).unwrap();
        assert_eq!(harvest(&epoll, 10), [8]);
        assert_eq!(harvest(&epoll, 10), []);
        assert_eq!(epoll.add(3, &file, level(9)), Err(AddError::AlreadyThere));
    }
}

#[test]
fn mod_reports_again_and_applies_the_new_mask() {
    let (epoll, file) = (new_epoll(new_topology()), File::counter());
    file.post();
    epoll.add(3, &file, with_flags(EDGE, 7)).unwrap();
    assert_eq!(harvest(&epoll, 10), [7]);
    epoll.modify(3, &file, with_flags(EDGE, 8)).unwrap();
    assert_eq!(harvest(&epoll, 10), [8]);
    epoll.modify(3, &file, EpollEvent { events: 0, data: 9 }).unwrap();
    file.post();
    assert_eq!(harvest(&epoll, 10), []);
}

#[test]
fn mod_finds_its_entry_among_those_that_share_a_place() {
    let epoll = new_epoll(new_topology());
    let files: Vec<_> = (0..3).map(|_| File::counter()).collect();
    let fds = [3, 67, 131];
    for (fd, file) in fds.into_iter().zip(&files) {
        epoll.add(fd, file, level(0)).unwrap();
    }
    assert_eq!(epoll.modify(195, &files[2], level(9)), Err(ModifyError::NoEntry));
    assert_eq!(epoll.modify(131, &files[1], level(9)), Err(ModifyError::NoEntry));
    for (fd, file) in fds.into_iter().zip(&files).rev() {
        assert_eq!(epoll.modify(fd, file, level(fd as u64)), Ok(()));
    }
    files.iter().for_each(|file| file.post());
    assert_eq!(harvest(&epoll, 10), [3, 67, 131]);
    assert_eq!(epoll.delete(131, &files[2]), Ok(()));
    assert_eq!(epoll.modify(131, &files[2], level(9)), Err(ModifyError::NoEntry));
}

#[test]
fn first_ready_is_first_reported_and_level_rotates() {
    let epoll = new_epoll(new_topology());
    let files: Vec<_> = (0..5).map(|_| File::counter()).collect();
    for (fd, file) in (0..).zip(&files) {
        epoll.add(fd, file, level(fd as u64)).unwrap();
    }
    for index in [3, 1, 4, 0, 2] {
        files[index].post();
    }
    assert_eq!(harvest(&epoll, 2), [3, 1]);
    assert_eq!(harvest(&epoll, 2), [4, 0]);
    assert_eq!(harvest(&epoll, 2), [2, 3]);
    assert_eq!(harvest(&epoll, 9), [1, 4, 0, 2, 3]);
}

#[test]
fn one_report_per_entry_and_call() {
    let epoll = new_epoll(new_topology());
    let files: Vec<_> = (0..40).map(|_| File::counter()).collect();
    for (fd, file) in (0..).zip(&files) {
        epoll.add(fd, file, level(fd as u64)).unwrap();
        file.post();
    }
    assert_eq!(harvest(&epoll, 1000), (0..40).collect::<Vec<_>>());
    assert_eq!(harvest(&epoll, 33), (0..33).collect::<Vec<_>>());
    assert_eq!(harvest(&epoll, 10), [33, 34, 35, 36, 37, 38, 39, 0, 1, 2]);
}

#[test]
fn a_fault_loses_nothing_and_counts_what_was_copied() {
    let epoll = new_epoll(new_topology());
    let files: Vec<_> = (0..40).map(|_| File::counter()).collect();
    for (fd, file) in (0..).zip(&files) {
        epoll.add(fd, file, with_flags(EDGE, fd as u64)).unwrap();
        file.post();
    }
    let mut buffer = Buffer::faulting_after(0);
    assert_eq!(epoll.harvest(50, &mut buffer), Err(Fault));
    let mut buffer = Buffer::faulting_after(3);
    assert_eq!(epoll.harvest(50, &mut buffer), Ok(3));
    assert_eq!(buffer.data(), [0, 1, 2]);
    let mut buffer = Buffer::faulting_after(20);
    assert_eq!(epoll.harvest(50, &mut buffer), Ok(20));
    assert_eq!(buffer.data(), (3..23).collect::<Vec<_>>());
    assert_eq!(harvest(&epoll, 50), (23..40).collect::<Vec<_>>());
    assert_eq!(harvest(&epoll, 50), []);
}

#[test]
fn exclusive_has_its_rules() {
    let topology = new_topology();
    let (epoll, file) = (new_epoll(topology), File::counter());
    let exclusive = |events: u32| EpollEvent { events: events | EXCLUSIVE, data: 0 };
    assert_eq!(epoll.add(3, &file, exclusive(ONESHOT | 1)), Err(AddError::BadExclusive));
    assert_eq!(epoll.add(3, &file, exclusive(IoEvents::PRI.bits())), Err(AddError::BadExclusive));
    assert_eq!(epoll.add(3, &File::epoll(topology), exclusive(1)), Err(AddError::ExclusiveEpoll));
    assert_eq!(epoll.add(3, &file, exclusive(EDGE | 5)), Ok(()));
    assert_eq!(epoll.modify(3, &file, level(0)), Err(ModifyError::Exclusive));
    assert_eq!(epoll.modify(3, &file, EpollEvent { events: EDGE | 5, data: 0 }), Err(ModifyError::Exclusive));
    assert_eq!(epoll.add(4, &file, level(0)), Ok(()));
    assert_eq!(epoll.modify(4, &file, exclusive(1)), Err(ModifyError::Exclusive));
}

#[test]
fn an_epoll_is_readable_while_an_item_is_ready() {
    let topology = new_topology();
    let (outer, inner, file) = (new_epoll(topology), File::epoll(topology), File::counter());
    inner.as_ep().add(3, &file, level(1)).unwrap();
    outer.add(4, &inner, level(2)).unwrap();
    assert_eq!(harvest(&outer, 10), []);
    file.post();
    assert_eq!(inner.poll(), IoEvents::READABLE);
    assert_eq!(harvest(&outer, 10), [2]);
    assert_eq!(harvest(inner.as_ep(), 10), [1]);
    assert_eq!(harvest(&outer, 10), [2]);
    file.drain();
    assert_eq!(inner.poll(), IoEvents::empty());
    assert_eq!(harvest(&outer, 10), []);
}

#[test]
fn waiting_on_the_inner_is_no_edge_for_the_outer() {
    let topology = new_topology();
    let (outer, inner, file) = (new_epoll(topology), File::epoll(topology), File::counter());
    inner.as_ep().add(3, &file, level(1)).unwrap();
    outer.add(4, &inner, with_flags(EDGE, 2)).unwrap();
    file.post();
    assert_eq!(harvest(&outer, 10), [2]);
    for _ in 0..3 {
        assert_eq!(harvest(inner.as_ep(), 10), [1]);
        assert_eq!(inner.poll(), IoEvents::READABLE);
        assert_eq!(harvest(&outer, 10), []);
    }
    file.post();
    assert_eq!(harvest(&outer, 10), [2]);
}

/// Woken by an event, a thread that looks at an epoll of the same file at once.
struct Woken {
    epoll: Arc<Epoll<File>>,
    found: Mutex<Vec<u64>>,
}

impl Observer for Woken {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        self.found.lock().unwrap().extend(harvest(&self.epoll, 10));
        Claim::NotTaken
    }
}

#[test]
fn who_is_woken_finds_the_epoll_told() {
    let (epoll, file) = (Arc::new(new_epoll(new_topology())), File::counter());
    epoll.add(3, &file, level(7)).unwrap();
    // The newer observer: among equals it would be called first.
    let woken = Arc::new(Woken { epoll: epoll.clone(), found: Mutex::default() });
    let registration = file.pollee().register(woken.clone(), IoEvents::IN, Mode::Shared);
    file.post();
    assert_eq!(*woken.found.lock().unwrap(), [7]);
    file.pollee().deregister(registration);
}

/// Somebody who waits for an epoll, counts how often he is told, and leaves it to others.
#[derive(Default)]
struct Next(AtomicU32);

impl Observer for Next {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        self.0.fetch_add(1, Ordering::Relaxed);
        Claim::NotTaken
    }
}

#[test]
fn what_stays_ready_is_offered_to_one_more() {
    for (flags, count, times) in [(0, 1, 1), (0, 3, 1), (EDGE, 1, 0), (EDGE, 3, 0)] {
        let epoll = new_epoll(new_topology());
        let files: Vec<_> = (0..count).map(|_| File::counter()).collect();
        for (fd, file) in (0..).zip(&files) {
            epoll.add(fd, file, with_flags(flags, 7)).unwrap();
            file.post();
        }
        let next = Arc::new(Next::default());
        let registration = epoll.pollee().register(next.clone(), IoEvents::IN, Mode::Exclusive);
        assert_eq!(harvest(&epoll, 10).len(), count);
        assert_eq!(next.0.load(Ordering::Relaxed), times);
        epoll.pollee().deregister(registration);
    }
}

#[test]
fn cycles_and_towers_are_refused() {
    let topology = new_topology();
    let epolls: Vec<_> = (0..7).map(|_| File::epoll(topology)).collect();
    assert_eq!(epolls[0].as_ep().add(0, &epolls[0], level(0)), Err(AddError::SameFile));
    for at in 0..4 {
        assert_eq!(epolls[at].as_ep().add(0, &epolls[at + 1], level(0)), Ok(()));
    }
    assert_eq!(epolls[4].as_ep().add(0, &epolls[5], level(0)), Err(AddError::TooDeep));
    assert_eq!(epolls[6].as_ep().add(0, &epolls[0], level(0)), Err(AddError::TooDeep));
    for at in 1..5 {
        assert_eq!(epolls[at].as_ep().add(0, &epolls[0], level(0)), Err(AddError::WouldLoop));
    }
    assert_eq!(epolls[4].as_ep().add(0, &File::counter(), level(0)), Ok(()));
    epolls[1].as_ep().delete(0, &epolls[2]).unwrap();
    assert_eq!(epolls[4].as_ep().add(0, &epolls[5], level(0)), Ok(()));
    assert_eq!(epolls[5].as_ep().add(9, &epolls[0], level(0)), Err(AddError::TooDeep));
    assert_eq!(epolls[3].as_ep().add(9, &epolls[0], level(0)), Ok(()));
    assert_eq!(epolls[0].as_ep().add(9, &epolls[2], level(0)), Err(AddError::WouldLoop));
}

#[test]
fn a_closed_inner_epoll_leaves_the_graph() {
    let topology = new_topology();
    let [a, b, c] = [(); 3].map(|()| File::epoll(topology));
    a.as_ep().add(0, &b, level(0)).unwrap();
    b.as_ep().add(0, &c, level(0)).unwrap();
    assert_eq!(c.as_ep().add(0, &a, level(0)), Err(AddError::WouldLoop));
    drop(b);
    assert_eq!(c.as_ep().add(0, &a, level(0)), Ok(()));
    assert_eq!(a.as_ep().add(0, &c, level(0)), Err(AddError::WouldLoop));
}

#[test]
fn the_paths_up_from_a_file_are_limited() {
    // Linux's figure for one nested epoll is 500 paths.
    let topology = new_topology();
    let (inner, file) = (File::epoll(topology), File::counter());
    inner.as_ep().add(0, &file, level(0)).unwrap();
    let outers: Vec<_> = (0..501).map(|_| new_epoll(topology)).collect();
    for outer in &outers[..500] {
        assert_eq!(outer.add(0, &inner, level(0)), Ok(()));
    }
    assert_eq!(outers[500].add(0, &inner, level(0)), Err(AddError::TooManyPaths));
    assert_eq!(outers[499].delete(0, &inner), Ok(()));
    assert_eq!(outers[500].add(0, &inner, level(0)), Ok(()));

    let (second, other) = (File::epoll(topology), new_epoll(topology));
    other.add(0, &second, level(0)).unwrap();
    assert_eq!(second.as_ep().add(0, &file, level(0)), Err(AddError::TooManyPaths));
    assert_eq!(second.as_ep().add(0, &File::counter(), level(0)), Ok(()));
}

#[test]
fn the_quota_is_charged_and_refunded() {
    let topology = new_topology();
    let quota = Arc::new(WatchQuota::new(2));
    let epoll = readiness::epoll::Epoll::<File>::new(topology, quota.clone());
    let files = [(); 3].map(|()| File::counter());
    epoll.add(0, &files[0], level(0)).unwrap();
    epoll.add(1, &files[1], level(0)).unwrap();
    assert_eq!(epoll.add(2, &files[2], level(0)), Err(AddError::NoQuota));
    epoll.delete(0, &files[0]).unwrap();
    assert_eq!(epoll.add(2, &files[2], level(0)), Ok(()));
    drop(files);
    assert_eq!(quota.used(), 0);
    epoll.add(0, &File::counter(), level(0)).unwrap();
    drop(epoll);
    assert_eq!(quota.used(), 0);
}

#[test]
fn the_last_close_removes_entries_at_once_and_drops_what_is_queued() {
    let epoll = new_epoll(new_topology());
    let (one, two) = (File::counter(), File::counter());
    epoll.add(1, &one, level(1)).unwrap();
    epoll.add(5, &one, level(5)).unwrap();
    epoll.add(2, &two, level(2)).unwrap();
    one.post();
    two.post();
    drop(one);
    let mut left = Vec::new();
    epoll.for_each_entry(|entry| left.push((entry.fd, entry.event.data)));
    assert_eq!(left, [(2, 2)]);
    assert_eq!(harvest(&epoll, 10), [2]);
}

#[test]
fn a_reused_number_never_aliases() {
    let epoll = new_epoll(new_topology());
    let first = File::counter();
    epoll.add(1, &first, level(1)).unwrap();
    let duplicate = first.clone();
    drop(first);
    let second = File::counter();
    assert_eq!(epoll.add(1, &second, level(2)), Ok(()));
    duplicate.post();
    assert_eq!(harvest(&epoll, 10), [1]);
    drop(duplicate);
    second.post();
    assert_eq!(harvest(&epoll, 10), [2]);
}

#[test]
fn dropping_an_epoll_leaves_its_files_alone() {
    let topology = new_topology();
    let (epoll, outer, file) = (File::epoll(topology), new_epoll(topology), File::counter());
    epoll.as_ep().add(1, &file, level(1)).unwrap();
    outer.add(2, &epoll, level(2)).unwrap();
    outer.add(3, &file, level(3)).unwrap();
    file.post();
    drop(epoll);
    assert_eq!(harvest(&outer, 10), [3]);
}

#[test]
fn a_wait_that_does_not_sleep_registers_nothing_and_a_timeout_is_told() {
    let (epoll, file) = (new_epoll(new_topology()), File::counter());
    epoll.add(1, &file, level(1)).unwrap();
    let parker = TestParker::new();
    let bell = parker.bell();
    let mut waiter = Waiter::new(parker);
    let mut buffer = Buffer::default();
    let timed_out = Err(EpollWaitError::Wait(WaitError::TimedOut));
    assert_eq!(wait(&epoll, &mut waiter, 1, Timeout::Now, &mut buffer), timed_out);
    bell.end(readiness::Parked::TimedOut);
    assert_eq!(wait(&epoll, &mut waiter, 1, Timeout::At(()), &mut buffer), timed_out);
    file.post();
    assert_eq!(wait(&epoll, &mut waiter, 1, Timeout::Never, &mut buffer), Ok(1));
    let mut buffer = Buffer::faulting_after(0);
    assert_eq!(wait(&epoll, &mut waiter, 1, Timeout::Never, &mut buffer), Err(EpollWaitError::Fault));
}
