// SPDX-License-Identifier: MPL-2.0

//! Futexes: the seam to process exit, filled by this module's author.

use crate::prelude::*;

/// Walks the robust list of a thread that ends.
pub fn exit_robust_list(_ctx: &Context) {}

/// Wakes up to `count` waiters at `address`.
pub fn wake_at(_ctx: &Context, _address: Vaddr, _count: usize) {}
