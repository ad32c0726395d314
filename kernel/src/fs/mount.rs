// SPDX-License-Identifier: MPL-2.0

//! Mounts: how the trees of several file systems become one.
//!
//! # Role
//! A [`SuperBlock`] is a file system with its tree of dentries; a [`Mount`] shows that tree, or with a bind mount a part of
//! it, at a place of another mount. There is one namespace, [`namespace`].
//!
//! # Invariants
//! 1. `Namespace::covered` has (M, D) -> N exactly while N is attached at dentry D of mount M, and then N's `place` is that.
//! 2. A mount on top of another one's root has that mount as its parent, so each (M, D) has at most one cover.
//!
//! # Concurrency
//! The namespace has a spin lock of task context; a dentry's mount counter tells most look-ups not to take it. Detached
//! mounts are dropped outside the lock, for dropping one may drop a file system.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use spin::Once;

use super::{Dentry, DeviceNumber, Inode, Path, StatFs, pseudo::Changes};
use crate::prelude::*;

bitflags::bitflags! {
    /// The flags of `mount(2)` that stay with a mount.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct MountFlags: u32 {
        /// `MS_RDONLY`
        const READ_ONLY = 1;
        /// `MS_NOSUID`
        const NO_SUID = 2;
        /// `MS_NODEV`
        const NO_DEVICES = 4;
        /// `MS_NOEXEC`
        const NO_EXEC = 8;
        /// `MS_SYNCHRONOUS`
        const SYNCHRONOUS = 16;
        /// `MS_NOSYMFOLLOW`
        const NO_SYMFOLLOW = 256;
        /// `MS_NOATIME`
        const NO_ATIME = 1024;
        /// `MS_NODIRATIME`
        const NO_DIRATIME = 2048;
        /// `MS_RELATIME`
        const RELATIME = 1 << 21;
    }
}

impl MountFlags {
    /// The options as `/proc/mounts` shows them.
    pub fn options(self) -> String {
        let mut text = String::from(if self.contains(Self::READ_ONLY) { "ro" } else { "rw" });
        let names = [
            (Self::SYNCHRONOUS, ",sync"),
            (Self::NO_SUID, ",nosuid"),
            (Self::NO_DEVICES, ",nodev"),
            (Self::NO_EXEC, ",noexec"),
            (Self::NO_SYMFOLLOW, ",nosymfollow"),
            (Self::NO_ATIME, ",noatime"),
            (Self::NO_DIRATIME, ",nodiratime"),
            (Self::RELATIME, ",relatime"),
        ];
        names.iter().filter(|(flag, _)| self.contains(*flag)).for_each(|(_, name)| text.push_str(name));
        text
    }
}

/// A kind of file system that can be mounted by name.
pub trait FileSystemType: Sync {
    /// The name, as `mount -t` takes it.
    fn name(&self) -> &'static str;

    /// The instance to mount. Kinds with one instance (procfs) always answer the same.
    ///
    /// # Errors
    /// `EINVAL` if `data` is not understood.
    fn mount(&self, data: &str) -> Result<Arc<SuperBlock>>;

    /// Whether it needs no device: `nodev` in `/proc/filesystems`.
    fn is_virtual(&self) -> bool {
        true
    }
}

/// An instance of a file system.
pub trait FileSystem: Send + Sync {
    /// The kind's name, for `/proc/mounts`.
    fn kind_name(&self) -> &'static str;

    /// `st_dev` of its files.
    fn device(&self) -> DeviceNumber;

    /// The answer to `statfs(2)`.
    fn statfs(&self) -> StatFs;

    /// Its own mount options as `/proc/mounts` shows them, each with a comma before it.
    fn options(&self) -> String {
        String::new()
    }

    /// Takes new options (`MS_REMOUNT`).
    ///
    /// # Errors
    /// `EINVAL` if `data` is not understood.
    fn remount(&self, data: &str) -> Result<()> {
        let _ = data;
        Ok(())
    }
}

/// A file system with its tree of dentries.
pub struct SuperBlock {
    file_system: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
}

impl SuperBlock {
    /// Joins a file system and its root directory.
    pub fn new(file_system: Arc<dyn FileSystem>, root: Arc<dyn Inode>) -> Arc<Self> {
        Arc::new(Self { file_system, root: Dentry::new_root(root, b"") })
    }

    /// The file system.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    /// The root of the tree.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }
}

impl Drop for SuperBlock {
    fn drop(&mut self) {
        super::notify::unmounted(self);
        self.root.forget_tree();
    }
}

/// A tree, or part of it, at a place.
pub struct Mount {
    /// The number in `/proc/PID/mountinfo` and `stx_mnt_id`.
    id: u32,
    super_block: Arc<SuperBlock>,
    /// What it shows: the tree's root, or another dentry for a bind mount.
    root: Arc<Dentry>,
    /// Relaxed: flags order nothing.
    flags: AtomicU32,
    /// The first column of `/proc/mounts`.
    source: String,
    /// Where it is attached; `None` for the root of the namespace and for a detached mount.
    place: SpinLock<Option<Path>>,
}

static NEXT_MOUNT_ID: AtomicU32 = AtomicU32::new(1);

impl Mount {
    /// A mount that is attached nowhere yet.
    pub fn new(super_block: Arc<SuperBlock>, root: Arc<Dentry>, flags: MountFlags, source: &str) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_MOUNT_ID.fetch_add(1, Relaxed),
            super_block,
            root,
            flags: AtomicU32::new(flags.bits()),
            source: source.into(),
            place: SpinLock::new(None),
        })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The file system and its tree.
    pub fn super_block(&self) -> &Arc<SuperBlock> {
        &self.super_block
    }

    /// The topmost dentry that it shows.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// The first column of `/proc/mounts`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The path of what it shows within its file system: `/` unless it is a bind mount.
    pub fn root_text(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut current = self.root.clone();
        while let Some(parent) = current.parent() {
            names.push(current.name());
            current = parent;
        }
        let text: Vec<u8> = names.iter().rev().flat_map(|name| [b"/", &name[..]].concat()).collect();
        if text.is_empty() { b"/".to_vec() } else { text }
    }

    /// Its flags.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Relaxed))
    }

    /// Replaces its flags (`MS_REMOUNT`).
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Relaxed);
        changes().note();
    }

    /// Where it is attached.
    pub fn place(&self) -> Option<Path> {
        self.place.lock().clone()
    }

    /// The root as a path.
    pub fn root_path(self: &Arc<Self>) -> Path {
        Path::new(self.clone(), self.root.clone())
    }

    /// # Errors
    /// `EROFS` if it is mounted read-only.
    pub fn check_writable(&self) -> Result<()> {
        if self.flags().contains(MountFlags::READ_ONLY) { Err(EROFS) } else { Ok(()) }
    }
}

/// All attached mounts.
pub struct Namespace {
    inner: SpinLock<Covered>,
    root: Once<Arc<Mount>>,
}

#[derive(Default)]
struct Covered {
    /// By mount number and address of the dentry.
    covers: BTreeMap<(u32, usize), Arc<Mount>>,
}

static NAMESPACE: Namespace =
    Namespace { inner: SpinLock::new(Covered { covers: BTreeMap::new() }), root: Once::new() };

/// The one mount namespace.
pub fn namespace() -> &'static Namespace {
    &NAMESPACE
}

fn key(mount: &Mount, dentry: &Arc<Dentry>) -> (u32, usize) {
    (mount.id, Arc::as_ptr(dentry).addr())
}

/// Told whenever a mount comes, goes, or changes: what `/proc/PID/mounts` is polled for.
pub fn changes() -> &'static Changes {
    static CHANGES: Once<Changes> = Once::new();
    CHANGES.call_once(Changes::default)
}

impl Namespace {
    /// Makes `mount` the root of everything. Call once, at boot.
    pub fn set_root(&self, mount: Arc<Mount>) {
        self.root.call_once(|| mount);
    }

    /// The root directory; `None` before boot has made it.
    pub fn root(&self) -> Option<Path> {
        self.root.get().map(Mount::root_path)
    }

    /// The root of whatever is mounted at `path`, at the top of the stack; `path` itself if nothing is.
    pub fn descend(&self, mut path: Path) -> Path {
        while path.dentry().is_mount_point() {
            let cover = self.inner.lock().covers.get(&key(path.mount(), path.dentry())).cloned();
            let Some(cover) = cover else {
                break; // It covers the same dentry in another mount.
            };
            path = cover.root_path();
        }
        path
    }

    /// Attaches `mount` at `place`, on top of what is mounted there.
    ///
    /// # Errors
    /// `ENOENT` if the place was removed; `ENOTDIR` if one is a directory and the other is none.
    pub fn attach(&self, mount: Arc<Mount>, place: Path) -> Result<()> {
        let place = self.descend(place);
        if place.dentry().is_deleted() {
            return Err(ENOENT);
        }
        if place.inode().is_dir() != mount.root.inode().is_dir() {
            return Err(ENOTDIR);
        }
        let mut inner = self.inner.lock();
        let key = key(place.mount(), place.dentry());
        if inner.covers.contains_key(&key) {
            return Err(EBUSY); // Somebody else mounted here meanwhile.
        }
        place.dentry().count_mount(true);
        *mount.place.lock() = Some(place);
        inner.covers.insert(key, mount);
        drop(inner);
        changes().note();
        Ok(())
    }

    /// Detaches `mount`, with `lazily` also all mounts below it.
    ///
    /// # Errors
    /// `EINVAL` if it is attached nowhere; `EBUSY` unless `lazily` if anything is mounted in it or uses it.
    pub fn detach(&self, mount: &Arc<Mount>, lazily: bool) -> Result<()> {
        /// The table's own reference and the caller's, once as an argument and once in its path.
        const IDLE_REFERENCES: usize = 2;
        let mut inner = self.inner.lock();
        if mount.place.lock().is_none() {
            return Err(EINVAL);
        }
        let below = inner.below(mount);
        if !lazily && (!below.is_empty() || Arc::strong_count(mount) > IDLE_REFERENCES) {
            return Err(EBUSY);
        }
        let mut dropped: Vec<(Option<Arc<Mount>>, Option<Path>)> = Vec::new();
        for gone in below.into_iter().rev().chain([mount.clone()]) {
            let place = gone.place.lock().take();
            let Some(place) = place else { continue };
            place.dentry().count_mount(false);
            dropped.push((inner.covers.remove(&key(place.mount(), place.dentry())), Some(place)));
        }
        drop(inner);
        drop(dropped);
        changes().note();
        Ok(())
    }

    /// Moves an attached mount to another place (`MS_MOVE`).
    ///
    /// # Errors
    /// `EINVAL` if it is attached nowhere; `ELOOP` if the new place is inside it; as [`Self::attach`].
    pub fn relocate(&self, mount: &Arc<Mount>, place: Path) -> Result<()> {
        let mut above = Some(place.mount().clone());
        while let Some(current) = above {
            if Arc::ptr_eq(&current, mount) {
                return Err(ELOOP);
            }
            above = current.place().map(|place| place.mount().clone());
        }
        if place.inode().is_dir() != mount.root.inode().is_dir() {
            return Err(ENOTDIR);
        }
        let mut inner = self.inner.lock();
        let old = mount.place.lock().take().ok_or(EINVAL)?;
        inner.covers.remove(&key(old.mount(), old.dentry()));
        old.dentry().count_mount(false);
        drop(inner);
        self.attach(mount.clone(), place)
    }

    /// Every mount, the root first, a parent before its children.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        let Some(root) = self.root.get() else {
            return Vec::new();
        };
        let mut all = alloc::vec![root.clone()];
        all.extend(self.inner.lock().below(root));
        all
    }
}

impl Covered {
    /// The mounts below `mount`, a parent before its children, in the order of their numbers otherwise.
    fn below(&self, mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
        let mut found: Vec<Arc<Mount>> = Vec::new();
        let mut next = mount.id;
        let mut index = 0;
        loop {
            let children = self.covers.range((next, 0)..=(next, usize::MAX)).map(|(_, child)| child.clone());
            let at = found.len();
            found.extend(children);
            found[at..].sort_by_key(|mount| mount.id);
            let Some(mount) = found.get(index) else {
                return found;
            };
            next = mount.id;
            index += 1;
        }
    }
}

static TYPES: SpinLock<BTreeMap<&'static str, &'static dyn FileSystemType>> = SpinLock::new(BTreeMap::new());

/// Makes a kind of file system known to `mount(2)`.
pub fn register_type(kind: &'static dyn FileSystemType) {
    TYPES.lock().insert(kind.name(), kind);
}

/// The kind called `name`.
///
/// # Errors
/// `ENODEV` if there is none.
pub fn find_type(name: &str) -> Result<&'static dyn FileSystemType> {
    TYPES.lock().get(name).copied().ok_or(ENODEV)
}

/// All kinds, as `/proc/filesystems` lists them.
pub fn types() -> Vec<&'static dyn FileSystemType> {
    TYPES.lock().values().copied().collect()
}

/// A new number for a file system without a device.
pub fn new_anonymous_device() -> DeviceNumber {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    DeviceNumber::new(0, NEXT.fetch_add(1, Relaxed))
}
