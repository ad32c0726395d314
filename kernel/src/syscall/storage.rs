// SPDX-License-Identifier: MPL-2.0

//! Sizes and space of files, writing back, and copies inside the kernel.

use super::{file::read_path, rw::check_access};
use crate::{
    context::MAX_RW_COUNT,
    file::{AccessMode, Description, IoDst, IoSrc, StatusFlags, check_range, table::Fd},
    fs::{FallocateMode, FileEvents, InodeKind, Start, Walk, WalkFlags, notify, regular, walk::check_inode},
    prelude::*,
    process::credentials::Permission,
    vm::PageCache,
};

/// `truncate(2)`
pub fn sys_truncate(ctx: &Context, path: Vaddr, size: i64) -> Result<isize> {
    let size = u64::try_from(size).map_err(|_| EINVAL)?;
    let path = read_path(ctx, path)?;
    let mut walk = Walk::new(ctx, WalkFlags::empty());
    let path = walk.resolve(Start::Cwd, path.as_bytes())?;
    match path.inode().kind() {
        InodeKind::Regular => {}
        InodeKind::Directory => return Err(EISDIR),
        _ => return Err(EINVAL),
    }
    path.mount().check_writable()?;
    check_inode(walk.credentials(), path.inode(), Permission::WRITE)?;
    regular::check_size_limit(ctx, size)?;
    path.inode().truncate(size)?;
    notify::changed(&path, FileEvents::MODIFY);
    Ok(0)
}

/// `ftruncate(2)`
pub fn sys_ftruncate(ctx: &Context, fd: Fd, size: i64) -> Result<isize> {
    let size = u64::try_from(size).map_err(|_| EINVAL)?;
    let file = ctx.file(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    if file.inode().kind() != InodeKind::Regular || !file.access().contains(AccessMode::WRITE) {
        return Err(EINVAL);
    }
    regular::check_size_limit(ctx, size)?;
    file.inode().truncate(size)?;
    notify::changed(&file.path(), FileEvents::MODIFY);
    Ok(0)
}

/// `fallocate(2)`
pub fn sys_fallocate(ctx: &Context, fd: Fd, mode: u32, offset: i64, len: i64) -> Result<isize> {
    const KEEP_SIZE: u32 = 1;
    const PUNCH_HOLE: u32 = 2;
    const ZERO_RANGE: u32 = 16;
    let file = ctx.file(fd)?;
    let offset = u64::try_from(offset).map_err(|_| EINVAL)?;
    let len = u64::try_from(len).ok().filter(|len| *len > 0).ok_or(EINVAL)?;
    let keep_size = mode & KEEP_SIZE != 0;
    let mode = match mode & !KEEP_SIZE {
        0 => FallocateMode::Allocate { keep_size },
        PUNCH_HOLE if keep_size => FallocateMode::PunchHole,
        ZERO_RANGE => FallocateMode::ZeroRange { keep_size },
        _ => return Err(EOPNOTSUPP),
    };
    check_access(&file, AccessMode::WRITE)?;
    match file.inode().kind() {
        InodeKind::Regular => {}
        InodeKind::Fifo => return Err(ESPIPE),
        InodeKind::Directory => return Err(EISDIR),
        _ => return Err(ENODEV),
    }
    let end = offset.checked_add(len).filter(|end| *end <= i64::MAX as u64).ok_or(EFBIG)?;
    if !keep_size {
        regular::check_size_limit(ctx, end)?;
    }
    file.inode().fallocate(mode, offset, len)?;
    file.note(FileEvents::MODIFY);
    Ok(0)
}

/// `fadvise64(2)`: advice about pages that are in memory anyway.
pub fn sys_fadvise64(ctx: &Context, fd: Fd, _offset: i64, len: i64, advice: u32) -> Result<isize> {
    const NOREUSE: u32 = 5;
    let file = ctx.file(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    if file.inode().kind() == InodeKind::Fifo {
        return Err(ESPIPE);
    }
    if len < 0 || advice > NOREUSE {
        return Err(EINVAL);
    }
    Ok(0)
}

/// `readahead(2)`
pub fn sys_readahead(ctx: &Context, fd: Fd) -> Result<isize> {
    let file = ctx.file(fd)?;
    check_access(&file, AccessMode::READ)?;
    if file.inode().page_cache().is_none() {
        return Err(EINVAL);
    }
    Ok(0)
}

/// `fsync(2)` and `fdatasync(2)`: memory is as far as data goes here.
pub fn sys_fsync(ctx: &Context, fd: Fd) -> Result<isize> {
    let file = ctx.file(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    match file.inode().kind() {
        InodeKind::Regular | InodeKind::Directory | InodeKind::BlockDevice => Ok(0),
        _ => Err(EINVAL),
    }
}

/// `syncfs(2)`
pub fn sys_syncfs(ctx: &Context, fd: Fd) -> Result<isize> {
    if ctx.file(fd)?.is_path() { Err(EBADF) } else { Ok(0) }
}

/// `sync_file_range(2)`
pub fn sys_sync_file_range(ctx: &Context, fd: Fd, offset: i64, len: i64, flags: u32) -> Result<isize> {
    const KNOWN: u32 = 7;
    let file = ctx.file(fd)?;
    if flags & !KNOWN != 0 || offset < 0 || len < 0 || offset.checked_add(len).is_none() {
        return Err(EINVAL);
    }
    match file.inode().kind() {
        _ if file.is_path() => Err(EBADF),
        InodeKind::Regular | InodeKind::Directory | InodeKind::BlockDevice | InodeKind::Symlink => Ok(0),
        _ => Err(ESPIPE),
    }
}

/// Bytes that go through the kernel at a time.
const CHUNK: usize = 64 << 10;

/// One side of a copy: a file, and where in it.
struct Cursor<'a> {
    file: &'a Description,
    /// An offset of the caller's own; `None` for the file's position.
    offset: Option<u64>,
}

impl Cursor<'_> {
    fn read(&mut self, ctx: &Context, bytes: &mut [u8]) -> Result<usize> {
        let dst = &mut IoDst::from_slice(bytes);
        let Some(offset) = &mut self.offset else {
            return self.file.read(ctx, dst);
        };
        let count = self.file.read_at(ctx, dst, *offset, self.file.status())?;
        *offset += count as u64;
        Ok(count)
    }

    fn write(&mut self, ctx: &Context, src: &mut IoSrc<'_>) -> Result<usize> {
        let Some(offset) = &mut self.offset else {
            return self.file.write(ctx, src);
        };
        let count = self.file.write_at(ctx, src, *offset, self.file.status())?;
        *offset += count as u64;
        Ok(count)
    }

    /// Where the next byte is.
    fn offset(&self) -> u64 {
        self.offset.unwrap_or_else(|| *self.file.position().lock())
    }

    /// The next byte is the one at `target`.
    fn move_to(&mut self, target: u64) {
        match &mut self.offset {
            Some(offset) => *offset = target,
            None => *self.file.position().lock() = target,
        }
    }

    /// Takes back the last `count` bytes read.
    fn rewind(&mut self, count: usize) {
        match &mut self.offset {
            Some(offset) => *offset -= count as u64,
            None => {
                let mut position = self.file.position().lock();
                *position = position.saturating_sub(count as u64);
            }
        }
    }
}

/// Copies up to `len` bytes. An error after the first byte ends the copy short.
fn copy(ctx: &Context, from: &mut Cursor<'_>, to: &mut Cursor<'_>, len: usize) -> Result<usize> {
    let len = len.min(MAX_RW_COUNT);
    let mut buffer = Vec::new();
    let mut total = 0;
    while total < len {
        let want = (len - total).min(CHUNK);
        let step = match from.file.inode().page_cache() {
            Some(cache) if from.file.inode().kind() == InodeKind::Regular => copy_pages(ctx, cache, from, to, want),
            _ => copy_buffered(ctx, &mut buffer, from, to, want),
        };
        match step {
            Ok(Step { got, put }) => {
                total += put;
                if put < got || got == 0 {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

/// Bytes that one side gave, and how many of them the other side took.
struct Step {
    got: usize,
    put: usize,
}

/// Copies from the pages of a file, without a buffer between. As on Linux the position of the file is not locked
/// meanwhile: both sides may be the same file.
fn copy_pages(
    ctx: &Context,
    cache: &PageCache,
    from: &mut Cursor<'_>,
    to: &mut Cursor<'_>,
    want: usize,
) -> Result<Step> {
    let offset = from.offset();
    check_range(offset, want)?;
    let loan = cache.lend(offset, want)?;
    if loan.len() == 0 {
        return Ok(Step { got: 0, put: 0 });
    }
    let put = to.write(ctx, &mut loan.source())?;
    from.move_to(offset + put as u64);
    from.file.note(FileEvents::ACCESS);
    if !from.file.status().contains(StatusFlags::NOATIME) {
        from.file.inode().base().touch_accessed();
    }
    Ok(Step { got: loan.len(), put })
}

/// Copies by way of a buffer.
fn copy_buffered(
    ctx: &Context,
    buffer: &mut Vec<u8>,
    from: &mut Cursor<'_>,
    to: &mut Cursor<'_>,
    want: usize,
) -> Result<Step> {
    buffer.resize(want.max(buffer.len()), 0);
    let got = from.read(ctx, &mut buffer[..want])?;
    if got == 0 {
        return Ok(Step { got, put: 0 });
    }
    let put = to.write(ctx, &mut IoSrc::from_slice(&buffer[..got]));
    from.rewind(got - put.unwrap_or(0));
    Ok(Step { got, put: put? })
}

/// Reads an optional offset argument.
fn read_offset(ctx: &Context, address: Vaddr) -> Result<Option<u64>> {
    if address == 0 {
        return Ok(None);
    }
    let offset = ctx.read_val::<i64>(address)?;
    u64::try_from(offset).map(Some).map_err(|_| EINVAL)
}

fn write_offset(ctx: &Context, address: Vaddr, cursor: &Cursor<'_>) -> Result<()> {
    match cursor.offset {
        Some(offset) => ctx.write_val(address, &offset),
        None => Ok(()),
    }
}

/// `sendfile(2)`
pub fn sys_sendfile(ctx: &Context, out: Fd, input: Fd, offset: Vaddr, len: usize) -> Result<isize> {
    let start = read_offset(ctx, offset)?;
    let input = ctx.file(input)?;
    check_access(&input, AccessMode::READ)?;
    if start.is_some() && !input.file().is_seekable() {
        return Err(ESPIPE);
    }
    let out = ctx.file(out)?;
    check_access(&out, AccessMode::WRITE)?;
    let is_source = input.file().is_seekable() && !input.inode().is_dir();
    if !is_source || out.status().contains(StatusFlags::APPEND) || out.inode().is_dir() {
        return Err(EINVAL);
    }
    let mut from = Cursor { file: &input, offset: start };
    let copied = copy(ctx, &mut from, &mut Cursor { file: &out, offset: None }, len)?;
    write_offset(ctx, offset, &from)?;
    Ok(copied as isize)
}

/// `copy_file_range(2)`
pub fn sys_copy_file_range(
    ctx: &Context,
    input: Fd,
    in_offset: Vaddr,
    out: Fd,
    out_offset: Vaddr,
    len: usize,
    flags: u32,
) -> Result<isize> {
    let (input, out) = (ctx.file(input)?, ctx.file(out)?);
    let mut from = Cursor { file: &input, offset: read_offset(ctx, in_offset)? };
    let mut to = Cursor { file: &out, offset: read_offset(ctx, out_offset)? };
    if flags != 0 {
        return Err(EINVAL);
    }
    if input.inode().is_dir() || out.inode().is_dir() {
        return Err(EISDIR);
    }
    let is_regular = |file: &Description| file.inode().kind() == InodeKind::Regular;
    if !is_regular(&input) || !is_regular(&out) {
        return Err(EINVAL);
    }
    check_access(&input, AccessMode::READ)?;
    check_access(&out, AccessMode::WRITE)?;
    if out.status().contains(StatusFlags::APPEND) {
        return Err(EBADF);
    }
    check_overlap(&from, &to, len)?;
    let copied = copy(ctx, &mut from, &mut to, len)?;
    write_offset(ctx, in_offset, &from)?;
    write_offset(ctx, out_offset, &to)?;
    Ok(copied as isize)
}

/// # Errors
/// `EINVAL` if both ranges are in one file and overlap; `EOVERFLOW` if one has no end.
fn check_overlap(from: &Cursor<'_>, to: &Cursor<'_>, len: usize) -> Result<()> {
    let (source, target) = (from.offset(), to.offset());
    let size = from.file.inode().size();
    let len = (len as u64).min(size.saturating_sub(source));
    let source_end = source.checked_add(len).ok_or(EOVERFLOW)?;
    let target_end = target.checked_add(len).ok_or(EOVERFLOW)?;
    let is_same = Arc::ptr_eq(from.file.inode(), to.file.inode());
    if is_same && source < target_end && target < source_end { Err(EINVAL) } else { Ok(()) }
}
