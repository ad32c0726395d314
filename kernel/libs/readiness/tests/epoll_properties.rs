// SPDX-License-Identifier: MPL-2.0

//! Random programs over files, duplicates and an epoll, compared call by call with a model that is nothing but vectors.
//!
//! The model keeps the ready list as groups: entries that one event made ready, in any order among themselves. An
//! outer, edge-triggered epoll watches the tested one.

#![cfg(not(any(loom, shuttle)))]

mod support;

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use readiness::{
    IoEvents, Pollable,
    epoll::{
        AddError, Epoll, EpollEvent, Fault, ModifyError, NoEntry,
        flags::{EDGE, ONESHOT},
    },
};
use support::{Buffer, File, new_epoll, new_topology};

/// Some of which share their place among those that an epoll remembers.
const FDS: [i32; 5] = [0, 1, 64, 65, 128];
const CAPACITY: u64 = 2;

#[derive(Clone, Debug)]
enum Op {
    Open(i32),
    Dup(i32, i32),
    Close(i32),
    Post(i32),
    Take(i32),
    Add(i32, u32),
    Mod(i32, u32),
    Del(i32),
    Wait(usize),
    FaultingWait(usize, usize),
    Poll,
    WaitOuter,
}

fn op() -> impl Strategy<Value = Op> {
    let fd = || prop::sample::select(&FDS[..]);
    let events = || {
        let masks = prop::sample::select(vec![0_u32, 1, 4, 5]);
        (masks, prop::sample::select(vec![0, EDGE, ONESHOT, EDGE | ONESHOT])).prop_map(|(mask, flags)| mask | flags)
    };
    prop_oneof![
        2 => fd().prop_map(Op::Open),
        2 => (fd(), fd()).prop_map(|(from, to)| Op::Dup(from, to)),
        1 => fd().prop_map(Op::Close),
        6 => fd().prop_map(Op::Post),
        4 => fd().prop_map(Op::Take),
        5 => (fd(), events()).prop_map(|(fd, events)| Op::Add(fd, events)),
        3 => (fd(), events()).prop_map(|(fd, events)| Op::Mod(fd, events)),
        1 => fd().prop_map(Op::Del),
        6 => (1..6_usize).prop_map(Op::Wait),
        2 => (1..6_usize, 0..4_usize).prop_map(|(max, after)| Op::FaultingWait(max, after)),
        2 => Just(Op::Poll),
        2 => Just(Op::WaitOuter),
    ]
}

/// (descriptor number, description): the key of an entry.
type Key = (i32, usize);

#[derive(Clone, Copy)]
struct Entry {
    events: u32,
    data: u64,
    is_armed: bool,
}

/// What epoll is, in vectors.
#[derive(Default)]
struct Model {
    /// Values of the open descriptions.
    values: BTreeMap<usize, u64>,
    fds: BTreeMap<i32, usize>,
    opened: usize,
    entries: BTreeMap<Key, Entry>,
    ready: Vec<Vec<Key>>,
    outer_edge: bool,
    steps: u64,
}

impl Model {
    fn readiness(&self, key: Key) -> u32 {
        let value = self.values[&key.1];
        let readiness = if value > 0 { 1 } else { 0 } | if value < CAPACITY { 4 } else { 0 };
        readiness & self.entries[&key].events
    }

    fn is_queued(&self, key: Key) -> bool {
        self.ready.iter().flatten().any(|queued| *queued == key)
    }

    /// `events` happened to `description`.
    fn event(&mut self, description: usize, events: u32) {
        let concerned = |(key, entry): (&Key, &Entry)| {
            (key.1 == description && entry.is_armed && entry.events & events != 0).then_some(*key)
        };
        let concerned: Vec<Key> = self.entries.iter().filter_map(concerned).collect();
        self.outer_edge |= !concerned.is_empty();
        let group = concerned.into_iter().filter(|key| !self.is_queued(*key)).collect();
        self.ready.push(group);
    }

    /// ADD and MOD ask the file.
    fn queue_if_ready(&mut self, key: Key) {
        if self.readiness(key) != 0 {
            self.outer_edge = true;
            if !self.is_queued(key) {
                self.ready.push(vec![key]);
            }
        }
    }

    fn forget(&mut self, key: Key) {
        self.entries.remove(&key);
        self.ready.iter_mut().for_each(|group| group.retain(|queued| *queued != key));
    }

    fn close(&mut self, fd: i32) {
        let Some(description) = self.fds.remove(&fd) else { return };
        if !self.fds.values().any(|other| *other == description) {
            let keys: Vec<Key> = self.entries.keys().filter(|key| key.1 == description).copied().collect();
            keys.into_iter().for_each(|key| self.forget(key));
            self.values.remove(&description);
        }
    }

    /// Accepts or refuses what a wait for `max` events with room for `room` reported.
    fn wait(&mut self, max: usize, room: usize, reported: Result<&[EpollEvent], Fault>) {
        let (mut back, mut count) = (Vec::new(), 0);
        let groups = std::mem::take(&mut self.ready);
        let mut left: Vec<Vec<Key>> = Vec::new();
        let mut is_full = false;
        for mut group in groups {
            if count == max {
                is_full = true;
            }
            if is_full {
                left.push(group);
                continue;
            }
            group.retain(|key| self.readiness(*key) != 0);
            while !group.is_empty() && count < max {
                if count == room {
                    let faulted = if count == 0 { Err(Fault) } else { Ok(count) };
                    assert_eq!(reported.map(<[_]>::len), faulted);
                    is_full = true;
                    break;
                }
                let event = reported.expect("no fault yet")[count];
                let key = self.expect_in_group(&mut group, event);
                self.after_report(key, &mut back);
                count += 1;
            }
            left.push(group);
        }
        if let Ok(reported) = reported {
            assert_eq!(reported.len(), count);
        }
        left.extend(back);
        self.ready = left;
    }

    fn expect_in_group(&self, group: &mut Vec<Key>, event: EpollEvent) -> Key {
        let fits = |key: &Key| self.entries[key].data == event.data && self.readiness(*key) == event.events;
        let at = group.iter().position(fits).unwrap_or_else(|| panic!("{event:?} is none of {group:?}"));
        group.remove(at)
    }

    fn after_report(&mut self, key: Key, back: &mut Vec<Vec<Key>>) {
        let entry = self.entries.get_mut(&key).unwrap();
        if entry.events & ONESHOT != 0 {
            entry.is_armed = false;
        } else if entry.events & EDGE == 0 {
            back.push(vec![key]);
        }
    }

    /// The answer of `poll` on the epoll; drops what is not ready from the front.
    fn poll(&mut self) -> bool {
        let groups = std::mem::take(&mut self.ready);
        let mut is_ready = false;
        for mut group in groups {
            if !is_ready {
                group.retain(|key| self.readiness(*key) != 0);
                is_ready = !group.is_empty();
            }
            self.ready.push(group);
        }
        is_ready
    }
}

struct Real {
    fds: BTreeMap<i32, Arc<File>>,
    inner: Arc<File>,
    outer: Epoll<File>,
}

impl Real {
    fn new() -> Self {
        let topology = new_topology();
        let (inner, outer) = (File::epoll(topology), new_epoll(topology));
        outer.add(0, &inner, EpollEvent { events: 1 | EDGE, data: 0 }).unwrap();
        Self { fds: BTreeMap::new(), inner, outer }
    }
}

fn step(model: &mut Model, real: &mut Real, op: &Op) {
    match *op {
        Op::Open(fd) => {
            model.close(fd);
            model.opened += 1;
            model.fds.insert(fd, model.opened);
            model.values.insert(model.opened, 0);
            real.fds.insert(fd, File::counter_up_to(CAPACITY));
        }
        Op::Dup(from, to) => {
            if let (Some(file), false) = (real.fds.get(&from).cloned(), from == to) {
                model.close(to);
                model.fds.insert(to, model.fds[&from]);
                real.fds.insert(to, file);
            }
        }
        Op::Close(fd) => {
            model.close(fd);
            real.fds.remove(&fd);
        }
        Op::Wait(max) => wait(model, real, max, usize::MAX),
        Op::FaultingWait(max, after) => wait(model, real, max, after),
        Op::Poll => {
            let expected = if model.poll() { IoEvents::READABLE } else { IoEvents::empty() };
            assert_eq!(real.inner.poll(), expected);
        }
        Op::WaitOuter => {
            let edge = std::mem::take(&mut model.outer_edge);
            let expected = edge && model.poll();
            assert_eq!(support::harvest(&real.outer, 9).len(), usize::from(expected));
        }
        Op::Post(fd) | Op::Take(fd) | Op::Add(fd, ..) | Op::Mod(fd, ..) | Op::Del(fd) => {
            if let Some(file) = real.fds.get(&fd).cloned() {
                step_on_file(model, real, op, fd, &file);
            }
        }
    }
}

fn step_on_file(model: &mut Model, real: &Real, op: &Op, fd: i32, file: &Arc<File>) {
    let (description, epoll) = (model.fds[&fd], real.inner.as_ep());
    let key = (fd, description);
    // Unique, so that a report names its entry.
    model.steps += 1;
    let data = model.steps;
    match *op {
        Op::Post(_) => {
            *model.values.get_mut(&description).unwrap() += 1;
            model.event(description, 1);
            file.post();
        }
        Op::Take(_) => {
            let value = model.values.get_mut(&description).unwrap();
            if *value > 0 {
                *value -= 1;
                model.event(description, 4);
            }
            file.take();
        }
        Op::Add(_, events) => {
            let result = epoll.add(fd, file, EpollEvent { events, data });
            let is_known = model.entries.contains_key(&key);
            if is_known {
                assert_eq!(result, Err(AddError::AlreadyThere));
            } else {
                assert_eq!(result, Ok(()));
                model.entries.insert(key, Entry { events, data, is_armed: true });
                model.queue_if_ready(key);
            }
        }
        Op::Mod(_, events) => {
            let result = epoll.modify(fd, file, EpollEvent { events, data });
            if let Some(entry) = model.entries.get_mut(&key) {
                assert_eq!(result, Ok(()));
                *entry = Entry { events, data, is_armed: true };
                model.queue_if_ready(key);
            } else {
                assert_eq!(result, Err(ModifyError::NoEntry));
            }
        }
        Op::Del(_) => {
            let expected = if model.entries.contains_key(&key) { Ok(()) } else { Err(NoEntry) };
            assert_eq!(epoll.delete(fd, file), expected);
            model.forget(key);
        }
        _ => unreachable!("not an operation on a file"),
    }
}

fn wait(model: &mut Model, real: &Real, max: usize, room: usize) {
    let mut buffer = Buffer::faulting_after(room);
    let result = real.inner.as_ep().harvest(max, &mut buffer);
    if let Ok(count) = result {
        assert_eq!(count, buffer.events.len());
    }
    model.wait(max, room, result.map(|_| &buffer.events[..]));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn epoll_behaves_as_its_model(ops in prop::collection::vec(op(), 1..80)) {
        let (mut model, mut real) = (Model::default(), Real::new());
        for op in &ops {
            step(&mut model, &mut real, op);
        }
        // At the end everything that is ready must still come out.
        wait(&mut model, &real, 100, usize::MAX);
    }
}
