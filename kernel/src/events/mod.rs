// SPDX-License-Identifier: MPL-2.0

//! I/O events: how programs learn what is ready.
//!
//! # Role
//! The core is the crate [`readiness`]: pollees, observers, the wait primitive, epoll. Here are the files and tables that are
//! about events and nothing else: [`eventfd`], [`epoll`], [`poll_table`]. Every file's readiness is in that file's own module; the
//! calls are in `syscall/{epoll,poll,select,eventfd}.rs`.
//!
//! # Vocabulary
//! As in the crate: *pollee*, *observer*, *cache*, *mask*, *waiter*, *entry*, *ready list*, *harvest*; and *watch*: a file that
//! one call of `poll(2)` or `select(2)` looks at.

pub mod epoll;
pub mod eventfd;
pub mod poll_table;

pub use self::{
    epoll::EpollFile,
    eventfd::EventFile,
    poll_table::{PollTable, Watch},
};
