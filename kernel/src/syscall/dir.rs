// SPDX-License-Identifier: MPL-2.0

//! Names: directories, links, renames, the working directory.

use super::file::read_path;
use crate::{
    file::table::Fd,
    fs::{
        DeviceNumber, DirEntry, FileEvents, InodeKind, NewKind, PATH_MAX, Path, RenameMode, Start, Walk, WalkFlags,
        dir::DirFile, metadata::S_IFMT, modify, walk::check_inode,
    },
    prelude::*,
    process::credentials::{Capabilities, Permission},
};

/// `AT_SYMLINK_FOLLOW` of `linkat(2)`.
const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// `AT_REMOVEDIR` of `unlinkat(2)`.
const AT_REMOVEDIR: u32 = 0x200;
/// `AT_EMPTY_PATH`.
const AT_EMPTY_PATH: u32 = 0x1000;

/// `getcwd(2)`: the answer is the length with the terminator.
pub fn sys_getcwd(ctx: &Context, buffer: Vaddr, size: usize) -> Result<isize> {
    let fs = ctx.fs();
    let mut text = fs.cwd().working_directory(&fs.root())?;
    text.push(0);
    if text.len() > PATH_MAX {
        return Err(ENAMETOOLONG);
    }
    if text.len() > size {
        return Err(ERANGE);
    }
    ctx.write_bytes(buffer, &text)?;
    Ok(text.len() as isize)
}

/// `chdir(2)`
pub fn sys_chdir(ctx: &Context, path: Vaddr) -> Result<isize> {
    let path = read_path(ctx, path)?;
    let dir = Walk::new(ctx, WalkFlags::empty()).resolve(Start::Cwd, path.as_bytes())?;
    change_directory(ctx, dir)
}

/// `fchdir(2)`
pub fn sys_fchdir(ctx: &Context, fd: Fd) -> Result<isize> {
    change_directory(ctx, ctx.file(fd)?.path())
}

fn change_directory(ctx: &Context, dir: Path) -> Result<isize> {
    check_enter(ctx, &dir)?;
    ctx.fs().set_cwd(dir);
    Ok(0)
}

fn check_enter(ctx: &Context, dir: &Path) -> Result<()> {
    if !dir.inode().is_dir() {
        return Err(ENOTDIR);
    }
    check_inode(&ctx.credentials(), dir.inode(), Permission::EXEC)
}

/// `chroot(2)`
pub fn sys_chroot(ctx: &Context, path: Vaddr) -> Result<isize> {
    let path = read_path(ctx, path)?;
    let dir = Walk::new(ctx, WalkFlags::empty()).resolve(Start::Cwd, path.as_bytes())?;
    check_enter(ctx, &dir)?;
    if !ctx.credentials().has(Capabilities::SYS_CHROOT) {
        return Err(EPERM);
    }
    ctx.fs().set_root(dir);
    Ok(0)
}

/// `umask(2)`
pub fn sys_umask(ctx: &Context, mask: u32) -> Result<isize> {
    Ok(isize::from(ctx.fs().set_umask((mask & 0o777) as u16) as i16))
}

/// `mkdirat(2)`
pub fn sys_mkdirat(ctx: &Context, dirfd: Fd, path: Vaddr, mode: u32) -> Result<isize> {
    let path = read_path(ctx, path)?;
    modify::make(ctx, dirfd.into(), path.as_bytes(), NewKind::Directory, (mode & 0o1777) as u16)?;
    Ok(0)
}

/// `mknodat(2)`
pub fn sys_mknodat(ctx: &Context, dirfd: Fd, path: Vaddr, mode: u32, device: u32) -> Result<isize> {
    let device = DeviceNumber::decode(u64::from(device));
    let kind = match InodeKind::from_mode(mode) {
        Some(InodeKind::Regular | InodeKind::Anonymous) => NewKind::Regular,
        Some(InodeKind::CharDevice) => NewKind::CharDevice(device),
        Some(InodeKind::BlockDevice) => NewKind::BlockDevice(device),
        Some(InodeKind::Fifo) => NewKind::Fifo,
        Some(InodeKind::Socket) => NewKind::Socket,
        Some(InodeKind::Directory) => return Err(EPERM),
        Some(InodeKind::Symlink) | None => return Err(EINVAL),
    };
    let path = read_path(ctx, path)?;
    modify::make(ctx, dirfd.into(), path.as_bytes(), kind, (mode & !S_IFMT & 0o7777) as u16)?;
    Ok(0)
}

/// `unlinkat(2)`
pub fn sys_unlinkat(ctx: &Context, dirfd: Fd, path: Vaddr, flags: u32) -> Result<isize> {
    if flags & !AT_REMOVEDIR != 0 {
        return Err(EINVAL);
    }
    let path = read_path(ctx, path)?;
    modify::remove(ctx, dirfd.into(), path.as_bytes(), flags & AT_REMOVEDIR != 0)?;
    Ok(0)
}

/// `rmdir(2)`
pub fn sys_rmdir(ctx: &Context, path: Vaddr) -> Result<isize> {
    sys_unlinkat(ctx, crate::fs::walk::AT_FDCWD, path, AT_REMOVEDIR)
}

/// `symlinkat(2)`
pub fn sys_symlinkat(ctx: &Context, target: Vaddr, dirfd: Fd, path: Vaddr) -> Result<isize> {
    let target = read_path(ctx, target)?;
    if target.is_empty() {
        return Err(ENOENT);
    }
    let path = read_path(ctx, path)?;
    modify::make(ctx, dirfd.into(), path.as_bytes(), NewKind::Symlink(target.into_bytes()), 0o777)?;
    Ok(0)
}

/// `linkat(2)`
pub fn sys_linkat(ctx: &Context, old_fd: Fd, old: Vaddr, new_fd: Fd, new: Vaddr, flags: u32) -> Result<isize> {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let mut walk_flags = WalkFlags::NO_FOLLOW;
    walk_flags.set(WalkFlags::NO_FOLLOW, flags & AT_SYMLINK_FOLLOW == 0);
    walk_flags.set(WalkFlags::EMPTY_PATH, flags & AT_EMPTY_PATH != 0);
    let old = read_path(ctx, old)?;
    if old.is_empty() && flags & AT_EMPTY_PATH != 0 && !ctx.credentials().has(Capabilities::DAC_READ_SEARCH) {
        return Err(ENOENT);
    }
    let target = Walk::new(ctx, walk_flags).resolve(old_fd.into(), old.as_bytes())?;
    let new = read_path(ctx, new)?;
    modify::link(ctx, &target, new_fd.into(), new.as_bytes())?;
    Ok(0)
}

/// `renameat2(2)`
pub fn sys_renameat2(ctx: &Context, old_fd: Fd, old: Vaddr, new_fd: Fd, new: Vaddr, flags: u32) -> Result<isize> {
    const NOREPLACE: u32 = 1;
    const EXCHANGE: u32 = 2;
    if flags & !(NOREPLACE | EXCHANGE) != 0 || flags == NOREPLACE | EXCHANGE {
        return Err(EINVAL); // RENAME_WHITEOUT, which is for overlays, included.
    }
    let mode = if flags & EXCHANGE != 0 { RenameMode::Exchange } else { RenameMode::Replace };
    let (old, new) = (read_path(ctx, old)?, read_path(ctx, new)?);
    let (from, to) = ((old_fd.into(), old.as_bytes()), (new_fd.into(), new.as_bytes()));
    modify::rename(ctx, from, to, mode, flags & NOREPLACE != 0)?;
    Ok(0)
}

/// The record format that a caller wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DirentFormat {
    /// `struct linux_dirent` of `getdents(2)`: the type is the record's last byte.
    Old,
    /// `struct linux_dirent64`.
    Wide,
}

impl DirentFormat {
    /// Appends the record of `entry` if it fits into `capacity` bytes.
    fn append(self, out: &mut Vec<u8>, capacity: usize, entry: &DirEntry<'_>) -> bool {
        const HEADER: usize = 18;
        // Old: header, name, zero, type. Wide: header, type, name, zero.
        let len = (HEADER + entry.name.len() + 2).next_multiple_of(8);
        if out.len() + len > capacity {
            return false;
        }
        let end = out.len() + len;
        let kind = entry.kind.dirent_type();
        out.extend_from_slice(&entry.number.to_ne_bytes());
        out.extend_from_slice(&entry.next.to_ne_bytes());
        out.extend_from_slice(&(len as u16).to_ne_bytes());
        if self == Self::Wide {
            out.push(kind);
        }
        out.extend_from_slice(entry.name);
        out.resize(end, 0);
        if self == Self::Old
            && let Some(last) = out.last_mut()
        {
            *last = kind;
        }
        true
    }
}

/// `getdents64(2)` and `getdents(2)`.
pub fn sys_getdents(ctx: &Context, fd: Fd, buffer: Vaddr, size: usize, format: DirentFormat) -> Result<isize> {
    /// More is not handed out at once.
    const MAX_BUFFER: usize = 64 << 10;
    let file = ctx.file(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    let dir = file.downcast::<DirFile>().ok_or(ENOTDIR)?;
    let path = file.path();
    if path.dentry().is_deleted() {
        return Err(ENOENT);
    }
    let size = size.min(MAX_BUFFER);
    let mut position = file.position().lock();
    let (mut out, mut next, mut is_full) = (Vec::new(), *position, false);
    dir.readdir(Some(&path), *position, &mut |entry| {
        is_full = !format.append(&mut out, size, &entry);
        if !is_full {
            next = entry.next;
        }
        !is_full
    })?;
    let answer = match out.is_empty() {
        true if is_full => Err(EINVAL),
        true => Ok(0),
        false => ctx.write_bytes(buffer, &out).map(|()| out.len() as isize),
    };
    if answer.is_ok() {
        *position = next;
    }
    drop(position);
    file.note(FileEvents::ACCESS);
    answer
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn records_are_aligned_and_bounded() {
        let entry = DirEntry { name: b"name", number: 7, kind: InodeKind::Regular, next: 3 };
        let mut out = Vec::new();
        assert!(DirentFormat::Wide.append(&mut out, 24, &entry));
        assert_eq!(out.len(), 24);
        assert_eq!((out[16], out[18], &out[19..24]), (24, 8, &b"name\0"[..]));
        assert!(!DirentFormat::Wide.append(&mut out, 47, &entry));
        let mut out = Vec::new();
        assert!(DirentFormat::Old.append(&mut out, 64, &entry));
        assert_eq!((&out[18..23], out[23]), (&b"name\0"[..], 8));
    }
}
