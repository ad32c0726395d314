// SPDX-License-Identifier: MPL-2.0

//! Memory that programs cannot have.
//!
//! # Role
//! The kernel's own data and page tables are made in places where nobody could be told that there is no room. So what programs may
//! ask for without end is refused already while less is free than a reserve, which is left to the kernel (Linux's watermarks).
//!
//! # Protocol
//! - Pages for programs, their files, pipes and sockets come from [`new_page`] and [`new_frame`]; what the [`page_pool`] has of them
//!   is freed before anything is refused.
//! - What else programs can pile up (descriptors, mappings, processes) is made after [`check`].
//! - A page fault that is refused, and what [`or_relieve`] makes, call for [`oom`].
//! - Who waits for memory in the kernel may hold a lock that the process waits for which is to end. So what is tried again there may have
//!   half of the reserve.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ostd::{
    mm::{Frame, FrameAllocOptions, UFrame},
    task::Task,
};

use super::{frames, page_pool};
use crate::{
    prelude::*,
    process::{ThreadLocal, local_of, oom, with_current_thread},
    system,
};

/// The part of all memory that is kept.
const FRACTION: usize = 32;
/// The least and the most that is kept.
const BOUNDS: (usize, usize) = (32 << 20, 256 << 20);

/// Bytes kept.
static SIZE: AtomicUsize = AtomicUsize::new(0);

/// Sets memory aside. Call once, before the first program.
pub(super) fn init() {
    SIZE.store((system::memory().total / FRACTION).clamp(BOUNDS.0, BOUNDS.1), Relaxed);
}

/// How many bytes are kept.
pub fn size() -> usize {
    SIZE.load(Relaxed)
}

/// Whether there is nothing left for programs.
pub fn is_short() -> bool {
    let has_less = || frames::free_size() < size();
    has_less() && (!page_pool::release() || has_less()) || frames::is_spare_used()
}

/// For the log.
pub fn state() -> String {
    let (free, spare) = (frames::free_size() / 1024, frames::spare_used() / 1024);
    alloc::format!("{free} kB are free, {spare} kB of the spare part are used")
}

/// Whether programs may have more.
///
/// # Errors
/// `ENOMEM` if not.
pub fn check() -> Result<()> {
    if is_short() && !may_dig() { Err(ENOMEM) } else { Ok(()) }
}

/// Whether the calling thread may have a page of the reserve.
#[cold]
fn may_dig() -> bool {
    let task = Task::current();
    let is_allowed = task.is_some_and(|task| local_of(&task).is_some_and(ThreadLocal::uses_reserve));
    is_allowed && frames::free_size() > size() / 2
}

/// A page for the bytes of programs, of zeros or with whatever is in it.
///
/// # Errors
/// `ENOMEM`
pub fn new_page(zeroed: bool) -> Result<Frame<()>> {
    check()?;
    Ok(FrameAllocOptions::new().zeroed(zeroed).alloc_frame()?)
}

/// A page that a program can map, likewise.
///
/// # Errors
/// `ENOMEM`
pub fn new_frame(zeroed: bool) -> Result<UFrame> {
    Ok(new_page(zeroed)?.into())
}

/// Makes what needs memory, and if there is none tries again when somebody has ended for that. Call it where one may sleep.
///
/// # Errors
/// `ENOMEM` if it is the caller who ends; what `make` says.
pub fn or_relieve<R>(mut make: impl FnMut() -> Result<R>) -> Result<R> {
    match make() {
        Err(ENOMEM) => relieve_for(&mut make),
        result => result,
    }
}

#[cold]
fn relieve_for<R>(make: &mut dyn FnMut() -> Result<R>) -> Result<R> {
    let task = Task::current().ok_or(ENOMEM)?;
    let local = local_of(&task).ok_or(ENOMEM)?;
    while with_current_thread(oom::relieve) == Some(true) {
        match local.with_reserve(&mut *make) {
            Err(ENOMEM) => {}
            result => return result,
        }
    }
    Err(ENOMEM)
}
