// SPDX-License-Identifier: MPL-2.0

//! Work on the page table that several operations share.

use core::ops::Range;

use ostd::{
    mm::{
        PageFlags, UFrame,
        tlb::TlbFlushOp,
        vm_space::{CursorMut, VmQueriedItem},
    },
    task::disable_preempt,
};

use super::{
    AddressSpace,
    mapping::{Mapping, OWN_PAGE, page_property},
};
use crate::prelude::*;

/// A page as the page table holds it.
pub struct MappedPage {
    /// Its address.
    pub address: Vaddr,
    /// Its frame.
    pub frame: UFrame,
    /// Its entry's flags.
    pub flags: PageFlags,
}

impl AddressSpace {
    /// Calls `action` with a cursor over `range`, whose page table nodes are locked. Preemption is off: no sleeping.
    ///
    /// The answer is `None` only if the range is empty or not in user space.
    pub(super) fn with_cursor<R>(
        &self,
        range: &Range<Vaddr>,
        action: impl FnOnce(&mut CursorMut<'_>) -> R,
    ) -> Option<R> {
        let guard = disable_preempt();
        let mut cursor = self.space.cursor_mut(&guard, range).ok()?;
        Some(action(&mut cursor))
    }

    /// Empties `range` of the page table.
    pub(super) fn clear_range(&self, range: &Range<Vaddr>) {
        let unmapped = self.with_cursor(range, |cursor| {
            let unmapped = cursor.unmap(range.len());
            cursor.flusher().sync_tlb_flush();
            unmapped
        });
        self.count_unmapped(unmapped.unwrap_or(0));
    }

    /// Empties the page table of the part of `mapping` that lies in `range`.
    pub(super) fn clear_mapping(&self, mapping: &Mapping, range: &Range<Vaddr>) {
        let part = mapping.start.max(range.start)..mapping.end.min(range.end);
        if mapping.has_pages() && !part.is_empty() {
            self.clear_range(&part);
        }
    }

    /// Empties `range` of pages that are not the address space's own.
    pub(super) fn clear_file_pages(&self, range: &Range<Vaddr>) {
        let mut pages = Vec::new();
        self.visit_pages(range, |page| {
            if !page.flags.contains(OWN_PAGE) {
                pages.push(page.address);
            }
        });
        pages.iter().for_each(|page| self.clear_range(&(*page..page + PAGE_SIZE)));
    }

    /// Gives the pages of `mapping` the rights that it has now, and no more. `flush` if rights were taken away.
    pub(super) fn apply_protection(&self, mapping: &Mapping, flush: bool) {
        if !mapping.has_pages() {
            return;
        }
        let rights = mapping.page_flags();
        let is_shared = mapping.is_shared();
        let range = mapping.range();
        self.with_cursor(&range, |cursor| {
            while cursor.virt_addr() < range.end {
                let rest = range.end - cursor.virt_addr();
                let next = cursor.protect_next(rest, |flags, _| {
                    // A private page becomes writable by a fault, which knows whether it is shared with a relative.
                    let was_writable = flags.contains(PageFlags::W) || is_shared;
                    let lost = if was_writable { PageFlags::empty() } else { PageFlags::W };
                    *flags = (*flags & HISTORY) | (rights - lost);
                });
                if next.is_none() {
                    break;
                }
            }
            if flush {
                flush_range(cursor, &range);
            }
        });
    }

    /// The frame at `page`, if the page table has one.
    pub(super) fn frame_at(&self, page: Vaddr) -> Option<UFrame> {
        self.with_cursor(&(page..page + PAGE_SIZE), |cursor| match cursor.query() {
            Ok((_, Some(VmQueriedItem::MappedRam { frame, .. }))) => Some((*frame).clone()),
            _ => None,
        })?
    }

    /// Calls `visit` with the pages of `range` that the page table has.
    pub(super) fn visit_pages(&self, range: &Range<Vaddr>, mut visit: impl FnMut(MappedPage)) {
        self.with_cursor(range, |cursor| {
            while cursor.virt_addr() < range.end
                && let Some(address) = cursor.find_next(range.end - cursor.virt_addr())
            {
                if let Ok((_, Some(VmQueriedItem::MappedRam { frame, prop }))) = cursor.query() {
                    visit(MappedPage { address, frame: (*frame).clone(), flags: prop.flags });
                }
                let next = address + PAGE_SIZE;
                if next >= range.end || cursor.jump(next).is_err() {
                    break;
                }
            }
        });
    }
}

/// What an entry remembers beside rights.
pub const HISTORY: PageFlags = OWN_PAGE.union(PageFlags::ACCESSED).union(PageFlags::DIRTY);

/// Flags of a page that was just written.
pub const WRITTEN: PageFlags = PageFlags::ACCESSED.union(PageFlags::DIRTY);

/// Removes the translations of `range` from every CPU.
pub fn flush_range(cursor: &mut CursorMut<'_>, range: &Range<Vaddr>) {
    cursor.flusher().issue_tlb_flush(TlbFlushOp::for_range(range.clone()));
    cursor.flusher().dispatch_tlb_flush();
    cursor.flusher().sync_tlb_flush();
}

/// Removes all translations from every CPU.
pub fn flush_all(cursor: &mut CursorMut<'_>) {
    cursor.flusher().issue_tlb_flush(TlbFlushOp::for_all());
    cursor.flusher().dispatch_tlb_flush();
    cursor.flusher().sync_tlb_flush();
}

/// Maps `frame` where the cursor stands and where nothing is mapped.
pub fn map_page(cursor: &mut CursorMut<'_>, frame: UFrame, flags: PageFlags) {
    cursor.map(frame, page_property(flags));
}
