// SPDX-License-Identifier: MPL-2.0

//! Linked lists without pointers: nodes in a slab that never moves, links as indices.
//!
//! # Role
//!
//! The storage of the [observers](crate::observers) of a pollee and of the [ready list](crate::epoll) of an epoll. Both
//! need O(1) insertion and removal anywhere, no allocation once the storage is there, and no `unsafe`.
//!
//! # Invariants
//!
//! - **S1** A node is in the free list or in at most one [`List`].
//! - **S2** Nodes never move: growing adds a chunk twice as large as the one before and copies nothing, so no lock is held
//!   for a time proportional to what is already stored.
//! - **S3** The first node is inline: what has one user allocates nothing.
//!
//! # Concurrency
//!
//! None of its own; the owner's lock guards it. A chunk is allocated by the caller *outside* that lock
//! ([`Slab::vacancy`], [`Chunk::new`], [`Slab::grow`]).

use alloc::{boxed::Box, vec::Vec};

/// The index that stands for "none".
pub(crate) const NIL: u32 = u32::MAX;

/// A value and its links.
pub(crate) struct Node<T> {
    prev: u32,
    next: u32,
    value: T,
}

/// Nodes in chunks of 1 (inline), 2, 4, 8, ...
pub(crate) struct Slab<T> {
    first: Node<T>,
    chunks: Vec<Chunk<T>>,
    /// Vacant nodes, linked through `next`.
    free: u32,
}

/// Storage for more nodes, made outside the lock.
pub(crate) struct Chunk<T>(Box<[Node<T>]>);

/// What [`Slab::vacancy`] found.
pub(crate) enum Vacancy {
    /// A node is free.
    Free,
    /// Nothing is free: add a chunk of this many nodes.
    NeedsChunk(usize),
}

impl<T: Default> Chunk<T> {
    pub(crate) fn new(len: usize) -> Self {
        Self((0..len).map(|_| Node { prev: NIL, next: NIL, value: T::default() }).collect())
    }
}

impl<T: Default> Slab<T> {
    pub(crate) fn new(first: T) -> Self {
        Self { first: Node { prev: NIL, next: NIL, value: first }, chunks: Vec::new(), free: 0 }
    }

    pub(crate) fn vacancy(&self) -> Vacancy {
        if self.free == NIL { Vacancy::NeedsChunk(2 << self.chunks.len()) } else { Vacancy::Free }
    }

    /// Adds a chunk, unless somebody else was faster: then it is handed back, to be freed outside the lock.
    pub(crate) fn grow(&mut self, mut chunk: Chunk<T>) -> Option<Chunk<T>> {
        if self.free != NIL || chunk.0.len() != 2 << self.chunks.len() {
            return Some(chunk);
        }
        // Chunk `k` has `2 << k` nodes, and so many less one come before it.
        let base = (2_u32 << self.chunks.len()) - 1;
        let last = base + chunk.0.len() as u32 - 1;
        for (index, node) in (base..).zip(chunk.0.iter_mut()) {
            node.next = if index == last { NIL } else { index + 1 };
        }
        self.free = base;
        self.chunks.push(chunk);
        None
    }

    /// Takes a vacant node; its value is whatever the last user or `Default` left. `None` if there is no vacancy.
    pub(crate) fn occupy(&mut self) -> Option<u32> {
        let index = self.free;
        if index == NIL {
            return None;
        }
        self.free = self.node(index).next;
        Some(index)
    }

    /// Makes an unlinked node vacant.
    pub(crate) fn vacate(&mut self, index: u32) {
        self.node_mut(index).next = self.free;
        self.free = index;
    }

    pub(crate) fn get(&self, index: u32) -> &T {
        &self.node(index).value
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut T {
        &mut self.node_mut(index).value
    }

    /// How many values there are, vacant ones included.
    pub(crate) fn capacity(&self) -> u32 {
        (2 << self.chunks.len()) - 1
    }

    fn node(&self, index: u32) -> &Node<T> {
        match index.checked_sub(1) {
            None => &self.first,
            Some(_) => {
                let (chunk, offset) = locate(index);
                &self.chunks[chunk].0[offset]
            }
        }
    }

    fn node_mut(&mut self, index: u32) -> &mut Node<T> {
        match index.checked_sub(1) {
            None => &mut self.first,
            Some(_) => {
                let (chunk, offset) = locate(index);
                &mut self.chunks[chunk].0[offset]
            }
        }
    }
}

/// The chunk of node `index` (not the first), and its place there.
fn locate(index: u32) -> (usize, usize) {
    let order = (index + 1).ilog2();
    (order as usize - 1, (index + 1 - (1 << order)) as usize)
}

/// The two ends of a doubly linked list of nodes of one slab.
#[derive(Clone, Copy)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self { head: NIL, tail: NIL }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// The first node, or [`NIL`].
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    /// The last node, or [`NIL`].
    pub(crate) fn tail(&self) -> u32 {
        self.tail
    }

    /// Moves all nodes of `other` to the end of this list, in their order.
    pub(crate) fn append<T: Default>(&mut self, slab: &mut Slab<T>, other: &mut List) {
        match (self.tail, other.head) {
            (_, NIL) => return,
            (NIL, _) => *self = *other,
            (tail, head) => {
                slab.node_mut(tail).next = head;
                slab.node_mut(head).prev = tail;
                self.tail = other.tail;
            }
        }
        *other = List::new();
    }

    /// The node after `index`, or [`NIL`].
    pub(crate) fn next<T: Default>(slab: &Slab<T>, index: u32) -> u32 {
        slab.node(index).next
    }

    pub(crate) fn push_front<T: Default>(&mut self, slab: &mut Slab<T>, index: u32) {
        let node = slab.node_mut(index);
        (node.prev, node.next) = (NIL, self.head);
        match self.head {
            NIL => self.tail = index,
            head => slab.node_mut(head).prev = index,
        }
        self.head = index;
    }

    pub(crate) fn push_back<T: Default>(&mut self, slab: &mut Slab<T>, index: u32) {
        let node = slab.node_mut(index);
        (node.prev, node.next) = (self.tail, NIL);
        match self.tail {
            NIL => self.head = index,
            tail => slab.node_mut(tail).next = index,
        }
        self.tail = index;
    }

    /// Takes `index`, which must be in this list, out of it.
    pub(crate) fn unlink<T: Default>(&mut self, slab: &mut Slab<T>, index: u32) {
        let Node { prev, next, .. } = *slab.node(index);
        match prev {
            NIL => self.head = next,
            prev => slab.node_mut(prev).next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => slab.node_mut(next).prev = prev,
        }
    }
}
