// SPDX-License-Identifier: MPL-2.0

//! One mapping: a range of addresses with the same protection and backing, Linux's `struct vm_area_struct`.

use core::{
    ops::Range,
    sync::atomic::{AtomicU8, Ordering},
};

use ostd::mm::{CachePolicy, PageFlags, PageProperty};

use super::page_cache::{MappedCache, PageCache};
use crate::{fs::Path, prelude::*};

bitflags::bitflags! {
    /// What a program may do with a mapping; the values of `mmap(2)`'s `PROT_*`.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Protection: u32 {
        /// Read.
        const READ = 1;
        /// Write.
        const WRITE = 2;
        /// Execute.
        const EXEC = 4;
    }
}

bitflags::bitflags! {
    /// Properties of a mapping beside its protection.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Traits: u32 {
        /// Writes go to the object (`MAP_SHARED`).
        const SHARED = 1;
        /// An access below extends it downwards (`MAP_GROWSDOWN`).
        const GROWS_DOWN = 2;
        /// Counted against `RLIMIT_MEMLOCK`; pages are made at once (`mlock(2)`).
        const LOCKED = 4;
        /// As [`Self::LOCKED`], but pages are made when touched (`MLOCK_ONFAULT`).
        const LOCKED_ON_FAULT = 8;
        /// A child does not get it (`MADV_DONTFORK`).
        const DONT_FORK = 16;
        /// A child gets zeros (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 32;
        /// Not in core files (`MADV_DONTDUMP`).
        const DONT_DUMP = 64;
        /// `MAP_NORESERVE`.
        const NO_RESERVE = 128;
        /// `MADV_SEQUENTIAL`.
        const SEQUENTIAL = 256;
        /// `MADV_RANDOM`.
        const RANDOM = 512;
    }
}

/// Where the pages of a mapping come from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros, private to the address space.
    Anonymous,
    /// A file's pages; also those of a shared anonymous mapping.
    Pages {
        /// The file.
        cache: MappedCache,
        /// The file's page at the start of the mapping.
        first: usize,
        /// The file's name; `None` for memory without a name.
        path: Option<Path>,
    },
}

/// A range of an address space.
pub struct Mapping {
    /// The first address, a multiple of the page size.
    pub start: Vaddr,
    /// The address behind the last, likewise.
    pub end: Vaddr,
    /// What is allowed.
    pub protection: Protection,
    /// What `mprotect(2)` may allow.
    pub max_protection: Protection,
    /// Its other properties.
    pub traits: Traits,
    /// Where its pages come from.
    pub backing: Backing,
    /// What `/proc/PID/maps` calls it if it is the kernel's (`[vdso]`).
    pub special: Option<&'static str>,
    /// What the page table may hold for it: [`Self::HAS_PAGES`] and [`Self::HAS_OWN_PAGES`].
    residency: AtomicU8,
}

/// Marks, in a page table entry, a page that belongs to the address space and not to a file: what a write to a private
/// mapping made. Several address spaces may still share it after a `fork(2)`.
pub const OWN_PAGE: PageFlags = PageFlags::AVAIL2;

impl Mapping {
    /// A mapping without special properties.
    pub fn new(range: Range<Vaddr>, protection: Protection, backing: Backing) -> Self {
        Self {
            start: range.start,
            end: range.end,
            protection,
            max_protection: Protection::all(),
            traits: Traits::empty(),
            backing,
            special: None,
            residency: AtomicU8::new(0),
        }
    }

    /// Its addresses.
    pub fn range(&self) -> Range<Vaddr> {
        self.start..self.end
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Its length in pages.
    pub fn pages(&self) -> usize {
        self.len() / PAGE_SIZE
    }

    /// Whether writes go to a shared object.
    pub fn is_shared(&self) -> bool {
        self.traits.contains(Traits::SHARED)
    }

    /// Whether it is locked in one of the two ways.
    pub fn is_locked(&self) -> bool {
        self.traits.intersects(Traits::LOCKED | Traits::LOCKED_ON_FAULT)
    }

    /// Whether it is a stack.
    pub fn grows_down(&self) -> bool {
        self.traits.contains(Traits::GROWS_DOWN)
    }

    /// Whether it counts against `RLIMIT_DATA`: private, writable and no stack (`is_data_mapping` on Linux).
    pub fn is_data(&self) -> bool {
        self.protection.contains(Protection::WRITE) && !self.traits.intersects(Traits::SHARED | Traits::GROWS_DOWN)
    }

    /// Whether anything at all is allowed. x86 cannot refuse reads where it allows writes.
    pub fn is_accessible(&self) -> bool {
        !self.protection.is_empty()
    }

    /// The file and the page of it at `address`, which lies in the mapping.
    pub fn page_at(&self, address: Vaddr) -> Option<(&Arc<PageCache>, usize)> {
        match &self.backing {
            Backing::Anonymous => None,
            Backing::Pages { cache, first, .. } => Some((cache, first + (address - self.start) / PAGE_SIZE)),
        }
    }

    /// The pages of the file that it shows; empty if it shows none.
    pub fn file_pages(&self) -> Range<usize> {
        match &self.backing {
            Backing::Anonymous => 0..0,
            Backing::Pages { first, .. } => *first..first.saturating_add(self.pages()),
        }
    }

    /// Flags of a page table entry that allows all that the mapping allows.
    pub fn page_flags(&self) -> PageFlags {
        let mut flags = PageFlags::empty();
        if self.is_accessible() {
            flags |= PageFlags::R;
        }
        if self.protection.contains(Protection::WRITE) {
            flags |= PageFlags::W;
        }
        if self.protection.contains(Protection::EXEC) {
            flags |= PageFlags::X;
        }
        flags
    }

    /// Any page was mapped: unmapping has to look. Else it need not, and makes no page tables only to find them empty.
    const HAS_PAGES: u8 = 1;
    /// A page of its own was mapped: `fork(2)` has to look.
    const HAS_OWN_PAGES: u8 = 2;

    /// Whether the page table may hold pages for it.
    pub fn has_pages(&self) -> bool {
        self.residency.load(Ordering::Relaxed) != 0
    }

    /// Whether it may hold pages of its own.
    pub fn has_own_pages(&self) -> bool {
        self.residency.load(Ordering::Relaxed) & Self::HAS_OWN_PAGES != 0
    }

    /// Records that a page was mapped; `own` if it belongs to the address space.
    pub fn note_page(&self, own: bool) {
        let bits = if own { Self::HAS_PAGES | Self::HAS_OWN_PAGES } else { Self::HAS_PAGES };
        // Relaxed: set under the read lock of the mappings, relied on under the write lock. Testing first keeps the cache
        // line shared.
        if self.residency.load(Ordering::Relaxed) & bits != bits {
            self.residency.fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// Forgets all pages, for a child that starts without them.
    pub fn reset_pages(&mut self) {
        self.residency = AtomicU8::new(0);
    }

    /// Cuts off and returns the part from `address` on, which lies inside.
    pub fn split_off(&mut self, address: Vaddr) -> Self {
        let mut upper = self.clone();
        upper.move_start(address);
        self.end = address;
        upper
    }

    /// Lets the mapping begin at another address inside it, showing the same pages.
    pub fn move_start(&mut self, address: Vaddr) {
        if let Backing::Pages { first, .. } = &mut self.backing {
            *first += (address - self.start) / PAGE_SIZE;
        }
        self.start = address;
    }

    /// The part from `address` on, as a mapping of `len` bytes at `start`. It may show more of the file than this one.
    pub fn part(&self, address: Vaddr, start: Vaddr, len: usize) -> Self {
        let mut part = self.clone();
        part.move_start(address);
        part.start = start;
        part.end = start + len;
        part
    }

    /// Whether `next`, which begins where this ends, could be part of it.
    pub fn can_merge(&self, next: &Self) -> bool {
        self.end == next.start
            && self.protection == next.protection
            && self.max_protection == next.max_protection
            && self.traits == next.traits
            && self.special == next.special
            && self.backing_continues(next)
    }

    fn backing_continues(&self, next: &Self) -> bool {
        match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (
                Backing::Pages { cache, first, path },
                Backing::Pages { cache: next_cache, first: next_first, path: next_path },
            ) => {
                let is_same_name = match (path, next_path) {
                    (Some(path), Some(next_path)) => path.is_same(next_path),
                    (None, None) => true,
                    _ => false,
                };
                Arc::ptr_eq(cache, next_cache) && first + self.pages() == *next_first && is_same_name
            }
            _ => false,
        }
    }

    /// Takes over `next`, with which it [can merge](Self::can_merge).
    pub fn merge(&mut self, next: &Self) {
        self.end = next.end;
        self.residency.fetch_or(next.residency.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Clone for Mapping {
    fn clone(&self) -> Self {
        Self {
            backing: self.backing.clone(),
            residency: AtomicU8::new(self.residency.load(Ordering::Relaxed)),
            ..*self
        }
    }
}

/// A page table entry for ordinary memory.
pub fn page_property(flags: PageFlags) -> PageProperty {
    PageProperty::new_user(flags, CachePolicy::Writeback)
}
