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
//! - **S2** Nodes never move: growing adds a chunk and copies no node, so no lock is held for a time proportional to what is
//!   already stored (but for one pointer per chunk, now and then).
//! - **S3** The first `INLINE` nodes are in place: what has one user allocates nothing.
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
    pub(crate) value: T,
    /// Undefined at the head of a list.
    prev: u32,
    next: u32,
}

/// `INLINE` nodes in place, the others in chunks of `CHUNK`.
pub(crate) struct Slab<T, const INLINE: usize, const CHUNK: usize> {
    inline: [Node<T>; INLINE],
    chunks: Vec<Chunk<T, CHUNK>>,
    /// Vacant nodes, linked through `next`.
    free: u32,
}

/// Storage for more nodes, made outside the lock.
pub(crate) struct Chunk<T, const CHUNK: usize>(Box<[Node<T>; CHUNK]>);

/// What [`Slab::vacancy`] found.
pub(crate) enum Vacancy {
    /// A node is free.
    Free,
    /// Nothing is free: add a chunk.
    NeedsChunk,
}

impl<T: Default, const CHUNK: usize> Chunk<T, CHUNK> {
    pub(crate) fn new() -> Self {
        Self(Box::new(vacant_nodes(0)))
    }
}

/// Nodes of which each is linked to the next, the last one to none. The first one has the index `base`.
fn vacant_nodes<T: Default, const N: usize>(base: u32) -> [Node<T>; N] {
    core::array::from_fn(|at| {
        let next = if at + 1 == N { NIL } else { base + at as u32 + 1 };
        Node { value: T::default(), prev: NIL, next }
    })
}

impl<T: Default, const INLINE: usize, const CHUNK: usize> Slab<T, INLINE, CHUNK> {
    pub(crate) fn new() -> Self {
        Self { inline: vacant_nodes(0), chunks: Vec::new(), free: if INLINE == 0 { NIL } else { 0 } }
    }

    pub(crate) fn vacancy(&self) -> Vacancy {
        if self.free == NIL { Vacancy::NeedsChunk } else { Vacancy::Free }
    }

    /// Adds a chunk, unless somebody else was faster: then it is handed back, to be freed outside the lock.
    pub(crate) fn grow(&mut self, mut chunk: Chunk<T, CHUNK>) -> Option<Chunk<T, CHUNK>> {
        if self.free != NIL {
            return Some(chunk);
        }
        let base = self.capacity();
        chunk.0.iter_mut().for_each(|node| node.next = if node.next == NIL { NIL } else { node.next + base });
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

    /// The value of a node, or `None` if there never was such an index.
    pub(crate) fn find_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        let node = match index.checked_sub(INLINE) {
            None => self.inline.get_mut(index),
            Some(index) => self.chunks.get_mut(index / CHUNK).map(|chunk| &mut chunk.0[index % CHUNK]),
        };
        node.map(|node| &mut node.value)
    }

    /// How many nodes there are, vacant ones included.
    pub(crate) fn capacity(&self) -> u32 {
        (INLINE + self.chunks.len() * CHUNK) as u32
    }

    pub(crate) fn node(&self, index: u32) -> &Node<T> {
        let index = index as usize;
        match index.checked_sub(INLINE) {
            None => &self.inline[index],
            Some(index) => &self.chunks[index / CHUNK].0[index % CHUNK],
        }
    }

    pub(crate) fn node_mut(&mut self, index: u32) -> &mut Node<T> {
        let index = index as usize;
        match index.checked_sub(INLINE) {
            None => &mut self.inline[index],
            Some(index) => &mut self.chunks[index / CHUNK].0[index % CHUNK],
        }
    }
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
    pub(crate) fn append<T: Default, const INLINE: usize, const CHUNK: usize>(
        &mut self,
        slab: &mut Slab<T, INLINE, CHUNK>,
        other: &mut List,
    ) {
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

    /// The node after `node`, or [`NIL`].
    pub(crate) fn after<T>(node: &Node<T>) -> u32 {
        node.next
    }

    pub(crate) fn push_front<T: Default, const INLINE: usize, const CHUNK: usize>(
        &mut self,
        slab: &mut Slab<T, INLINE, CHUNK>,
        index: u32,
    ) {
        slab.node_mut(index).next = self.head;
        match self.head {
            NIL => self.tail = index,
            head => slab.node_mut(head).prev = index,
        }
        self.head = index;
    }

    pub(crate) fn push_back<T: Default, const INLINE: usize, const CHUNK: usize>(
        &mut self,
        slab: &mut Slab<T, INLINE, CHUNK>,
        index: u32,
    ) {
        self.prepare_last(slab.node_mut(index));
        self.set_last(slab, index);
    }

    /// The first half of [`push_back`](List::push_back), for who has the node at hand: links it to the list.
    #[inline]
    pub(crate) fn prepare_last<T>(&self, node: &mut Node<T>) {
        (node.prev, node.next) = (self.tail, NIL);
    }

    /// The second half: links the list to the node at `index`.
    #[inline]
    pub(crate) fn set_last<T: Default, const INLINE: usize, const CHUNK: usize>(
        &mut self,
        slab: &mut Slab<T, INLINE, CHUNK>,
        index: u32,
    ) {
        match self.tail {
            NIL => self.head = index,
            tail => slab.node_mut(tail).next = index,
        }
        self.tail = index;
    }

    /// Cuts off the part up to `last`, which must be in this list.
    pub(crate) fn split_after<T: Default, const INLINE: usize, const CHUNK: usize>(
        &mut self,
        slab: &mut Slab<T, INLINE, CHUNK>,
        last: u32,
    ) -> List {
        let front = List { head: self.head, tail: last };
        self.head = core::mem::replace(&mut slab.node_mut(last).next, NIL);
        if self.head == NIL {
            self.tail = NIL;
        }
        front
    }

    /// Takes `index`, which must be in this list, out of it.
    pub(crate) fn unlink<T: Default, const INLINE: usize, const CHUNK: usize>(
        &mut self,
        slab: &mut Slab<T, INLINE, CHUNK>,
        index: u32,
    ) {
        let is_head = self.head == index;
        if is_head && self.tail == index {
            *self = List::new();
            return;
        }
        let Node { prev, next, .. } = *slab.node(index);
        if is_head {
            self.head = next;
        } else {
            slab.node_mut(prev).next = next;
        }
        match next {
            NIL => self.tail = prev,
            next => slab.node_mut(next).prev = prev,
        }
    }
}
