// SPDX-License-Identifier: MPL-2.0

//! Regular files of ramfs and tmpfs.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{
    super::{FallocateMode, SealFlags, Seals},
    limits::Usage,
};
use crate::{
    file::{IoSrc, Written},
    prelude::*,
    vm::PageCache,
};

/// The content of a regular file.
pub(super) struct RegularContent {
    cache: Arc<PageCache>,
    /// Orders writes, truncation and `O_APPEND`'s look at the end (`write(2)` is atomic against them).
    writing: Mutex<()>,
    /// Pages that count against the file system's limit. Changed under `writing`.
    charged: AtomicU64,
    /// Pages that the boot image supplies: they count as blocks though they need not be in memory.
    sourced_pages: AtomicU64,
    seals: Option<Seals>,
}

impl RegularContent {
    pub(super) fn new(cache: Arc<PageCache>, seals: Option<Seals>) -> Self {
        let sourced_pages = AtomicU64::new(cache.size().div_ceil(PAGE_SIZE as u64));
        Self { cache, writing: Mutex::new(()), charged: AtomicU64::new(0), sourced_pages, seals }
    }

    pub(super) fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }

    pub(super) fn seals(&self) -> Option<&Seals> {
        self.seals.as_ref()
    }

    pub(super) fn charged_pages(&self) -> u64 {
        self.charged.load(Relaxed)
    }

    /// `st_blocks`, units of 512 bytes.
    pub(super) fn blocks(&self) -> u64 {
        let pages = (self.cache.resident_pages() as u64).max(self.sourced_pages.load(Relaxed));
        pages * (PAGE_SIZE as u64 / 512)
    }

    pub(super) fn write(&self, usage: &Usage, offset: u64, src: &mut IoSrc<'_>, append: bool) -> Result<Written> {
        let _writing = self.writing.lock();
        let offset = if append { self.cache.size() } else { offset };
        if src.remain() == 0 {
            return Ok(Written { count: 0, end: offset });
        }
        let end = offset.saturating_add(src.remain() as u64);
        if let Some(seals) = &self.seals {
            seals.check_write()?;
            seals.check_resize(self.cache.size(), self.cache.size().max(end))?;
        }
        self.limit_to_free(usage, offset, src)?;
        let result = self.cache.write(offset, src);
        self.recharge(usage);
        let count = result?;
        Ok(Written { count, end: offset.saturating_add(count as u64) })
    }

    /// Shortens `src` to what the file system's limit leaves room for.
    ///
    /// # Errors
    /// `ENOSPC` if that is nothing.
    fn limit_to_free(&self, usage: &Usage, offset: u64, src: &mut IoSrc<'_>) -> Result<()> {
        if !usage.limits_pages() {
            return Ok(());
        }
        let mut free = usage.free_pages();
        let len = src.remain() as u64;
        if len.div_ceil(PAGE_SIZE as u64) < free {
            return Ok(());
        }
        let mut position = offset;
        let end = offset.saturating_add(len);
        while position < end {
            let index = position / PAGE_SIZE as u64;
            if !self.cache.is_resident(usize::try_from(index).unwrap_or(usize::MAX)) {
                if free == 0 {
                    break;
                }
                free -= 1;
            }
            position = (index + 1) * PAGE_SIZE as u64;
        }
        let allowed = position.min(end) - offset;
        if allowed == 0 {
            return Err(ENOSPC);
        }
        src.limit(usize::try_from(allowed).unwrap_or(usize::MAX));
        Ok(())
    }

    /// Brings the charge up to date with the pages in memory; mappings may have made some.
    fn recharge(&self, usage: &Usage) {
        let resident = self.cache.resident_pages() as u64;
        let charged = self.charged.swap(resident, Relaxed);
        if resident > charged {
            usage.take_pages(resident - charged);
        } else {
            usage.release_pages(charged - resident);
        }
    }

    pub(super) fn truncate(&self, usage: &Usage, size: u64) -> Result<()> {
        let _writing = self.writing.lock();
        if let Some(seals) = &self.seals {
            seals.check_resize(self.cache.size(), size)?;
        }
        self.cache.set_size(size)?;
        self.sourced_pages.fetch_min(size.div_ceil(PAGE_SIZE as u64), Relaxed);
        self.recharge(usage);
        Ok(())
    }

    pub(super) fn fallocate(&self, usage: &Usage, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        let _writing = self.writing.lock();
        let (size, end) = (self.cache.size(), offset.checked_add(len).ok_or(EFBIG)?);
        let result = match mode {
            FallocateMode::PunchHole => {
                self.check_seals(SealFlags::WRITE | SealFlags::FUTURE_WRITE)?;
                self.cache.punch_hole(offset..end)
            }
            // Not on tmpfs of Linux either.
            FallocateMode::ZeroRange { .. } => Err(EOPNOTSUPP),
            FallocateMode::Allocate { keep_size } => {
                if end > size {
                    self.check_seals(SealFlags::GROW)?;
                }
                let pages = end.div_ceil(PAGE_SIZE as u64) - offset / PAGE_SIZE as u64;
                if usage.limits_pages() && pages > usage.free_pages().saturating_add(self.charged_pages()) {
                    return Err(ENOSPC);
                }
                if !keep_size && end > size {
                    self.cache.set_size(end)?;
                }
                self.cache.allocate(offset..end)
            }
        };
        self.recharge(usage);
        result
    }

    fn check_seals(&self, refused: SealFlags) -> Result<()> {
        match &self.seals {
            Some(seals) if seals.get().intersects(refused) => Err(EPERM),
            _ => Ok(()),
        }
    }
}
