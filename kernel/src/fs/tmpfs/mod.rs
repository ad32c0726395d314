// SPDX-License-Identifier: MPL-2.0

//! ramfs and tmpfs: files whose only home is memory (`tmpfs(5)`).
//!
//! # Role
//! One implementation serves both: ramfs is a tmpfs without limits. The root file system, `/tmp` and `memfd_create(2)` use it.
//! Content lives in page caches; names in [`directory`].
//!
//! # Concurrency
//! Lock order: a regular file's `writing`, then spin locks, which are leaves. Directories change only under their dentry's
//! lock, see [`super::dentry`], so the two steps of a rename need no common lock of ours.

mod directory;
mod file;
mod limits;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use spin::Once;

pub use self::limits::Options;
use self::{directory::Directory, file::RegularContent, limits::Usage};
use super::{
    Attachment, DeviceNumber, DirEntry, FallocateMode, FileSystem, FileSystemType, Inode, InodeBase, InodeKind,
    Metadata, NewInode, NewKind, RenameMode, SealFlags, Seals, StatFs, SuperBlock, new_anonymous_device, xattr::Xattrs,
};
use crate::{
    file::{IoDst, IoSrc, Written},
    prelude::*,
    vm::{PageCache, PageSource},
};

/// The kinds of file system that this module serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flavour {
    /// No limits, no sizes in `statfs`.
    Ramfs,
    /// Limits on pages and inodes.
    Tmpfs,
}

impl Flavour {
    fn magic(self) -> u64 {
        match self {
            Self::Ramfs => 0x8584_58f6,
            Self::Tmpfs => 0x0102_1994,
        }
    }
}

impl FileSystemType for Flavour {
    fn name(&self) -> &'static str {
        match self {
            Self::Ramfs => "ramfs",
            Self::Tmpfs => "tmpfs",
        }
    }

    fn mount(&self, data: &str) -> Result<Arc<SuperBlock>> {
        let options = Options::parse(*self, data)?;
        Ok(TmpFs::new(*self, self.name(), options).1)
    }
}

/// An instance: what its inodes share.
pub struct TmpFs {
    flavour: Flavour,
    name: &'static str,
    device: DeviceNumber,
    next_number: AtomicU64,
    usage: Usage,
}

impl TmpFs {
    /// A new instance that `/proc/mounts` calls `name`, and its tree.
    pub fn new(flavour: Flavour, name: &'static str, options: Options) -> (Arc<Self>, Arc<SuperBlock>) {
        let permissions = options.permissions;
        let (uid, gid) = (options.uid, options.gid);
        let file_system = Arc::new(Self {
            flavour,
            name,
            device: new_anonymous_device(),
            next_number: AtomicU64::new(1),
            usage: Usage::new(options),
        });
        let new = NewInode { kind: NewKind::Directory, permissions, uid, gid };
        let root = file_system.new_inode(&new, Content::of_kind(&new.kind));
        let super_block = SuperBlock::new(file_system.clone(), root);
        (file_system, super_block)
    }

    fn new_inode(self: &Arc<Self>, new: &NewInode, content: Content) -> Arc<TmpInode> {
        let number = self.next_number.fetch_add(1, Relaxed);
        let base = InodeBase::new(self.device, number, new.kind.inode_kind(), new.permissions, new.uid, new.gid);
        let base = match new.kind {
            NewKind::CharDevice(device) | NewKind::BlockDevice(device) => base.with_special_device(device),
            _ => base,
        };
        self.usage.add_inode();
        Arc::new(TmpInode {
            base,
            file_system: self.clone(),
            content,
            xattrs: Xattrs::new(),
            is_linkable: AtomicBool::new(false),
        })
    }

    /// A regular file whose first content comes from `source`, to be linked into a directory.
    pub fn new_sourced_file(self: &Arc<Self>, new: &NewInode, size: u64, source: Box<dyn PageSource>) -> Arc<TmpInode> {
        let content = RegularContent::new(PageCache::with_source(size, source), None);
        let inode = self.new_inode(new, Content::Regular(content));
        inode.base.update(|attributes| attributes.links = 0);
        inode.is_linkable.store(true, Relaxed);
        inode
    }
}

impl FileSystem for TmpFs {
    fn kind_name(&self) -> &'static str {
        self.name
    }

    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn statfs(&self) -> StatFs {
        let counts = self.usage.statfs();
        StatFs { magic: self.flavour.magic(), block_size: PAGE_SIZE as u64, id: self.device.encode(), ..counts }
    }

    fn options(&self) -> String {
        if self.flavour == Flavour::Ramfs { String::new() } else { self.usage.options() }
    }

    fn remount(&self, data: &str) -> Result<()> {
        self.usage.set_limits(Options::parse(self.flavour, data)?)
    }
}

/// An inode of ramfs or tmpfs.
pub struct TmpInode {
    base: InodeBase,
    file_system: Arc<TmpFs>,
    content: Content,
    xattrs: Xattrs,
    /// Without a name, but made to get one (`O_TMPFILE`). Relaxed: set before anybody else knows the inode.
    is_linkable: AtomicBool,
}

enum Content {
    Regular(RegularContent),
    Directory(Directory),
    Symlink(Box<[u8]>),
    /// A FIFO, socket or device: what is behind it lives elsewhere.
    Special(Attachment),
}

impl Content {
    fn of_kind(kind: &NewKind) -> Self {
        match kind {
            NewKind::Regular => Self::Regular(RegularContent::new(PageCache::new(0), None)),
            NewKind::Directory => Self::Directory(Directory::new()),
            NewKind::Symlink(target) => Self::Symlink(target.as_slice().into()),
            _ => Self::Special(SpinLock::new(None)),
        }
    }
}

impl TmpInode {
    fn directory(&self) -> Result<&Directory> {
        match &self.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(ENOTDIR),
        }
    }

    fn regular(&self) -> Result<&RegularContent> {
        match &self.content {
            Content::Regular(file) => Ok(file),
            _ => Err(EINVAL),
        }
    }

    /// Enters `inode` and counts what that changes.
    fn enter(&self, name: &[u8], inode: Arc<TmpInode>) -> Result<()> {
        let is_dir = inode.kind() == InodeKind::Directory;
        self.directory()?.insert(name, inode)?;
        if is_dir {
            self.base.update(|attributes| attributes.links += 1);
        }
        self.base.touch(true);
        Ok(())
    }

    /// Counts one name of `self` less.
    fn lose_name(&self) {
        self.base.update(|attributes| {
            let names = if self.kind() == InodeKind::Directory { 2 } else { 1 };
            attributes.links = attributes.links.saturating_sub(names);
        });
        self.base.touch(false);
    }

    /// Takes `victim`'s name away from this directory.
    fn forget(&self, name: &[u8], victim: &TmpInode) -> Result<()> {
        self.directory()?.remove(name)?;
        if victim.kind() == InodeKind::Directory {
            self.base.update(|attributes| attributes.links = attributes.links.saturating_sub(1));
        }
        victim.lose_name();
        self.base.touch(true);
        Ok(())
    }

    /// The same inode as one of ours: hard links and renames stay within a file system.
    fn ours(inode: &Arc<dyn Inode>) -> Result<&TmpInode> {
        inode.downcast::<Self>().ok_or(EXDEV)
    }
}

impl Drop for TmpInode {
    fn drop(&mut self) {
        self.file_system.usage.remove_inode();
        self.file_system.usage.release_xattrs(self.xattrs.cost() as u64);
        if let Content::Regular(file) = &self.content {
            self.file_system.usage.release_pages(file.charged_pages());
        }
    }
}

impl Inode for TmpInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn size(&self) -> u64 {
        match &self.content {
            Content::Regular(file) => file.cache().size(),
            Content::Symlink(target) => target.len() as u64,
            Content::Directory(directory) if self.file_system.flavour == Flavour::Tmpfs => directory.size(),
            Content::Directory(_) | Content::Special(_) => 0,
        }
    }

    fn metadata(&self) -> Metadata {
        let blocks = match &self.content {
            Content::Regular(file) => file.blocks(),
            _ => 0,
        };
        Metadata { blocks, ..self.base.metadata(self.size()) }
    }

    fn statfs(&self) -> StatFs {
        self.file_system.statfs()
    }

    fn xattrs(&self) -> Option<&Xattrs> {
        Some(&self.xattrs)
    }

    fn charge_xattrs(&self, bytes: usize) -> Result<()> {
        self.file_system.usage.take_xattrs(bytes as u64)
    }

    fn release_xattrs(&self, bytes: usize) {
        self.file_system.usage.release_xattrs(bytes as u64);
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.directory()?.get(name).ok_or(ENOENT)?)
    }

    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<dyn Inode>> {
        self.file_system.usage.check_inodes()?;
        let inode = self.file_system.new_inode(new, Content::of_kind(&new.kind));
        self.enter(name, inode.clone())?;
        Ok(inode)
    }

    fn create_unnamed(&self, new: &NewInode, is_linkable: bool) -> Result<Arc<dyn Inode>> {
        self.file_system.usage.check_inodes()?;
        let inode = self.file_system.new_inode(new, Content::of_kind(&new.kind));
        inode.base.update(|attributes| attributes.links = 0);
        inode.is_linkable.store(is_linkable, Relaxed);
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let inode = target.clone() as Arc<dyn core::any::Any + Send + Sync>;
        let inode = inode.downcast::<Self>().map_err(|_| EXDEV)?;
        if inode.base.attributes().links == 0 && !inode.is_linkable.swap(false, Relaxed) {
            return Err(ENOENT);
        }
        self.enter(name, inode.clone())?;
        inode.base.update(|attributes| attributes.links += 1);
        inode.base.touch(false);
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let victim = self.directory()?.get(name).ok_or(ENOENT)?;
        self.forget(name, &victim)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let victim = self.directory()?.get(name).ok_or(ENOENT)?;
        victim.directory()?.close_if_empty()?;
        self.forget(name, &victim)
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let new_dir = Self::ours(new_dir)?;
        let moved = self.directory()?.get(name).ok_or(ENOENT)?;
        let target = new_dir.directory()?.get(new_name);
        let count_dir = |dir: &TmpInode, inode: &TmpInode, up: bool| {
            if inode.kind() == InodeKind::Directory {
                dir.base.update(|attributes| {
                    attributes.links = if up { attributes.links + 1 } else { attributes.links.saturating_sub(1) };
                });
            }
        };
        match (mode, target) {
            (RenameMode::Exchange, None) => return Err(ENOENT),
            (RenameMode::Exchange, Some(target)) => {
                self.directory()?.replace(name, target.clone())?;
                count_dir(self, &target, true);
                count_dir(new_dir, &target, false);
                new_dir.directory()?.replace(new_name, moved.clone())?;
                target.base.touch(false);
            }
            (RenameMode::Replace, Some(target)) => {
                if let Content::Directory(directory) = &target.content {
                    directory.close_if_empty()?;
                }
                new_dir.directory()?.replace(new_name, moved.clone())?;
                count_dir(new_dir, &target, false);
                target.lose_name();
                self.directory()?.remove(name)?;
            }
            (RenameMode::Replace, None) => {
                new_dir.directory()?.insert(new_name, moved.clone())?;
                self.directory()?.remove(name)?;
            }
        }
        count_dir(self, &moved, false);
        count_dir(new_dir, &moved, true);
        self.base.touch(true);
        new_dir.base.touch(true);
        moved.base.touch(false);
        Ok(())
    }

    fn readdir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        self.base.touch_accessed();
        self.directory()?.visit(cursor, emit);
        Ok(())
    }

    fn readlink(&self, _ctx: &Context) -> Result<Vec<u8>> {
        match &self.content {
            Content::Symlink(target) => Ok(target.to_vec()),
            _ => Err(EINVAL),
        }
    }

    fn page_cache(&self) -> Option<&Arc<PageCache>> {
        self.regular().ok().map(RegularContent::cache)
    }

    fn read_at(&self, offset: u64, dst: &mut IoDst<'_>) -> Result<usize> {
        self.regular()?.cache().read(offset, dst)
    }

    fn write_at(&self, offset: u64, src: &mut IoSrc<'_>, append: bool) -> Result<Written> {
        let written = self.regular()?.write(&self.file_system.usage, offset, src, append)?;
        if written.count > 0 {
            self.base.touch(true);
        }
        Ok(written)
    }

    fn truncate(&self, size: u64) -> Result<()> {
        self.regular()?.truncate(&self.file_system.usage, size)?;
        self.base.touch(true);
        Ok(())
    }

    fn fallocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        self.regular()?.fallocate(&self.file_system.usage, mode, offset, len)?;
        self.base.touch(true);
        Ok(())
    }

    fn seek_extent(&self, offset: u64, hole: bool) -> Result<u64> {
        let cache = self.regular()?.cache();
        if offset >= cache.size() {
            return Err(ENXIO);
        }
        if hole { Ok(cache.next_hole(offset)) } else { cache.next_data(offset).ok_or(ENXIO) }
    }

    fn seals(&self) -> Option<&Seals> {
        /// What a file that cannot be sealed has on tmpfs; elsewhere it has none.
        static UNSEALABLE: Seals = Seals::new(SealFlags::SEAL);
        let own = self.regular().ok()?.seals();
        own.or((self.file_system.flavour == Flavour::Tmpfs).then_some(&UNSEALABLE))
    }

    fn attachment(&self) -> Option<&Attachment> {
        match &self.content {
            Content::Special(attachment) => Some(attachment),
            _ => None,
        }
    }
}

/// A new file of `memfd_create(2)`, in a tmpfs that is mounted nowhere.
pub fn new_memfd(uid: u32, gid: u32, permissions: u16, seals: SealFlags) -> Arc<dyn Inode> {
    static INSTANCE: Once<(Arc<TmpFs>, Arc<SuperBlock>)> = Once::new();
    let (file_system, _) = INSTANCE.call_once(|| TmpFs::new(Flavour::Tmpfs, "tmpfs", Options::unlimited(0o777)));
    let new = NewInode { kind: NewKind::Regular, permissions, uid, gid };
    let content = RegularContent::new(PageCache::new(0), Some(Seals::new(seals)));
    let inode = file_system.new_inode(&new, Content::Regular(content));
    inode.base.update(|attributes| attributes.links = 0);
    inode
}
