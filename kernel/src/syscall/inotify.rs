// SPDX-License-Identifier: MPL-2.0

//! `inotify_init(2)`, `inotify_add_watch(2)`, `inotify_rm_watch(2)`.

use super::file::read_path;
use crate::{
    events::InotifyFile,
    file::{Description, StatusFlags, table::Fd},
    fs::{FileEvents, Start, Walk, WalkFlags, walk::check_inode},
    prelude::*,
    process::credentials::Permission,
};

const IN_CLOEXEC: u32 = 0o2000000;

fn inotify_of(description: &Description) -> Result<&InotifyFile> {
    description.downcast().ok_or(EINVAL)
}

/// `inotify_init1(2)`; `inotify_init(2)` is the same without flags.
///
/// # Errors
/// `EINVAL` for unknown flags; `EMFILE`, also beyond `/proc/sys/fs/inotify/max_user_instances`.
pub fn sys_inotify_init1(ctx: &Context, flags: u32) -> Result<isize> {
    let status = StatusFlags::from_bits_truncate(flags) & StatusFlags::NONBLOCK;
    if flags & !(IN_CLOEXEC | status.bits()) != 0 {
        return Err(EINVAL);
    }
    let file = InotifyFile::open(ctx, status)?;
    let fd = ctx.files().insert(file, 0, ctx.process.limits.max_files(), flags & IN_CLOEXEC != 0)?;
    Ok(fd as isize)
}

/// `inotify_add_watch(2)`
///
/// # Errors
/// `EINVAL` for unknown or no bits, for those that exclude each other, or if it is no inotify; `EBADF`; `ENOTDIR` with
/// `IN_ONLYDIR`; `EACCES` for a file that the caller may not read; `EEXIST` with `IN_MASK_CREATE`; `ENOSPC` beyond
/// `/proc/sys/fs/inotify/max_user_watches`; those of resolving a path.
pub fn sys_inotify_add_watch(ctx: &Context, fd: Fd, path: Vaddr, mask: u32) -> Result<isize> {
    let mask = FileEvents::from_bits(mask).filter(|mask| !mask.is_empty()).ok_or(EINVAL)?;
    let description = ctx.file(fd)?;
    if mask.contains(FileEvents::MASK_ADD | FileEvents::MASK_CREATE) {
        return Err(EINVAL);
    }
    let inotify = inotify_of(&description)?;
    let name = read_path(ctx, path)?;
    let mut flags = WalkFlags::empty();
    flags.set(WalkFlags::NO_FOLLOW, mask.contains(FileEvents::DONT_FOLLOW));
    let mut walk = Walk::new(ctx, flags);
    let path = walk.resolve(Start::Cwd, name.as_bytes())?;
    if mask.contains(FileEvents::ONLYDIR) && !path.inode().is_dir() {
        return Err(ENOTDIR);
    }
    check_inode(walk.credentials(), path.inode(), Permission::READ)?;
    inotify.add(&path, mask).map(|number| number as isize)
}

/// `inotify_rm_watch(2)`
///
/// # Errors
/// `EBADF`; `EINVAL` if it is no inotify or has no such watch.
pub fn sys_inotify_rm_watch(ctx: &Context, fd: Fd, number: i32) -> Result<isize> {
    let description = ctx.file(fd)?;
    inotify_of(&description)?.remove(number)?;
    Ok(0)
}
