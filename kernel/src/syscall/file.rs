// SPDX-License-Identifier: MPL-2.0

//! Descriptors: opening, closing, duplicating.

use crate::{
    file::{AccessMode, Description, StatusFlags, table::Fd},
    fs::{
        HowToOpen, OpenFlags, PATH_MAX, SealFlags, Start, WalkFlags, nameless_path, open, regular::RegularFile, tmpfs,
    },
    prelude::*,
};

/// Copies a path in.
///
/// # Errors
/// `EFAULT`; `ENAMETOOLONG` if it has no zero within `PATH_MAX` bytes.
pub fn read_path(ctx: &Context, address: Vaddr) -> Result<alloc::ffi::CString> {
    ctx.read_cstring(address, PATH_MAX)
}

/// `open(2)`
pub fn sys_open(ctx: &Context, path: Vaddr, flags: u32, mode: u32) -> Result<isize> {
    open_at(ctx, Start::Cwd, path, &HowToOpen::decode(flags, mode)?)
}

/// `openat(2)`
pub fn sys_openat(ctx: &Context, dirfd: Fd, path: Vaddr, flags: u32, mode: u32) -> Result<isize> {
    open_at(ctx, dirfd.into(), path, &HowToOpen::decode(flags, mode)?)
}

/// `creat(2)`
pub fn sys_creat(ctx: &Context, path: Vaddr, mode: u32) -> Result<isize> {
    const WRITE_ONLY: u32 = 1;
    let flags = OpenFlags::CREAT.bits() | OpenFlags::TRUNC.bits() | WRITE_ONLY;
    sys_open(ctx, path, flags, mode)
}

fn open_at(ctx: &Context, start: Start, path: Vaddr, how: &HowToOpen) -> Result<isize> {
    let path = read_path(ctx, path)?;
    let (files, limit) = (ctx.files(), ctx.process.limits.max_files());
    files.check_room(limit)?;
    let description = open::open(ctx, start, path.as_bytes(), how)?;
    let fd = files.insert(description, 0, limit, how.flags.contains(OpenFlags::CLOEXEC))?;
    Ok(fd as isize)
}

/// The argument of `openat2(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// `openat2(2)`: unlike `openat` it refuses what it does not know.
pub fn sys_openat2(ctx: &Context, dirfd: Fd, path: Vaddr, how: Vaddr, size: usize) -> Result<isize> {
    /// All flags that `open(2)` knows, `O_LARGEFILE` and access mode included.
    const KNOWN: u64 = 0o37777703;
    const KNOWN_RESOLVE: u64 = 0x3f;
    const CACHED: u64 = 0x20;
    let how: OpenHow = read_extensible(ctx, how, size)?;
    let makes_file = how.flags & u64::from(OpenFlags::CREAT.bits() | OpenFlags::TMPFILE.bits()) != 0;
    let is_mode_wrong = if makes_file { how.mode & !0o7777 != 0 } else { how.mode != 0 };
    if how.flags & !KNOWN != 0 || how.resolve & !KNOWN_RESOLVE != 0 || is_mode_wrong {
        return Err(EINVAL);
    }
    let path_flags = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
    let is_path = how.flags & u64::from(OpenFlags::PATH.bits()) != 0;
    if is_path && how.flags & !u64::from(path_flags.bits()) != 0 {
        return Err(EINVAL);
    }
    let walk = walk_flags(how.resolve);
    if walk.contains(WalkFlags::BENEATH | WalkFlags::IN_ROOT) {
        return Err(EINVAL);
    }
    if how.resolve & CACHED != 0 {
        return Err(EAGAIN); // Nothing promises that the answer is cached.
    }
    let decoded = HowToOpen::decode(how.flags as u32, how.mode as u32)?;
    open_at(ctx, dirfd.into(), path, &HowToOpen { walk, ..decoded })
}

fn walk_flags(resolve: u64) -> WalkFlags {
    let names = [
        (0x01, WalkFlags::NO_XDEV),
        (0x02, WalkFlags::NO_MAGIC_LINKS),
        (0x04, WalkFlags::NO_SYMLINKS),
        (0x08, WalkFlags::BENEATH),
        (0x10, WalkFlags::IN_ROOT),
    ];
    let chosen = names.iter().filter(|(bit, _)| resolve & bit != 0);
    chosen.fold(WalkFlags::empty(), |flags, (_, flag)| flags | *flag)
}

/// Reads a structure that may grow in later versions, as Linux's `copy_struct_from_user`.
///
/// # Errors
/// `EINVAL` if `size` is less than the first version; `E2BIG` if it is more than we know and the rest is not zero; `EFAULT`.
fn read_extensible<T: Pod>(ctx: &Context, address: Vaddr, size: usize) -> Result<T> {
    if size < size_of::<T>() {
        return Err(EINVAL);
    }
    if size > PAGE_SIZE {
        return Err(E2BIG);
    }
    let value = ctx.read_val(address)?;
    let mut rest = alloc::vec![0; size - size_of::<T>()];
    let end = address.checked_add(size_of::<T>()).ok_or(EFAULT)?;
    ctx.io_src(end, rest.len())?.read_slice(&mut rest)?;
    if rest.iter().any(|byte| *byte != 0) { Err(E2BIG) } else { Ok(value) }
}

/// `close(2)`
pub fn sys_close(ctx: &Context, fd: Fd) -> Result<isize> {
    let files = ctx.files();
    let description = files.remove(fd)?;
    crate::fs::locks::release_on_close(&files, &description);
    Ok(0)
}

/// `close_range(2)`
pub fn sys_close_range(ctx: &Context, first: u32, last: u32, flags: u32) -> Result<isize> {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    if flags & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(EINVAL);
    }
    let mut files = ctx.files();
    if flags & UNSHARE != 0 {
        files = Arc::new(files.duplicate());
        ctx.replace_files(files.clone());
    }
    let range = first as usize..=last as usize;
    if flags & CLOEXEC != 0 {
        files.mark_close_on_exec(range);
        return Ok(0);
    }
    for description in files.remove_where(range, |_, _| true) {
        crate::fs::locks::release_on_close(&files, &description);
    }
    Ok(0)
}

/// `dup(2)`
pub fn sys_dup(ctx: &Context, fd: Fd) -> Result<isize> {
    let files = ctx.files();
    let description = files.get(fd)?;
    files.insert(description, 0, ctx.process.limits.max_files(), false).map(|fd| fd as isize)
}

/// `dup2(2)`
pub fn sys_dup2(ctx: &Context, old: Fd, new: Fd) -> Result<isize> {
    if old == new {
        return ctx.file(old).map(|_| new as isize);
    }
    duplicate_to(ctx, old, new, false)
}

/// `dup3(2)`
pub fn sys_dup3(ctx: &Context, old: Fd, new: Fd, flags: u32) -> Result<isize> {
    if flags & !OpenFlags::CLOEXEC.bits() != 0 || old == new {
        return Err(EINVAL);
    }
    duplicate_to(ctx, old, new, flags != 0)
}

fn duplicate_to(ctx: &Context, old: Fd, new: Fd, close_on_exec: bool) -> Result<isize> {
    let files = ctx.files();
    let limit = ctx.process.limits.max_files();
    if usize::try_from(new).is_ok_and(|new| new >= limit) || new < 0 {
        return Err(EBADF);
    }
    let description = files.get(old)?;
    if let Some(replaced) = files.replace(new, description, limit, close_on_exec)? {
        crate::fs::locks::release_on_close(&files, &replaced);
    }
    Ok(new as isize)
}

/// `memfd_create(2)`
pub fn sys_memfd_create(ctx: &Context, name: Vaddr, flags: u32) -> Result<isize> {
    const CLOEXEC: u32 = 1;
    const ALLOW_SEALING: u32 = 2;
    const NOEXEC_SEAL: u32 = 8;
    const EXEC: u32 = 16;
    /// `NAME_MAX` less the prefix `memfd:`.
    const MAX_NAME: usize = 249;
    let known = CLOEXEC | ALLOW_SEALING | NOEXEC_SEAL | EXEC;
    if flags & !known != 0 || flags & (NOEXEC_SEAL | EXEC) == NOEXEC_SEAL | EXEC {
        return Err(EINVAL);
    }
    let name =
        ctx.read_cstring(name, MAX_NAME + 1).map_err(|error| if error == ENAMETOOLONG { EINVAL } else { error })?;
    let (permissions, seals) = match (flags & NOEXEC_SEAL != 0, flags & ALLOW_SEALING != 0) {
        (true, _) => (0o666, SealFlags::EXEC),
        (false, true) => (0o777, SealFlags::empty()),
        (false, false) => (0o777, SealFlags::SEAL),
    };
    let credentials = ctx.credentials();
    let inode = tmpfs::new_memfd(credentials.fsuid, credentials.fsgid, permissions, seals);
    let path = nameless_path(inode.clone(), &[b"/memfd:", name.as_bytes()].concat());
    path.dentry().mark_deleted();
    let access = AccessMode::READ | AccessMode::WRITE;
    let description = Description::opened(RegularFile::new(inode), access, StatusFlags::LARGEFILE, path);
    let limit = ctx.process.limits.max_files();
    ctx.files().insert(description, 0, limit, flags & CLOEXEC != 0).map(|fd| fd as isize)
}
