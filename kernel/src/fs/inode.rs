// SPDX-License-Identifier: MPL-2.0

//! Inodes: files apart from their names.
//!
//! # Role
//! [`Inode`] is what a file system implements per file. Everything about names that does not depend on the file system is
//! above it: [`super::dentry`] caches and serialises, [`super::walk`] resolves, [`super::mount`] joins file systems.
//!
//! # Protocol
//! Methods that change a directory are called with the directory's dentry locked, so that they see no other change of the
//! same directory at the same time; they must still keep their own data consistent against look-ups and `readdir`.
//! Permissions, read-only mounts, `NAME_MAX`, sticky bits and mount points are checked above.

use core::any::Any;

use super::{
    DeviceNumber, InodeBase, InodeKind, Metadata, OpenRequest, Path, StatFs, Timestamp, dir::DirFile,
    regular::RegularFile, xattr::Xattrs,
};
use crate::{
    file::{Description, IoDst, IoSrc, Written},
    prelude::*,
    vm::PageCache,
};

/// What to make with [`Inode::create`].
#[derive(Clone, Debug)]
pub enum NewKind {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A node of a character device.
    CharDevice(DeviceNumber),
    /// A node of a block device.
    BlockDevice(DeviceNumber),
    /// A named pipe.
    Fifo,
    /// The name of a socket.
    Socket,
}

/// A new inode's kind and attributes.
#[derive(Clone, Debug)]
pub struct NewInode {
    /// What it is.
    pub kind: NewKind,
    /// The low twelve bits of `st_mode`; the umask is already taken off.
    pub permissions: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl NewInode {
    /// An inode of root's.
    pub fn of_root(kind: NewKind, permissions: u16) -> Self {
        Self { kind, permissions, uid: 0, gid: 0 }
    }
}

impl NewKind {
    /// The inode kind that results.
    pub fn inode_kind(&self) -> InodeKind {
        match self {
            Self::Regular => InodeKind::Regular,
            Self::Directory => InodeKind::Directory,
            Self::Symlink(_) => InodeKind::Symlink,
            Self::CharDevice(_) => InodeKind::CharDevice,
            Self::BlockDevice(_) => InodeKind::BlockDevice,
            Self::Fifo => InodeKind::Fifo,
            Self::Socket => InodeKind::Socket,
        }
    }
}

/// Where a symbolic link leads.
pub enum Link {
    /// To this text, resolved from the link's directory.
    Target(Vec<u8>),
    /// Straight there: a magic link such as `/proc/self/fd/0` or `/proc/self/cwd`.
    Jump(Path),
}

/// One entry of a directory, as [`Inode::readdir`] hands it out.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode's number.
    pub number: u64,
    /// The inode's kind.
    pub kind: InodeKind,
    /// The cursor that continues behind this entry (`d_off`).
    pub next: u64,
}

/// How `renameat2(2)` treats an existing target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenameMode {
    /// Replaces it.
    Replace,
    /// Swaps the two (`RENAME_EXCHANGE`).
    Exchange,
}

/// What a FIFO or socket inode carries while it is in use: the pipe behind the name, the socket bound to it.
pub type Attachment = SpinLock<Option<Weak<dyn Any + Send + Sync>>>;

/// How `fallocate(2)` treats its range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FallocateMode {
    /// Reserves space, and grows the file unless `keep_size`.
    Allocate {
        /// `FALLOC_FL_KEEP_SIZE`
        keep_size: bool,
    },
    /// `FALLOC_FL_PUNCH_HOLE`: frees the range, which reads as zeros.
    PunchHole,
    /// `FALLOC_FL_ZERO_RANGE`: zeroes it, and grows the file unless `keep_size`.
    ZeroRange {
        /// `FALLOC_FL_KEEP_SIZE`
        keep_size: bool,
    },
}

/// A file of some file system, apart from its names.
///
/// The defaults are those of an inode that lacks the operation.
pub trait Inode: Any + Send + Sync {
    /// The shared part.
    fn base(&self) -> &InodeBase;

    /// The kind, fixed for life.
    fn kind(&self) -> InodeKind {
        self.base().kind()
    }

    /// `st_ino`.
    fn number(&self) -> u64 {
        self.base().number()
    }

    /// The size in bytes as `st_size` gives it.
    fn size(&self) -> u64 {
        0
    }

    /// The answer to `stat(2)`.
    fn metadata(&self) -> Metadata {
        self.base().metadata(self.size())
    }

    /// The answer to `statfs(2)` for the file system.
    fn statfs(&self) -> StatFs;

    /// Sets the low twelve bits of `st_mode`.
    fn set_permissions(&self, permissions: u16) -> Result<()> {
        self.base().update(|attributes| attributes.permissions = permissions);
        self.base().touch(false);
        Ok(())
    }

    /// Sets owner and group where given.
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.base().update(|attributes| {
            attributes.uid = uid.unwrap_or(attributes.uid);
            attributes.gid = gid.unwrap_or(attributes.gid);
        });
        self.base().touch(false);
        Ok(())
    }

    /// Sets access and modification times where given.
    fn set_times(&self, accessed: Option<Timestamp>, modified: Option<Timestamp>) -> Result<()> {
        self.base().update(|attributes| {
            attributes.accessed = accessed.unwrap_or(attributes.accessed);
            attributes.modified = modified.unwrap_or(attributes.modified);
        });
        self.base().touch(false);
        Ok(())
    }

    /// Its extended attributes; `None` if the file system keeps none.
    fn xattrs(&self) -> Option<&Xattrs> {
        None
    }

    /// Counts `bytes` more of extended attributes.
    ///
    /// # Errors
    /// `ENOSPC` if the file system has no room for them.
    fn charge_xattrs(&self, bytes: usize) -> Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// Counts `bytes` less of them.
    fn release_xattrs(&self, bytes: usize) {
        let _ = bytes;
    }

    /// Whether names in this directory come and go without calls of ours (procfs): look-ups are then not cached.
    fn is_volatile(&self) -> bool {
        false
    }

    /// The inode called `name`, which is neither `.` nor `..`.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let _ = name;
        Err(ENOENT)
    }

    /// Makes `name`.
    ///
    /// # Errors
    /// `EEXIST`, `ENOSPC`; `ENOENT` if this directory was removed; `EPERM` if the file system makes no such inodes.
    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<dyn Inode>> {
        let _ = (name, new);
        Err(EPERM)
    }

    /// Makes a regular file without a name, for `O_TMPFILE`; whether it may get one later is `is_linkable`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the file system cannot.
    fn create_unnamed(&self, new: &NewInode, is_linkable: bool) -> Result<Arc<dyn Inode>> {
        let _ = (new, is_linkable);
        Err(EOPNOTSUPP)
    }

    /// Gives `target`, of the same file system, the name `name`.
    ///
    /// # Errors
    /// `EEXIST`, `EMLINK`; `ENOENT` if the target's last name was removed; `EPERM` if the file system has no hard links.
    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let _ = (name, target);
        Err(EPERM)
    }

    /// Removes the name of something that is no directory.
    ///
    /// # Errors
    /// `ENOENT`; `EPERM` if the file system allows no removal.
    fn unlink(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(EPERM)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTEMPTY`; `EPERM` if the file system allows no removal.
    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(EPERM)
    }

    /// Moves `name` to `new_name` in `new_dir`, which is of the same file system. The caller has checked that kinds fit and
    /// that no directory moves below itself.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTEMPTY` if a non-empty directory would be replaced; `EPERM` if the file system allows no renames.
    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let _ = (name, new_dir, new_name, mode);
        Err(EPERM)
    }

    /// Hands out entries from `cursor` on, until there are no more or `emit` answers `false`, which means that the entry was
    /// not taken. `.` and `..` come from above (cursors 0 and 1); the first own entry has cursor 2.
    fn readdir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let _ = (cursor, emit);
        Err(ENOTDIR)
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` if it is none.
    fn readlink(&self, ctx: &Context) -> Result<Vec<u8>> {
        let _ = ctx;
        Err(EINVAL)
    }

    /// Where a symbolic link leads.
    fn follow(&self, ctx: &Context) -> Result<Link> {
        self.readlink(ctx).map(Link::Target)
    }

    /// Opens the file. Permissions are checked and `O_TRUNC` is done by the caller.
    ///
    /// # Errors
    /// `ENXIO` if nobody serves the device, or for a socket; whatever the device says.
    fn open(&self, request: OpenRequest, ctx: &Context) -> Result<Arc<Description>> {
        match self.kind() {
            InodeKind::Regular => Ok(request.describe(RegularFile::new(request.path.inode().clone()))),
            InodeKind::Directory => Ok(request.describe(DirFile::new(request.path.inode().clone()))),
            InodeKind::CharDevice | InodeKind::BlockDevice => super::device::open(request, ctx),
            InodeKind::Fifo => super::fifo::open(request, ctx),
            InodeKind::Symlink => Err(ELOOP),
            InodeKind::Socket | InodeKind::Anonymous => Err(ENXIO),
        }
    }

    /// The pages of a regular file, for `mmap(2)` and reading programs; `None` if the file has none.
    fn page_cache(&self) -> Option<&Arc<PageCache>> {
        None
    }

    /// Reads from `offset` on; 0 is the end of the file.
    fn read_at(&self, offset: u64, dst: &mut IoDst<'_>) -> Result<usize> {
        let _ = (dst, offset);
        Err(EINVAL)
    }

    /// Writes at `offset`, or with `append` at the end.
    fn write_at(&self, offset: u64, src: &mut IoSrc<'_>, append: bool) -> Result<Written> {
        let _ = (src, offset, append);
        Err(EINVAL)
    }

    /// Sets the size in bytes.
    ///
    /// # Errors
    /// `EINVAL` if the file has no size to set; `EFBIG`, `ENOSPC`; `EPERM` if sealed.
    fn truncate(&self, size: u64) -> Result<()> {
        let _ = size;
        Err(EINVAL)
    }

    /// `fallocate(2)` on a range that does not overflow.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the file system cannot; `ENOSPC`, `EFBIG`; `EPERM` if sealed.
    fn fallocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        let _ = (mode, offset, len);
        Err(EOPNOTSUPP)
    }

    /// The first data (or with `hole` the first hole) at or behind `offset`, for `SEEK_DATA` and `SEEK_HOLE`.
    ///
    /// # Errors
    /// `ENXIO` at or behind the end.
    fn seek_extent(&self, offset: u64, hole: bool) -> Result<u64> {
        let size = self.size();
        match offset < size {
            true if hole => Ok(size),
            true => Ok(offset),
            false => Err(ENXIO),
        }
    }

    /// The seals of a `memfd_create(2)` file; `None` for files that cannot be sealed.
    fn seals(&self) -> Option<&super::Seals> {
        None
    }

    /// What lives behind a FIFO or socket while it is in use.
    fn attachment(&self) -> Option<&Attachment> {
        None
    }
}

impl dyn Inode {
    /// The inode as its concrete kind.
    pub fn downcast<I: Inode>(&self) -> Option<&I> {
        (self as &dyn Any).downcast_ref()
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == InodeKind::Directory
    }
}
