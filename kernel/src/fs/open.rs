// SPDX-License-Identifier: MPL-2.0

//! `open(2)`: from a name to an open file description.

use super::{
    FileEvents, Inode, InodeKind, NewInode, NewKind, Path, Start, Walk, WalkFlags, notify,
    walk::{Last, Parent, check_inode},
};
use crate::{
    file::{AccessMode, Description, File, StatusFlags},
    prelude::*,
    process::credentials::{Credentials, Permission},
};

bitflags::bitflags! {
    /// The flags of `open(2)` that act while opening. Values of x86-64.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct OpenFlags: u32 {
        /// Makes the file if it is missing.
        const CREAT = 0o100;
        /// With `CREAT`: fails if it exists.
        const EXCL = 0o200;
        /// A terminal does not become the controlling one.
        const NOCTTY = 0o400;
        /// Empties the file.
        const TRUNC = 0o1000;
        /// Fails if it is no directory.
        const DIRECTORY = 0o200000;
        /// Does not follow a symbolic link in the last place.
        const NOFOLLOW = 0o400000;
        /// Closes on `execve(2)`.
        const CLOEXEC = 0o2000000;
        /// A file without a name in the given directory; the bit that `O_TMPFILE` has beyond `O_DIRECTORY`.
        const TMPFILE = 0o20000000;
        /// Only names the file.
        const PATH = 0o10000000;
    }
}

/// What a file is being opened for.
#[derive(Clone)]
pub struct OpenRequest {
    /// The file.
    pub path: Path,
    /// Reading, writing, both, or neither.
    pub access: AccessMode,
    /// The status flags that the description gets.
    pub status: StatusFlags,
    /// The flags that act while opening.
    pub flags: OpenFlags,
}

impl OpenRequest {
    /// The description of `file` with what was asked for.
    pub fn describe(&self, file: impl File) -> Arc<Description> {
        Description::opened(file, self.access, self.status, self.path.clone())
    }
}

/// The arguments of `open(2)`, decoded.
#[derive(Clone, Copy, Debug)]
pub struct HowToOpen {
    /// Reading, writing, both, or neither.
    pub access: AccessMode,
    /// Status flags for the description.
    pub status: StatusFlags,
    /// Flags that act while opening.
    pub flags: OpenFlags,
    /// The permissions of a new file, before the umask.
    pub mode: u16,
    /// Restrictions of `openat2(2)`.
    pub walk: WalkFlags,
}

impl HowToOpen {
    /// Decodes `open(2)`'s flags. Unknown ones are ignored, as Linux does there.
    ///
    /// # Errors
    /// `EINVAL` for `O_TMPFILE` without write access or without `O_DIRECTORY`, and for `O_CREAT` with `O_DIRECTORY`.
    pub fn decode(raw: u32, mode: u32) -> Result<Self> {
        let mut flags = OpenFlags::from_bits_truncate(raw);
        let mut access = AccessMode::from_open_flags(raw);
        let mut status = StatusFlags::from_bits_truncate(raw) | StatusFlags::LARGEFILE;
        if flags.contains(OpenFlags::PATH) {
            // open(2): with O_PATH only these others count.
            flags &= OpenFlags::PATH | OpenFlags::CLOEXEC | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW;
            access = AccessMode::empty();
            status = StatusFlags::PATH;
        }
        if flags.contains(OpenFlags::TMPFILE) {
            if !flags.contains(OpenFlags::DIRECTORY) || !access.contains(AccessMode::WRITE) {
                return Err(EINVAL);
            }
        } else if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
            return Err(EINVAL);
        }
        let makes_file = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE);
        let mode = if makes_file { (mode & 0o7777) as u16 } else { 0 };
        Ok(Self { access, status, flags, mode, walk: WalkFlags::empty() })
    }

    /// The permissions that the file must grant. `O_TRUNC` wants to write; the access mode 3 wants both.
    fn wanted(&self) -> Permission {
        let mut wanted = Permission::empty();
        let is_neither = self.access.is_empty() && !self.status.contains(StatusFlags::PATH);
        if self.access.contains(AccessMode::READ) || is_neither {
            wanted |= Permission::READ;
        }
        if self.access.contains(AccessMode::WRITE) || self.flags.contains(OpenFlags::TRUNC) || is_neither {
            wanted |= Permission::WRITE;
        }
        wanted
    }
}

/// `openat(2)`.
///
/// # Errors
/// As `open(2)`.
pub fn open(ctx: &Context, start: Start, path: &[u8], how: &HowToOpen) -> Result<Arc<Description>> {
    let mut walk_flags = how.walk;
    walk_flags.set(WalkFlags::NO_FOLLOW, how.flags.contains(OpenFlags::NOFOLLOW));
    let mut walk = Walk::new(ctx, walk_flags);
    if how.flags.contains(OpenFlags::TMPFILE) {
        return open_unnamed(ctx, &walk.resolve(start, path)?, how, walk.credentials());
    }
    let (path, is_new) = if how.flags.contains(OpenFlags::CREAT) {
        let parent = walk.resolve_parent(start, path)?;
        create_or_find(ctx, &mut walk, parent, how)?
    } else {
        (walk.resolve(start, path)?, false)
    };
    open_path(ctx, path, how, is_new)
}

/// Finds the last component or makes it, and tells whether it is new. A dangling link has its target made.
fn create_or_find(ctx: &Context, walk: &mut Walk<'_, '_>, mut parent: Parent, how: &HowToOpen) -> Result<(Path, bool)> {
    let is_exclusive = how.flags.contains(OpenFlags::EXCL);
    loop {
        let Last::Name(name) = &parent.last else {
            return if is_exclusive { Err(EEXIST) } else { Ok((walk.finish(&parent, true)?, false)) };
        };
        if parent.wants_dir {
            return Err(EISDIR);
        }
        match walk.finish(&parent, false) {
            Ok(_) if is_exclusive => return Err(EEXIST),
            Ok(found) if found.inode().kind() != InodeKind::Symlink => return Ok((found, false)),
            Ok(_) if how.flags.contains(OpenFlags::NOFOLLOW) => return Err(ELOOP),
            Ok(link) => parent = walk.follow_to_parent(&parent.dir, &link)?,
            Err(ENOENT) => {
                parent.dir.mount().check_writable()?;
                check_inode(walk.credentials(), parent.dir.inode(), Permission::WRITE | Permission::EXEC)?;
                let permissions = how.mode & !ctx.fs().umask();
                let new = new_inode(&parent.dir, NewKind::Regular, permissions, walk.credentials());
                match parent.dir.dentry().create(name, &new) {
                    Ok(dentry) => {
                        notify::created(&dentry);
                        return Ok((parent.dir.with_dentry(dentry), true));
                    }
                    Err(EEXIST) if !is_exclusive => continue, // Somebody was faster: open that one.
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// A new inode in `dir` for the owner of `credentials`. A set-group-ID directory passes its group on, and to
/// sub-directories the bit, too (`inode(7)`).
pub fn new_inode(dir: &Path, kind: NewKind, permissions: u16, credentials: &Credentials) -> NewInode {
    let mut new = NewInode { kind, permissions, uid: credentials.fsuid, gid: credentials.fsgid };
    let attributes = dir.inode().base().attributes();
    if attributes.permissions & 0o2000 != 0 {
        new.gid = attributes.gid;
        if matches!(new.kind, NewKind::Directory) {
            new.permissions |= 0o2000;
        }
    }
    new
}

/// `O_TMPFILE`.
fn open_unnamed(ctx: &Context, dir: &Path, how: &HowToOpen, credentials: &Credentials) -> Result<Arc<Description>> {
    if !dir.inode().is_dir() {
        return Err(ENOTDIR);
    }
    dir.mount().check_writable()?;
    check_inode(credentials, dir.inode(), Permission::WRITE | Permission::EXEC)?;
    let new = new_inode(dir, NewKind::Regular, how.mode & !ctx.fs().umask(), credentials);
    let inode = dir.inode().create_unnamed(&new, !how.flags.contains(OpenFlags::EXCL))?;
    let name = alloc::format!("#{}", inode.number());
    let path = dir.with_dentry(dir.dentry().new_deleted(inode, name.as_bytes()));
    open_inode(ctx, path, how)
}

/// Lets the inode at `path` open itself.
fn open_inode(ctx: &Context, path: Path, how: &HowToOpen) -> Result<Arc<Description>> {
    let inode = path.inode().clone();
    let description =
        inode.open(OpenRequest { path, access: how.access, status: how.status, flags: how.flags }, ctx)?;
    description.note(FileEvents::OPEN);
    Ok(description)
}

/// Opens the file at `path`, checking permissions unless the caller has just made it.
///
/// # Errors
/// As `open(2)`.
pub fn open_path(ctx: &Context, path: Path, how: &HowToOpen, is_new: bool) -> Result<Arc<Description>> {
    let inode = path.inode().clone();
    if how.status.contains(StatusFlags::PATH) {
        if how.flags.contains(OpenFlags::DIRECTORY) && !inode.is_dir() {
            return Err(ENOTDIR);
        }
        let request = OpenRequest { path, access: how.access, status: how.status, flags: how.flags };
        return Ok(request.describe(PathFile { inode }));
    }
    check_kind(&inode, how)?;
    if !is_new {
        let credentials = ctx.credentials();
        check_inode(&credentials, &inode, how.wanted())?;
        check_inode_flags(&path, how, &credentials)?;
        if how.flags.contains(OpenFlags::TRUNC) && inode.kind() == InodeKind::Regular {
            inode.truncate(0)?;
            notify::changed(&path, FileEvents::MODIFY);
        }
    }
    open_inode(ctx, path, how)
}

/// Whether the kind of file may be opened so.
fn check_kind(inode: &Arc<dyn Inode>, how: &HowToOpen) -> Result<()> {
    let wants_write = how.wanted().contains(Permission::WRITE) || how.flags.contains(OpenFlags::CREAT);
    match inode.kind() {
        InodeKind::Symlink if how.flags.contains(OpenFlags::DIRECTORY) => Err(ENOTDIR),
        InodeKind::Symlink => Err(ELOOP),
        InodeKind::Directory if wants_write => Err(EISDIR),
        InodeKind::Directory => Ok(()),
        _ if how.flags.contains(OpenFlags::DIRECTORY) => Err(ENOTDIR),
        _ => Ok(()),
    }
}

fn check_inode_flags(path: &Path, how: &HowToOpen, credentials: &Credentials) -> Result<()> {
    let inode = path.inode();
    let has_content = matches!(inode.kind(), InodeKind::Regular | InodeKind::Directory | InodeKind::Symlink);
    if has_content && how.wanted().contains(Permission::WRITE) {
        path.mount().check_writable()?;
    }
    if how.status.contains(StatusFlags::NOATIME) && !credentials.is_owner(inode.base().attributes().uid) {
        return Err(EPERM);
    }
    Ok(())
}

/// What `O_PATH` opens: a name for a file, and no more. System calls that do I/O answer `EBADF` for it.
pub struct PathFile {
    inode: Arc<dyn Inode>,
}

impl File for PathFile {
    /// For `poll(2)` it is as good as closed.
    fn poll(&self) -> readiness::IoEvents {
        readiness::IoEvents::NVAL
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }
}
