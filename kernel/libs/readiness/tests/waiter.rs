// SPDX-License-Identifier: MPL-2.0

//! Waiting, with real threads.

#![cfg(not(any(loom, shuttle)))]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use readiness::{InTurn, IoEvents, Nothing, Parked, Pollable, Pollee, Timeout, Together, WaitError, Waiter};
use support::{Buffer, File, TestParker, level, new_epoll, new_topology, wait};

#[test]
fn a_ready_file_is_not_registered_on() {
    let file = File::counter();
    file.post();
    let mut waiter = Waiter::new(TestParker::new());
    let panics = Together(|_: &mut dyn FnMut(&Pollee, IoEvents)| panic!("registered"));
    assert_eq!(waiter.wait_until(&panics, Timeout::Never, || file.take()), Ok(()));
    assert_eq!(waiter.wait_until(&panics, Timeout::Now, || file.take()), Err(WaitError::TimedOut));
}

#[test]
fn timeouts_and_signals_end_a_wait() {
    let parker = TestParker::new();
    let bell = parker.bell();
    let mut waiter = Waiter::new(parker);
    bell.end(Parked::Interrupted);
    assert_eq!(waiter.wait_until(&Nothing, Timeout::Never, || None::<()>), Err(WaitError::Interrupted));
    bell.end(Parked::TimedOut);
    assert_eq!(waiter.wait_until(&Nothing, Timeout::At(()), || None::<()>), Err(WaitError::TimedOut));
}

#[test]
fn an_event_beats_a_timeout() {
    let file = File::counter();
    let parker = TestParker::new();
    let bell = parker.bell();
    let mut waiter = Waiter::new(parker);
    bell.end(Parked::TimedOut);
    let mut checks = 0;
    let outcome = waiter.wait_until(&InTurn(&*file, IoEvents::IN), Timeout::At(()), || {
        checks += 1;
        // It becomes ready between the check before the sleep and the last one.
        (checks == 3).then_some(())
    });
    assert_eq!(outcome, Ok(()));
}

#[test]
fn one_of_many_files_ends_a_wait() {
    let files: Arc<Vec<_>> = Arc::new((0..50).map(|_| File::counter()).collect());
    let poster = files.clone();
    let posting = thread::spawn(move || {
        for round in 0..100 {
            thread::sleep(Duration::from_micros(200));
            poster[round * 7 % 50].post();
        }
    });
    let mut waiter = Waiter::new(TestParker::new());
    for _ in 0..100 {
        let subjects = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| {
            files.iter().for_each(|file| register(file.pollee(), IoEvents::IN));
        });
        waiter.wait_until(&subjects, Timeout::Never, || files.iter().find_map(|file| file.take())).unwrap();
    }
    posting.join().unwrap();
}

#[test]
fn as_many_are_woken_as_there_are_events() {
    const READERS: usize = 8;
    let file = File::counter();
    let taken = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (file, taken) = (file.clone(), taken.clone());
            thread::spawn(move || {
                let mut waiter = Waiter::new(TestParker::new());
                for _ in 0..500 {
                    waiter.wait_until(&InTurn(&*file, IoEvents::IN), Timeout::Never, || file.take()).unwrap();
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..READERS * 500 {
        file.post();
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(taken.load(Ordering::Relaxed), READERS * 500);
    assert_eq!(file.take(), None);
}

#[test]
fn many_threads_share_an_epoll() {
    const THREADS: usize = 4;
    const EVENTS: usize = 2000;
    let epoll = Arc::new(new_epoll(new_topology()));
    let files: Arc<Vec<_>> = Arc::new((0..THREADS).map(|_| File::counter()).collect());
    for (fd, file) in (0..).zip(files.iter()) {
        epoll.add(fd, file, level(fd as u64)).unwrap();
    }
    let taken = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (epoll, files, taken) = (epoll.clone(), files.clone(), taken.clone());
            thread::spawn(move || {
                let mut waiter = Waiter::new(TestParker::new());
                while taken.load(Ordering::Relaxed) < EVENTS {
                    let mut buffer = Buffer::default();
                    wait(&epoll, &mut waiter, 2, Timeout::Never, &mut buffer).unwrap();
                    let got: u64 = buffer.data().iter().map(|fd| files[*fd as usize].drain()).sum();
                    if taken.fetch_add(got as usize, Ordering::Relaxed) + got as usize >= EVENTS {
                        // Everybody may go home: keep the file ready until the last one has seen it.
                        files[0].post();
                    }
                }
                files[0].post();
            })
        })
        .collect();
    for event in 0..EVENTS {
        files[event % THREADS].post();
    }
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}
