// SPDX-License-Identifier: MPL-2.0

//! Adding and removing mappings: `mmap(2)`, `munmap(2)`, `brk(2)`.

use core::ops::Range;

use ostd::task::Task;

use super::{
    AddressSpace, State,
    layout::{MAX_MAP_COUNT, STACK_GUARD_GAP, TASK_SIZE, is_page_aligned, page_align},
    mapping::{Backing, Mapping, Protection, Traits},
    mappings::Mappings,
};
use crate::{
    prelude::*,
    process::{Resource, TaskData, Thread},
};

/// Where a new mapping goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placement {
    /// Where there is room, at this address if there is room and it is not 0.
    Hint(Vaddr),
    /// Exactly here, in place of whatever is there (`MAP_FIXED`).
    Fixed(Vaddr),
    /// Exactly here, where nothing may be (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace(Vaddr),
}

/// What `mmap(2)` is asked for, once flags are decoded.
pub struct MapRequest {
    /// Where.
    pub placement: Placement,
    /// Bytes; rounded up to whole pages.
    pub len: usize,
    /// What is allowed.
    pub protection: Protection,
    /// What `mprotect(2)` may allow later.
    pub max_protection: Protection,
    /// Further properties.
    pub traits: Traits,
    /// Where pages come from.
    pub backing: Backing,
    /// Whether pages are made at once (`MAP_POPULATE`).
    pub populate: bool,
}

impl AddressSpace {
    /// `mmap(2)`. The answer is the address.
    ///
    /// # Errors
    /// `ENOMEM` if there is no room or a limit is hit; `EINVAL` for a fixed address within a page; `EEXIST` for
    /// [`Placement::FixedNoReplace`]; `EAGAIN` if locking would exceed `RLIMIT_MEMLOCK`.
    pub fn map(&self, request: MapRequest) -> Result<Vaddr> {
        let len = page_align(request.len).filter(|len| *len != 0).ok_or(ENOMEM)?;
        super::reserve::check()?;
        let mut state = self.state.write();
        let range = place(&mut state, request.placement, len)?;
        let traits = request.traits | state.lock_future;
        check_map_limits(&state, &range, request.protection, traits)?;
        if state.mappings.len() + state.mappings.splits_of(&range) >= MAX_MAP_COUNT {
            return Err(ENOMEM);
        }
        let replaced = self.remove(&mut state, &range);
        let mut mapping = Mapping::new(range.clone(), request.protection, request.backing);
        mapping.max_protection = request.max_protection;
        mapping.traits = traits;
        state.mappings.insert(mapping);
        drop(state);
        drop(replaced);
        if request.populate || traits.contains(Traits::LOCKED) {
            // Failing to is no failure of the call (`mmap(2)`, MAP_POPULATE).
            let _ = self.populate(range.clone(), false);
        }
        Ok(range.start)
    }

    /// `munmap(2)`: the pages of the range are gone, whatever was there.
    ///
    /// # Errors
    /// `EINVAL` for a bad range; `ENOMEM` if a mapping would be split and there are too many.
    pub fn unmap(&self, address: Vaddr, len: usize) -> Result<()> {
        let range = user_range(address, len).filter(|range| !range.is_empty()).ok_or(EINVAL)?;
        let mut state = self.state.write();
        if state.mappings.len() >= MAX_MAP_COUNT && state.mappings.splits_of(&range) == 2 {
            return Err(ENOMEM);
        }
        let removed = self.remove(&mut state, &range);
        drop(state);
        drop(removed);
        Ok(())
    }

    /// Takes out what lies in the range, pages included. The answer is to be dropped after the lock.
    pub(super) fn remove(&self, state: &mut State, range: &Range<Vaddr>) -> Vec<Mapping> {
        let removed = state.mappings.take(range.clone());
        for mapping in &removed {
            self.clear_mapping(mapping, range);
        }
        removed
    }

    /// Takes the given pages of a file out of the page table, with the copies that private mappings made of them if
    /// `with_copies`.
    pub(super) fn unmap_file_pages(&self, cache: u64, pages: &Range<usize>, with_copies: bool) {
        // For writing: a fault that has a removed page in hand is over before we look.
        let state = self.state.write();
        for mapping in state.mappings.iter() {
            let Some((_, first)) = mapping.page_at(mapping.start).filter(|(c, _)| c.id() == cache) else {
                continue;
            };
            let address = |page: usize| {
                let offset = page.saturating_sub(first).saturating_mul(PAGE_SIZE);
                mapping.start + offset.min(mapping.len())
            };
            let range = address(pages.start)..address(pages.end);
            if with_copies || mapping.is_shared() {
                self.clear_mapping(mapping, &range);
            } else if !range.is_empty() && mapping.has_pages() {
                self.clear_file_pages(&range);
            }
        }
    }

    /// Makes the pages of a range present, up to the first that cannot be.
    ///
    /// # Errors
    /// `ENOMEM` if a page is not mapped or there is no memory; `EFAULT` beyond the end of a file or without rights.
    pub fn populate(&self, range: Range<Vaddr>, write: bool) -> Result<()> {
        for page in range.step_by(PAGE_SIZE) {
            let state = self.state.read();
            let mapping = state.mappings.find(page).ok_or(ENOMEM)?;
            if !mapping.is_accessible() || (write && !mapping.protection.contains(Protection::WRITE)) {
                return Err(EFAULT);
            }
            // A private page that may be written will be: copying now saves the second fault.
            let write = write || (mapping.is_data() && mapping.page_at(page).is_none());
            self.fault_in(mapping, page, write)?;
        }
        Ok(())
    }

    /// `brk(2)`: moves the end of the heap if that is possible. The answer is where it is now.
    pub fn set_heap_end(&self, end: Vaddr) -> Vaddr {
        let mut state = self.state.write();
        let old = state.heap_end;
        if state.heap_start == 0 || end < state.heap_start || end > TASK_SIZE {
            return old;
        }
        let (Some(old_top), Some(new_top)) = (page_align(old), page_align(end)) else {
            return old;
        };
        let removed = if new_top < old_top {
            self.remove(&mut state, &(new_top..old_top))
        } else if new_top > old_top && !grow_heap(&mut state, old_top..new_top) {
            return old;
        } else {
            Vec::new()
        };
        state.heap_end = end;
        let is_locked = state.lock_future.contains(Traits::LOCKED);
        drop(state);
        drop(removed);
        if is_locked && new_top > old_top {
            let _ = self.populate(old_top..new_top, true);
        }
        end
    }

    /// The lowest address of a free range of `len` bytes where `mmap(2)` would put it.
    ///
    /// # Errors
    /// `ENOMEM` if there is none.
    pub fn find_room(&self, len: usize) -> Result<Vaddr> {
        let len = page_align(len).ok_or(ENOMEM)?;
        self.state.write().mappings.find_room(len).ok_or(ENOMEM)
    }
}

/// The range of whole pages, if it lies in user space.
pub fn user_range(address: Vaddr, len: usize) -> Option<Range<Vaddr>> {
    let end = address.checked_add(page_align(len)?)?;
    (is_page_aligned(address) && end <= TASK_SIZE).then_some(address..end)
}

/// Chooses the range of a new mapping (`get_unmapped_area` on Linux).
fn place(state: &mut State, placement: Placement, len: usize) -> Result<Range<Vaddr>> {
    if len > TASK_SIZE {
        return Err(ENOMEM);
    }
    let address = match placement {
        Placement::Hint(hint) => {
            let hint = hint - hint % PAGE_SIZE;
            let range = hint.max(super::layout::MIN_ADDRESS)..hint.saturating_add(len);
            let is_usable = hint != 0 && range.len() == len && range.end <= TASK_SIZE && state.mappings.is_room(&range);
            return if is_usable {
                Ok(range)
            } else {
                state.mappings.find_room(len).map(|start| start..start + len).ok_or(ENOMEM)
            };
        }
        Placement::Fixed(address) | Placement::FixedNoReplace(address) => address,
    };
    if address > TASK_SIZE - len {
        return Err(ENOMEM);
    }
    if !is_page_aligned(address) {
        return Err(EINVAL);
    }
    let range = address..address + len;
    if matches!(placement, Placement::FixedNoReplace(_)) && state.mappings.is_occupied(range.clone()) {
        return Err(EEXIST);
    }
    Ok(range)
}

/// # Errors
/// `ENOMEM` beyond `RLIMIT_AS` or `RLIMIT_DATA`; `EAGAIN` beyond `RLIMIT_MEMLOCK`.
fn check_map_limits(state: &State, range: &Range<Vaddr>, protection: Protection, traits: Traits) -> Result<()> {
    let replaced = state.mappings.pages_in(range.clone());
    let added = range.len() / PAGE_SIZE;
    check_space_limit(&state.mappings, added.saturating_sub(replaced))?;
    let is_data = protection.contains(Protection::WRITE) && !traits.intersects(Traits::SHARED | Traits::GROWS_DOWN);
    if is_data {
        check_data_limit(&state.mappings, added)?;
    }
    if traits.intersects(Traits::LOCKED | Traits::LOCKED_ON_FAULT) {
        super::lock::check_limit(&state.mappings, added)?;
    }
    Ok(())
}

/// # Errors
/// `ENOMEM` if `added` pages more are beyond `RLIMIT_AS`.
pub fn check_space_limit(mappings: &Mappings, added: usize) -> Result<()> {
    let limit = current_limit(Resource::As) / PAGE_SIZE;
    if mappings.total_pages().saturating_add(added) > limit { Err(ENOMEM) } else { Ok(()) }
}

/// # Errors
/// `ENOMEM` if `added` pages of data more are beyond `RLIMIT_DATA`.
pub fn check_data_limit(mappings: &Mappings, added: usize) -> Result<()> {
    let limit = current_limit(Resource::Data) / PAGE_SIZE;
    // Counting takes a walk, which no limit saves.
    if limit >= usize::MAX / PAGE_SIZE {
        return Ok(());
    }
    let data = mappings.iter().filter(|mapping| mapping.is_data()).map(Mapping::pages);
    if data.sum::<usize>().saturating_add(added) > limit { Err(ENOMEM) } else { Ok(()) }
}

/// The current process's soft limit, in its unit; none outside a process.
pub fn current_limit(resource: Resource) -> usize {
    let limit = current_thread().map(|thread| thread.process.limits.soft(resource));
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// The running thread, if it is one of a program.
pub fn current_thread() -> Option<Arc<Thread>> {
    match Task::current()?.data().downcast_ref() {
        Some(TaskData::User(thread)) => Some(thread.clone()),
        _ => None,
    }
}

/// Bytes that a stack may grow to.
pub fn stack_limit() -> usize {
    current_limit(Resource::Stack)
}

/// Adds a range to the heap; whether that was possible (`do_brk_flags` on Linux).
fn grow_heap(state: &mut State, range: Range<Vaddr>) -> bool {
    let pages = range.len() / PAGE_SIZE;
    let heap = range.end - state.heap_start;
    let guarded = range.start..range.end.saturating_add(PAGE_SIZE).min(TASK_SIZE);
    let keeps_gap = state
        .mappings
        .next_above(range.start)
        .is_none_or(|next| !next.grows_down() || next.start - STACK_GUARD_GAP.min(next.start) >= range.end);
    let is_possible = heap <= current_limit(Resource::Data)
        && !state.mappings.is_occupied(guarded)
        && keeps_gap
        && state.mappings.len() < MAX_MAP_COUNT
        && check_map_limits(state, &range, Protection::READ | Protection::WRITE, state.lock_future).is_ok();
    if is_possible && pages > 0 {
        let protection = Protection::READ | Protection::WRITE;
        let mut mapping = Mapping::new(range, protection, Backing::Anonymous);
        mapping.traits = state.lock_future;
        state.mappings.insert(mapping);
    }
    is_possible
}
