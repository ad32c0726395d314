// SPDX-License-Identifier: MPL-2.0

//! The size of a pipe: `fcntl(2)` `F_GETPIPE_SZ` and `F_SETPIPE_SZ`.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use readiness::IoEvents;

use super::{
    Pipe, PipeEnd,
    state::{BOTH, WRITER},
};
use crate::{file::Description, prelude::*, process::credentials::Capabilities};

/// `/proc/sys/fs/pipe-max-size`: how large, in bytes, an unprivileged process may make a pipe.
static MAX_SIZE: AtomicUsize = AtomicUsize::new(1 << 20);

/// The most that anybody may ask for.
const LIMIT: usize = 1 << 31;

/// The most pages of a pipe: Linux cannot allocate a longer array of its buffers.
const MAX_SLOTS: usize = 1 << 16;

/// The value of `/proc/sys/fs/pipe-max-size`, in bytes.
pub fn max_size() -> usize {
    MAX_SIZE.load(Relaxed)
}

/// Sets `/proc/sys/fs/pipe-max-size`, rounded as pipes are.
///
/// # Errors
/// `EINVAL` if it is 0 or too large.
pub fn set_max_size(bytes: usize) -> Result<()> {
    if bytes == 0 {
        return Err(EINVAL);
    }
    MAX_SIZE.store(round(bytes)?, Relaxed);
    Ok(())
}

/// `F_GETPIPE_SZ`: the size in bytes.
///
/// # Errors
/// `EBADF` if it is no pipe.
pub fn get_size(description: &Description) -> Result<isize> {
    let pipe = pipe_of(description)?;
    Ok((pipe.state.read(|state| state.ring.capacity()) * PAGE_SIZE).cast_signed())
}

/// `F_SETPIPE_SZ`: rounds up to a power of two of pages, and answers the new size in bytes.
///
/// # Errors
/// `EBADF` if it is no pipe; `EINVAL` if it is too large; `EPERM` if it is larger than [`max_size`] and the caller is not
/// privileged; `ENOMEM` beyond 256 MiB; `EBUSY` if more is in the pipe than would fit.
pub fn set_size(ctx: &Context, description: &Description, bytes: u32) -> Result<isize> {
    let pipe = pipe_of(description)?;
    let size = round(usize::try_from(bytes).map_err(|_| EINVAL)?)?;
    let slots = size / PAGE_SIZE;
    let grows = slots > pipe.state.read(|state| state.ring.capacity());
    if grows && size > max_size() && !ctx.credentials().has(Capabilities::SYS_RESOURCE) {
        return Err(EPERM);
    }
    if slots > MAX_SLOTS {
        return Err(ENOMEM);
    }
    pipe.resize(slots)?;
    Ok(size.cast_signed())
}

fn pipe_of(description: &Description) -> Result<&Arc<Pipe>> {
    description.downcast::<PipeEnd>().map(PipeEnd::pipe).ok_or(EBADF)
}

/// Rounds as Linux's `round_pipe_size`.
fn round(bytes: usize) -> Result<usize> {
    if bytes > LIMIT {
        return Err(EINVAL);
    }
    Ok(bytes.max(PAGE_SIZE).next_power_of_two())
}

impl Pipe {
    fn resize(&self, slots: usize) -> Result<()> {
        self.ends.resize(slots, |ring| {
            self.state.update(|state| {
                let Some(old) = state.ring.move_to(ring) else {
                    state.notify_nothing();
                    return Err(EBUSY);
                };
                // There may be room now. As on Linux it is news for whoever watches the writing end, for whatever reason.
                state.notify(WRITER, IoEvents::WRITABLE | IoEvents::ALWAYS);
                state.notify(BOTH, IoEvents::WRITABLE | IoEvents::ALWAYS);
                Ok(old)
            })
        })
    }
}
