// SPDX-License-Identifier: MPL-2.0

//! Reading, writing and seeking.

use crate::{
    context::MAX_RW_COUNT,
    file::{AccessMode, Description, IoDst, IoSrc, StatusFlags, check_range, table::Fd},
    prelude::*,
};

/// `read(2)`
pub fn sys_read(ctx: &Context, fd: Fd, buffer: Vaddr, len: usize) -> Result<isize> {
    let file = ctx.file(fd)?;
    file.read(ctx, &mut ctx.io_dst(buffer, len)?).map(|count| count as isize)
}

/// `write(2)`
pub fn sys_write(ctx: &Context, fd: Fd, buffer: Vaddr, len: usize) -> Result<isize> {
    let file = ctx.file(fd)?;
    file.write(ctx, &mut ctx.io_src(buffer, len)?).map(|count| count as isize)
}

/// `pread64(2)`
pub fn sys_pread64(ctx: &Context, fd: Fd, buffer: Vaddr, len: usize, offset: i64) -> Result<isize> {
    let offset = u64::try_from(offset).map_err(|_| EINVAL)?;
    let file = ctx.file(fd)?;
    read_at(ctx, &file, &mut ctx.io_dst(buffer, len)?, offset, file.status())
}

/// `pwrite64(2)`. With `O_APPEND` it appends all the same, as Linux does (`pwrite(2)`, BUGS).
pub fn sys_pwrite64(ctx: &Context, fd: Fd, buffer: Vaddr, len: usize, offset: i64) -> Result<isize> {
    let offset = u64::try_from(offset).map_err(|_| EINVAL)?;
    let file = ctx.file(fd)?;
    write_at(ctx, &file, &mut ctx.io_src(buffer, len)?, offset, file.status())
}

fn read_at(ctx: &Context, file: &Description, dst: &mut IoDst<'_>, offset: u64, status: StatusFlags) -> Result<isize> {
    check_access(file, AccessMode::READ)?;
    if !file.file().is_seekable() {
        return Err(ESPIPE);
    }
    check_range(offset, dst.avail())?;
    file.read_at(ctx, dst, offset, status).map(|count| count as isize)
}

fn write_at(ctx: &Context, file: &Description, src: &mut IoSrc<'_>, offset: u64, status: StatusFlags) -> Result<isize> {
    check_access(file, AccessMode::WRITE)?;
    if !file.file().is_seekable() {
        return Err(ESPIPE);
    }
    check_range(offset, src.remain())?;
    file.write_at(ctx, src, offset, status).map(|count| count as isize)
}

/// # Errors
/// `EBADF` if the file is not open for `wanted`.
pub fn check_access(file: &Description, wanted: AccessMode) -> Result<()> {
    if file.access().contains(wanted) { Ok(()) } else { Err(EBADF) }
}

/// `struct iovec`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
pub struct IoVec {
    /// Where the bytes are.
    pub base: usize,
    /// How many there are.
    pub len: usize,
}

/// Reads an `iovec` array. The lengths together are capped as one buffer's is.
///
/// # Errors
/// `EINVAL` for more than `IOV_MAX` elements or a negative length; `EFAULT`.
pub fn read_iovecs(ctx: &Context, address: Vaddr, count: usize) -> Result<Vec<IoVec>> {
    const IOV_MAX: usize = 1024;
    if count > IOV_MAX {
        return Err(EINVAL);
    }
    let mut vectors = alloc::vec![IoVec { base: 0, len: 0 }; count];
    let mut reader = ctx.reader(address, count * size_of::<IoVec>())?;
    let mut room = MAX_RW_COUNT;
    for vector in &mut vectors {
        *vector = reader.read_val()?;
        isize::try_from(vector.len).map_err(|_| EINVAL)?;
        vector.len = vector.len.min(room);
        room -= vector.len;
    }
    Ok(vectors)
}

/// The buffers of `readv(2)` as one destination.
///
/// # Errors
/// `EINVAL` for more than 1024 elements or a negative length; `EFAULT`.
pub fn iov_dst<'a>(ctx: &'a Context, address: Vaddr, count: usize) -> Result<IoDst<'a>> {
    let vectors = read_iovecs(ctx, address, count)?;
    let writers: Result<Vec<_>> = vectors.iter().map(|vector| ctx.writer(vector.base, vector.len)).collect();
    Ok(IoDst::from_segments(writers?, ctx.vm))
}

/// The buffers of `writev(2)` as one source.
///
/// # Errors
/// As [`iov_dst`].
pub fn iov_src<'a>(ctx: &'a Context, address: Vaddr, count: usize) -> Result<IoSrc<'a>> {
    let vectors = read_iovecs(ctx, address, count)?;
    let readers: Result<Vec<_>> = vectors.iter().map(|vector| ctx.reader(vector.base, vector.len)).collect();
    Ok(IoSrc::from_segments(readers?, ctx.vm))
}

/// `readv(2)`
pub fn sys_readv(ctx: &Context, fd: Fd, vectors: Vaddr, count: usize) -> Result<isize> {
    let file = ctx.file(fd)?;
    check_access(&file, AccessMode::READ)?;
    file.read(ctx, &mut iov_dst(ctx, vectors, count)?).map(|count| count as isize)
}

/// `writev(2)`
pub fn sys_writev(ctx: &Context, fd: Fd, vectors: Vaddr, count: usize) -> Result<isize> {
    let file = ctx.file(fd)?;
    check_access(&file, AccessMode::WRITE)?;
    file.write(ctx, &mut iov_src(ctx, vectors, count)?).map(|count| count as isize)
}

/// `preadv(2)`
pub fn sys_preadv(ctx: &Context, fd: Fd, vectors: Vaddr, count: usize, offset: i64) -> Result<isize> {
    let offset = u64::try_from(offset).map_err(|_| EINVAL)?;
    let file = ctx.file(fd)?;
    read_at(ctx, &file, &mut iov_dst(ctx, vectors, count)?, offset, file.status())
}

/// `pwritev(2)`
pub fn sys_pwritev(ctx: &Context, fd: Fd, vectors: Vaddr, count: usize, offset: i64) -> Result<isize> {
    let offset = u64::try_from(offset).map_err(|_| EINVAL)?;
    let file = ctx.file(fd)?;
    write_at(ctx, &file, &mut iov_src(ctx, vectors, count)?, offset, file.status())
}

/// The status flags for one call of `preadv2(2)` or `pwritev2(2)`.
///
/// # Errors
/// `EOPNOTSUPP` for unknown flags.
fn apply_rwf(status: StatusFlags, flags: u32, is_write: bool) -> Result<StatusFlags> {
    const HIPRI: u32 = 1;
    const DSYNC: u32 = 2;
    const SYNC: u32 = 4;
    const NOWAIT: u32 = 8;
    const APPEND: u32 = 16;
    if flags & !(HIPRI | DSYNC | SYNC | NOWAIT | APPEND) != 0 || (flags & APPEND != 0 && !is_write) {
        return Err(EOPNOTSUPP);
    }
    let mut status = status;
    status.set(StatusFlags::NONBLOCK, status.contains(StatusFlags::NONBLOCK) || flags & NOWAIT != 0);
    status.set(StatusFlags::APPEND, status.contains(StatusFlags::APPEND) || flags & APPEND != 0);
    Ok(status)
}

/// `preadv2(2)`: offset -1 means the file's position.
pub fn sys_preadv2(ctx: &Context, fd: Fd, vectors: Vaddr, count: usize, offset: i64, flags: u32) -> Result<isize> {
    let file = ctx.file(fd)?;
    let status = apply_rwf(file.status(), flags, false)?;
    if offset != -1 {
        let offset = u64::try_from(offset).map_err(|_| EINVAL)?;
        return read_at(ctx, &file, &mut iov_dst(ctx, vectors, count)?, offset, status);
    }
    file.read_with(ctx, &mut iov_dst(ctx, vectors, count)?, status).map(|count| count as isize)
}

/// `pwritev2(2)`: offset -1 means the file's position.
pub fn sys_pwritev2(ctx: &Context, fd: Fd, vectors: Vaddr, count: usize, offset: i64, flags: u32) -> Result<isize> {
    let file = ctx.file(fd)?;
    let status = apply_rwf(file.status(), flags, true)?;
    if offset != -1 {
        let offset = u64::try_from(offset).map_err(|_| EINVAL)?;
        return write_at(ctx, &file, &mut iov_src(ctx, vectors, count)?, offset, status);
    }
    file.write_with(ctx, &mut iov_src(ctx, vectors, count)?, status).map(|count| count as isize)
}

/// `lseek(2)`
pub fn sys_lseek(ctx: &Context, fd: Fd, offset: i64, whence: u32) -> Result<isize> {
    const SET: u32 = 0;
    const CUR: u32 = 1;
    const END: u32 = 2;
    const DATA: u32 = 3;
    const HOLE: u32 = 4;
    let file = ctx.file(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    if whence > HOLE {
        return Err(EINVAL);
    }
    if file.file().ignores_lseek() {
        return Ok(0);
    }
    if !file.file().is_seekable() {
        return Err(ESPIPE);
    }
    let inode = file.inode();
    if inode.is_dir() && whence > CUR {
        return Err(EINVAL);
    }
    let mut position = file.position().lock();
    let base = match whence {
        SET => 0,
        CUR => *position,
        END => inode.size(),
        DATA | HOLE => {
            let from = u64::try_from(offset).map_err(|_| ENXIO)?;
            *position = inode.seek_extent(from, whence == HOLE)?;
            return Ok(*position as isize);
        }
        _ => return Err(EINVAL),
    };
    let target = i64::try_from(base).map_err(|_| EOVERFLOW)?.checked_add(offset).ok_or(EINVAL)?;
    *position = u64::try_from(target).map_err(|_| EINVAL)?;
    Ok(target as isize)
}
