// SPDX-License-Identifier: MPL-2.0

//! All address spaces, so that a truncated file finds its mappings.
//!
//! A list per file would cost every `fork(2)` one entry per mapped file; truncating a mapped file is rare, so it looks
//! through all address spaces instead.

use super::AddressSpace;
use crate::prelude::*;

static SPACES: SpinLock<BTreeMap<u64, Weak<AddressSpace>>> = SpinLock::new(BTreeMap::new());

/// Adds an address space.
pub fn insert(id: u64, space: Weak<AddressSpace>) {
    SPACES.lock().insert(id, space);
}

/// Removes an address space that is being dropped.
pub fn remove(id: u64) {
    let removed = SPACES.lock().remove(&id);
    drop(removed);
}

/// Calls `action` with every address space that is still in use, without a lock.
pub fn for_each(action: impl Fn(&AddressSpace)) {
    let spaces: Vec<_> = SPACES.lock().values().filter_map(Weak::upgrade).collect();
    spaces.iter().for_each(|space| action(space));
}
