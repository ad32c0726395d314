// SPDX-License-Identifier: MPL-2.0

//! `signalfd(2)`.

use crate::{
    events::SignalFile,
    file::{StatusFlags, table::Fd},
    prelude::*,
    signal::SigSet,
};

const SFD_CLOEXEC: u32 = 0o2000000;

/// The descriptor that asks for a new file.
const NEW: Fd = -1;

/// `signalfd4(2)`; `signalfd(2)` is the same without flags.
///
/// # Errors
/// `EINVAL` for unknown flags, a mask of another size, or another kind of file; `EBADF`; `EFAULT`; `EMFILE`.
pub fn sys_signalfd4(ctx: &Context, fd: Fd, mask: Vaddr, mask_size: usize, flags: u32) -> Result<isize> {
    if mask_size != size_of::<SigSet>() {
        return Err(EINVAL);
    }
    let mask = ctx.read_val::<SigSet>(mask)?.without(SigSet::UNBLOCKABLE);
    let status = StatusFlags::from_bits_truncate(flags) & StatusFlags::NONBLOCK;
    if flags & !(SFD_CLOEXEC | status.bits()) != 0 {
        return Err(EINVAL);
    }
    if fd != NEW {
        let description = ctx.file(fd)?;
        description.downcast::<SignalFile>().ok_or(EINVAL)?.set_mask(mask);
        return Ok(fd as isize);
    }
    let file = SignalFile::open(mask, status);
    let fd = ctx.files().insert(file, 0, ctx.process.limits.max_files(), flags & SFD_CLOEXEC != 0)?;
    Ok(fd as isize)
}
