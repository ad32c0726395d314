// SPDX-License-Identifier: MPL-2.0

//! A notification's walk through the lists: whom to call next, and where to go on after the lock was dropped (O2, O4 to O6).
//!
//! Noting observers, and then shared ones, are visited through one cursor per class, always at the highest sequence among them.
//! Between two holds of the lock the lists may change in any way: a cursor whose slot has another sequence by then starts again
//! from the head, and passes over what was visited. Exclusive observers need no cursor: who was asked is at the end of its
//! list with a sequence from beyond the walk's limit, so the next in turn is always at the front.

use arrayvec::ArrayVec;

use super::{Audience, BATCH, CLASSES, Lists, Observer, VISITS};
use crate::{
    IoEvents,
    slab::{List, NIL},
    sync::Arc,
};

/// Where one notification stands. Lives through several holds of the lock.
pub(super) struct Walk {
    events: IoEvents,
    audience: Audience,
    /// Registrations made or moved since the walk began have this sequence or more, and are not visited. Zero: not begun.
    limit: u64,
    round: Round,
    /// Observers of this round from this sequence up were visited.
    reached: u64,
    /// The next slot of each class, and its sequence, by which it is recognised after the lock was dropped.
    cursors: [(u32, u64); CLASSES],
}

/// Whom a walk visits through its cursors.
#[derive(Clone, Copy)]
enum Round {
    Noting,
    Shared,
}

/// What follows after the picked batch of observers has been called.
pub(super) enum Turn {
    /// It is the turn of this exclusive observer; pick again unless it takes the events.
    Of(Arc<dyn Observer>),
    /// Pick again.
    Later,
    /// Nobody is left.
    Over,
}

impl Walk {
    pub(super) fn new(events: IoEvents, audience: Audience) -> Self {
        Self { events, audience, limit: 0, round: Round::Noting, reached: 0, cursors: [(NIL, 0); CLASSES] }
    }
}

impl Lists {
    /// Takes the next targets of `walk`: noting and shared ones into `batch`, and after the last of them one exclusive one.
    pub(super) fn pick(&mut self, walk: &mut Walk, batch: &mut ArrayVec<Arc<dyn Observer>, BATCH>) -> Turn {
        if walk.limit == 0 {
            self.begin(walk);
        } else {
            self.find_cursors_again(walk);
        }
        let mut visits = VISITS;
        while let Some(class) = self.newest(walk) {
            if visits == 0 || batch.is_full() {
                return Turn::Later;
            }
            visits -= 1;
            let (index, sequence) = walk.cursors[class];
            let node = self.slots.node(index);
            walk.cursors[class] = self.cursor(List::after(node));
            // Else it was visited before the lock was dropped, or has registered since.
            if sequence < walk.reached {
                walk.reached = sequence;
                if let (true, Some(target)) = (node.value.mask & walk.events.bits() != 0, &node.value.target) {
                    batch.push(target.clone());
                }
            }
        }
        match self.next_in_turn(walk) {
            Some(target) => Turn::Of(target),
            None => Turn::Over,
        }
    }

    fn begin(&self, walk: &mut Walk) {
        walk.limit = self.next_sequence;
        match walk.audience {
            Audience::All => self.begin_round(walk, Round::Noting),
            // The last round, without anybody.
            Audience::NextInTurn => walk.round = Round::Shared,
        }
    }

    fn begin_round(&self, walk: &mut Walk, round: Round) {
        (walk.round, walk.reached) = (round, walk.limit);
        let wanting = self.classes_wanting(walk.events);
        for class in (0..CLASSES).filter(|class| wanting & 1 << class != 0) {
            walk.cursors[class] = self.cursor(self.visited_in(round)[class].head());
        }
    }

    fn visited_in(&self, round: Round) -> &[List; CLASSES] {
        match round {
            Round::Noting => &self.noting,
            Round::Shared => &self.shared,
        }
    }

    /// The class whose cursor is next; `None` when the last round is over.
    fn newest(&self, walk: &mut Walk) -> Option<usize> {
        match (newest(&walk.cursors), walk.round) {
            (None, Round::Noting) => {
                self.begin_round(walk, Round::Shared);
                newest(&walk.cursors)
            }
            (next, _) => next,
        }
    }

    /// Cursors whose slot was vacated or moved meanwhile start again from the head of their list.
    fn find_cursors_again(&self, walk: &mut Walk) {
        for class in 0..CLASSES {
            let (index, sequence) = walk.cursors[class];
            if index != NIL && self.slots.get(index).sequence != sequence {
                walk.cursors[class] = self.cursor(self.visited_in(walk.round)[class].head());
            }
        }
    }

    fn cursor(&self, index: u32) -> (u32, u64) {
        if index == NIL { (NIL, 0) } else { (index, self.slots.get(index).sequence) }
    }

    /// The exclusive observer whose turn it is. It goes to the end of its queue.
    fn next_in_turn(&mut self, walk: &Walk) -> Option<Arc<dyn Observer>> {
        let mut oldest = (NIL, walk.limit);
        let mut classes = self.classes_wanting(walk.events);
        while classes != 0 {
            let mut index = self.exclusive[classes.trailing_zeros() as usize].head();
            while index != NIL && self.slots.get(index).mask & walk.events.bits() == 0 {
                index = List::after(self.slots.node(index));
            }
            // From the limit on they were asked already, by this walk or by a later one, or have registered since.
            if index != NIL && self.slots.get(index).sequence < oldest.1 {
                oldest = (index, self.slots.get(index).sequence);
            }
            classes &= classes - 1;
        }
        let (index, _) = oldest;
        if index == NIL {
            return None;
        }
        self.unlink(index);
        self.link_newest(index);
        self.slots.get(index).target.clone()
    }
}

/// The class whose cursor has the highest sequence; `None` if all are at their end.
fn newest(cursors: &[(u32, u64); CLASSES]) -> Option<usize> {
    let live = (0..CLASSES).filter(|class| cursors[*class].0 != NIL);
    live.max_by_key(|class| cursors[*class].1)
}
