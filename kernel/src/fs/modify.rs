// SPDX-License-Identifier: MPL-2.0

//! Making, removing and moving names on behalf of a program: the checks around [`super::dentry`]'s operations.

use super::{
    Dentry, FileEvents, Inode, InodeKind, NewKind, Path, RenameMode, Start, Walk, WalkFlags,
    dentry::{self, RenameEnd, Renamed},
    notify,
    open::new_inode,
    walk::{Last, Parent, check_inode},
};
use crate::{
    prelude::*,
    process::credentials::{Capabilities, Credentials, Permission},
};

/// The permissions that any change of a directory needs.
const CHANGE: Permission = Permission::WRITE.union(Permission::EXEC);

/// Makes `path`, for `mkdir(2)`, `mknod(2)`, `symlink(2)` and `bind(2)`. `mode` is taken as given, the umask comes off here.
///
/// # Errors
/// `EEXIST`, `EROFS`, `EACCES`; `ENOENT` for anything but a directory with a slash at the end; as [`Walk::resolve_parent`].
pub fn make(ctx: &Context, start: Start, path: &[u8], kind: NewKind, mode: u16) -> Result<Path> {
    let mut walk = Walk::new(ctx, WalkFlags::empty());
    let parent = walk.resolve_parent(start, path)?;
    let is_dir = matches!(kind, NewKind::Directory);
    let name = check_absent(&mut walk, &parent, is_dir)?;
    check_change(&parent.dir, walk.credentials())?;
    let is_device = matches!(kind, NewKind::CharDevice(_) | NewKind::BlockDevice(_));
    if is_device && !walk.credentials().has(Capabilities::MKNOD) {
        return Err(EPERM);
    }
    let is_link = matches!(kind, NewKind::Symlink(_));
    let permissions = if is_link { 0o777 } else { mode & !ctx.fs().umask() };
    let new = new_inode(&parent.dir, kind, permissions, walk.credentials());
    let dentry = parent.dir.dentry().create(name, &new)?;
    notify::created(&dentry);
    Ok(parent.dir.with_dentry(dentry))
}

/// The last name of `parent`, if it does not exist yet.
fn check_absent<'a>(walk: &mut Walk<'_, '_>, parent: &'a Parent, may_end_in_slash: bool) -> Result<&'a [u8]> {
    let Last::Name(name) = &parent.last else {
        return Err(EEXIST);
    };
    let without_slash = Parent { wants_dir: false, ..parent.clone() };
    match walk.finish(&without_slash, false) {
        Ok(_) => Err(EEXIST),
        Err(ENOENT) if parent.wants_dir && !may_end_in_slash => Err(ENOENT),
        Err(ENOENT) => Ok(name),
        Err(error) => Err(error),
    }
}

/// Whether entries of `dir` may be added or removed.
fn check_change(dir: &Path, credentials: &Credentials) -> Result<()> {
    dir.mount().check_writable()?;
    check_inode(credentials, dir.inode(), CHANGE)
}

/// The permission bit of a directory in which only owners may change what others made.
pub const STICKY: u16 = 0o1000;

/// In a directory with the sticky bit only the owners of the directory and of the file may remove it.
fn check_sticky(dir: &Path, victim: &Arc<Dentry>, credentials: &Credentials) -> Result<()> {
    let attributes = dir.inode().base().attributes();
    let victim = victim.inode().base().attributes();
    let is_free = attributes.permissions & STICKY == 0 || credentials.fsuid == victim.uid;
    if is_free || credentials.is_owner(attributes.uid) { Ok(()) } else { Err(EPERM) }
}

/// `unlink(2)`, or with `is_dir` `rmdir(2)`.
///
/// # Errors
/// As those.
pub fn remove(ctx: &Context, start: Start, path: &[u8], is_dir: bool) -> Result<()> {
    let mut walk = Walk::new(ctx, WalkFlags::empty());
    let parent = walk.resolve_parent(start, path)?;
    let name = match (&parent.last, is_dir) {
        (Last::Name(name), _) => name,
        (_, false) => return Err(EISDIR),
        (Last::Dot, true) => return Err(EINVAL),
        (Last::DotDot, true) => return Err(ENOTEMPTY),
        (Last::Nothing, true) => return Err(EBUSY),
    };
    parent.dir.mount().check_writable()?;
    if parent.wants_dir && !is_dir {
        let found = parent.dir.dentry().lookup(name)?;
        return Err(if found.inode().is_dir() { EISDIR } else { ENOTDIR });
    }
    // Whether it exists comes before whether it may be removed.
    let credentials = walk.credentials();
    let victim = parent.dir.dentry().remove(name, is_dir, |victim| {
        check_inode(credentials, parent.dir.inode(), CHANGE)?;
        check_sticky(&parent.dir, victim, credentials)
    })?;
    notify::removed(parent.dir.dentry(), name, victim);
    Ok(())
}

/// The name at one end of a rename; `error` for what is none.
fn rename_name(parent: &Parent, error: Errno) -> Result<&[u8]> {
    match &parent.last {
        Last::Name(name) => Ok(name),
        _ => Err(error),
    }
}

/// `renameat2(2)` with its flags decoded.
///
/// # Errors
/// As `rename(2)`.
pub fn rename(
    ctx: &Context,
    (from_start, from): (Start, &[u8]),
    (to_start, to): (Start, &[u8]),
    mode: RenameMode,
    no_replace: bool,
) -> Result<()> {
    let mut walk = Walk::new(ctx, WalkFlags::empty());
    let from = walk.resolve_parent(from_start, from)?;
    let mut walk = Walk::new(ctx, WalkFlags::empty());
    let to = walk.resolve_parent(to_start, to)?;
    if !Arc::ptr_eq(from.dir.mount(), to.dir.mount()) {
        return Err(EXDEV);
    }
    let from_name = rename_name(&from, EBUSY)?;
    let to_name = rename_name(&to, if no_replace { EEXIST } else { EBUSY })?;
    from.dir.mount().check_writable()?;
    let credentials = walk.credentials();
    let check = |moved: &Arc<Dentry>, target: Option<&Arc<Dentry>>| {
        let is_dir = moved.inode().is_dir();
        check_inode(credentials, from.dir.inode(), CHANGE)?;
        check_sticky(&from.dir, moved, credentials)?;
        check_inode(credentials, to.dir.inode(), CHANGE)?;
        if let Some(target) = target {
            check_sticky(&to.dir, target, credentials)?;
        }
        let changes_parent = !Arc::ptr_eq(from.dir.dentry(), to.dir.dentry());
        if is_dir && changes_parent {
            check_inode(credentials, moved.inode(), Permission::WRITE)?; // Its `..` changes.
        }
        Ok(())
    };
    let from_end = RenameEnd { dir: from.dir.dentry(), name: from_name, wants_dir: from.wants_dir };
    let to_end = RenameEnd { dir: to.dir.dentry(), name: to_name, wants_dir: to.wants_dir };
    if let Some(Renamed { moved, target }) = dentry::rename(&from_end, &to_end, mode, no_replace, check)? {
        let ends: notify::Ends<'_> = [(from.dir.dentry(), from_name), (to.dir.dentry(), to_name)];
        notify::renamed(ends, &moved, target, mode);
    }
    Ok(())
}

/// `linkat(2)`: gives `target` the further name `path`.
///
/// # Errors
/// As `link(2)`.
pub fn link(ctx: &Context, target: &Path, start: Start, path: &[u8]) -> Result<()> {
    let mut walk = Walk::new(ctx, WalkFlags::empty());
    let parent = walk.resolve_parent(start, path)?;
    let name = check_absent(&mut walk, &parent, false)?;
    if !Arc::ptr_eq(target.mount(), parent.dir.mount()) {
        return Err(EXDEV);
    }
    check_change(&parent.dir, walk.credentials())?;
    if target.inode().is_dir() {
        return Err(EPERM);
    }
    let dentry = parent.dir.dentry().link(name, target.inode())?;
    notify::linked(&dentry);
    Ok(())
}

/// `chmod(2)`.
///
/// # Errors
/// `EPERM` if the caller does not own the file; `EROFS`; `EOPNOTSUPP` for a symbolic link.
pub fn set_permissions(ctx: &Context, path: &Path, permissions: u16) -> Result<()> {
    const SET_GID: u16 = 0o2000;
    path.mount().check_writable()?;
    let inode = path.inode();
    if inode.kind() == InodeKind::Symlink {
        return Err(EOPNOTSUPP);
    }
    let metadata = inode.metadata();
    let credentials = ctx.credentials();
    if !credentials.is_owner(metadata.uid) {
        return Err(EPERM);
    }
    let may_set_gid = credentials.is_in_group(metadata.gid) || credentials.has(Capabilities::FSETID);
    let permissions = if may_set_gid { permissions } else { permissions & !SET_GID };
    inode.set_permissions(permissions & 0o7777)?;
    notify::changed(path, FileEvents::ATTRIB);
    Ok(())
}

/// `chown(2)`; `None` leaves a part as it is.
///
/// # Errors
/// `EPERM` if the caller may not give the file away; `EROFS`.
pub fn set_owner(ctx: &Context, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    path.mount().check_writable()?;
    let inode = path.inode();
    let metadata = inode.metadata();
    let credentials = ctx.credentials();
    let is_owner = credentials.fsuid == metadata.uid;
    let may_set_uid = uid.is_none_or(|uid| is_owner && uid == metadata.uid);
    let may_set_gid = gid.is_none_or(|gid| is_owner && (gid == metadata.gid || credentials.is_in_group(gid)));
    let may_set_both = may_set_uid && may_set_gid;
    if !may_set_both && !credentials.has(Capabilities::CHOWN) {
        return Err(EPERM);
    }
    inode.set_owner(uid, gid)?;
    if !inode.is_dir() && (uid.is_some() || gid.is_some()) {
        drop_set_id_bits(inode);
    }
    if uid.is_some() || gid.is_some() {
        notify::changed(path, FileEvents::ATTRIB);
    }
    Ok(())
}

/// Takes the set-user-ID bit off a file that changes hands or content, and the set-group-ID bit of an executable.
pub fn drop_set_id_bits(inode: &Arc<dyn Inode>) {
    const SET_UID: u16 = 0o4000;
    const SET_GID: u16 = 0o2000;
    const GROUP_EXEC: u16 = 0o010;
    let permissions = inode.base().attributes().permissions;
    let mut kept = permissions & !SET_UID;
    if permissions & GROUP_EXEC != 0 {
        kept &= !SET_GID;
    }
    if kept != permissions {
        inode.base().update(|attributes| attributes.permissions = kept);
    }
}
