// SPDX-License-Identifier: MPL-2.0

//! `eventfd(2)`.

use crate::{events::EventFile, file::StatusFlags, prelude::*};

const EFD_SEMAPHORE: u32 = 1;
const EFD_CLOEXEC: u32 = 0o2000000;

/// `eventfd2(2)`; `eventfd(2)` is the same without flags.
///
/// # Errors
/// `EINVAL` for unknown flags; `EMFILE`.
pub fn sys_eventfd2(ctx: &Context, initial: u32, flags: u32) -> Result<isize> {
    let status = StatusFlags::from_bits_truncate(flags) & StatusFlags::NONBLOCK;
    if flags & !(EFD_SEMAPHORE | EFD_CLOEXEC | status.bits()) != 0 {
        return Err(EINVAL);
    }
    let file = EventFile::open(initial, flags & EFD_SEMAPHORE != 0, status);
    let fd = ctx.files().insert(file, 0, ctx.process.limits.max_files(), flags & EFD_CLOEXEC != 0)?;
    Ok(fd as isize)
}
