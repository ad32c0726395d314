// SPDX-License-Identifier: MPL-2.0

//! Locks whose word names their owner (`FUTEX_LOCK_PI`).
//!
//! The word holds the owner's thread number, a bit that says that others wait, and one that says that the owner died. Unlocking
//! hands the lock to the first that waits: nobody can slip in between. Since all threads have the same priority here, there
//! is none to inherit.
//!
//! # Concurrency
//! The word and the queue change together under the bucket's lock.

use super::{
    queue::{Locked, lock},
    sleep,
};
use crate::{prelude::*, process::table, time::Deadline, vm::FutexKey};

/// Others wait for the lock.
pub const WAITERS: u32 = 1 << 31;
/// The last owner ended without unlocking.
pub const OWNER_DIED: u32 = 1 << 30;
/// The owner's number.
pub const TID_MASK: u32 = OWNER_DIED - 1;

/// What an attempt under the bucket's lock came to.
enum Attempt {
    Done,
    Queued,
    /// The word must be faulted in, or has changed.
    Again,
}

/// Takes the lock, waiting for it unless `only_try`.
///
/// # Errors
/// `EDEADLK` if the caller has it; `ESRCH` if the owner does not exist; `EAGAIN` with `only_try`; `ETIMEDOUT`;
/// `ERESTARTNOINTR` if a signal came; `EFAULT`.
pub fn lock_pi(
    ctx: &Context,
    address: Vaddr,
    is_private: bool,
    deadline: Option<Deadline>,
    only_try: bool,
) -> Result<()> {
    let key = ctx.vm.futex_key(address, is_private)?;
    loop {
        let mut queue = lock(&key);
        let attempt = attempt(ctx, address, &key, &mut queue, only_try)?;
        drop(queue);
        match attempt {
            Attempt::Done => return Ok(()),
            Attempt::Queued => {
                return sleep(ctx, deadline).map_err(|error| match error {
                    EINTR => ERESTARTNOINTR,
                    other => other,
                });
            }
            Attempt::Again => drop(fault_in(ctx, address)?),
        }
    }
}

/// Makes the word present and writable.
fn fault_in(ctx: &Context, address: Vaddr) -> Result<u32> {
    let value = ctx.atomic_load_u32(address)?;
    ctx.compare_exchange_u32(address, value, value)
}

fn attempt(ctx: &Context, address: Vaddr, key: &FutexKey, queue: &mut Locked, only_try: bool) -> Result<Attempt> {
    let own = ctx.thread.tid();
    let Some(value) = ctx.try_load_u32(address) else {
        return Ok(Attempt::Again);
    };
    let owner = value & TID_MASK;
    if owner == own {
        return Err(EDEADLK);
    }
    let swap = |new| ctx.try_compare_exchange_u32(address, value, new) == Some(value);
    if owner == 0 {
        let waiters = if queue.has_lock_waiter(key) { WAITERS } else { 0 };
        let done = swap(own | value & OWNER_DIED | waiters);
        return Ok(if done { Attempt::Done } else { Attempt::Again });
    }
    if only_try {
        return Err(EAGAIN);
    }
    if table::thread(owner).is_none() {
        return Err(ESRCH);
    }
    if value & WAITERS == 0 && !swap(value | WAITERS) {
        return Ok(Attempt::Again);
    }
    queue.push_for_lock(key, &ctx.thread);
    Ok(Attempt::Queued)
}

/// Gives the lock to the first that waits, or frees it.
///
/// # Errors
/// `EPERM` if the caller does not have it; `EFAULT`.
pub fn unlock_pi(ctx: &Context, address: Vaddr, is_private: bool) -> Result<()> {
    let key = ctx.vm.futex_key(address, is_private)?;
    loop {
        let value = fault_in(ctx, address)?;
        if value & TID_MASK != ctx.thread.tid() {
            return Err(EPERM);
        }
        if hand_over(ctx, address, &key, value, 0) {
            return Ok(());
        }
    }
}

/// Replaces `value` in the word by the next owner and `marks`, and wakes it; without one, by `marks`. `false` if the word has
/// changed or is not present.
pub(super) fn hand_over(ctx: &Context, address: Vaddr, key: &FutexKey, value: u32, marks: u32) -> bool {
    let swap = |new| ctx.try_compare_exchange_u32(address, value, new | marks) == Some(value);
    let mut queue = lock(key);
    if !queue.has_lock_waiter(key) {
        return swap(0);
    }
    let next = queue.take_for_lock(key, |thread, others| swap(thread.tid() | if others { WAITERS } else { 0 }));
    drop(queue);
    next.map(|thread| thread.wake()).is_some()
}
