// SPDX-License-Identifier: MPL-2.0

//! `ioctl(2)` on unix sockets (`unix(7)`, "Ioctls").

use super::Identity;
use crate::{
    file::{StatusFlags, table::Fd},
    fs::{HowToOpen, open},
    prelude::*,
    process::credentials::Capabilities,
};

/// Bytes that were received and not read; `FIONREAD`.
const SIOCINQ: u32 = 0x541b;
/// What was sent and not read, as it counts against the send buffer; `TIOCOUTQ`.
const SIOCOUTQ: u32 = 0x5411;
/// Whether the next byte is at the urgent mark.
const SIOCATMARK: u32 = 0x8905;
/// Opens the file that the socket is bound to.
const SIOCUNIXFILE: u32 = 0x89e0;

/// What the queues of a socket hold.
pub trait Counted {
    /// Bytes that can be read.
    ///
    /// # Errors
    /// `EINVAL` on a socket that listens.
    fn unread(&self) -> Result<usize>;

    /// What was sent and not read counts so much.
    fn unsent(&self) -> usize;

    /// Whether the next byte is at the urgent mark.
    fn is_at_mark(&self) -> bool {
        false
    }
}

/// Carries out `command`.
///
/// # Errors
/// `ENOTTY` if it is unknown; `EINVAL`; `EPERM`, `ENOENT`; `EFAULT`.
pub fn control(
    ctx: &Context,
    socket: &dyn Counted,
    identity: &Identity,
    command: u32,
    argument: usize,
) -> Result<isize> {
    let number = match command {
        SIOCINQ => socket.unread()?,
        SIOCOUTQ => socket.unsent(),
        SIOCATMARK => usize::from(socket.is_at_mark()),
        SIOCUNIXFILE => return open_file(ctx, identity),
        _ => return Err(ENOTTY),
    };
    ctx.write_val(argument, &i32::try_from(number).unwrap_or(i32::MAX)).map(|()| 0)
}

/// A descriptor that names the socket's file (`O_PATH`).
fn open_file(ctx: &Context, identity: &Identity) -> Result<isize> {
    if !ctx.credentials().has(Capabilities::NET_ADMIN) {
        return Err(EPERM);
    }
    let path = identity.name().and_then(|name| name.path.clone()).ok_or(ENOENT)?;
    let how = HowToOpen::decode(StatusFlags::PATH.bits(), 0)?;
    let description = open::open_path(ctx, path, &how, false)?;
    let fd: Fd = ctx.files().insert(description, 0, ctx.process.limits.max_files(), true)?;
    Ok(fd as isize)
}
