// SPDX-License-Identifier: MPL-2.0

//! What a program says about its memory, or asks: `madvise(2)`, `msync(2)`, `mincore(2)`.

use core::ops::Range;

use super::{
    AddressSpace,
    layout::MAX_MAP_COUNT,
    mapping::{Mapping, Protection, Traits},
};
use crate::prelude::*;

/// Advice that does something. What a kernel without swap and huge pages may ignore is not listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Advice {
    /// `MADV_DONTNEED`: private pages become zeros or the file's again.
    DontNeed,
    /// `MADV_FREE`: the same, at any time; here at once.
    Free,
    /// `MADV_REMOVE`: punches a hole into the file.
    Remove,
    /// `MADV_POPULATE_READ`, `MADV_POPULATE_WRITE`
    Populate {
        /// For writing.
        write: bool,
    },
    /// Sets and clears properties.
    Traits {
        /// To be set.
        set: Traits,
        /// To be cleared.
        clear: Traits,
    },
    /// Anything else that is known: only the range is checked.
    Ignored,
}

impl AddressSpace {
    /// `madvise(2)`. Gaps are passed over and reported at the end.
    ///
    /// # Errors
    /// `ENOMEM` for a gap or without memory; `EINVAL` or `EACCES` where the mapping does not suit the advice; `EFAULT` if
    /// pages cannot be made.
    pub fn advise(&self, range: Range<Vaddr>, advice: Advice) -> Result<()> {
        match advice {
            Advice::DontNeed | Advice::Free => self.discard(&range, advice == Advice::Free),
            Advice::Remove => self.punch(&range),
            Advice::Populate { write } => self.populate(range, write),
            Advice::Traits { set, clear } => self.change_traits(&range, set, clear),
            Advice::Ignored if self.state.read().mappings.covers(range) => Ok(()),
            Advice::Ignored => Err(ENOMEM),
        }
    }

    fn discard(&self, range: &Range<Vaddr>, is_free: bool) -> Result<()> {
        let state = self.state.read();
        for mapping in state.mappings.overlapping(range.clone()) {
            let is_anonymous = mapping.page_at(mapping.start).is_none();
            if mapping.is_locked() || mapping.special.is_some() || (is_free && !is_anonymous) {
                return Err(EINVAL);
            }
            self.clear_mapping(mapping, range);
        }
        if state.mappings.covers(range.clone()) { Ok(()) } else { Err(ENOMEM) }
    }

    fn punch(&self, range: &Range<Vaddr>) -> Result<()> {
        let mut holes = Vec::new();
        {
            let state = self.state.read();
            for mapping in state.mappings.overlapping(range.clone()) {
                let start = mapping.start.max(range.start);
                let Some((cache, first)) = mapping.page_at(start).filter(|_| !mapping.is_locked()) else {
                    return Err(EINVAL);
                };
                if !mapping.is_shared() || !mapping.protection.contains(Protection::WRITE) {
                    return Err(EACCES);
                }
                let offset = (first as u64).saturating_mul(PAGE_SIZE as u64);
                let len = (mapping.end.min(range.end) - start) as u64;
                holes.push((cache.clone(), offset..offset.saturating_add(len)));
            }
            if !state.mappings.covers(range.clone()) {
                return Err(ENOMEM);
            }
        }
        // Not under the lock: the file unmaps its pages from every address space.
        holes.into_iter().try_for_each(|(cache, hole)| cache.punch_hole(hole))
    }

    fn change_traits(&self, range: &Range<Vaddr>, set: Traits, clear: Traits) -> Result<()> {
        let mut state = self.state.write();
        let is_private_anonymous = |mapping: &Mapping| !mapping.is_shared() && mapping.page_at(mapping.start).is_none();
        let needs_anonymous = (set | clear).contains(Traits::WIPE_ON_FORK);
        if needs_anonymous && !state.mappings.overlapping(range.clone()).all(is_private_anonymous) {
            return Err(EINVAL);
        }
        if state.mappings.len() + state.mappings.splits_of(range) > MAX_MAP_COUNT {
            return Err(ENOMEM);
        }
        state.mappings.update(range.clone(), |mapping| {
            mapping.traits = (mapping.traits - clear) | set;
        });
        if state.mappings.covers(range.clone()) { Ok(()) } else { Err(ENOMEM) }
    }

    /// `msync(2)`: every file lives in memory, so only the range is checked.
    ///
    /// # Errors
    /// `EBUSY` if a mapping is locked and `invalidate`; `ENOMEM` for a gap.
    pub fn sync(&self, range: Range<Vaddr>, invalidate: bool) -> Result<()> {
        let state = self.state.read();
        if invalidate && state.mappings.overlapping(range.clone()).any(Mapping::is_locked) {
            return Err(EBUSY);
        }
        if state.mappings.covers(range) { Ok(()) } else { Err(ENOMEM) }
    }

    /// `mincore(2)`: one byte per page, 1 if it is in memory.
    ///
    /// # Errors
    /// `ENOMEM` for a gap.
    pub fn residency(&self, range: &Range<Vaddr>) -> Result<Vec<u8>> {
        let state = self.state.read();
        if !state.mappings.covers(range.clone()) {
            return Err(ENOMEM);
        }
        let mut residency = alloc::vec![0; range.len() / PAGE_SIZE];
        let mut mark = |page: Vaddr| {
            if let Some(byte) = residency.get_mut((page - range.start) / PAGE_SIZE) {
                *byte = 1;
            }
        };
        for mapping in state.mappings.overlapping(range.clone()) {
            let part = mapping.start.max(range.start)..mapping.end.min(range.end);
            if mapping.has_pages() {
                self.visit_pages(&part, |page| mark(page.address));
            }
            for page in part.step_by(PAGE_SIZE) {
                if mapping.page_at(page).is_some_and(|(cache, index)| cache.is_resident(index)) {
                    mark(page);
                }
            }
        }
        Ok(residency)
    }
}
