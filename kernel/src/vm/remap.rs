// SPDX-License-Identifier: MPL-2.0

//! `mremap(2)`.

use core::ops::Range;

use super::{
    AddressSpace, State,
    cursor::map_page,
    layout::{MAX_MAP_COUNT, TASK_SIZE, is_page_aligned, page_align},
    map::{check_data_limit, check_space_limit, user_range},
    mapping::{Backing, Mapping, Traits},
};
use crate::prelude::*;

/// What `mremap(2)` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RemapRequest {
    /// The start of the old range.
    pub old: Vaddr,
    /// Its length.
    pub old_len: usize,
    /// The wanted length.
    pub new_len: usize,
    /// Whether it may move (`MREMAP_MAYMOVE`).
    pub may_move: bool,
    /// Where it has to go (`MREMAP_FIXED`).
    pub fixed: Option<Vaddr>,
    /// Whether an empty mapping stays behind (`MREMAP_DONTUNMAP`).
    pub keep_old: bool,
}

impl AddressSpace {
    /// Resizes or moves a mapping. The answer is its address.
    ///
    /// # Errors
    /// `EINVAL` for bad ranges or combinations; `EFAULT` if the old range is not one mapping; `ENOMEM` if it cannot grow
    /// where it is and may not move, there is no room, or a limit is hit; `EAGAIN` beyond `RLIMIT_MEMLOCK`.
    pub fn remap(&self, request: RemapRequest) -> Result<Vaddr> {
        let old_len = page_align(request.old_len).ok_or(EINVAL)?;
        let new_len = page_align(request.new_len).filter(|len| *len != 0).ok_or(EINVAL)?;
        let bad_keep = request.keep_old && (!request.may_move || old_len != new_len);
        if !is_page_aligned(request.old) || bad_keep || (request.fixed.is_some() && !request.may_move) {
            return Err(EINVAL);
        }
        let mut dropped = Vec::new();
        let mut state = self.state.write();
        let moved = if let Some(target) = request.fixed {
            let target = checked_target(request.old, old_len, target, new_len)?;
            self.move_to(&mut state, &request, old_len, new_len, Some(target), &mut dropped)
        } else if request.keep_old {
            self.move_to(&mut state, &request, old_len, new_len, None, &mut dropped)
        } else {
            self.resize(&mut state, &request, old_len, new_len, &mut dropped)
        };
        let locked =
            moved.is_ok_and(|start| state.mappings.find(start).is_some_and(|m| m.traits.contains(Traits::LOCKED)));
        drop(state);
        drop(dropped);
        if let Ok(start) = moved
            && locked
            && new_len > old_len
        {
            let _ = self.populate(start + old_len..start + new_len, false);
        }
        moved
    }

    /// Shrinks, grows in place, or moves to where there is room.
    fn resize(
        &self,
        state: &mut State,
        request: &RemapRequest,
        old_len: usize,
        new_len: usize,
        dropped: &mut Vec<Mapping>,
    ) -> Result<Vaddr> {
        let old = request.old;
        if old_len >= new_len {
            state.mappings.find(old).ok_or(EFAULT)?;
            if old_len > new_len {
                let tail = user_range(old + new_len, old_len - new_len).ok_or(EINVAL)?;
                dropped.extend(self.remove(state, &tail));
            }
            return Ok(old);
        }
        let mapping = movable(state, old, old_len, new_len)?;
        let growth = old.saturating_add(old_len)..old.saturating_add(new_len);
        let fits = mapping.end == growth.start
            && growth.end <= TASK_SIZE
            && !mapping.grows_down()
            && state.mappings.is_room(&growth);
        if fits {
            check_growth(state, &mapping, growth.len())?;
            let mut added = mapping.part(growth.start, growth.start, growth.len());
            added.reset_pages();
            state.mappings.insert(added);
            return Ok(old);
        }
        if !request.may_move {
            return Err(ENOMEM);
        }
        self.move_to(state, request, old_len, new_len, None, dropped)
    }

    /// Moves the old range to `target`, or where there is room.
    fn move_to(
        &self,
        state: &mut State,
        request: &RemapRequest,
        old_len: usize,
        new_len: usize,
        target: Option<Range<Vaddr>>,
        dropped: &mut Vec<Mapping>,
    ) -> Result<Vaddr> {
        let old = request.old..request.old.checked_add(old_len).ok_or(EINVAL)?;
        if state.mappings.len() + 4 > MAX_MAP_COUNT {
            return Err(ENOMEM);
        }
        if let Some(target) = &target {
            dropped.extend(self.remove(state, target));
            if old_len > new_len {
                dropped.extend(self.remove(state, &(old.start + new_len..old.end)));
            }
        }
        let moved_len = old_len.min(new_len);
        let mapping = movable(state, old.start, moved_len, new_len)?;
        let growth = if request.keep_old { new_len } else { new_len - moved_len };
        check_growth(state, &mapping, growth)?;
        let start = match &target {
            Some(target) => target.start,
            None => state.mappings.find_room(new_len).ok_or(ENOMEM)?,
        };
        let mut copy = mapping.part(old.start, start, new_len);
        if moved_len == 0 {
            copy.reset_pages();
        }
        state.mappings.insert(copy);
        if moved_len > 0 {
            self.move_pages(&mapping, &(old.start..old.start + moved_len), start);
            let rest = state.mappings.take(old.start..old.start + moved_len);
            if request.keep_old {
                for mut mapping in rest {
                    mapping.reset_pages();
                    mapping.traits -= Traits::LOCKED | Traits::LOCKED_ON_FAULT;
                    state.mappings.insert(mapping);
                }
            } else {
                dropped.extend(rest);
            }
        }
        Ok(start)
    }

    /// Moves page table entries.
    fn move_pages(&self, mapping: &Mapping, old: &Range<Vaddr>, new: Vaddr) {
        if !mapping.has_pages() {
            return;
        }
        let mut pages = Vec::new();
        self.visit_pages(old, |page| pages.push(page));
        self.clear_range(old);
        self.count_mapped(pages.len());
        self.with_cursor(&(new..new + old.len()), |cursor| {
            for page in pages {
                if cursor.jump(page.address - old.start + new).is_ok() {
                    map_page(cursor, page.frame, page.flags);
                }
            }
        });
    }
}

/// # Errors
/// `EINVAL` if the target is not in user space or meets the old range.
fn checked_target(old: Vaddr, old_len: usize, target: Vaddr, new_len: usize) -> Result<Range<Vaddr>> {
    let range = user_range(target, new_len).ok_or(EINVAL)?;
    let old = user_range(old, old_len).ok_or(EINVAL)?;
    if range.start < old.end && old.start < range.end { Err(EINVAL) } else { Ok(range) }
}

/// The mapping of the old range, if it is one and may be moved or grown (`vma_to_resize` on Linux).
///
/// # Errors
/// `EFAULT` if it is not one mapping; `EINVAL` for an old length of 0 with a private mapping, or if the file's offset
/// would overflow.
fn movable(state: &State, old: Vaddr, old_len: usize, new_len: usize) -> Result<Mapping> {
    let mapping = state.mappings.find(old).ok_or(EFAULT)?;
    if old_len == 0 && !mapping.is_shared() {
        return Err(EINVAL);
    }
    if old_len > mapping.end - old || (mapping.special.is_some() && old_len != new_len) {
        return Err(EFAULT);
    }
    if let Backing::Pages { first, .. } = &mapping.backing {
        let first = first + (old - mapping.start) / PAGE_SIZE;
        first.checked_add(new_len / PAGE_SIZE).ok_or(EINVAL)?;
    }
    Ok(mapping.clone())
}

/// # Errors
/// `ENOMEM` or `EAGAIN` if `growth` bytes more exceed a limit.
fn check_growth(state: &State, mapping: &Mapping, growth: usize) -> Result<()> {
    let pages = growth / PAGE_SIZE;
    if mapping.is_locked() {
        super::lock::check_limit(&state.mappings, pages)?;
    }
    check_space_limit(&state.mappings, pages)?;
    if mapping.is_data() { check_data_limit(&state.mappings, pages) } else { Ok(()) }
}
