// SPDX-License-Identifier: MPL-2.0

//! Signals that were sent and not delivered yet, to one thread or to a process.
//!
//! # Invariants
//! 1. `set` has exactly the signals that [`Pending::take`] can return. A signal may be in `set` without an entry in `queue`
//!    (beyond `RLIMIT_SIGPENDING`): it is then delivered without its facts.
//! 2. A standard signal has at most one entry, those of timers not counted; a timer has at most one. Real-time signals queue in the order in which they were sent.

use super::{SI_TIMER, SI_USER, SigInfo, SigSet};
use crate::prelude::*;

/// Pending signals.
#[derive(Default)]
pub struct Pending {
    set: SigSet,
    queue: VecDeque<SigInfo>,
}

/// What became of a signal that was to become pending.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pushed {
    /// It is pending with its facts.
    Queued,
    /// It is pending without its facts: there was no room.
    WithoutInfo,
    /// A standard signal that was pending already.
    Merged,
}

impl Pending {
    /// The pending signals.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Adds a signal; `has_room` says whether it may have an entry.
    pub fn push(&mut self, info: SigInfo, has_room: bool) -> Pushed {
        let signal = info.signal();
        let is_timer = info.code == SI_TIMER;
        if is_timer && self.count_overrun(&info) {
            return Pushed::Merged;
        }
        if !signal.is_realtime() && !is_timer && self.set.contains(signal) {
            return Pushed::Merged;
        }
        self.set = self.set | info.set();
        if has_room {
            self.queue.push_back(info);
            Pushed::Queued
        } else {
            Pushed::WithoutInfo
        }
    }

    /// Adds the expirations of a timer to the signal that it has pending, if any.
    fn count_overrun(&mut self, info: &SigInfo) -> bool {
        let is_same = |other: &&mut SigInfo| {
            other.code == SI_TIMER && other.timer_id() == info.timer_id() && other.set() == info.set()
        };
        let Some(pending) = self.queue.iter_mut().find(is_same) else {
            return false;
        };
        pending.set_overrun(pending.overrun().saturating_add(info.overrun()).saturating_add(1));
        true
    }

    /// Takes the signal of `wanted` that comes first: synchronous ones, then the lowest number, then the oldest.
    pub fn take(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let candidates = self.set & wanted;
        let signal = (candidates & SigSet::SYNCHRONOUS).first().or(candidates.first())?;
        let mut matching = (0..self.queue.len()).filter(|index| self.queue[*index].signal() == signal);
        let (found, another) = (matching.next(), matching.next());
        if another.is_none() {
            self.set = self.set.without(SigSet::of(signal));
        }
        let info = found.and_then(|index| self.queue.remove(index));
        Some(info.unwrap_or_else(|| SigInfo::new(signal, SI_USER)))
    }

    /// Takes a signal that the thread itself caused (by a fault, not by another's `kill(2)`), if one is pending.
    pub fn take_synchronous(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let wanted = self.set & wanted & SigSet::SYNCHRONOUS;
        if wanted.is_empty() {
            return None;
        }
        let is_fault = |info: &SigInfo| wanted.contains(info.signal()) && info.code > SI_USER;
        let index = self.queue.iter().position(is_fault)?;
        let info = self.queue.remove(index)?;
        self.set = self.set.without(info.set());
        Some(info)
    }

    /// Forgets signals. Returns how many entries went.
    pub fn discard(&mut self, unwanted: SigSet) -> usize {
        let before = self.queue.len();
        if !(self.set & unwanted).is_empty() {
            self.set = self.set.without(unwanted);
            self.queue.retain(|info| !unwanted.contains(info.signal()));
        }
        before - self.queue.len()
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::{super::Signal, *};

    fn signal(number: i32) -> Signal {
        Signal::new(number).unwrap()
    }

    fn info(number: i32, value: u64) -> SigInfo {
        let mut info = SigInfo::new(signal(number), -1);
        info.fields = [0, value, 0, 0];
        info
    }

    #[ktest]
    fn standard_signals_merge_and_realtime_signals_queue() {
        let mut pending = Pending::default();
        assert_eq!(pending.push(info(10, 1), true), Pushed::Queued);
        assert_eq!(pending.push(info(10, 2), true), Pushed::Merged);
        pending.push(info(40, 3), true);
        pending.push(info(40, 4), true);
        let order: Vec<_> = core::iter::from_fn(|| pending.take(SigSet::ALL)).map(|info| info.fields[1]).collect();
        assert_eq!(order, [1, 3, 4]);
        assert!(pending.set().is_empty());
    }

    #[ktest]
    fn synchronous_signals_come_first_and_masks_hold() {
        let mut pending = Pending::default();
        for number in [2, 40, 11] {
            pending.push(info(number, 0), true);
        }
        assert_eq!(pending.take(!SigSet::EMPTY).unwrap().signal(), Signal::SEGV);
        assert_eq!(pending.take(!SigSet::of(Signal::INT)).unwrap().signal(), signal(40));
        assert_eq!(pending.discard(SigSet::of(Signal::INT)), 1);
        assert!(pending.take(SigSet::ALL).is_none());
    }

    #[ktest]
    fn a_signal_without_room_is_delivered_without_facts() {
        let mut pending = Pending::default();
        assert_eq!(pending.push(info(35, 7), false), Pushed::WithoutInfo);
        let taken = pending.take(SigSet::ALL).unwrap();
        assert_eq!((taken.code, taken.fields[1]), (SI_USER, 0));
        assert!(pending.set().is_empty());
    }
}
