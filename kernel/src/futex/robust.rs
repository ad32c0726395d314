// SPDX-License-Identifier: MPL-2.0

//! Robust futexes: locks that a thread held when it ended are marked, and one that waits is woken
//! (`get_robust_list(2)`, and `Documentation/locking/robust-futexes.rst` of Linux).
//!
//! The list is in the program's memory and may be anything: broken, circular, or changing. Its walk ends after
//! [`MAX_ENTRIES`] or at the first word that cannot be read.

use core::sync::atomic::Ordering::Relaxed;

use super::{
    ANY,
    pi::{OWNER_DIED, TID_MASK, WAITERS, hand_over},
    wake,
};
use crate::prelude::*;

/// Entries that are looked at (`ROBUST_LIST_LIMIT`).
const MAX_ENTRIES: usize = 2048;
/// Set in a pointer to an entry whose lock is one of [`super::pi`].
const IS_PI: usize = 1;

/// `struct robust_list_head`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
pub struct Head {
    /// The first entry; the head itself if there is none.
    first: usize,
    /// From an entry to its word, in bytes.
    offset: isize,
    /// An entry that is being locked or unlocked, or 0.
    pending: usize,
}

/// Walks the robust list of a thread that ends or executes another program.
pub fn exit_robust_list(ctx: &Context) {
    let address = ctx.thread.robust_list.swap(0, Relaxed);
    if address != 0 {
        // The list is the program's own affair: what cannot be read is not there.
        let _ = walk(ctx, address);
    }
}

fn walk(ctx: &Context, address: Vaddr) -> Result<()> {
    let head: Head = ctx.read_val(address)?;
    let pending = head.pending & !IS_PI;
    let mut entry = head.first;
    for _ in 0..MAX_ENTRIES {
        if entry & !IS_PI == address {
            break;
        }
        // Read before the word is released: its new owner may reuse the entry.
        let next: Result<usize> = ctx.read_val(entry & !IS_PI);
        if entry & !IS_PI != pending {
            release(ctx, entry, head.offset, false)?;
        }
        entry = next?;
    }
    if pending != 0 {
        release(ctx, head.pending, head.offset, true)?;
    }
    Ok(())
}

/// Marks the word of an entry if the thread owns it, and wakes one that waits.
fn release(ctx: &Context, entry: usize, offset: isize, is_pending: bool) -> Result<()> {
    let address = (entry & !IS_PI).wrapping_add_signed(offset);
    let is_pi = entry & IS_PI != 0;
    let mut value = ctx.atomic_load_u32(address)?;
    // It was being unlocked: the word is free, but the wake-up is due.
    if is_pending && !is_pi && value == 0 {
        wake(ctx, address, false, 1, ANY)?;
        return Ok(());
    }
    while value & TID_MASK == ctx.thread.tid() {
        if is_pi {
            let key = ctx.vm.futex_key(address, false)?;
            if hand_over(ctx, address, &key, value, OWNER_DIED) {
                return Ok(());
            }
        }
        let held = ctx.compare_exchange_u32(address, value, value & WAITERS | OWNER_DIED)?;
        if held == value {
            if value & WAITERS != 0 {
                wake(ctx, address, false, 1, ANY)?;
            }
            return Ok(());
        }
        value = held;
    }
    Ok(())
}
