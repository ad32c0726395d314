// SPDX-License-Identifier: MPL-2.0

//! I/O events: how programs learn what is ready.
//!
//! # Role
//! The core is the crate [`readiness`]: pollees, observers, the wait primitive, epoll. Here are the files and tables that are
//! about events and nothing else: [`eventfd`], [`timerfd`], [`signalfd`], [`pidfd`], [`inotify`], [`epoll`], [`poll_table`]. Every file's
//! readiness is in that file's own module; the calls are in `syscall/{epoll,poll,select,eventfd}.rs` and so on.
//!
//! # The walk of a look: `epoll_wait(2)` to a pipe's readiness
//! Seven functions in five files, six if the answer is cached.
//!
//! 1. `sys_epoll_wait`: the descriptor, the buffer (`syscall/epoll.rs`)
//! 2. `Epoll::harvest`: the ready list (`readiness/src/epoll/harvest.rs`)
//! 3. `report_only`, or `scan` and `report` for several: ask and copy out (the same file)
//! 4. `Description::poll`: the one virtual call (`events/epoll.rs`)
//! 5. `PipeEnd::poll` (`fs/pipe/end.rs`)
//! 6. `Tracked::poll`: the answer, if it is cached (`readiness/src/tracked.rs`)
//! 7. `State::readiness`: else looks at the ring (`fs/pipe/end.rs`)
//!
//! # The walk of a wake: `write(2)` on a pipe to a thread asleep in `epoll_wait(2)`
//! 1. `Pipe::write`: the bytes, then the edge (`fs/pipe/mod.rs`)
//! 2. `Tracked::update`: bump, unlock, notify (`readiness/src/tracked.rs`)
//! 3. `Observers::notify`: whom it concerns (`readiness/src/observers.rs`)
//! 4. `Entry::on_ready`: onto the ready list (`readiness/src/epoll/entry.rs`); then step 3 again, for those who wait for the epoll
//! 5. `Alarm::on_ready`: armed, and the first to ring (`readiness/src/waiter.rs`)
//! 6. `Unpark::unpark`: wakes the thread (the same file)
//!
//! # Vocabulary
//! As in the crate: *pollee*, *observer*, *cache*, *mask*, *waiter*, *entry*, *ready list*, *harvest*; and *watch*: a file that
//! one call of `poll(2)` or `select(2)` looks at.

pub mod epoll;
pub mod eventfd;
pub mod inotify;
pub mod pidfd;
pub mod poll_table;
mod signalfd;
pub mod timerfd;

pub use self::{
    epoll::EpollFile, eventfd::EventFile, inotify::InotifyFile, pidfd::PidFile, poll_table::PollTable,
    signalfd::SignalFile,
};
