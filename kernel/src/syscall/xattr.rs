// SPDX-License-Identifier: MPL-2.0

//! Extended attributes: `setxattr(2)`, `getxattr(2)`, `listxattr(2)`, `removexattr(2)` and their kin.

use super::file::read_path;
use crate::{
    file::table::Fd,
    fs::{
        Path, Start, Walk, WalkFlags,
        xattr::{self, MAX_LEN, SetMode},
    },
    prelude::*,
};

/// Which file a call is about.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// A path, links followed.
    Path(Vaddr),
    /// A path, a link in the last place not followed.
    Link(Vaddr),
    /// An open file.
    Descriptor(Fd),
}

impl Target {
    /// # Errors
    /// `EBADF` for a descriptor that only names a file; as [`Walk::resolve`].
    fn find(self, ctx: &Context) -> Result<Path> {
        let (path, flags) = match self {
            Self::Path(path) => (path, WalkFlags::empty()),
            Self::Link(path) => (path, WalkFlags::NO_FOLLOW),
            Self::Descriptor(fd) => {
                let file = ctx.file(fd)?;
                return if file.is_path() { Err(EBADF) } else { Ok(file.path()) };
            }
        };
        let path = read_path(ctx, path)?;
        Walk::new(ctx, flags).resolve(Start::Cwd, path.as_bytes())
    }
}

/// # Errors
/// `ERANGE` if it is empty or longer than 255 bytes; `EFAULT`.
fn read_name(ctx: &Context, name: Vaddr) -> Result<Vec<u8>> {
    const XATTR_NAME_MAX: usize = 255;
    let too_long = |error| if error == ENAMETOOLONG { ERANGE } else { error };
    let name = ctx.read_cstring(name, XATTR_NAME_MAX + 1).map_err(too_long)?;
    if name.is_empty() { Err(ERANGE) } else { Ok(name.into_bytes()) }
}

/// Writes `bytes` to a buffer of `size`, unless that is 0, and answers with their number.
///
/// # Errors
/// `ERANGE` if the buffer is too small; `EFAULT`.
fn answer(ctx: &Context, bytes: &[u8], buffer: Vaddr, size: usize) -> Result<isize> {
    if size > 0 {
        if size < bytes.len() {
            return Err(ERANGE);
        }
        ctx.write_bytes(buffer, bytes)?;
    }
    Ok(bytes.len() as isize)
}

/// `setxattr(2)`
///
/// # Errors
/// `EINVAL` for unknown flags; `ERANGE` for a bad name; `E2BIG` for a value of more than 64 KiB; `EFAULT`; as [`xattr::set`].
pub fn sys_setxattr(
    ctx: &Context,
    target: Target,
    name: Vaddr,
    value: Vaddr,
    size: usize,
    flags: u32,
) -> Result<isize> {
    const CREATE: u32 = 1;
    const REPLACE: u32 = 2;
    if flags & !(CREATE | REPLACE) != 0 {
        return Err(EINVAL);
    }
    let mode = SetMode { may_make: flags & REPLACE == 0, may_replace: flags & CREATE == 0 };
    let name = read_name(ctx, name)?;
    if size > MAX_LEN {
        return Err(E2BIG);
    }
    let mut bytes = alloc::vec![0; size];
    ctx.read_bytes(value, &mut bytes)?;
    xattr::set(ctx, &target.find(ctx)?, &name, bytes, mode).map(|()| 0)
}

/// `getxattr(2)`
///
/// # Errors
/// `ERANGE` for a bad name, or a buffer that is too small; `EFAULT`; as [`xattr::get`].
pub fn sys_getxattr(ctx: &Context, target: Target, name: Vaddr, value: Vaddr, size: usize) -> Result<isize> {
    let name = read_name(ctx, name)?;
    let found = xattr::get(ctx, target.find(ctx)?.inode(), &name)?;
    answer(ctx, &found, value, size)
}

/// `listxattr(2)`
///
/// # Errors
/// `ERANGE` for a buffer that is too small; `E2BIG` for more than 64 KiB of names; `EFAULT`.
pub fn sys_listxattr(ctx: &Context, target: Target, list: Vaddr, size: usize) -> Result<isize> {
    let names = xattr::list(ctx, target.find(ctx)?.inode());
    if names.len() > MAX_LEN && size >= MAX_LEN {
        return Err(E2BIG);
    }
    answer(ctx, &names, list, size)
}

/// `removexattr(2)`
///
/// # Errors
/// `ERANGE` for a bad name; `EFAULT`; as [`xattr::remove`].
pub fn sys_removexattr(ctx: &Context, target: Target, name: Vaddr) -> Result<isize> {
    let name = read_name(ctx, name)?;
    xattr::remove(ctx, &target.find(ctx)?, &name).map(|()| 0)
}
