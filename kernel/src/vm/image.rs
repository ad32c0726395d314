// SPDX-License-Identifier: MPL-2.0

//! Building the memory of a new program, for `execve(2)`.

use core::ops::Range;

use super::{
    AddressSpace,
    layout::{MIN_ADDRESS, STACK_TOP, TASK_SIZE, page_align},
    map::{MapRequest, Placement},
    mapping::{Backing, Mapping, Protection, Traits},
    page_cache::{MappedCache, PageCache},
};
use crate::{fs::Path, prelude::*};

/// What a new stack is mapped as at least; it grows when it is touched below.
const INITIAL_STACK: usize = 33 * PAGE_SIZE;

/// A segment of an executable (`PT_LOAD`), placed.
pub struct SegmentRequest<'a> {
    /// Where it begins in memory; not always the first address of a page.
    pub address: Vaddr,
    /// What is allowed.
    pub protection: Protection,
    /// The executable's name.
    pub path: &'a Path,
    /// The executable's pages.
    pub cache: &'a Arc<PageCache>,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its bytes in the file.
    pub file_size: usize,
    /// Its bytes in memory; those beyond `file_size` are zeros.
    pub memory_size: usize,
}

/// Pages of the kernel's own that a program gets.
pub struct SpecialRequest<'a> {
    /// What `/proc/PID/maps` calls them.
    pub name: &'static str,
    /// Where they begin in memory.
    pub address: Vaddr,
    /// What is allowed.
    pub protection: Protection,
    /// What `mprotect(2)` may allow later.
    pub max_protection: Protection,
    /// Where the pages are kept.
    pub pages: &'a Arc<PageCache>,
    /// Which of them.
    pub range: Range<usize>,
}

impl AddressSpace {
    /// Maps a segment, zeros behind the file's part included.
    ///
    /// # Errors
    /// `EINVAL` if addresses and offsets do not fit together or leave user space; `ENOMEM` beyond a limit; `EFAULT` if the
    /// file is too short for the zeros to be written.
    pub fn map_segment(&self, segment: &SegmentRequest<'_>) -> Result<()> {
        let within = segment.address % PAGE_SIZE;
        let start = segment.address - within;
        let file_start = segment.offset.checked_sub(within as u64).ok_or(EINVAL)?;
        if !file_start.is_multiple_of(PAGE_SIZE as u64) || segment.memory_size < segment.file_size {
            return Err(EINVAL);
        }
        let file_end = segment.address.checked_add(segment.file_size).ok_or(EINVAL)?;
        let end = segment.address.checked_add(segment.memory_size).ok_or(EINVAL)?;
        let mapped_end = if segment.file_size > 0 { page_align(file_end) } else { Some(start) };
        let mapped_end = mapped_end.ok_or(EINVAL)?;
        let zero_end = page_align(end).filter(|end| *end <= TASK_SIZE).ok_or(EINVAL)?;
        if mapped_end > start {
            let first = usize::try_from(file_start / PAGE_SIZE as u64).map_err(|_| EINVAL)?;
            let cache = MappedCache::new(segment.cache.clone(), false);
            let path = Some(segment.path.clone());
            let backing = Backing::Pages { cache, first, path };
            self.map_fixed(start, mapped_end - start, segment.protection, backing)?;
        }
        if zero_end > mapped_end {
            let len = zero_end - mapped_end;
            self.map_fixed(mapped_end, len, segment.protection, Backing::Anonymous)?;
        }
        // To the end of the page, not only of the segment: the dynamic loader takes memory there and trusts that it is zero.
        let tail = mapped_end.saturating_sub(file_end);
        if tail > 0 && segment.memory_size > segment.file_size && segment.file_size > 0 {
            self.write_remote(file_end, &[0; PAGE_SIZE][..tail])?;
        }
        Ok(())
    }

    /// Maps pages of the kernel's where nothing is mapped. Like the stack they are within no limit (`_install_special_mapping`).
    ///
    /// # Errors
    /// `ENOMEM` if something is there.
    pub fn map_special(&self, request: SpecialRequest<'_>) -> Result<()> {
        let mut state = self.state.write();
        let range = request.address..request.address + request.range.len() * PAGE_SIZE;
        if !state.mappings.is_room(&range) {
            return Err(ENOMEM);
        }
        let cache = MappedCache::new(request.pages.clone(), false);
        let backing = Backing::Pages { cache, first: request.range.start, path: None };
        let mut mapping = Mapping::new(range, request.protection, backing);
        mapping.max_protection = request.max_protection;
        mapping.special = Some(request.name);
        state.mappings.insert(mapping);
        Ok(())
    }

    fn map_fixed(&self, address: Vaddr, len: usize, protection: Protection, backing: Backing) -> Result<()> {
        if address < MIN_ADDRESS {
            return Err(EINVAL);
        }
        self.map(MapRequest {
            placement: Placement::Fixed(address),
            len,
            protection,
            max_protection: Protection::all(),
            traits: Traits::empty(),
            backing,
            populate: false,
        })?;
        Ok(())
    }

    /// Sets where the heap begins: behind the highest segment.
    pub fn set_brk_start(&self, address: Vaddr) {
        let mut state = self.state.write();
        let start = page_align(address).unwrap_or(0);
        (state.heap_start, state.heap_end) = (start, start);
    }

    /// Maps a stack that may grow to `limit` bytes. The answer is its end.
    ///
    /// # Errors
    /// `ENOMEM` if there is no room or the limit is less than a page.
    pub fn map_stack(&self, limit: usize, executable: bool) -> Result<Vaddr> {
        let len = INITIAL_STACK.min(limit - limit % PAGE_SIZE);
        let mut state = self.state.write();
        let range = STACK_TOP - len..STACK_TOP;
        if range.is_empty() || !state.mappings.is_room(&range) {
            return Err(ENOMEM);
        }
        let mut protection = Protection::READ | Protection::WRITE;
        protection.set(Protection::EXEC, executable);
        let mut mapping = Mapping::new(range, protection, Backing::Anonymous);
        mapping.traits = Traits::GROWS_DOWN;
        state.mappings.insert(mapping);
        Ok(STACK_TOP)
    }
}
