// SPDX-License-Identifier: MPL-2.0

//! Random schedules of what is too big for loom: several threads on one epoll, doing everything at once.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p readiness --release --test shuttle`

#![cfg(shuttle)]

mod support;

use std::sync::Arc;

use readiness::{
    InTurn, IoEvents, Pollable, Timeout, Waiter,
    epoll::{
        Epoll, WatchQuota,
        flags::{EDGE, EXCLUSIVE, ONESHOT},
    },
};
use shuttle::{
    rand::{Rng, thread_rng},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};
use support::{Buffer, File, TestParker, harvest, level, new_epoll, new_topology, wait, with_flags};

const SCHEDULES: usize = 5_000;

fn explore(body: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(body, SCHEDULES);
}

/// Consumers share an epoll; each event is consumed exactly once, and nobody sleeps through the end.
fn consumers_share_an_epoll(flags: u32) {
    const FILES: usize = 3;
    const EVENTS: u64 = 6;
    explore(move || {
        let epoll = Arc::new(new_epoll(new_topology()));
        let files: Arc<Vec<_>> = Arc::new((0..FILES).map(|_| File::counter()).collect());
        for (fd, file) in (0..).zip(files.iter()) {
            epoll.add(fd, file, with_flags(flags, fd as u64)).unwrap();
        }
        // The last file is the bell for going home; it stays ready.
        let home = File::counter();
        epoll.add(99, &home, level(99)).unwrap();
        let consumed = Arc::new(AtomicU64::new(0));
        let consumers: Vec<_> = (0..3)
            .map(|_| {
                let (epoll, files, home, consumed) = (epoll.clone(), files.clone(), home.clone(), consumed.clone());
                thread::spawn(move || consume(&epoll, &files, &home, &consumed, flags, EVENTS))
            })
            .collect();
        let posters: Vec<_> = (0..2)
            .map(|_| {
                let files = files.clone();
                thread::spawn(move || (0..EVENTS / 2).for_each(|_| files[thread_rng().gen_range(0..FILES)].post()))
            })
            .collect();
        posters.into_iter().for_each(|poster| poster.join().unwrap());
        consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
        assert_eq!(consumed.load(Ordering::SeqCst), EVENTS);
    });
}

fn consume(epoll: &Epoll<File>, files: &[Arc<File>], home: &File, consumed: &AtomicU64, flags: u32, goal: u64) {
    let mut waiter = Waiter::new(TestParker::new());
    loop {
        let mut buffer = Buffer::default();
        wait(&epoll, &mut waiter, 2, Timeout::Never, &mut buffer).unwrap();
        for data in buffer.data() {
            if data == 99 {
                return;
            }
            let file = &files[data as usize];
            let got = file.drain();
            if flags & ONESHOT != 0 {
                epoll.modify(data as i32, file, with_flags(flags, data)).unwrap();
            }
            if consumed.fetch_add(got, Ordering::SeqCst) + got == goal {
                home.post();
            }
        }
    }
}

#[test]
fn level_triggered_consumers_lose_nothing() {
    consumers_share_an_epoll(0);
}

#[test]
fn edge_triggered_consumers_lose_nothing() {
    consumers_share_an_epoll(EDGE);
}

#[test]
fn oneshot_consumers_lose_nothing() {
    consumers_share_an_epoll(ONESHOT);
}

#[test]
fn exclusive_epolls_lose_nothing() {
    explore(|| {
        let file = File::counter();
        let topology = new_topology();
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let epoll = new_epoll(topology);
                epoll.add(0, &file, with_flags(EXCLUSIVE, 0)).unwrap();
                let file = file.clone();
                thread::spawn(move || {
                    let mut waiter = Waiter::new(TestParker::new());
                    // Each takes one; a wake that finds nothing left is a spurious one.
                    loop {
                        wait(&epoll, &mut waiter, 1, Timeout::Never, &mut Buffer::default()).unwrap();
                        if file.take().is_some() {
                            return;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            file.post();
        }
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn readers_that_come_and_go_lose_nothing() {
    explore(|| {
        let file = File::counter();
        let readers: Vec<_> = (0..4)
            .map(|index| {
                let (file, parker) = (file.clone(), TestParker::new());
                let bell = parker.bell();
                let reader = {
                    thread::spawn(move || {
                        let mut waiter = Waiter::new(parker);
                        let subject = InTurn(&*file, IoEvents::IN);
                        waiter.wait_until(&subject, Timeout::At(()), || file.take()).is_ok()
                    })
                };
                if index % 2 == 0 {
                    bell.end(readiness::Parked::Interrupted);
                }
                reader
            })
            .collect();
        (0..4).for_each(|_| file.post());
        let taken = readers.into_iter().map(|reader| reader.join().unwrap()).filter(|ok| *ok).count();
        assert_eq!(taken as u64 + file.drain(), 4);
    });
}

#[test]
fn add_modify_delete_close_and_wait_at_once() {
    explore(|| {
        let quota = Arc::new(WatchQuota::new(100));
        let epoll = Arc::new(Epoll::<File>::new(new_topology(), quota.clone()));
        let workers: Vec<_> = (0..3)
            .map(|fd| {
                let epoll = epoll.clone();
                thread::spawn(move || {
                    for _ in 0..4 {
                        let file = File::counter();
                        let flags = [0, EDGE, ONESHOT][thread_rng().gen_range(0..3)];
                        epoll.add(fd, &file, with_flags(flags, fd as u64)).unwrap();
                        file.post();
                        match thread_rng().gen_range(0..3) {
                            0 => epoll.modify(fd, &file, with_flags(flags, fd as u64)).unwrap(),
                            1 => epoll.delete(fd, &file).unwrap(),
                            _ => drop(harvest(&epoll, 2)),
                        }
                        // The last close, if it was not deleted.
                        drop(file);
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(harvest(&epoll, 9), []);
        assert!(epoll.poll().is_empty());
        assert_eq!(quota.used(), 0);
    });
}
