// SPDX-License-Identifier: MPL-2.0

//! Virtual memory: address spaces, their mappings, page faults, and the pages of files.
//!
//! # Role
//! An [`AddressSpace`] is Linux's `struct mm_struct`: OSTD's [`VmSpace`] (the page table) and the [`Mappings`] that say what
//! should be there. Page tables are filled by faults ([`fault`]) and are a cache: whatever can be had again from a
//! [`PageCache`] may be missing.
//!
//! # Invariants
//! 1. The page table maps only pages of mappings, with no more rights than the mapping's protection.
//! 2. In a private mapping a page table entry with [`mapping::OWN_PAGE`] holds a page of this address space, perhaps shared
//!    with relatives by `fork(2)`; one without holds a page of a file or the page of zeros and is not writable. In either
//!    case it is writable only if no one else can see the page.
//! 3. Before a right is taken away or a page changes, the old translation is gone from every CPU.
//!
//! # Concurrency
//! `state` is a sleeping read-write lock. Faults, `madvise(2)` and remote accesses hold it for reading and meet each other on
//! the locks of page table nodes, which OSTD's cursors take; whoever changes mappings holds it for writing. Nothing copies
//! from or to user memory under it, since that may fault. Lock order: `state`, then [`PageCache`]'s lock, which is released
//! before a cursor is made. Files are dropped after `state` is released.

mod advice;
mod buddy;
mod bulk;
mod cursor;
mod fault;
mod fork;
pub mod frames;
mod futex_key;
mod image;
mod layout;
mod lock;
mod map;
mod mapping;
mod mappings;
mod page_cache;
pub mod page_pool;
mod protect;
mod registry;
mod remap;
mod remote;
mod report;
pub mod reserve;
#[cfg(ktest)]
mod tests;
mod user_access;

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use ostd::mm::VmSpace;
use spin::Once;

use self::mappings::Mappings;
pub use self::{
    advice::Advice,
    bulk::{BULK, BULK_PAGES},
    fault::{Access, Fault},
    futex_key::FutexKey,
    image::{SegmentRequest, SpecialRequest},
    layout::{MAX_MAP_COUNT, MIN_ADDRESS, TASK_SIZE, is_page_aligned, page_align},
    lock::LockMode,
    map::{MapRequest, Placement},
    mapping::{Backing, Protection, Traits},
    page_cache::{MappedCache, PageCache, PageSource},
    remap::RemapRequest,
    user_access::{fault_from_user, init},
};
use crate::prelude::*;

/// The memory of a process.
pub struct AddressSpace {
    /// Unique over the life of the kernel; the object part of a private futex's key.
    id: u64,
    space: Arc<VmSpace>,
    state: RwMutex<State>,
    /// Pages in the page table.
    resident: AtomicUsize,
    /// The most that `resident` ever was, up to date only when it falls.
    peak_resident: AtomicUsize,
}

/// What should be in memory.
#[derive(Clone)]
struct State {
    mappings: Mappings,
    /// The start of the heap; 0 without a heap.
    heap_start: Vaddr,
    /// The end of the heap as `brk(2)` set it, to the byte.
    heap_end: Vaddr,
    /// How new mappings are locked (`mlockall(2)` `MCL_FUTURE`).
    lock_future: Traits,
    barriers: Barriers,
}

bitflags::bitflags! {
    /// The memory barriers of all CPUs that a process has registered for (`membarrier(2)`). A child has its parent's, a new program none.
    #[derive(Clone, Copy, Default, PartialEq, Eq)]
    pub struct Barriers: u8 {
        /// Those that others ask for.
        const GLOBAL = 1;
        /// Its own.
        const PRIVATE = 2;
        /// Its own, serializing instructions as well.
        const SYNC_CORE = 4;
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl AddressSpace {
    /// An empty address space.
    pub fn new() -> Arc<Self> {
        Self::with_state(State {
            mappings: Mappings::new(),
            heap_start: 0,
            heap_end: 0,
            lock_future: Traits::empty(),
            barriers: Barriers::empty(),
        })
    }

    fn with_state(state: State) -> Arc<Self> {
        let space = Arc::new(Self {
            // Relaxed: only uniqueness matters.
            id: NEXT_ID.fetch_add(1, Relaxed),
            space: Arc::new(VmSpace::new()),
            state: RwMutex::new(state),
            resident: AtomicUsize::new(0),
            peak_resident: AtomicUsize::new(0),
        });
        registry::insert(space.id, Arc::downgrade(&space));
        space
    }

    /// OSTD's part: the page table.
    pub fn space(&self) -> &Arc<VmSpace> {
        &self.space
    }

    /// The memory barriers that the process has registered for.
    pub fn barriers(&self) -> Barriers {
        self.state.read().barriers
    }

    /// Registers it for more of them.
    pub fn register(&self, barriers: Barriers) {
        self.state.write().barriers |= barriers;
    }

    fn count_mapped(&self, pages: usize) {
        // Relaxed, here and below: statistics.
        self.resident.fetch_add(pages, Relaxed);
    }

    fn count_unmapped(&self, pages: usize) {
        if pages > 0 {
            self.peak_resident.fetch_max(self.resident.load(Relaxed), Relaxed);
            self.resident.fetch_sub(pages, Relaxed);
        }
    }
}

/// The address space of those who have none: threads that ended, CPUs that idle. It stays empty.
pub fn nowhere() -> &'static Arc<AddressSpace> {
    static NOWHERE: Once<Arc<AddressSpace>> = Once::new();
    NOWHERE.call_once(AddressSpace::new)
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        registry::remove(self.id);
    }
}
