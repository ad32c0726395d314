// SPDX-License-Identifier: MPL-2.0

//! The pages of a file in memory: what `read(2)`, `write(2)` and `mmap(2)` of the same file share.
//!
//! # Role
//! A [`PageCache`] is the content of a regular file on ramfs or tmpfs, of a memfd, or of a shared anonymous mapping. Pages
//! that were never written read as zeros and take no memory, unless a [`PageSource`] supplies their first content.
//!
//! # Protocol
//! File code calls [`PageCache::read`], [`PageCache::write`] and [`PageCache::set_size`]; address spaces take frames by
//! [`PageCache::page`] and map them. Whoever changes the size from two sides (append against truncate) orders that itself.
//!
//! # Invariants
//! 1. Once a page is in the map its frame stays the page's frame until truncation or a punched hole removes it. So readers,
//!    writers and mappings see the same bytes.
//! 2. No page at or beyond the end of the file is in the map, and the bytes between the end of the file and the end of its
//!    last page were zero when the end was last moved there.
//! 3. When [`PageCache::set_size`] has shrunk a file, no address space maps a page beyond the new end.
//!
//! # Concurrency
//! The map has a spin lock that is never held over a copy from or to user memory, nor while a source fills a page: two
//! threads may fill the same page, and the first to insert it wins. Lock order: an address space's mappings, then this.

use core::{
    ops::Range,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use arrayvec::ArrayVec;
use ostd::mm::{FrameAllocOptions, UFrame, VmIoFill, io::util::HasVmReaderWriter};
use spin::Once;

use super::{registry, reserve};
use crate::{
    file::{IoDst, IoSrc},
    prelude::*,
};

/// Supplies the first content of pages.
pub trait PageSource: Send + Sync {
    /// Fills `frame`, which holds zeros, with the content of page `index`.
    ///
    /// # Errors
    /// `EIO` if the content cannot be had: the access fails or the program gets `SIGBUS`.
    fn fill(&self, index: usize, frame: &UFrame) -> Result<()>;
}

/// The pages of one file.
pub struct PageCache {
    /// Unique over the life of the kernel; the object part of a shared futex's key.
    id: u64,
    /// Length of the file in bytes. Changed only under the lock of `pages`.
    size: AtomicU64,
    pages: SpinLock<Pages>,
    source: Option<Box<dyn PageSource>>,
    /// Number of mappings of this file in all address spaces.
    mappings: AtomicUsize,
    /// Those of them that are shared and may write.
    writable_mappings: AtomicUsize,
}

/// Bytes of a file that somebody reads where they are. The frames stay while they are lent, even if the file is
/// truncated.
pub struct Loan {
    frames: ArrayVec<UFrame, GROUP_PAGES>,
    /// Where in the first frame they begin.
    within: usize,
    len: usize,
}

impl Loan {
    /// How many bytes they are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies the bytes to `dst` as far as there is room.
    ///
    /// # Errors
    /// `EFAULT` as for [`IoDst::write_from`].
    fn copy_to(&self, dst: &mut IoDst<'_>) -> Result<usize> {
        let mut left = self.within + self.len;
        let readers = self.frames.iter().map(|frame| {
            let mut reader = frame.reader();
            left -= reader.limit(left).remain();
            reader
        });
        let mut readers: ArrayVec<_, GROUP_PAGES> = readers.collect();
        if let Some(first) = readers.first_mut() {
            first.skip(self.within);
        }
        dst.write_from(&mut readers)
    }

    /// The bytes, to be taken once.
    pub fn source(&self) -> IoSrc<'_> {
        let mut source = IoSrc::from_pages(&self.frames);
        source.skip_in_segment(self.within);
        source.limit(self.len);
        source
    }
}

/// A page that bytes are copied to, perhaps not in the map yet.
struct PageToWrite {
    frame: UFrame,
    /// Holds what its memory held before.
    is_blank: bool,
}

/// Frames by page index, in aligned groups so that a fault finds its neighbours at hand.
struct Pages {
    groups: BTreeMap<usize, Box<Group>>,
    resident: usize,
    /// Bytes at the start of the file that the source still describes.
    sourced: u64,
}

/// Pages in a group; also how many pages a fault on a file maps at most.
pub const GROUP_PAGES: usize = 16;

type Group = [Option<UFrame>; GROUP_PAGES];

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// Pages of all files. Relaxed: a figure for `/proc/meminfo`.
static RESIDENT: AtomicUsize = AtomicUsize::new(0);

/// The largest size of a file, as for tmpfs on a 64-bit Linux (`s_maxbytes`).
pub const MAX_FILE_SIZE: u64 = i64::MAX as u64;

const PAGE: u64 = PAGE_SIZE as u64;

impl PageCache {
    /// A file of `size` zero bytes.
    pub fn new(size: u64) -> Arc<Self> {
        Self::build(size, None)
    }

    /// A file of `size` bytes whose content comes from `source` as it is needed.
    pub fn with_source(size: u64, source: Box<dyn PageSource>) -> Arc<Self> {
        Self::build(size, Some(source))
    }

    fn build(size: u64, source: Option<Box<dyn PageSource>>) -> Arc<Self> {
        let sourced = if source.is_some() { size } else { 0 };
        let pages = Pages { groups: BTreeMap::new(), resident: 0, sourced };
        Arc::new(Self {
            // Relaxed: only uniqueness matters.
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            size: AtomicU64::new(size),
            pages: SpinLock::new(pages),
            source,
            mappings: AtomicUsize::new(0),
            writable_mappings: AtomicUsize::new(0),
        })
    }

    /// The number that tells this file from every other there ever was.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The length in bytes.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Pages of all files together.
    pub fn total_pages() -> usize {
        RESIDENT.load(Ordering::Relaxed)
    }

    /// Pages that take memory: `st_blocks` is eight times this.
    pub fn resident_pages(&self) -> usize {
        self.pages.lock().resident
    }

    /// Mappings that are shared and may write: `F_SEAL_WRITE` is refused while there are any.
    pub fn writable_mappings(&self) -> usize {
        self.writable_mappings.load(Ordering::Acquire)
    }

    /// The frame of page `index`, made if need be.
    ///
    /// # Errors
    /// `ENXIO` if the page lies beyond the end of the file (`SIGBUS` for a mapping); `ENOMEM`; what the source says.
    pub fn page(&self, index: usize) -> Result<UFrame> {
        if let Some(frame) = self.cached_page(index)? {
            return Ok(frame);
        }
        let frame = self.fresh_page(index)?;
        let mut pages = self.pages.lock();
        if page_start(index) >= self.size.load(Ordering::Relaxed) {
            return Err(ENXIO);
        }
        Ok(pages.insert_if_absent(index, frame))
    }

    /// The frame of page `index` if it takes memory.
    ///
    /// # Errors
    /// `ENXIO` if the page lies beyond the end of the file.
    fn cached_page(&self, index: usize) -> Result<Option<UFrame>> {
        let pages = self.pages.lock();
        if page_start(index) >= self.size.load(Ordering::Relaxed) {
            return Err(ENXIO);
        }
        Ok(pages.get(index).cloned())
    }

    /// Calls `visit` with those pages of the aligned group around `index` that are in memory and in `within`.
    ///
    /// `visit` runs under a spin lock and must only take the frames.
    pub fn visit_group(&self, index: usize, within: &Range<usize>, mut visit: impl FnMut(usize, &UFrame)) {
        let pages = self.pages.lock();
        let Some(group) = pages.groups.get(&(index / GROUP_PAGES)) else {
            return;
        };
        let first = index / GROUP_PAGES * GROUP_PAGES;
        for (offset, frame) in group.iter().enumerate() {
            if let Some(frame) = frame
                && within.contains(&(first + offset))
            {
                visit(first + offset, frame);
            }
        }
    }

    /// Whether reading page `index` needs neither memory nor the source: the answer of `mincore(2)`.
    pub fn is_resident(&self, index: usize) -> bool {
        self.pages.lock().get(index).is_some()
    }

    /// A frame with the first content of page `index`, not in the map yet.
    fn fresh_page(&self, index: usize) -> Result<UFrame> {
        let frame = reserve::new_frame(true)?;
        let Some(source) = &self.source else {
            return Ok(frame);
        };
        let sourced = self.pages.lock().sourced;
        let start = page_start(index);
        if start < sourced {
            source.fill(index, &frame)?;
            if sourced - start < PAGE {
                zero_from(&frame, index_of(sourced - start));
            }
        }
        Ok(frame)
    }

    /// Copies from `offset` on into `dst`, up to the end of the file.
    ///
    /// # Errors
    /// `EFAULT` if user memory faults before the first byte; `ENOMEM`; what the source says.
    pub fn read(&self, offset: u64, dst: &mut IoDst<'_>) -> Result<usize> {
        let mut total = 0;
        while dst.avail() > 0 {
            let lent = self.lend(offset.saturating_add(total as u64), dst.avail());
            match lent.and_then(|loan| loan.copy_to(dst)) {
                Ok(0) => break,
                Ok(count) => total += count,
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    /// Lends the bytes from `offset` on, up to `len`, the end of the file or what [`Loan`] holds: none at the end of the file.
    ///
    /// # Errors
    /// `ENOMEM`; what the source says.
    pub fn lend(&self, offset: u64, len: usize) -> Result<Loan> {
        let within = index_of(offset % PAGE);
        let mut loan = Loan { frames: ArrayVec::new(), within, len: 0 };
        while loan.len < len && !loan.frames.is_full() {
            let position = offset.saturating_add(loan.len as u64);
            let (size, within) = (self.size(), index_of(position % PAGE));
            if position >= size {
                break;
            }
            match self.lent_page(index_of(position / PAGE)) {
                Ok(frame) => loan.frames.push(frame),
                // Truncated meanwhile: the end of the file.
                Err(ENXIO) => break,
                Err(_) if loan.len > 0 => break,
                Err(error) => return Err(error),
            }
            loan.len += (PAGE_SIZE - within).min(index_of(size - position)).min(len - loan.len);
        }
        Ok(loan)
    }

    /// The frame of page `index`, or for a hole one of zeros that nobody writes to.
    fn lent_page(&self, index: usize) -> Result<UFrame> {
        static ZEROS: Once<UFrame> = Once::new();
        match self.cached_page(index)? {
            Some(frame) => Ok(frame),
            None if self.is_hole(index) => {
                let zeros = ZEROS.try_call_once(|| FrameAllocOptions::new().alloc_frame().map(UFrame::from))?;
                Ok(zeros.clone())
            }
            None => self.page(index),
        }
    }

    /// Whether page `index`, which is not in memory, is zeros.
    fn is_hole(&self, index: usize) -> bool {
        self.source.is_none() || page_start(index) >= self.pages.lock().sourced
    }

    /// Copies `src` to `offset` on and moves the end of the file behind the last byte.
    ///
    /// # Errors
    /// `EFAULT` if user memory faults before the first byte; `ENOMEM`; `EFBIG` if `offset` is [`MAX_FILE_SIZE`] or more.
    pub fn write(&self, offset: u64, src: &mut IoSrc<'_>) -> Result<usize> {
        if src.remain() > 0 && offset >= MAX_FILE_SIZE {
            return Err(EFBIG);
        }
        let mut total = 0;
        while src.remain() > 0 {
            let position = offset.saturating_add(total as u64);
            if position >= MAX_FILE_SIZE {
                break;
            }
            match self.write_pages(position, src) {
                Ok(0) => break,
                Ok(count) => total += count,
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    /// Copies to as many pages as a group has, those that hold `position` and what follows.
    fn write_pages(&self, position: u64, src: &mut IoSrc<'_>) -> Result<usize> {
        let (first, within) = (index_of(position / PAGE), index_of(position % PAGE));
        let len = src.remain().min(index_of(MAX_FILE_SIZE - position));
        let mut pages = ArrayVec::<_, GROUP_PAGES>::new();
        for (nth, index) in (first..).take((within + len).div_ceil(PAGE_SIZE).min(GROUP_PAGES)).enumerate() {
            let overwrites_all = (nth > 0 || within == 0) && within + len >= (nth + 1) * PAGE_SIZE;
            match reserve::or_relieve(|| self.page_to_write(index, overwrites_all)) {
                Ok(page) => pages.push(page),
                Err(_) if !pages.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        let mut left = within + len;
        let writers = pages.iter().map(|page| {
            let mut writer = page.frame.writer();
            left -= writer.limit(left).avail();
            writer
        });
        let mut writers: ArrayVec<_, GROUP_PAGES> = writers.collect();
        if let Some(first) = writers.first_mut() {
            first.skip(within);
        }
        let count = src.read_into(&mut writers)?;
        drop(writers);
        self.publish(first, pages, within..within + count);
        Ok(count)
    }

    /// The frame for a write to page `index`.
    fn page_to_write(&self, index: usize, overwrites_all: bool) -> Result<PageToWrite> {
        let cached = self.pages.lock().get(index).cloned();
        if let Some(frame) = cached {
            return Ok(PageToWrite { frame, is_blank: false });
        }
        if overwrites_all && self.source.is_none() {
            return Ok(PageToWrite { frame: reserve::new_frame(false)?, is_blank: true });
        }
        Ok(PageToWrite { frame: self.fresh_page(index)?, is_blank: false })
    }

    /// Makes what was written the content of the file: of the pages from `first` on, the bytes in `written`.
    fn publish(&self, first: usize, written_to: ArrayVec<PageToWrite, GROUP_PAGES>, written: Range<usize>) {
        if written.is_empty() {
            return;
        }
        let of_page = |nth: usize| nth * PAGE_SIZE..(nth + 1) * PAGE_SIZE;
        for (nth, page) in written_to.iter().enumerate() {
            if page.is_blank && of_page(nth).contains(&written.end) {
                // The copy came to a fault: what the memory held before is nobody's business.
                zero_from(&page.frame, written.end - of_page(nth).start);
            }
        }
        let mut pages = self.pages.lock();
        for (nth, PageToWrite { frame, .. }) in written_to.into_iter().take(written.end.div_ceil(PAGE_SIZE)).enumerate()
        {
            let index = first + nth;
            match pages.get(index) {
                Some(existing) if *existing == frame => {}
                // Another thread made the page meanwhile: its frame is the page's (invariant 1), so our bytes go there.
                Some(existing) => {
                    let start = written.start.saturating_sub(of_page(nth).start);
                    let len = written.end.min(of_page(nth).end) - of_page(nth).start - start;
                    existing.writer().skip(start).write(frame.reader().skip(start).limit(len));
                }
                None => drop(pages.insert_if_absent(index, frame)),
            }
        }
        let end = page_start(first) + written.end as u64;
        if end > self.size.load(Ordering::Relaxed) {
            self.size.store(end, Ordering::Release);
        }
    }

    /// Moves the end of the file, as `ftruncate(2)`. Mappings beyond the new end answer `SIGBUS` from now on.
    ///
    /// Call it without a lock that a page fault could need.
    ///
    /// # Errors
    /// `EFBIG` beyond [`MAX_FILE_SIZE`].
    pub fn set_size(&self, size: u64) -> Result<()> {
        if size > MAX_FILE_SIZE {
            return Err(EFBIG);
        }
        let removed = {
            let mut pages = self.pages.lock();
            let old = self.size.swap(size, Ordering::AcqRel);
            if size < old { pages.truncate(size) } else { BTreeMap::new() }
        };
        self.unmap_everywhere(page_index_ceil(size)..usize::MAX, true);
        drop(removed);
        Ok(())
    }

    /// Makes the pages that lie wholly in the range zeros and frees them, and clears what it covers of others:
    /// `fallocate(2)` `FALLOC_FL_PUNCH_HOLE`, `madvise(2)` `MADV_REMOVE`. The size stays.
    ///
    /// # Errors
    /// `ENOMEM` if a page at the border has to be made and cannot.
    pub fn punch_hole(&self, range: Range<u64>) -> Result<()> {
        let end = range.end.min(self.size());
        if range.start >= end {
            return Ok(());
        }
        self.zero_partial(range.start, end.min(range.start.next_multiple_of(PAGE)))?;
        let whole = page_index_ceil(range.start)..index_of(end / PAGE);
        if end / PAGE * PAGE >= range.start {
            self.zero_partial(end / PAGE * PAGE, end)?;
        }
        if whole.is_empty() {
            return Ok(());
        }
        if self.source.is_some() {
            // Only a frame of zeros hides what the source would supply.
            return whole.clone().try_for_each(|index| {
                zero_from(&self.page(index)?, 0);
                Ok(())
            });
        }
        let removed = self.pages.lock().remove_range(&whole);
        self.unmap_everywhere(whole, false);
        drop(removed);
        Ok(())
    }

    /// Clears `start..end`, which lie in one page.
    fn zero_partial(&self, start: u64, end: u64) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        let frame = self.page(index_of(start / PAGE))?;
        let len = index_of(end - start);
        frame.writer().skip(index_of(start % PAGE)).fill_zeros(len);
        Ok(())
    }

    /// Makes every page of the range, as `fallocate(2)` does; the size stays as it is.
    ///
    /// # Errors
    /// `ENOMEM`; what the source says.
    pub fn allocate(&self, range: Range<u64>) -> Result<()> {
        let end = page_index_ceil(range.end.min(self.size()));
        (index_of(range.start / PAGE)..end).try_for_each(|index| self.page(index).map(drop))
    }

    /// The first offset at or after `offset` that holds data (`lseek(2)` `SEEK_DATA`), or `None`.
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        let size = self.size();
        let pages = self.pages.lock();
        let first = index_of(offset / PAGE);
        let page = if offset < pages.sourced { Some(first) } else { pages.next_resident(first) };
        let found = page_start(page?).max(offset);
        (found < size).then_some(found)
    }

    /// The first offset at or after `offset` that is in a hole or the end of the file (`lseek(2)` `SEEK_HOLE`).
    pub fn next_hole(&self, offset: u64) -> u64 {
        let size = self.size();
        let pages = self.pages.lock();
        let mut index = index_of(offset / PAGE);
        while page_start(index) < size && (page_start(index) < pages.sourced || pages.get(index).is_some()) {
            index += 1;
        }
        page_start(index).max(offset).min(size)
    }

    /// Removes the pages from every address space (invariant 3), with private copies if `with_copies`. Takes the locks of address spaces.
    fn unmap_everywhere(&self, pages: Range<usize>, with_copies: bool) {
        if self.mappings.load(Ordering::Acquire) > 0 {
            registry::for_each(|space| space.unmap_file_pages(self.id, &pages, with_copies));
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.forget(self.resident);
    }
}

impl Pages {
    /// Takes pages out of the counts.
    fn forget(&mut self, count: usize) {
        self.resident -= count;
        RESIDENT.fetch_sub(count, Ordering::Relaxed);
    }

    fn get(&self, index: usize) -> Option<&UFrame> {
        self.groups.get(&(index / GROUP_PAGES))?[index % GROUP_PAGES].as_ref()
    }

    /// Gives page `index` the frame unless it has one, and answers the one it has then.
    fn insert_if_absent(&mut self, index: usize, frame: UFrame) -> UFrame {
        let group = self.groups.entry(index / GROUP_PAGES).or_default();
        let slot = &mut group[index % GROUP_PAGES];
        if slot.is_none() {
            self.resident += 1;
            RESIDENT.fetch_add(1, Ordering::Relaxed);
        }
        slot.get_or_insert(frame).clone()
    }

    /// Takes out what lies beyond `size` and clears the rest of the last page.
    fn truncate(&mut self, size: u64) -> BTreeMap<usize, Box<Group>> {
        self.sourced = self.sourced.min(size);
        let within = index_of(size % PAGE);
        if let Some(last) = self.get(index_of(size / PAGE))
            && within != 0
        {
            zero_from(last, within);
        }
        self.remove_range(&(page_index_ceil(size)..usize::MAX))
    }

    /// Takes out the pages of a range, to be dropped outside the lock.
    fn remove_range(&mut self, range: &Range<usize>) -> BTreeMap<usize, Box<Group>> {
        let mut removed = BTreeMap::new();
        let groups = range.start / GROUP_PAGES..range.end.div_ceil(GROUP_PAGES);
        let keys: Vec<usize> = self.groups.range(groups).map(|(key, _)| *key).collect();
        for key in keys {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            let mut taken: Box<Group> = Box::default();
            let mut count = 0;
            for offset in 0..GROUP_PAGES {
                if range.contains(&(key * GROUP_PAGES + offset)) {
                    taken[offset] = group[offset].take();
                    count += usize::from(taken[offset].is_some());
                }
            }
            if group.iter().all(Option::is_none) {
                self.groups.remove(&key);
            }
            self.forget(count);
            removed.insert(key, taken);
        }
        removed
    }

    fn next_resident(&self, first: usize) -> Option<usize> {
        let groups = self.groups.range(first / GROUP_PAGES..);
        let mut pages = groups.flat_map(|(key, group)| {
            let present = group.iter().enumerate().filter(|(_, frame)| frame.is_some());
            present.map(move |(offset, _)| key * GROUP_PAGES + offset)
        });
        pages.find(|index| *index >= first)
    }
}

fn zero_from(frame: &UFrame, start: usize) {
    let _ = frame.fill_zeros(start, PAGE_SIZE.saturating_sub(start));
}

/// Page numbers and offsets are 64 bits wide both; OSTD's x86-64 is the only target.
fn index_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn page_start(index: usize) -> u64 {
    (index as u64).saturating_mul(PAGE)
}

/// The number of pages that hold `size` bytes.
fn page_index_ceil(size: u64) -> usize {
    index_of(size.div_ceil(PAGE))
}

/// A mapping's hold on a file; its clones and drops keep the file's counts of mappings.
pub struct MappedCache {
    cache: Arc<PageCache>,
    /// Shared, and writing is or may become allowed.
    is_writable: bool,
}

impl MappedCache {
    /// Counts a new mapping of `cache`.
    pub fn new(cache: Arc<PageCache>, is_writable: bool) -> Self {
        cache.mappings.fetch_add(1, Ordering::AcqRel);
        if is_writable {
            cache.writable_mappings.fetch_add(1, Ordering::AcqRel);
        }
        Self { cache, is_writable }
    }
}

impl core::ops::Deref for MappedCache {
    type Target = Arc<PageCache>;

    fn deref(&self) -> &Arc<PageCache> {
        &self.cache
    }
}

impl Clone for MappedCache {
    fn clone(&self) -> Self {
        Self::new(self.cache.clone(), self.is_writable)
    }
}

impl Drop for MappedCache {
    fn drop(&mut self) {
        if self.is_writable {
            self.cache.writable_mappings.fetch_sub(1, Ordering::AcqRel);
        }
        self.cache.mappings.fetch_sub(1, Ordering::AcqRel);
    }
}
