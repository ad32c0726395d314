// SPDX-License-Identifier: MPL-2.0

//! The readiness core: what is ready, who wants to know, how to wait, and epoll.
//!
//! # Role
//!
//! The heart of the kernel, without the kernel: no type in here knows of tasks, files or user memory. The same source is
//! built on OSTD for the kernel, on the host for tests and benchmarks, and on loom and shuttle for the models.
//!
//! # Vocabulary
//!
//! One word, one meaning, in this crate and in the kernel:
//!
//! - *pollee*: what can be polled, one per side of a file ([`Pollee`]).
//! - *observer*: who is told that a pollee may have become ready ([`Observer`]); *shared* ones always, *exclusive* ones in turn.
//! - *cache*, *version*, *bump*: the last answer of a pollee, what it is stamped with, how it becomes old ([`word`]).
//! - *mask*: the events somebody is interested in.
//! - *waiter*: the means by which a thread waits ([`Waiter`]).
//! - *entry*: one file in the interest set of an epoll; *ready list*: the entries that may have something to report
//!   ([`epoll`]).
//! - *harvest*: taking events from the ready list.
//!
//! # Lock order
//!
//! ```text
//! Epoll::turn               sleeps   one harvest at a time; of an outer epoll before that of an inner one
//!   (the file's locks, Tracked::state)
//!   Topology                sleeps   while epolls are nested into each other
//!     Epoll::interest       sleeps   epoll_ctl on one epoll
//!       Nest::links         sleeps   the edges of one epoll
//!       Epoll::ready        spins, IRQs off; leaf
//!       Observers::lists    spins, IRQs off; leaf
//! ```
//!
//! No lock is held when an observer is called. `PROTOCOL.md` beside this crate draws the protocol and proves it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod epoll;
mod io_events;
pub mod observers;
pub mod pollee;
mod slab;
mod sync;
pub mod tracked;
pub mod turn;
pub mod waiter;
pub mod word;

pub use io_events::IoEvents;
pub use observers::{Claim, Mode, Observer, Registration};
pub use pollee::{Pollable, Pollee};
pub use tracked::{Pending, Readiness, Tracked, Update};
pub use waiter::{InTurn, Nothing, Parked, Parker, Subjects, Timeout, Together, Unpark, WaitError, Waiter};
