// SPDX-License-Identifier: MPL-2.0

//! Memory: `mmap(2)` and its family. Flags are decoded and checked here, in Linux's order; the work is in [`crate::vm`].

use core::ops::Range;

use crate::{
    file::{AccessMode, Mappable, StatusFlags, table::Fd},
    prelude::*,
    process::credentials::Capabilities,
    vm::{
        Advice, Backing, LockMode, MIN_ADDRESS, MapRequest, MappedCache, PageCache, Placement, Protection,
        RemapRequest, TASK_SIZE, Traits, is_page_aligned, page_align,
    },
};

const MAP_SHARED: u32 = 0x01;
const MAP_PRIVATE: u32 = 0x02;
const MAP_SHARED_VALIDATE: u32 = 0x03;
const MAP_TYPE: u32 = 0x0f;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_GROWSDOWN: u32 = 0x100;
const MAP_DENYWRITE: u32 = 0x800;
const MAP_EXECUTABLE: u32 = 0x1000;
const MAP_LOCKED: u32 = 0x2000;
const MAP_NORESERVE: u32 = 0x4000;
const MAP_POPULATE: u32 = 0x8000;
const MAP_NONBLOCK: u32 = 0x10000;
const MAP_STACK: u32 = 0x20000;
const MAP_HUGETLB: u32 = 0x40000;
const MAP_FIXED_NOREPLACE: u32 = 0x100000;

/// What `MAP_SHARED_VALIDATE` accepts: all but `MAP_SYNC`, `MAP_FIXED_NOREPLACE` and what does not exist.
const LEGACY_FLAGS: u32 = MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_GROWSDOWN
    | MAP_DENYWRITE
    | MAP_EXECUTABLE
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB;

/// What is to be mapped, and what its file allows.
struct Object {
    backing: Backing,
    max_protection: Protection,
}

/// `mmap(2)`
///
/// # Errors
/// `EINVAL`, `EBADF`, `EACCES`, `ENODEV`, `ENOMEM`, `EEXIST`, `EOVERFLOW`, `EOPNOTSUPP`, `EPERM`, `EAGAIN`.
pub fn sys_mmap(
    ctx: &Context,
    address: Vaddr,
    len: usize,
    prot: usize,
    flags: u32,
    fd: Fd,
    offset: usize,
) -> Result<isize> {
    if !is_page_aligned(offset) {
        return Err(EINVAL);
    }
    if flags & MAP_ANONYMOUS == 0 {
        ctx.file(fd)?;
    } else if flags & MAP_HUGETLB != 0 {
        // No huge pages are set aside, and none can be.
        return Err(ENOMEM);
    }
    if len == 0 {
        return Err(EINVAL);
    }
    let pages = page_align(len).ok_or(ENOMEM)? / PAGE_SIZE;
    let first = offset / PAGE_SIZE;
    first.checked_add(pages).filter(|end| *end <= 1 << 52).ok_or(EOVERFLOW)?;
    let protection = protection_of(prot);
    let placement = placement_of(address, flags);
    check_place(ctx, placement, pages * PAGE_SIZE)?;
    let object = if flags & MAP_ANONYMOUS != 0 {
        anonymous_object(flags, pages)?
    } else {
        file_object(ctx, fd, flags, protection, first, pages)?
    };
    let start = ctx.vm.map(MapRequest {
        placement,
        len,
        protection,
        max_protection: object.max_protection,
        traits: traits_of(flags),
        backing: object.backing,
        populate: flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE,
    })?;
    Ok(start as isize)
}

/// `mmap(2)` ignores bits that it does not know.
fn protection_of(prot: usize) -> Protection {
    Protection::from_bits_truncate((prot & 7) as u32)
}

fn placement_of(address: Vaddr, flags: u32) -> Placement {
    if flags & MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedNoReplace(address)
    } else if flags & MAP_FIXED != 0 {
        Placement::Fixed(address)
    } else {
        Placement::Hint(address)
    }
}

/// What Linux checks of a fixed address before it looks at the file.
fn check_place(ctx: &Context, placement: Placement, len: usize) -> Result<()> {
    let (Placement::Fixed(address) | Placement::FixedNoReplace(address)) = placement else {
        return if len > TASK_SIZE { Err(ENOMEM) } else { Ok(()) };
    };
    if address.checked_add(len).is_none_or(|end| end > TASK_SIZE) {
        return Err(ENOMEM);
    }
    if !is_page_aligned(address) {
        return Err(EINVAL);
    }
    let is_low = address < MIN_ADDRESS;
    if is_low && !ctx.credentials().has(Capabilities::SYS_RAWIO) {
        return Err(EPERM);
    }
    Ok(())
}

fn traits_of(flags: u32) -> Traits {
    let mut traits = Traits::empty();
    traits.set(Traits::SHARED, is_shared(flags));
    traits.set(Traits::GROWS_DOWN, flags & MAP_GROWSDOWN != 0);
    traits.set(Traits::LOCKED, flags & MAP_LOCKED != 0);
    traits.set(Traits::NO_RESERVE, flags & MAP_NORESERVE != 0);
    traits
}

fn is_shared(flags: u32) -> bool {
    matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE)
}

/// # Errors
/// `EINVAL` if neither shared nor private, or for a shared stack.
fn anonymous_object(flags: u32, pages: usize) -> Result<Object> {
    let backing = match flags & MAP_TYPE {
        MAP_PRIVATE => Backing::Anonymous,
        MAP_SHARED if flags & MAP_GROWSDOWN == 0 => zeros(pages, true),
        _ => return Err(EINVAL),
    };
    Ok(Object { backing, max_protection: Protection::all() })
}

/// Memory without a file.
fn zeros(pages: usize, shared: bool) -> Backing {
    if !shared {
        return Backing::Anonymous;
    }
    let cache = PageCache::new(pages as u64 * PAGE_SIZE as u64);
    Backing::Pages { cache: MappedCache::new(cache, true), first: 0, path: None }
}

/// # Errors
/// `EBADF`; `EOPNOTSUPP` for unknown flags with `MAP_SHARED_VALIDATE`; `EACCES` if the file is not open for that; `EINVAL`;
/// `ENODEV` if it cannot be mapped; `EPERM` if a seal forbids it.
fn file_object(
    ctx: &Context,
    fd: Fd,
    flags: u32,
    protection: Protection,
    first: usize,
    pages: usize,
) -> Result<Object> {
    let description = ctx.file(fd)?;
    if description.status().contains(StatusFlags::PATH) {
        return Err(EBADF);
    }
    if flags & MAP_HUGETLB != 0 || !matches!(flags & MAP_TYPE, MAP_SHARED..=MAP_SHARED_VALIDATE) {
        return Err(EINVAL);
    }
    if flags & MAP_TYPE == MAP_SHARED_VALIDATE && flags & !LEGACY_FLAGS != 0 {
        return Err(EOPNOTSUPP);
    }
    let shared = is_shared(flags);
    let may_write = description.access().contains(AccessMode::WRITE);
    if shared && protection.contains(Protection::WRITE) && !may_write {
        return Err(EACCES);
    }
    if !description.access().contains(AccessMode::READ) {
        return Err(EACCES);
    }
    if flags & MAP_GROWSDOWN != 0 {
        return Err(EINVAL);
    }
    let mut max_protection = Protection::all();
    max_protection.set(Protection::WRITE, may_write || !shared);
    let writes = shared && protection.contains(Protection::WRITE);
    let backing = match description.file().mmap(shared, writes)? {
        Mappable::Zeros => zeros(pages, shared),
        Mappable::Pages(cache) => {
            let cache = MappedCache::new(cache, shared && may_write);
            Backing::Pages { cache, first, path: Some(description.path().clone()) }
        }
    };
    Ok(Object { backing, max_protection })
}

/// `munmap(2)`
///
/// # Errors
/// `EINVAL`, `ENOMEM`.
pub fn sys_munmap(ctx: &Context, address: Vaddr, len: usize) -> Result<isize> {
    ctx.vm.unmap(address, len)?;
    Ok(0)
}

/// `mprotect(2)`
///
/// # Errors
/// `EINVAL`, `ENOMEM`, `EACCES`.
pub fn sys_mprotect(ctx: &Context, address: Vaddr, len: usize, prot: usize) -> Result<isize> {
    const PROT_SEM: usize = 8;
    const PROT_GROWSDOWN: usize = 0x0100_0000;
    const PROT_GROWSUP: usize = 0x0200_0000;
    let grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    if grows == PROT_GROWSDOWN | PROT_GROWSUP || !is_page_aligned(address) {
        return Err(EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let len = page_align(len).ok_or(ENOMEM)?;
    let end = address.checked_add(len).ok_or(ENOMEM)?;
    if prot & !(7 | PROT_SEM | grows) != 0 {
        return Err(EINVAL);
    }
    if grows == PROT_GROWSUP {
        return Err(EINVAL); // Nothing grows upwards on x86.
    }
    ctx.vm.protect(address..end, protection_of(prot), grows == PROT_GROWSDOWN)?;
    Ok(0)
}

/// `mremap(2)`
///
/// # Errors
/// `EINVAL`, `EFAULT`, `ENOMEM`, `EAGAIN`.
pub fn sys_mremap(
    ctx: &Context,
    old: Vaddr,
    old_len: usize,
    new_len: usize,
    flags: usize,
    target: Vaddr,
) -> Result<isize> {
    const MAYMOVE: usize = 1;
    const FIXED: usize = 2;
    const DONTUNMAP: usize = 4;
    if flags & !(MAYMOVE | FIXED | DONTUNMAP) != 0 {
        return Err(EINVAL);
    }
    let start = ctx.vm.remap(RemapRequest {
        old,
        old_len,
        new_len,
        may_move: flags & MAYMOVE != 0,
        fixed: (flags & FIXED != 0).then_some(target),
        keep_old: flags & DONTUNMAP != 0,
    })?;
    Ok(start as isize)
}

/// `madvise(2)`
///
/// # Errors
/// `EINVAL`, `ENOMEM`, `EACCES`, `EFAULT`.
pub fn sys_madvise(ctx: &Context, address: Vaddr, len: usize, advice: i32) -> Result<isize> {
    let advice = advice_of(advice)?;
    if !is_page_aligned(address) {
        return Err(EINVAL);
    }
    let len = page_align(len).ok_or(EINVAL)?;
    let end = address.checked_add(len).ok_or(EINVAL)?;
    if len > 0 {
        ctx.vm.advise(address..end, advice)?;
    }
    Ok(0)
}

/// # Errors
/// `EINVAL` for advice that is not known.
fn advice_of(advice: i32) -> Result<Advice> {
    let set = |set| Advice::Traits { set, clear: Traits::empty() };
    let clear = |clear| Advice::Traits { set: Traits::empty(), clear };
    Ok(match advice {
        0 => clear(Traits::SEQUENTIAL | Traits::RANDOM), // NORMAL
        1 => Advice::Traits { set: Traits::RANDOM, clear: Traits::SEQUENTIAL },
        2 => Advice::Traits { set: Traits::SEQUENTIAL, clear: Traits::RANDOM },
        4 => Advice::DontNeed,
        8 => Advice::Free,
        9 => Advice::Remove,
        10 => set(Traits::DONT_FORK),
        11 => clear(Traits::DONT_FORK),
        16 => set(Traits::DONT_DUMP),
        17 => clear(Traits::DONT_DUMP),
        18 => set(Traits::WIPE_ON_FORK),
        19 => clear(Traits::WIPE_ON_FORK),
        22 => Advice::Populate { write: false },
        23 => Advice::Populate { write: true },
        // WILLNEED; MERGEABLE, UNMERGEABLE; HUGEPAGE, NOHUGEPAGE; COLD, PAGEOUT.
        3 | 12 | 13 | 14 | 15 | 20 | 21 => Advice::Ignored,
        _ => return Err(EINVAL),
    })
}

/// `msync(2)`
///
/// # Errors
/// `EINVAL`, `ENOMEM`, `EBUSY`.
pub fn sys_msync(ctx: &Context, address: Vaddr, len: usize, flags: u32) -> Result<isize> {
    const ASYNC: u32 = 1;
    const INVALIDATE: u32 = 2;
    const SYNC: u32 = 4;
    let is_known = flags & !(ASYNC | INVALIDATE | SYNC) == 0;
    if !is_known || !is_page_aligned(address) || flags & (ASYNC | SYNC) == ASYNC | SYNC {
        return Err(EINVAL);
    }
    let range = range_or_nomem(address, len)?;
    if !range.is_empty() {
        ctx.vm.sync(range, flags & INVALIDATE != 0)?;
    }
    Ok(0)
}

/// `mincore(2)`
///
/// # Errors
/// `EINVAL`, `ENOMEM`, `EFAULT`.
pub fn sys_mincore(ctx: &Context, address: Vaddr, len: usize, vec: Vaddr) -> Result<isize> {
    /// Pages looked at in one go.
    const BATCH: usize = PAGE_SIZE;
    if !is_page_aligned(address) {
        return Err(EINVAL);
    }
    let range = range_or_nomem(address, len)?;
    if range.end > TASK_SIZE {
        return Err(ENOMEM);
    }
    let mut done = range.start;
    while done < range.end {
        let end = range.end.min(done.saturating_add(BATCH * PAGE_SIZE));
        let residency = ctx.vm.residency(&(done..end))?;
        let at = vec.checked_add((done - range.start) / PAGE_SIZE).ok_or(EFAULT)?;
        ctx.write_bytes(at, &residency)?;
        done = end;
    }
    Ok(0)
}

/// # Errors
/// `ENOMEM` if the range does not fit the address space.
fn range_or_nomem(address: Vaddr, len: usize) -> Result<Range<Vaddr>> {
    let end = address.checked_add(page_align(len).ok_or(ENOMEM)?).ok_or(ENOMEM)?;
    Ok(address..end)
}

/// `brk(2)`, as the system call: the answer is the end of the heap, moved or not.
///
/// # Errors
/// None.
pub fn sys_brk(ctx: &Context, end: Vaddr) -> Result<isize> {
    Ok(ctx.vm.set_heap_end(end) as isize)
}

/// `mlock(2)`
///
/// # Errors
/// `EINVAL`, `ENOMEM`, `EPERM`, `EAGAIN`.
pub fn sys_mlock(ctx: &Context, address: Vaddr, len: usize) -> Result<isize> {
    ctx.vm.set_locked(lock_range(address, len)?, LockMode::Now)?;
    Ok(0)
}

/// `mlock2(2)`
///
/// # Errors
/// `EINVAL` for unknown flags; as [`sys_mlock`].
pub fn sys_mlock2(ctx: &Context, address: Vaddr, len: usize, flags: u32) -> Result<isize> {
    let mode = match flags {
        0 => LockMode::Now,
        1 => LockMode::OnFault,
        _ => return Err(EINVAL),
    };
    ctx.vm.set_locked(lock_range(address, len)?, mode)?;
    Ok(0)
}

/// `munlock(2)`
///
/// # Errors
/// `EINVAL`, `ENOMEM`.
pub fn sys_munlock(ctx: &Context, address: Vaddr, len: usize) -> Result<isize> {
    ctx.vm.set_locked(lock_range(address, len)?, LockMode::Unlocked)?;
    Ok(0)
}

/// The whole pages around a range.
fn lock_range(address: Vaddr, len: usize) -> Result<Range<Vaddr>> {
    let start = address - address % PAGE_SIZE;
    let len = len.checked_add(address - start).and_then(page_align).ok_or(EINVAL)?;
    Ok(start..start.checked_add(len).ok_or(EINVAL)?)
}

/// `mlockall(2)`
///
/// # Errors
/// `EINVAL`, `EPERM`, `ENOMEM`.
pub fn sys_mlockall(ctx: &Context, flags: u32) -> Result<isize> {
    const CURRENT: u32 = 1;
    const FUTURE: u32 = 2;
    const ONFAULT: u32 = 4;
    if flags == 0 || flags == ONFAULT || flags & !(CURRENT | FUTURE | ONFAULT) != 0 {
        return Err(EINVAL);
    }
    let mode = if flags & ONFAULT != 0 { LockMode::OnFault } else { LockMode::Now };
    let future = if flags & FUTURE != 0 { mode } else { LockMode::Unlocked };
    ctx.vm.set_all_locked((flags & CURRENT != 0).then_some(mode), future)?;
    Ok(0)
}

/// `munlockall(2)`
///
/// # Errors
/// None.
pub fn sys_munlockall(ctx: &Context) -> Result<isize> {
    ctx.vm.set_all_locked(Some(LockMode::Unlocked), LockMode::Unlocked)?;
    Ok(0)
}
