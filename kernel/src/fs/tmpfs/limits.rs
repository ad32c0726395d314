// SPDX-License-Identifier: MPL-2.0

//! How much a tmpfs may hold (`tmpfs(5)`, options `size`, `nr_blocks`, `nr_inodes`, `mode`, `uid`, `gid`).

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{super::StatFs, Flavour};
use crate::{prelude::*, vm::reserve};

/// Mount options.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// The most pages; `None` without limit.
    pub max_pages: Option<u64>,
    /// The most inodes; `None` without limit.
    pub max_inodes: Option<u64>,
    /// Permissions of the root directory.
    pub permissions: u16,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
    /// Which of the two limits the text named: only those count in a remount and are shown.
    named: (bool, bool),
}

/// Pages of memory that the machine has, by the boot loader's map.
fn total_pages() -> u64 {
    let regions = &ostd::boot::boot_info().memory_regions;
    let usable = regions.iter().filter(|region| region.typ() == ostd::boot::memory_region::MemoryRegionType::Usable);
    usable.map(|region| (region.len() / PAGE_SIZE) as u64).sum()
}

impl Options {
    /// No limits.
    pub fn unlimited(permissions: u16) -> Self {
        Self { max_pages: None, max_inodes: None, permissions, uid: 0, gid: 0, named: (false, false) }
    }

    fn default_of(flavour: Flavour) -> Self {
        match flavour {
            Flavour::Ramfs => Self::unlimited(0o755),
            Flavour::Tmpfs => {
                // Half of the memory, and as many inodes as pages of it.
                let half = total_pages() / 2;
                Self { max_pages: Some(half), max_inodes: Some(half), ..Self::unlimited(0o1777) }
            }
        }
    }

    /// Reads the text that `mount(2)` got. ramfs ignores what it does not know, as Linux's does.
    ///
    /// # Errors
    /// `EINVAL` for an unknown option or a value that is none.
    pub fn parse(flavour: Flavour, data: &str) -> Result<Self> {
        let mut options = Self::default_of(flavour);
        for option in data.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let result = options.apply(name, value);
            if flavour == Flavour::Tmpfs {
                result?;
            }
        }
        if flavour == Flavour::Ramfs {
            (options.max_pages, options.max_inodes) = (None, None);
        }
        Ok(options)
    }

    fn apply(&mut self, name: &str, value: &str) -> Result<()> {
        let or_none = |limit: u64| if limit == 0 { None } else { Some(limit) };
        match name {
            "size" => {
                self.max_pages = or_none(parse_size(value)?.div_ceil(PAGE_SIZE as u64));
                self.named.0 = true;
            }
            "nr_blocks" => {
                self.max_pages = or_none(parse_count(value)?);
                self.named.0 = true;
            }
            "nr_inodes" => {
                self.max_inodes = or_none(parse_count(value)?);
                self.named.1 = true;
            }
            "mode" => {
                let mode = u16::from_str_radix(value, 8).map_err(|_| EINVAL)?;
                self.permissions = mode & 0o7777;
            }
            "uid" => self.uid = value.parse().map_err(|_| EINVAL)?,
            "gid" => self.gid = value.parse().map_err(|_| EINVAL)?,
            "huge" | "mpol" | "inode32" | "inode64" | "noswap" => {}
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

/// Bytes with a suffix, or per cent of the memory.
fn parse_size(text: &str) -> Result<u64> {
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: u64 = percent.parse().map_err(|_| EINVAL)?;
            total_pages().checked_mul(PAGE_SIZE as u64 / 100 * percent).ok_or(EINVAL)
        }
        None => parse_count(text),
    }
}

/// A number with an optional suffix `k`, `m`, `g` or `t`, powers of 1024.
fn parse_count(text: &str) -> Result<u64> {
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'm') => (&text[..text.len() - 1], 20),
        Some(b'g') => (&text[..text.len() - 1], 30),
        Some(b't') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| EINVAL)?;
    number.checked_mul(1 << shift).ok_or(EINVAL)
}

/// The limits of one instance and what counts against them.
pub(super) struct Usage {
    options: SpinLock<Options>,
    pages: AtomicU64,
    inodes: AtomicU64,
    /// Bytes of extended attributes.
    xattrs: AtomicU64,
}

/// What an inode counts as: extended attributes have the room of those that there are not (Linux's `BOGO_INODE_SIZE`).
const INODE_BYTES: u64 = 1024;

impl Usage {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options: SpinLock::new(options),
            pages: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
            xattrs: AtomicU64::new(0),
        }
    }

    pub(super) fn add_inode(&self) {
        self.inodes.fetch_add(1, Relaxed);
    }

    pub(super) fn remove_inode(&self) {
        self.inodes.fetch_sub(1, Relaxed);
    }

    /// Inodes, and those whose room extended attributes have.
    fn used_inodes(&self) -> u64 {
        self.inodes.load(Relaxed) + self.xattrs.load(Relaxed).div_ceil(INODE_BYTES)
    }

    /// # Errors
    /// `ENOSPC` if no more inodes are allowed.
    pub(super) fn check_inodes(&self) -> Result<()> {
        let limit = self.options.lock().max_inodes;
        match limit {
            Some(limit) if self.used_inodes() >= limit => Err(ENOSPC),
            _ => Ok(()),
        }
    }

    /// Counts `bytes` of extended attributes.
    ///
    /// # Errors
    /// `ENOSPC` if there is no room for them; `ENOMEM` if there is no memory.
    pub(super) fn take_xattrs(&self, bytes: u64) -> Result<()> {
        reserve::check()?;
        let limit = self.options.lock().max_inodes;
        let room =
            limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.inodes.load(Relaxed)).saturating_mul(INODE_BYTES));
        let has_room = |used: u64| used.checked_add(bytes).filter(|used| *used <= room);
        self.xattrs.fetch_update(Relaxed, Relaxed, has_room).map(drop).map_err(|_| ENOSPC)
    }

    pub(super) fn release_xattrs(&self, bytes: u64) {
        self.xattrs.fetch_sub(bytes, Relaxed);
    }

    /// Whether pages are counted at all.
    pub(super) fn limits_pages(&self) -> bool {
        self.options.lock().max_pages.is_some()
    }

    /// Pages that may still be taken.
    pub(super) fn free_pages(&self) -> u64 {
        let limit = self.options.lock().max_pages;
        limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.pages.load(Relaxed)))
    }

    pub(super) fn take_pages(&self, count: u64) {
        self.pages.fetch_add(count, Relaxed);
    }

    pub(super) fn release_pages(&self, count: u64) {
        self.pages.fetch_sub(count, Relaxed);
    }

    /// Takes over the limits that `new` names.
    ///
    /// # Errors
    /// `EINVAL` if there already is more than they allow, or would be limited for the first time.
    pub(super) fn set_limits(&self, new: Options) -> Result<()> {
        let mut options = self.options.lock();
        let fits = |limit: Option<u64>, used: u64| limit.is_none_or(|limit| limit >= used);
        let fits_pages = fits(new.max_pages, self.pages.load(Relaxed));
        let fits_inodes = fits(new.max_inodes, self.used_inodes());
        if new.named.0 && !fits_pages || new.named.1 && !fits_inodes {
            return Err(EINVAL);
        }
        if new.named.0 {
            // Pages of an instance without limit were never counted.
            if options.max_pages.is_none() && new.max_pages.is_some() {
                return Err(EINVAL);
            }
            options.max_pages = new.max_pages;
            options.named.0 = true;
        }
        if new.named.1 {
            options.max_inodes = new.max_inodes;
            options.named.1 = true;
        }
        Ok(())
    }

    /// The limits as `/proc/mounts` shows them.
    pub(super) fn options(&self) -> String {
        let options = *self.options.lock();
        let mut text = String::new();
        if let (Some(pages), true) = (options.max_pages, options.named.0) {
            text += &alloc::format!(",size={}k", pages * (PAGE_SIZE as u64 / 1024));
        }
        if let (Some(inodes), true) = (options.max_inodes, options.named.1) {
            text += &alloc::format!(",nr_inodes={inodes}");
        }
        if options.permissions != 0o1777 {
            text += &alloc::format!(",mode={:o}", options.permissions);
        }
        text
    }

    /// The counts for `statfs(2)`; zeros where there is no limit.
    pub(super) fn statfs(&self) -> StatFs {
        let options = *self.options.lock();
        let free = |limit: Option<u64>, used: u64| limit.map_or(0, |limit| limit.saturating_sub(used));
        StatFs {
            blocks: options.max_pages.unwrap_or(0),
            blocks_free: free(options.max_pages, self.pages.load(Relaxed)),
            inodes: options.max_inodes.unwrap_or(0),
            inodes_free: free(options.max_inodes, self.used_inodes()),
            ..StatFs::default()
        }
    }
}
