// SPDX-License-Identifier: MPL-2.0

//! Changing files' attributes: mode, owner, times.

use super::stat::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, resolve_at};
use crate::{
    file::table::Fd,
    fs::{
        FileEvents, Path, Timestamp, modify, notify,
        walk::{AT_FDCWD, check_inode},
    },
    prelude::*,
    process::credentials::Permission,
};

/// `fchmod(2)`
pub fn sys_fchmod(ctx: &Context, fd: Fd, mode: u32) -> Result<isize> {
    let file = ctx.file(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    modify::set_permissions(ctx, &file.path(), (mode & 0o7777) as u16)?;
    Ok(0)
}

/// `fchmodat2(2)`; `chmod(2)` and `fchmodat(2)` are cases of it.
pub fn sys_fchmodat2(ctx: &Context, dirfd: Fd, path: Vaddr, mode: u32, flags: u32) -> Result<isize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    modify::set_permissions(ctx, &resolve_at(ctx, dirfd, path, flags)?, (mode & 0o7777) as u16)?;
    Ok(0)
}

/// -1 leaves the owner as it is.
fn owner(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

/// `fchown(2)`
pub fn sys_fchown(ctx: &Context, fd: Fd, uid: u32, gid: u32) -> Result<isize> {
    let file = ctx.file(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    modify::set_owner(ctx, &file.path(), owner(uid), owner(gid))?;
    Ok(0)
}

/// `fchownat(2)`; `chown(2)` and `lchown(2)` are cases of it.
pub fn sys_fchownat(ctx: &Context, dirfd: Fd, path: Vaddr, uid: u32, gid: u32, flags: u32) -> Result<isize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    modify::set_owner(ctx, &resolve_at(ctx, dirfd, path, flags)?, owner(uid), owner(gid))?;
    Ok(0)
}

/// What becomes of one timestamp.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NewTime {
    Now,
    Keep,
    At(Timestamp),
}

impl NewTime {
    /// Decodes a `timespec` of `utimensat(2)`.
    ///
    /// # Errors
    /// `EINVAL` for nanoseconds that are neither in range nor one of the two marks.
    fn decode([seconds, nanoseconds]: [i64; 2]) -> Result<Self> {
        const NOW: i64 = 0x3fff_ffff;
        const OMIT: i64 = 0x3fff_fffe;
        match nanoseconds {
            NOW => Ok(Self::Now),
            OMIT => Ok(Self::Keep),
            0..1_000_000_000 => Ok(Self::At(Timestamp { seconds, nanoseconds: nanoseconds as u32 })),
            _ => Err(EINVAL),
        }
    }

    /// Decodes a `timeval` of `utimes(2)`.
    ///
    /// # Errors
    /// `EINVAL` for microseconds out of range.
    fn decode_micros([seconds, micros]: [i64; 2]) -> Result<Self> {
        match micros {
            0..1_000_000 => Ok(Self::At(Timestamp { seconds, nanoseconds: micros as u32 * 1000 })),
            _ => Err(EINVAL),
        }
    }

    fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Now => Some(now),
            Self::Keep => None,
            Self::At(time) => Some(time),
        }
    }
}

/// Sets the times of a file: to the present whoever may write it, to others only its owner.
fn set_times(ctx: &Context, path: &Path, [accessed, modified]: [NewTime; 2]) -> Result<isize> {
    path.mount().check_writable()?;
    let inode = path.inode();
    let credentials = ctx.credentials();
    if !credentials.is_owner(inode.metadata().uid) {
        if accessed != NewTime::Now || modified != NewTime::Now {
            return Err(EPERM);
        }
        check_inode(&credentials, inode, Permission::WRITE)?;
    }
    let now = Timestamp::now();
    inode.set_times(accessed.resolve(now), modified.resolve(now))?;
    let events = match (accessed, modified) {
        (NewTime::Keep, NewTime::Keep) => return Ok(0),
        (_, NewTime::Keep) => FileEvents::ACCESS,
        (NewTime::Keep, _) => FileEvents::MODIFY,
        _ => FileEvents::ATTRIB,
    };
    notify::changed(path, events);
    Ok(0)
}

/// `utimensat(2)`; without a path `futimens(3)`.
pub fn sys_utimensat(ctx: &Context, dirfd: Fd, path: Vaddr, times: Vaddr, flags: u32) -> Result<isize> {
    let times = match times {
        0 => [NewTime::Now; 2],
        _ => {
            let [a, b, c, d] = ctx.read_val::<[i64; 4]>(times)?;
            let times = [[a, b], [c, d]];
            if times.iter().all(|time| time[1] == 0x3fff_fffe) {
                return Ok(0); // Nothing to do: the file is not even looked for.
            }
            [NewTime::decode(times[0])?, NewTime::decode(times[1])?]
        }
    };
    set_times_at(ctx, dirfd, path, times, flags)
}

fn set_times_at(ctx: &Context, dirfd: Fd, path: Vaddr, times: [NewTime; 2], flags: u32) -> Result<isize> {
    if path == 0 && dirfd != AT_FDCWD {
        if flags != 0 {
            return Err(EINVAL);
        }
        let file = ctx.file(dirfd)?;
        return if file.is_path() { Err(EBADF) } else { set_times(ctx, &file.path(), times) };
    }
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    set_times(ctx, &resolve_at(ctx, dirfd, path, flags)?, times)
}

/// `futimesat(2)`; `utimes(2)` is a case of it.
pub fn sys_futimesat(ctx: &Context, dirfd: Fd, path: Vaddr, times: Vaddr) -> Result<isize> {
    let times = match times {
        0 => [NewTime::Now; 2],
        _ => {
            let [a, b, c, d] = ctx.read_val::<[i64; 4]>(times)?;
            [NewTime::decode_micros([a, b])?, NewTime::decode_micros([c, d])?]
        }
    };
    set_times_at(ctx, dirfd, path, times, 0)
}

/// `utime(2)`
pub fn sys_utime(ctx: &Context, path: Vaddr, times: Vaddr) -> Result<isize> {
    let times = match times {
        0 => [NewTime::Now; 2],
        _ => ctx.read_val::<[i64; 2]>(times)?.map(|seconds| NewTime::At(Timestamp { seconds, nanoseconds: 0 })),
    };
    set_times_at(ctx, AT_FDCWD, path, times, 0)
}
