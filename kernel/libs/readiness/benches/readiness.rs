// SPDX-License-Identifier: MPL-2.0

//! What the core costs on the host: notifying by number and kind of observers, asking, waiting, epoll by size.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use readiness::{
    Claim, InTurn, IoEvents, Mode, Observer, Pollable, Pollee, Timeout, Waiter,
    epoll::{Epoll, EpollEvent, Sink, WatchQuota, flags::EDGE},
};
use support::{File, TestParker, level, new_topology, with_flags};

struct Deaf;

impl Observer for Deaf {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        Claim::NotTaken
    }
}

struct Discard;

impl Sink for Discard {
    fn put(&mut self, events: &[EpollEvent]) -> usize {
        black_box(events).len()
    }

    fn put_now(&mut self, events: &[EpollEvent]) -> bool {
        self.put(events) == events.len()
    }
}

fn notify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("notify");
    for (kind, mask) in [("uninterested", IoEvents::OUT), ("interested", IoEvents::IN)] {
        for count in [0, 1, 10, 1000] {
            let pollee = Pollee::new();
            for _ in 0..count {
                let _ = pollee.register(Arc::new(Deaf), mask, Mode::Shared);
            }
            group.bench_with_input(BenchmarkId::new(kind, count), &pollee, |bencher, pollee| {
                bencher.iter(|| pollee.notify(IoEvents::IN));
            });
        }
    }
    // One observer wants to read, so that the lock is taken; the others must not be walked.
    for count in [0, 1000] {
        let pollee = Pollee::new();
        let _ = pollee.register(Arc::new(Deaf), IoEvents::IN, Mode::Shared);
        for _ in 0..count {
            let _ = pollee.register(Arc::new(Deaf), IoEvents::OUT, Mode::Shared);
        }
        group.bench_with_input(BenchmarkId::new("one_interested_among", count), &pollee, |bencher, pollee| {
            bencher.iter(|| pollee.notify(IoEvents::IN));
        });
    }
}

fn poll(criterion: &mut Criterion) {
    let file = File::counter();
    criterion.bench_function("poll/cached", |bencher| bencher.iter(|| black_box(&file).poll()));
    criterion.bench_function("poll/computed", |bencher| bencher.iter(|| black_box(&file).readiness()));
    criterion.bench_function("update/post_and_take", |bencher| {
        bencher.iter(|| {
            file.post();
            file.take()
        });
    });
}

fn wait(criterion: &mut Criterion) {
    let file = File::counter();
    let mut waiter = Waiter::new(TestParker::new());
    criterion.bench_function("wait/ready_at_once", |bencher| {
        bencher.iter(|| {
            file.post();
            waiter.wait_until(&InTurn(&*file, IoEvents::IN), Timeout::Never, || file.take())
        });
    });
    let pollee = Pollee::new();
    criterion.bench_function("wait/register_and_leave", |bencher| {
        let deaf: Arc<dyn Observer> = Arc::new(Deaf);
        bencher.iter(|| pollee.deregister(pollee.register(deaf.clone(), IoEvents::IN, Mode::Exclusive)));
    });
}

/// An epoll over `count` files, none ready.
fn watching(count: i32, flags: u32) -> (Epoll<File>, Vec<Arc<File>>) {
    let epoll = Epoll::new(new_topology(), Arc::new(WatchQuota::new(usize::MAX)));
    let files: Vec<_> = (0..count).map(|_| File::counter()).collect();
    for (fd, file) in (0..).zip(&files) {
        epoll.add(fd, file, with_flags(flags, 0)).unwrap();
    }
    (epoll, files)
}

fn epoll(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("epoll");
    for count in [1, 100, 10_000] {
        let (epoll, files) = watching(count, 0);
        group.bench_function(BenchmarkId::new("wait_none", count), |bencher| {
            bencher.iter(|| epoll.harvest(64, &mut Discard));
        });
        files[0].post();
        group.bench_function(BenchmarkId::new("wait_one_level", count), |bencher| {
            bencher.iter(|| epoll.harvest(64, &mut Discard));
        });
        let (epoll, files) = watching(count, EDGE);
        group.bench_function(BenchmarkId::new("edge_and_wait", count), |bencher| {
            bencher.iter(|| {
                files[0].post();
                epoll.harvest(64, &mut Discard)
            });
        });
        group.bench_function(BenchmarkId::new("add_and_delete", count), |bencher| {
            let file = File::counter();
            bencher.iter(|| {
                epoll.add(-1, &file, level(0)).unwrap();
                epoll.delete(-1, &file)
            });
        });
    }
    let (epoll, files) = watching(64, 0);
    files.iter().for_each(|file| file.post());
    group.bench_function("wait_64_of_64", |bencher| bencher.iter(|| epoll.harvest(64, &mut Discard)));
}

criterion_group!(benches, notify, poll, wait, epoll);
criterion_main!(benches);
