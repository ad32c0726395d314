// SPDX-License-Identifier: MPL-2.0

//! `fork(2)`: another address space with the same content, sharing pages until one side writes.
//!
//! Only pages of the address space's own are handed over, write-protected on both sides. All others come again from files,
//! or from the page of zeros, when the child touches them.

use core::ops::Range;

use ostd::{
    mm::{
        PageFlags, VmSpace,
        vm_space::{CursorMut, VmQueriedItem},
    },
    task::disable_preempt,
};

use super::{
    AddressSpace, State,
    cursor::{flush_all, map_page},
    mapping::{Mapping, OWN_PAGE, Traits},
};
use crate::prelude::*;

/// What a walk over the parent's pages did.
#[derive(Default)]
struct Shared {
    pages: usize,
    /// A page that was writable and is not any more.
    protected: Option<Vaddr>,
}

impl AddressSpace {
    /// A copy for a child.
    ///
    /// # Errors
    /// `ENOMEM` if there is no memory for it.
    pub fn fork(&self) -> Result<Arc<Self>> {
        // The write lock keeps faults out while pages change hands.
        let state = self.state.write();
        let child = Self::with_state(inherit(&state));
        let mut protected = None;
        for mapping in state.mappings.iter().filter(|mapping| mapping.has_own_pages()) {
            if !mapping.traits.intersects(Traits::DONT_FORK | Traits::WIPE_ON_FORK) {
                let shared = self.share_pages(&child, mapping);
                child.count_mapped(shared.pages);
                protected = protected.or(shared.protected);
            }
        }
        if let Some(page) = protected {
            self.with_cursor(&(page..page + PAGE_SIZE), flush_all);
        }
        Ok(child)
    }

    /// Gives the child the pages of a mapping.
    fn share_pages(&self, child: &Self, mapping: &Mapping) -> Shared {
        let range = mapping.range();
        let shared = self.with_cursor(&range, |cursor| share_range(cursor, &child.space, &range));
        shared.unwrap_or_default()
    }
}

/// What the child has of the mappings.
fn inherit(state: &State) -> State {
    let mut child = state.clone();
    child.lock_future = Traits::empty();
    child.mappings.retain(|mapping| !mapping.traits.contains(Traits::DONT_FORK));
    child.mappings.for_each_mut(|mapping| {
        mapping.traits -= Traits::LOCKED | Traits::LOCKED_ON_FAULT;
        if !mapping.has_own_pages() || mapping.traits.contains(Traits::WIPE_ON_FORK) {
            mapping.reset_pages();
        }
    });
    child
}

/// Lets `child` map the own pages of `range`, where the cursor stands, with both sides write-protected. The parent's
/// translations are not flushed yet.
fn share_range(cursor: &mut CursorMut<'_>, child: &VmSpace, range: &Range<Vaddr>) -> Shared {
    let mut shared = Shared::default();
    let guard = disable_preempt();
    // Made when the first page is found: making it makes page tables.
    let mut child_cursor = None;
    while cursor.virt_addr() < range.end
        && let Some(page) = cursor.find_next(range.end - cursor.virt_addr())
    {
        if let Ok((_, Some(VmQueriedItem::MappedRam { frame, prop }))) = cursor.query()
            && prop.flags.contains(OWN_PAGE)
        {
            if child_cursor.is_none() {
                child_cursor = child.cursor_mut(&guard, range).ok();
            }
            if let Some(child_cursor) = &mut child_cursor
                && child_cursor.jump(page).is_ok()
            {
                map_page(child_cursor, (*frame).clone(), prop.flags - PageFlags::W);
                shared.pages += 1;
            }
            if prop.flags.contains(PageFlags::W) {
                shared.protected = Some(page);
            }
        }
        // Also moves on to the next page. Pages of files are not writable in private mappings.
        cursor.protect_next(PAGE_SIZE, |flags, _| *flags -= PageFlags::W);
    }
    shared
}
