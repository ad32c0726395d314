// SPDX-License-Identifier: MPL-2.0

//! Where things lie in a program's memory: the layout of a 64-bit Linux without address space randomisation.
//!
//! From below: the executable, the heap, a wide gap, what `mmap(2)` places (from [`MMAP_BASE`] downwards), room for the
//! stack to grow, the stack. Fixed addresses make runs repeat exactly, down to the instruction count.

use ostd::mm::MAX_USERSPACE_VADDR;

use crate::prelude::*;

/// The address behind the last that a program can use (`TASK_SIZE`).
pub const TASK_SIZE: Vaddr = MAX_USERSPACE_VADDR;

/// The end of the initial stack.
pub const STACK_TOP: Vaddr = TASK_SIZE;

/// The end of the range that `mmap(2)` takes addresses from: 128 MiB below the stack's end, as `mmap_base` on Linux with
/// the usual limit of 8 MiB for the stack.
pub const MMAP_BASE: Vaddr = STACK_TOP - (128 << 20);

/// The lowest address that is given without being asked for (`/proc/sys/vm/mmap_min_addr`).
pub const MIN_ADDRESS: Vaddr = 0x1_0000;

/// What stays free below a mapping that grows downwards, in bytes (`stack_guard_gap`).
pub const STACK_GUARD_GAP: usize = 256 * PAGE_SIZE;

/// The most mappings that an address space may have (`/proc/sys/vm/max_map_count`).
pub const MAX_MAP_COUNT: usize = 65530;

/// Rounds up to whole pages; `None` on overflow.
pub fn page_align(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(PAGE_SIZE)
}

/// Whether an address is the first of a page.
pub fn is_page_aligned(address: Vaddr) -> bool {
    address.is_multiple_of(PAGE_SIZE)
}
