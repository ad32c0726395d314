// SPDX-License-Identifier: MPL-2.0

//! Dentries: the tree of names of one file system.
//!
//! # Role
//! A [`Dentry`] is an inode under one name. It knows its parent, so that `getcwd(2)` and `/proc/PID/fd` can tell a path at
//! any time, also after a rename; and it caches its children, so that a look-up does not ask the file system twice.
//!
//! # Invariants
//! 1. While a dentry of a non-volatile directory is in its parent's `children`, the file system has that entry.
//! 2. A dentry leaves `children` and is marked deleted in the same critical section.
//! 3. Parents and cached children hold each other strongly; removing an entry cuts the knot, and dropping the
//!    [`super::SuperBlock`] cuts all of them.
//!
//! # Concurrency
//! Every change of a directory holds its `children` lock, a sleeping one. Renames between two directories first take
//! `RENAME`, which makes "is an ancestor of" stable, then both directories, an ancestor before its descendant, else in the
//! order of addresses. `place` is a leaf.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{Inode, NewInode, RenameMode, notify};
use crate::prelude::*;

/// A name of an inode.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    place: SpinLock<Place>,
    children: Mutex<Children>,
    /// How many mounts cover this dentry. Relaxed: only a hint whether to ask the mount table.
    mounts: AtomicU32,
}

struct Place {
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
    is_deleted: bool,
}

type Children = BTreeMap<Box<[u8]>, Child>;

enum Child {
    Cached(Arc<Dentry>),
    /// In a volatile directory: only to find again a dentry that is in use.
    InUse(Weak<Dentry>),
}

/// Serialises renames between directories, over all file systems.
static RENAME: Mutex<()> = Mutex::new(());

impl Dentry {
    /// The root of a tree, or with a name the only dentry of an inode that is in no tree (pipes, `memfd_create`).
    pub fn new_root(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        Self::new(inode, None, name)
    }

    /// A dentry that has a parent but is no entry of it (`O_TMPFILE`).
    pub fn new_deleted(self: &Arc<Self>, inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        let dentry = Self::new(inode, Some(self.clone()), name);
        dentry.place.lock().is_deleted = true;
        dentry
    }

    fn new(inode: Arc<dyn Inode>, parent: Option<Arc<Dentry>>, name: &[u8]) -> Arc<Self> {
        let place = Place { parent, name: name.into(), is_deleted: false };
        Arc::new(Self {
            inode,
            place: SpinLock::new(place),
            children: Mutex::new(BTreeMap::new()),
            mounts: AtomicU32::new(0),
        })
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The directory that it is in; `None` for the root of a tree.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// The directory that it is in, and the name there; `None` for the root of a tree.
    pub fn place(&self) -> Option<(Arc<Dentry>, Box<[u8]>)> {
        let place = self.place.lock();
        place.parent.clone().map(|parent| (parent, place.name.clone()))
    }

    /// The name; empty for the root of a tree.
    pub fn name(&self) -> Box<[u8]> {
        self.place.lock().name.clone()
    }

    /// Whether the name was removed.
    pub fn is_deleted(&self) -> bool {
        self.place.lock().is_deleted
    }

    /// Marks a dentry that is in no tree as deleted (`memfd_create(2)`).
    pub fn mark_deleted(&self) {
        self.place.lock().is_deleted = true;
    }

    /// Whether `self` is `other` or above it.
    pub fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut current = Some(other.clone());
        while let Some(dentry) = current {
            if Arc::ptr_eq(self, &dentry) {
                return true;
            }
            current = dentry.parent();
        }
        false
    }

    /// Whether anything is mounted here, in any mount.
    pub fn is_mount_point(&self) -> bool {
        self.mounts.load(Relaxed) != 0
    }

    /// Counts a mount on this dentry in or out.
    pub(super) fn count_mount(&self, is_new: bool) {
        if is_new {
            self.mounts.fetch_add(1, Relaxed);
        } else {
            self.mounts.fetch_sub(1, Relaxed);
        }
    }

    /// The child called `name`, neither `.` nor `..`.
    ///
    /// # Errors
    /// `ENOENT` if there is none; `ENOTDIR` if this is no directory.
    pub fn lookup(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Dentry>> {
        if !self.inode.is_dir() {
            return Err(ENOTDIR);
        }
        self.lookup_locked(&mut self.children.lock(), name)
    }

    fn lookup_locked(self: &Arc<Self>, children: &mut Children, name: &[u8]) -> Result<Arc<Dentry>> {
        let known = match children.get(name) {
            Some(Child::Cached(dentry)) => return Ok(dentry.clone()),
            Some(Child::InUse(dentry)) => dentry.upgrade(),
            None => None,
        };
        let inode = self.inode.lookup(name)?;
        if let Some(known) = known.filter(|known| known.inode.number() == inode.number()) {
            return Ok(known);
        }
        Ok(self.insert(children, name, inode))
    }

    /// Enters a dentry for `name` into the cache.
    fn insert(self: &Arc<Self>, children: &mut Children, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        let dentry = Self::new(inode, Some(self.clone()), name);
        let child = if self.inode.is_volatile() {
            if children.len() >= 32 {
                children.retain(|_, child| matches!(child, Child::InUse(weak) if weak.strong_count() > 0));
            }
            Child::InUse(Arc::downgrade(&dentry))
        } else {
            Child::Cached(dentry.clone())
        };
        children.insert(name.into(), child);
        dentry
    }

    /// Makes `name`.
    ///
    /// # Errors
    /// `EEXIST` if it exists; as [`Inode::create`].
    pub fn create(self: &Arc<Self>, name: &[u8], new: &NewInode) -> Result<Arc<Dentry>> {
        let mut children = self.children.lock();
        if self.lookup_locked(&mut children, name).is_ok() {
            return Err(EEXIST);
        }
        let inode = self.inode.create(name, new)?;
        Ok(self.insert(&mut children, name, inode))
    }

    /// Gives `target` the further name `name`.
    ///
    /// # Errors
    /// `EEXIST` if it exists; as [`Inode::link`].
    pub fn link(self: &Arc<Self>, name: &[u8], target: &Arc<dyn Inode>) -> Result<Arc<Dentry>> {
        let mut children = self.children.lock();
        if self.lookup_locked(&mut children, name).is_ok() {
            return Err(EEXIST);
        }
        self.inode.link(name, target)?;
        Ok(self.insert(&mut children, name, target.clone()))
    }

    /// Removes the name `name`: a directory's if `is_dir`, else anything else's. `check` may refuse the victim, which is returned
    /// to be dropped without locks.
    ///
    /// # Errors
    /// `ENOENT`; `EISDIR` or `ENOTDIR` if the kind does not fit; `EBUSY` for a mount point; as [`Inode::unlink`] and
    /// [`Inode::rmdir`].
    pub fn remove(
        self: &Arc<Self>,
        name: &[u8],
        is_dir: bool,
        check: impl FnOnce(&Arc<Dentry>) -> Result<()>,
    ) -> Result<Arc<Dentry>> {
        let mut children = self.children.lock();
        let victim = self.lookup_locked(&mut children, name)?;
        check(&victim)?;
        match (victim.inode.is_dir(), is_dir) {
            (true, false) => return Err(EISDIR),
            (false, true) => return Err(ENOTDIR),
            _ if victim.is_mount_point() => return Err(EBUSY),
            (true, true) => self.inode.rmdir(name)?,
            (false, false) => self.inode.unlink(name)?,
        }
        victim.leave(&mut children, name);
        Ok(victim)
    }

    /// Takes the dentry out of the cache and marks it deleted (invariant 2).
    fn leave(&self, children: &mut Children, name: &[u8]) {
        children.remove(name);
        self.place.lock().is_deleted = true;
    }

    /// Forgets all cached children, theirs included: the tree is about to go.
    pub(super) fn forget_tree(&self) {
        let mut pending: Vec<Arc<Dentry>> = Vec::new();
        let take = |dentry: &Dentry, pending: &mut Vec<Arc<Dentry>>| {
            let children = core::mem::take(&mut *dentry.children.lock());
            pending.extend(children.into_values().filter_map(|child| match child {
                Child::Cached(dentry) => Some(dentry),
                Child::InUse(_) => None,
            }));
        };
        take(self, &mut pending);
        while let Some(dentry) = pending.pop() {
            take(&dentry, &mut pending);
        }
    }
}

/// One side of a rename.
pub struct RenameEnd<'a> {
    /// The directory.
    pub dir: &'a Arc<Dentry>,
    /// The name in it.
    pub name: &'a [u8],
    /// Whether the name must be a directory's, for a slash followed it.
    pub wants_dir: bool,
}

/// What a rename did.
pub struct Renamed {
    /// What was moved.
    pub moved: Arc<Dentry>,
    /// What it replaced, or was exchanged with. To be dropped without locks.
    pub target: Option<Arc<Dentry>>,
}

/// Moves `from` to `to`, both of one file system. `check` sees the victims before anything happens. `None`: both are names of one
/// file, and stay.
///
/// # Errors
/// `ENOENT`; `EEXIST` if the target exists and `no_replace`; `EINVAL` if a directory would move below itself; `ENOTEMPTY` the
/// other way round or if a full directory would be replaced; `EISDIR`, `ENOTDIR` if the kinds do not fit; `EBUSY` for mount
/// points.
pub fn rename(
    from: &RenameEnd<'_>,
    to: &RenameEnd<'_>,
    mode: RenameMode,
    no_replace: bool,
    check: impl FnOnce(&Arc<Dentry>, Option<&Arc<Dentry>>) -> Result<()>,
) -> Result<Option<Renamed>> {
    if Arc::ptr_eq(from.dir, to.dir) {
        let mut children = from.dir.children.lock();
        return rename_locked(from, to, mode, no_replace, check, &mut children, None);
    }
    let _rename = RENAME.lock();
    let from_first = if from.dir.is_ancestor_of(to.dir) {
        true
    } else if to.dir.is_ancestor_of(from.dir) {
        false
    } else {
        Arc::as_ptr(from.dir) < Arc::as_ptr(to.dir)
    };
    if from_first {
        let mut old = from.dir.children.lock();
        let mut new = to.dir.children.lock();
        rename_locked(from, to, mode, no_replace, check, &mut old, Some(&mut new))
    } else {
        let mut new = to.dir.children.lock();
        let mut old = from.dir.children.lock();
        rename_locked(from, to, mode, no_replace, check, &mut old, Some(&mut new))
    }
}

/// [`rename`] with the directories locked; `new` is `None` if both are one.
fn rename_locked(
    from: &RenameEnd<'_>,
    to: &RenameEnd<'_>,
    mode: RenameMode,
    no_replace: bool,
    check: impl FnOnce(&Arc<Dentry>, Option<&Arc<Dentry>>) -> Result<()>,
    old: &mut Children,
    mut new: Option<&mut Children>,
) -> Result<Option<Renamed>> {
    let moved = from.dir.lookup_locked(old, from.name)?;
    let target = match to.dir.lookup_locked(new.as_deref_mut().unwrap_or(old), to.name) {
        Ok(_) if no_replace => return Err(EEXIST),
        Ok(target) => Some(target),
        Err(ENOENT) if mode == RenameMode::Replace => None,
        Err(error) => return Err(error),
    };
    check_places(from, to, mode, &moved, target.as_ref())?;
    if let Some(target) = &target
        && same_inode(&moved, target)
    {
        return Ok(None); // Two names of one file: rename(2) leaves both.
    }
    check(&moved, target.as_ref())?;
    check_kinds(mode, &moved, target.as_ref())?;
    if moved.is_mount_point() || target.as_ref().is_some_and(|target| target.is_mount_point()) {
        return Err(EBUSY);
    }
    from.dir.inode.rename(from.name, &to.dir.inode, to.name, mode)?;

    old.remove(from.name);
    match (mode, &target) {
        (RenameMode::Exchange, Some(target)) => {
            target.settle(from.dir, from.name);
            old.insert(from.name.into(), Child::Cached(target.clone()));
        }
        (_, Some(target)) => target.leave(new.as_deref_mut().unwrap_or(old), to.name),
        (_, None) => {}
    }
    moved.settle(to.dir, to.name);
    new.unwrap_or(old).insert(to.name.into(), Child::Cached(moved.clone()));
    Ok(Some(Renamed { moved, target }))
}

/// Whether the two ends may be where they are.
fn check_places(
    from: &RenameEnd<'_>,
    to: &RenameEnd<'_>,
    mode: RenameMode,
    moved: &Arc<Dentry>,
    target: Option<&Arc<Dentry>>,
) -> Result<()> {
    let wants_dir = from.wants_dir || (to.wants_dir && mode == RenameMode::Replace);
    if wants_dir && !moved.inode.is_dir() {
        return Err(ENOTDIR);
    }
    if moved.is_ancestor_of(to.dir) {
        return Err(EINVAL);
    }
    match target {
        Some(target) if target.is_ancestor_of(from.dir) => {
            Err(if mode == RenameMode::Exchange { EINVAL } else { ENOTEMPTY })
        }
        _ => Ok(()),
    }
}

/// A directory replaces only directories, and nothing else does.
fn check_kinds(mode: RenameMode, moved: &Arc<Dentry>, target: Option<&Arc<Dentry>>) -> Result<()> {
    let Some(target) = target.filter(|_| mode == RenameMode::Replace) else {
        return Ok(());
    };
    match (moved.inode.is_dir(), target.inode.is_dir()) {
        (true, false) => Err(ENOTDIR),
        (false, true) => Err(EISDIR),
        _ => Ok(()),
    }
}

fn same_inode(a: &Arc<Dentry>, b: &Arc<Dentry>) -> bool {
    Arc::ptr_eq(&a.inode, &b.inode)
}

impl Dentry {
    /// Gives the dentry its place after a rename.
    fn settle(&self, parent: &Arc<Dentry>, name: &[u8]) {
        let mut place = self.place.lock();
        let old = place.parent.replace(parent.clone());
        place.name = name.into();
        drop(place);
        drop(old);
    }
}

impl Drop for Dentry {
    /// The last use of a removed name may be the last of the file.
    fn drop(&mut self) {
        if self.is_deleted() {
            notify::name_is_gone(&self.inode);
        }
    }
}
