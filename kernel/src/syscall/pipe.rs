// SPDX-License-Identifier: MPL-2.0

//! `pipe(2)` and `pipe2(2)`.

use crate::{file::StatusFlags, fs::pipe::Pipe, prelude::*};

const O_EXCL: u32 = 0o200;
const O_CLOEXEC: u32 = 0o2000000;

/// `pipe2(2)`
///
/// # Errors
/// `EINVAL` for unknown flags; `ENOPKG` for `O_NOTIFICATION_PIPE`, which Linux may be built without; `EMFILE`; `EFAULT`.
pub fn sys_pipe2(ctx: &Context, fds: Vaddr, flags: u32) -> Result<isize> {
    const STATUS: StatusFlags = StatusFlags::NONBLOCK.union(StatusFlags::DIRECT);
    if flags & !(O_CLOEXEC | O_EXCL | STATUS.bits()) != 0 {
        return Err(EINVAL);
    }
    if flags & O_EXCL != 0 {
        return Err(ENOPKG);
    }
    let [reader, writer] = Pipe::new_pair(ctx, StatusFlags::from_bits_truncate(flags) & STATUS);
    let (files, limit, cloexec) = (ctx.files(), ctx.process.limits.max_files(), flags & O_CLOEXEC != 0);
    let read_fd = files.insert(reader, 0, limit, cloexec)?;
    let outcome = files.insert(writer, 0, limit, cloexec).and_then(|write_fd| {
        let copied = ctx.write_val(fds, &[read_fd, write_fd]);
        copied.inspect_err(|_| drop(files.remove(write_fd)))
    });
    if outcome.is_err() {
        drop(files.remove(read_fd));
    }
    outcome.map(|()| 0)
}
