// SPDX-License-Identifier: MPL-2.0

//! I/O events: how programs learn what is ready.
//!
//! # Role
//! The core is the crate [`readiness`]: pollees, observers, the wait primitive, epoll. Here are the files and tables that are
//! about events and nothing else: [`eventfd`], [`timerfd`], [`signalfd`], [`pidfd`], [`inotify`], [`epoll`], [`poll_table`]. Every file's
//! readiness is in that file's own module; the calls are in `syscall/{epoll,poll,select,eventfd}.rs` and so on.
//!
//! # The walk of a look: `epoll_wait(2)` to a pipe's readiness
//! Four functions if the answer is known, five more if not.
//!
//! 1. `sys_epoll_wait`: the descriptor, the buffer (`syscall/epoll.rs`)
//! 2. `Epoll::harvest`: the ready list (`readiness/src/epoll/harvest.rs`)
//! 3. `report_only_known`, or `report_known` for several: what the caches of the pollees say, copied out in the same hold of the list's
//!    lock (`readiness/src/epoll/ready.rs`)
//! 4. `Pollee::known` (`readiness/src/pollee.rs`)
//!
//! If not all is known, or the caller's memory is not there, the files are asked:
//!
//! 5. `report_only`, or `scan` and `report` for several: ask and copy out (`readiness/src/epoll/harvest.rs`)
//! 6. `Description::poll`: the one virtual call (`file/mod.rs`)
//! 7. `PipeEnd::poll` (`fs/pipe/end.rs`)
//! 8. `Tracked::poll` (`readiness/src/tracked.rs`)
//! 9. `State::readiness`: looks at the ring (`fs/pipe/end.rs`)
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
