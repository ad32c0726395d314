// SPDX-License-Identifier: MPL-2.0

//! Extended attributes (`xattr(7)`).
//!
//! # Role
//! [`get`], [`set`], [`remove`] and [`list`] say who may do what, as Linux's `xattr_permission` does; a file system keeps the attributes of an inode in
//! an [`Xattrs`] and counts them. Of the four name spaces `system` is empty: there are no access control lists.
//!
//! # Concurrency
//! The lock of an [`Xattrs`] is a leaf. Bytes are copied from and to user memory without it.

use super::{FileEvents, Inode, InodeKind, Path, modify::STICKY, notify, walk::check_inode};
use crate::{
    prelude::*,
    process::credentials::{Capabilities, Permission},
};

/// The most bytes of a value, and of a list of names.
pub const MAX_LEN: usize = 65536;
/// What Linux counts for an attribute beside its name and value.
const OVERHEAD: usize = 40;

type Bytes = Box<[u8]>;

/// The attributes of an inode.
pub struct Xattrs(SpinLock<BTreeMap<Bytes, Bytes>>);

/// What [`set`] may do. With neither it fails, as on Linux.
#[derive(Clone, Copy, Debug)]
pub struct SetMode {
    /// Make an attribute: not with `XATTR_REPLACE`.
    pub may_make: bool,
    /// Replace one: not with `XATTR_CREATE`.
    pub may_replace: bool,
}

fn cost(name: &[u8], value: &[u8]) -> usize {
    OVERHEAD + name.len() + value.len()
}

impl Xattrs {
    /// None.
    pub fn new() -> Self {
        Self(SpinLock::new(BTreeMap::new()))
    }

    /// Bytes of all, bookkeeping included.
    pub fn cost(&self) -> usize {
        self.0.lock().iter().map(|(name, value)| cost(name, value)).sum()
    }

    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().get(name).map(|value| value.to_vec())
    }

    /// Puts a value in or takes one out, and answers with the one before.
    ///
    /// # Errors
    /// `EEXIST` or `ENODATA` if `mode` says so.
    fn replace(&self, name: &[u8], value: Option<Bytes>, mode: SetMode) -> Result<Option<Bytes>> {
        let key = Bytes::from(name);
        let mut attributes = self.0.lock();
        match attributes.contains_key(name) {
            true if !mode.may_replace => return Err(EEXIST),
            false if !mode.may_make => return Err(ENODATA),
            _ => {}
        }
        Ok(match value {
            Some(value) => attributes.insert(key, value),
            None => attributes.remove(name),
        })
    }
}

/// Where `inode` keeps attributes called `name`.
///
/// # Errors
/// `EOPNOTSUPP` if nowhere; `EINVAL` for the name of a name space alone.
fn store_of<'a>(inode: &'a Arc<dyn Inode>, name: &[u8]) -> Result<&'a Xattrs> {
    let store = inode.xattrs().ok_or(EOPNOTSUPP)?;
    let spaces: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    match spaces.iter().find_map(|space| name.strip_prefix(*space)) {
        Some([]) => Err(EINVAL),
        Some(_) => Ok(store),
        None => Err(EOPNOTSUPP),
    }
}

/// Whether the caller may do what `wanted` says to the attribute `name` of `inode`.
///
/// # Errors
/// `EPERM` and, to read, `ENODATA` for what is for others or other kinds of files; `EACCES`.
fn check_access(ctx: &Context, inode: &Arc<dyn Inode>, name: &[u8], wanted: Permission) -> Result<()> {
    let credentials = ctx.credentials();
    let is_admin = credentials.has(Capabilities::SYS_ADMIN);
    let writes = wanted.contains(Permission::WRITE);
    let refusal = || Err(if writes { EPERM } else { ENODATA });
    if name.starts_with(b"security.") {
        return if writes && !is_admin { Err(EPERM) } else { Ok(()) };
    }
    if name.starts_with(b"system.") {
        return Ok(());
    }
    if name.starts_with(b"trusted.") {
        return if is_admin { Ok(()) } else { refusal() };
    }
    if name.starts_with(b"user.") {
        if !matches!(inode.kind(), InodeKind::Regular | InodeKind::Directory) {
            return refusal();
        }
        let metadata = inode.metadata();
        let is_shared = inode.is_dir() && metadata.permissions & STICKY != 0;
        if writes && is_shared && !credentials.is_owner(metadata.uid) {
            return Err(EPERM);
        }
    }
    check_inode(&credentials, inode, wanted)
}

/// The value of an attribute.
///
/// # Errors
/// `ENODATA` if there is none; `EOPNOTSUPP`; `EACCES`.
pub fn get(ctx: &Context, inode: &Arc<dyn Inode>, name: &[u8]) -> Result<Vec<u8>> {
    check_access(ctx, inode, name, Permission::READ)?;
    store_of(inode, name)?.get(name).ok_or(ENODATA)
}

/// Makes an attribute or replaces its value.
///
/// # Errors
/// `EEXIST`, `ENODATA` if `mode` says so; `ENOSPC`; `EOPNOTSUPP`; `EPERM`, `EACCES`; `EROFS`.
pub fn set(ctx: &Context, path: &Path, name: &[u8], value: Vec<u8>, mode: SetMode) -> Result<()> {
    change(ctx, path, name, Some(value.into_boxed_slice()), mode)
}

/// Takes an attribute away.
///
/// # Errors
/// `ENODATA` if there is none; as [`set`].
pub fn remove(ctx: &Context, path: &Path, name: &[u8]) -> Result<()> {
    change(ctx, path, name, None, SetMode { may_make: false, may_replace: true })
}

fn change(ctx: &Context, path: &Path, name: &[u8], value: Option<Bytes>, mode: SetMode) -> Result<()> {
    path.mount().check_writable()?;
    let inode = path.inode();
    check_access(ctx, inode, name, Permission::WRITE)?;
    let store = store_of(inode, name)?;
    let added = value.as_ref().map_or(0, |value| cost(name, value));
    inode.charge_xattrs(added)?;
    let outcome = store.replace(name, value, mode);
    let freed = match &outcome {
        Ok(old) => old.as_ref().map_or(0, |old| cost(name, old)),
        Err(_) => added,
    };
    inode.release_xattrs(freed);
    outcome.map(drop)?;
    inode.base().touch(false);
    notify::changed(path, FileEvents::ATTRIB);
    Ok(())
}

/// The names of all that the caller may see, each with a zero at its end.
pub fn list(ctx: &Context, inode: &Arc<dyn Inode>) -> Vec<u8> {
    let is_admin = ctx.credentials().has(Capabilities::SYS_ADMIN);
    let mut names = Vec::new();
    if let Some(store) = inode.xattrs() {
        let attributes = store.0.lock();
        for name in attributes.keys().filter(|name| is_admin || !name.starts_with(b"trusted.")) {
            names.extend_from_slice(name);
            names.push(0);
        }
    }
    names
}
