// SPDX-License-Identifier: MPL-2.0

//! `splice(2)`, `tee(2)` and `vmsplice(2)`: pipes as buffers of the kernel. Bytes are copied, not remapped.

use super::rw::{check_access, iov_dst, iov_src};
use crate::{
    file::{AccessMode, Description, IoDst, IoSrc, StatusFlags, table::Fd},
    fs::pipe::{Patience, PipeEnd},
    prelude::*,
};

bitflags::bitflags! {
    /// The flags of all three calls. All but one are hints.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct SpliceFlags: u32 {
        /// Pages need not be copied.
        const MOVE = 1;
        /// The pipes are not waited for.
        const NONBLOCK = 2;
        /// More is to come.
        const MORE = 4;
        /// The caller gives its pages away.
        const GIFT = 8;
    }
}

/// One side of a splice that is no pipe.
struct Side<'a> {
    file: &'a Description,
    /// Where in it; `None` for its own position.
    offset: Option<u64>,
}

/// `splice(2)`
///
/// # Errors
/// `EINVAL` for unknown flags, if neither is a pipe, if both are the same, or for a file in append mode; `ESPIPE` for the offset
/// of a pipe; `EBADF`; `EFAULT`; what the files say.
pub fn sys_splice(ctx: &Context, [input, in_offset, output, out_offset, len, flags]: [usize; 6]) -> Result<isize> {
    let flags = SpliceFlags::from_bits(flags as u32).ok_or(EINVAL)?;
    if len == 0 {
        return Ok(0);
    }
    let (input, output) = (ctx.file(input as Fd)?, ctx.file(output as Fd)?);
    check_access(&input, AccessMode::READ)?;
    check_access(&output, AccessMode::WRITE)?;
    let len = len.min(crate::context::MAX_RW_COUNT);
    let count = match (input.downcast::<PipeEnd>(), output.downcast::<PipeEnd>()) {
        (Some(from), Some(to)) => {
            if in_offset != 0 || out_offset != 0 {
                return Err(ESPIPE);
            }
            pipe_to_pipe(ctx, (&input, from), (&output, to), len, flags, false)?
        }
        (Some(from), None) => {
            if in_offset != 0 {
                return Err(ESPIPE);
            }
            let mut side = Side::new(ctx, &output, out_offset)?;
            if output.status().contains(StatusFlags::APPEND) {
                return Err(EINVAL);
            }
            let count = from.move_out(ctx, len, patience(flags, &[&input]), |bytes| side.write(ctx, bytes))?;
            side.store_offset(ctx, out_offset)?;
            count
        }
        (None, Some(to)) => {
            if out_offset != 0 {
                return Err(ESPIPE);
            }
            let mut side = Side::new(ctx, &input, in_offset)?;
            let count = to.move_in(ctx, len, patience(flags, &[&output]), |bytes| side.read(ctx, bytes))?;
            side.store_offset(ctx, in_offset)?;
            count
        }
        (None, None) => return Err(EINVAL),
    };
    Ok(count as isize)
}

/// `tee(2)`
///
/// # Errors
/// `EINVAL` for unknown flags, or unless both are pipes, and not the same one; `EBADF`; `EAGAIN`
pub fn sys_tee(ctx: &Context, input: Fd, output: Fd, len: usize, flags: u32) -> Result<isize> {
    let flags = SpliceFlags::from_bits(flags).ok_or(EINVAL)?;
    if len == 0 {
        return Ok(0);
    }
    let (input, output) = (ctx.file(input)?, ctx.file(output)?);
    check_access(&input, AccessMode::READ)?;
    check_access(&output, AccessMode::WRITE)?;
    match (input.downcast::<PipeEnd>(), output.downcast::<PipeEnd>()) {
        (Some(from), Some(to)) => {
            pipe_to_pipe(ctx, (&input, from), (&output, to), len, flags, true).map(|count| count as isize)
        }
        _ => Err(EINVAL),
    }
}

/// `vmsplice(2)`: into a pipe from memory, or out of one into memory.
///
/// # Errors
/// `EINVAL` for unknown flags; `EBADF` if it is no pipe; as `readv(2)` and `writev(2)`.
pub fn sys_vmsplice(ctx: &Context, fd: Fd, vectors: Vaddr, count: usize, flags: u32) -> Result<isize> {
    let flags = SpliceFlags::from_bits(flags).ok_or(EINVAL)?;
    let description = ctx.file(fd)?;
    if description.downcast::<PipeEnd>().is_none() {
        return Err(EBADF);
    }
    let nonblock = if flags.contains(SpliceFlags::NONBLOCK) { StatusFlags::NONBLOCK } else { StatusFlags::empty() };
    let file = description.file();
    let moved = if description.access().contains(AccessMode::WRITE) {
        file.write(ctx, &mut iov_src(ctx, vectors, count)?, 0, nonblock)?.count
    } else {
        file.read(ctx, &mut iov_dst(ctx, vectors, count)?, 0, nonblock)?
    };
    Ok(moved as isize)
}

fn pipe_to_pipe(
    ctx: &Context,
    (input, from): (&Description, &PipeEnd),
    (output, to): (&Description, &PipeEnd),
    len: usize,
    flags: SpliceFlags,
    copies: bool,
) -> Result<usize> {
    if Arc::ptr_eq(from.pipe(), to.pipe()) {
        return Err(EINVAL);
    }
    from.move_to_pipe(ctx, to, len, patience(flags, &[input, output]), copies)
}

/// Pipes are not waited for if the flags say so, or the description of one of them.
fn patience(flags: SpliceFlags, pipes: &[&Description]) -> Patience {
    let is_nonblocking = |pipe: &&Description| pipe.status().contains(StatusFlags::NONBLOCK);
    if flags.contains(SpliceFlags::NONBLOCK) || pipes.iter().any(is_nonblocking) {
        Patience::Tries
    } else {
        Patience::Waits
    }
}

impl<'a> Side<'a> {
    /// The side `file`, at the offset that lies at `address` unless that is null.
    fn new(ctx: &Context, file: &'a Description, address: Vaddr) -> Result<Self> {
        if address == 0 {
            return Ok(Self { file, offset: None });
        }
        if !file.file().is_seekable() {
            return Err(EINVAL);
        }
        let offset = u64::try_from(ctx.read_val::<i64>(address)?).map_err(|_| EINVAL)?;
        Ok(Self { file, offset: Some(offset) })
    }

    fn read(&mut self, ctx: &Context, bytes: &mut [u8]) -> Result<usize> {
        let dst = &mut IoDst::from_slice(bytes);
        let Some(offset) = &mut self.offset else {
            return self.file.read(ctx, dst);
        };
        let count = self.file.read_at(ctx, dst, *offset, self.file.status())?;
        *offset += count as u64;
        Ok(count)
    }

    fn write(&mut self, ctx: &Context, bytes: &[u8]) -> Result<usize> {
        let src = &mut IoSrc::from_slice(bytes);
        let Some(offset) = &mut self.offset else {
            return self.file.write(ctx, src);
        };
        let count = self.file.write_at(ctx, src, *offset, self.file.status())?;
        *offset += count as u64;
        Ok(count)
    }

    fn store_offset(&self, ctx: &Context, address: Vaddr) -> Result<()> {
        match self.offset {
            Some(offset) => ctx.write_val(address, &offset),
            None => Ok(()),
        }
    }
}
