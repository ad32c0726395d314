// SPDX-License-Identifier: MPL-2.0

//! Address spaces.

mod page_cache;
mod registry;

use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use ostd::mm::VmSpace;

pub use self::page_cache::{MappedCache, PageCache, PageSource};
use crate::prelude::*;

/// The memory of a process.
pub struct AddressSpace {
    /// Unique over the life of the kernel; the object part of a private futex's key.
    id: u64,
    space: Arc<VmSpace>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl AddressSpace {
    /// An empty address space.
    pub fn new() -> Arc<Self> {
        // Relaxed: only uniqueness matters.
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let space = Arc::new(Self { id, space: Arc::new(VmSpace::new()) });
        registry::insert(id, Arc::downgrade(&space));
        space
    }

    /// OSTD's part: the page table.
    pub fn space(&self) -> &Arc<VmSpace> {
        &self.space
    }

    /// Unmaps the given pages of a file wherever they are mapped.
    fn unmap_file_pages(&self, _cache: u64, _pages: &Range<usize>) {}
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        registry::remove(self.id);
    }
}
