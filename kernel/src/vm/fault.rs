// SPDX-License-Identifier: MPL-2.0

//! Page faults: making a page present, or saying which signal the access deserves.
//!
//! # Protocol
//! [`AddressSpace::handle_fault`] finds the mapping, checks the right and fills the page table:
//! - nothing there, anonymous: the page of zeros for a read, a fresh page for a write;
//! - nothing there, file: the file's page and those neighbours that are in memory, or a copy for a private write;
//! - there but not writable, private: the page itself if nobody else has it, else a copy;
//! - there and sufficient: another CPU was faster, or this one had an old translation.
//!
//! # Concurrency
//! Any number of threads may fault at once. What is decided under the cursor's lock is final: the entry is looked at again
//! there. A file's page is fetched before, because that may take longer. A frame's count of references is 1 only if this
//! page table holds the only one, and nobody can add one but through this page table, whose node is locked, or by a
//! `fork(2)`, which the read lock excludes.

use ostd::mm::{
    PageFlags, UFrame,
    io::util::HasVmReaderWriter,
    vm_space::{CursorMut, VmQueriedItem},
};
use spin::Once;

use super::{
    AddressSpace,
    cursor::{HISTORY, WRITTEN, map_page},
    layout::{MIN_ADDRESS, STACK_GUARD_GAP, TASK_SIZE},
    mapping::{Mapping, OWN_PAGE, Protection},
    page_cache::{GROUP_PAGES, PageCache},
    reserve,
};
use crate::prelude::*;

/// What an instruction does with memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// It loads.
    Read,
    /// It stores.
    Write,
    /// It is fetched.
    Execute,
}

/// Why an access cannot be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No mapping there: `SIGSEGV`, `SEGV_MAPERR`.
    NotMapped,
    /// The mapping does not allow it: `SIGSEGV`, `SEGV_ACCERR`.
    NotPermitted,
    /// Beyond the end of the mapped file: `SIGBUS`, `BUS_ADRERR`.
    Bus,
    /// No memory: the process is killed.
    OutOfMemory,
}

impl From<Fault> for Errno {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::OutOfMemory => ENOMEM,
            _ => EFAULT,
        }
    }
}

type FaultResult = core::result::Result<(), Fault>;

impl AddressSpace {
    /// Makes `address` accessible.
    ///
    /// # Errors
    /// The reason why the program may not do that. May sleep.
    pub fn handle_fault(&self, address: Vaddr, access: Access) -> FaultResult {
        self.with_mapping(address, |mapping, page| {
            if !is_permitted(mapping.protection, access) {
                return Err(Fault::NotPermitted);
            }
            self.fault_in(mapping, page, access == Access::Write)
        })
    }

    /// Calls `action` with the mapping at `address` and the address of the page, extending a stack if need be. The mapping
    /// cannot change meanwhile.
    pub(super) fn with_mapping<R>(
        &self,
        address: Vaddr,
        action: impl FnOnce(&Mapping, Vaddr) -> core::result::Result<R, Fault>,
    ) -> core::result::Result<R, Fault> {
        let page = address - address % PAGE_SIZE;
        loop {
            let state = self.state.read();
            if let Some(mapping) = state.mappings.find(page) {
                return action(mapping, page);
            }
            drop(state);
            self.extend_stack(page)?;
        }
    }

    /// Extends the stack above `page` down to it (`expand_stack` on Linux).
    fn extend_stack(&self, page: Vaddr) -> FaultResult {
        if !(MIN_ADDRESS..TASK_SIZE).contains(&page) {
            return Err(Fault::NotMapped);
        }
        let mut state = self.state.write();
        if state.mappings.find(page).is_some() {
            return Ok(()); // Another thread was faster.
        }
        let stack = state.mappings.next_above(page).filter(|mapping| mapping.grows_down());
        let (start, end) = stack.map(|stack| (stack.start, stack.end)).ok_or(Fault::NotMapped)?;
        let grown = (start - page) / PAGE_SIZE;
        let below = page.saturating_sub(STACK_GUARD_GAP)..page;
        let is_too_close =
            state.mappings.overlapping(below).any(|mapping| !mapping.grows_down() && mapping.is_accessible());
        if is_too_close
            || end - page > super::map::stack_limit()
            || super::map::check_space_limit(&state.mappings, grown).is_err()
        {
            return Err(Fault::NotMapped);
        }
        state.mappings.extend_down(start, page);
        Ok(())
    }

    /// Makes a page of `mapping` present, and writable if `write`, whatever the mapping allows.
    pub(super) fn fault_in(&self, mapping: &Mapping, page: Vaddr, write: bool) -> FaultResult {
        // A page that is there may need a page table.
        reserve::check().map_err(|_| Fault::OutOfMemory)?;
        match mapping.page_at(page) {
            None => self.fault_anonymous(mapping, page, write),
            Some((cache, index)) if write && !mapping.is_shared() => {
                self.fault_private_write(mapping, page, cache, index)
            }
            Some((cache, index)) => self.fault_file(mapping, page, cache, index, write),
        }
    }

    fn fault_anonymous(&self, mapping: &Mapping, page: Vaddr, write: bool) -> FaultResult {
        self.at_page(page, |cursor| {
            if is_mapped(cursor) {
                return self.fault_present(cursor, mapping, write);
            }
            let (frame, flags) = if write {
                (new_frame(true)?, mapping.page_flags() | OWN_PAGE | WRITTEN)
            } else {
                (zero_frame()?, (mapping.page_flags() - PageFlags::W) | PageFlags::ACCESSED)
            };
            self.install(cursor, mapping, frame, flags);
            Ok(())
        })
    }

    /// A write to a private mapping of a file: a copy, unless there is one.
    fn fault_private_write(&self, mapping: &Mapping, page: Vaddr, cache: &PageCache, index: usize) -> FaultResult {
        let done = self.at_page(page, |cursor| {
            if is_mapped(cursor) { self.fault_present(cursor, mapping, true).map(|()| true) } else { Ok(false) }
        })?;
        if done {
            return Ok(());
        }
        let original = file_page(cache, index)?;
        let copy = copy_of(&original)?;
        self.at_page(page, |cursor| {
            if is_mapped(cursor) {
                return self.fault_present(cursor, mapping, true);
            }
            self.install(cursor, mapping, copy, mapping.page_flags() | OWN_PAGE | WRITTEN);
            Ok(())
        })
    }

    /// Maps a file's page and its neighbours that are in memory; writable only if the mapping is shared.
    fn fault_file(&self, mapping: &Mapping, page: Vaddr, cache: &PageCache, index: usize, write: bool) -> FaultResult {
        let frame = file_page(cache, index)?;
        let mut neighbours = [const { None }; GROUP_PAGES];
        let mut flags = mapping.page_flags();
        if !mapping.is_shared() {
            flags -= PageFlags::W;
        }
        let mut range = page..page + PAGE_SIZE;
        // A page table node's worth, so that the cursor locks one node only: a group of pages of the file lies at any
        // offset in memory.
        let node = page - page % NODE_SPAN..(page - page % NODE_SPAN) + NODE_SPAN;
        cache.visit_group(index, &mapping.file_pages(), |other, frame| {
            let address = (page + other * PAGE_SIZE) - index * PAGE_SIZE;
            if other != index && node.contains(&address) {
                range = range.start.min(address)..range.end.max(address + PAGE_SIZE);
                neighbours[other % GROUP_PAGES] = Some((address, frame.clone()));
            }
        });
        let map_all = |cursor: &mut CursorMut<'_>| {
            for (address, frame) in neighbours.into_iter().flatten() {
                if cursor.jump(address).is_ok() && !is_mapped(cursor) {
                    self.install(cursor, mapping, frame, flags);
                }
            }
            cursor.jump(page).map_err(|_| Fault::NotMapped)?;
            if is_mapped(cursor) {
                return self.fault_present(cursor, mapping, write);
            }
            self.install(cursor, mapping, frame, flags | PageFlags::ACCESSED);
            Ok(())
        };
        self.with_cursor(&range, map_all).unwrap_or(Err(Fault::NotMapped))
    }

    /// The page at the cursor is mapped: gives it the rights it may have, and a private copy if it is to be written.
    fn fault_present(&self, cursor: &mut CursorMut<'_>, mapping: &Mapping, write: bool) -> FaultResult {
        let page = cursor.virt_addr();
        let Ok((_, Some(VmQueriedItem::MappedRam { frame, prop }))) = cursor.query() else {
            return Ok(());
        };
        let is_own = prop.flags.contains(OWN_PAGE);
        let may_write =
            mapping.is_shared() || prop.flags.contains(PageFlags::W) || (is_own && frame.reference_count() == 1);
        if !write || may_write {
            let lost =
                if may_write && write || prop.flags.contains(PageFlags::W) { PageFlags::empty() } else { PageFlags::W };
            let written = if write { WRITTEN } else { PageFlags::ACCESSED };
            let flags = (prop.flags & HISTORY) | (mapping.page_flags() - lost) | written;
            // Rights only grow here: an old translation elsewhere costs that CPU a fault, no more.
            cursor.protect_next(PAGE_SIZE, |entry, _| *entry = flags);
            return Ok(());
        }
        let copy = copy_of(&frame)?;
        cursor.unmap(PAGE_SIZE);
        cursor.flusher().sync_tlb_flush();
        cursor.jump(page).map_err(|_| Fault::NotMapped)?;
        map_page(cursor, copy, mapping.page_flags() | OWN_PAGE | WRITTEN);
        mapping.note_page(true);
        Ok(())
    }

    fn install(&self, cursor: &mut CursorMut<'_>, mapping: &Mapping, frame: UFrame, flags: PageFlags) {
        map_page(cursor, frame, flags);
        mapping.note_page(flags.contains(OWN_PAGE));
        self.count_mapped(1);
    }

    fn at_page<R>(
        &self,
        page: Vaddr,
        action: impl FnOnce(&mut CursorMut<'_>) -> core::result::Result<R, Fault>,
    ) -> core::result::Result<R, Fault> {
        self.with_cursor(&(page..page + PAGE_SIZE), action).unwrap_or(Err(Fault::NotMapped))
    }
}

/// Bytes that one node of the lowest level maps on x86-64.
const NODE_SPAN: usize = 512 * PAGE_SIZE;

fn is_mapped(cursor: &mut CursorMut<'_>) -> bool {
    matches!(cursor.query(), Ok((_, Some(_))))
}

/// x86 has no pages that can be written or executed but not read, so reads are fine where anything is (`access_error` in
/// Linux's `arch/x86/mm/fault.c`).
fn is_permitted(protection: Protection, access: Access) -> bool {
    match access {
        Access::Read => !protection.is_empty(),
        Access::Write => protection.contains(Protection::WRITE),
        Access::Execute => protection.contains(Protection::EXEC),
    }
}

fn file_page(cache: &PageCache, index: usize) -> core::result::Result<UFrame, Fault> {
    cache.page(index).map_err(|error| match error {
        ENOMEM => Fault::OutOfMemory,
        _ => Fault::Bus,
    })
}

fn new_frame(zeroed: bool) -> core::result::Result<UFrame, Fault> {
    reserve::new_frame(zeroed).map_err(|_| Fault::OutOfMemory)
}

fn copy_of(original: &UFrame) -> core::result::Result<UFrame, Fault> {
    if zero_frame()? == *original {
        return new_frame(true);
    }
    let copy = new_frame(false)?;
    copy.writer().write(&mut original.reader());
    Ok(copy)
}

/// The page of zeros that all reads of untouched anonymous memory share.
fn zero_frame() -> core::result::Result<UFrame, Fault> {
    static ZEROS: Once<UFrame> = Once::new();
    ZEROS.try_call_once(|| new_frame(true)).cloned()
}
