// SPDX-License-Identifier: MPL-2.0

//! Paths: a dentry as one mount shows it.

use super::{Dentry, Inode, Mount, namespace};
use crate::prelude::*;

/// The longest name of one component, bytes.
pub const NAME_MAX: usize = 255;
/// The longest path with its zero, bytes.
pub const PATH_MAX: usize = 4096;

/// A file by name: which dentry, seen through which mount.
#[derive(Clone)]
pub struct Path {
    mount: Arc<Mount>,
    dentry: Arc<Dentry>,
}

impl Path {
    /// The path of `dentry` in `mount`.
    pub fn new(mount: Arc<Mount>, dentry: Arc<Dentry>) -> Self {
        Self { mount, dentry }
    }

    /// The mount.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// The dentry.
    pub fn dentry(&self) -> &Arc<Dentry> {
        &self.dentry
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// The same mount, another dentry.
    pub fn with_dentry(&self, dentry: Arc<Dentry>) -> Self {
        Self { mount: self.mount.clone(), dentry }
    }

    /// Whether both are the same dentry in the same mount.
    pub fn is_same(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// Whether this is the root of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, self.mount.root())
    }

    /// The child `name`, or the root of what is mounted there.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn child(&self, name: &[u8]) -> Result<Path> {
        let child = self.with_dentry(self.dentry.lookup(name)?);
        Ok(namespace().descend(child))
    }

    /// The directory above: `..`. At `root`, and at the top of everything, it is the path itself.
    pub fn parent(&self, root: &Path) -> Path {
        let mut path = self.clone();
        loop {
            if path.is_same(root) {
                return path;
            }
            if !path.is_mount_root() {
                let Some(parent) = path.dentry.parent() else {
                    return path;
                };
                return namespace().descend(path.with_dentry(parent));
            }
            let Some(place) = path.mount.place() else {
                return path;
            };
            path = place;
        }
    }

    /// The text of the path from `root`, and whether `root` was met on the way up.
    fn text_from(&self, root: &Path) -> (Vec<u8>, bool) {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut path = self.clone();
        let is_reachable = loop {
            if path.is_same(root) {
                break true;
            }
            if path.is_mount_root() {
                let Some(place) = path.mount.place() else {
                    break false;
                };
                path = place;
                continue;
            }
            names.push(path.dentry.name());
            let Some(parent) = path.dentry.parent() else {
                break false;
            };
            path = path.with_dentry(parent);
        };
        if !is_reachable && path.dentry.parent().is_none() && !path.dentry.name().is_empty() {
            // In no tree: `pipe:[7]`, `anon_inode:[eventfd]`, `/memfd:name`.
            return (path.dentry.name().into(), false);
        }
        let mut text = Vec::new();
        for name in names.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(name);
        }
        if text.is_empty() {
            text.push(b'/');
        }
        (text, is_reachable)
    }

    /// The path as `/proc/PID/fd` and `/proc/PID/maps` show it, ` (deleted)` included.
    pub fn display(&self, root: &Path) -> Vec<u8> {
        let (mut text, _) = self.text_from(root);
        if self.dentry.is_deleted() {
            text.extend_from_slice(b" (deleted)");
        }
        text
    }

    /// The path as `getcwd(2)` answers it.
    ///
    /// # Errors
    /// `ENOENT` if the directory was removed.
    pub fn working_directory(&self, root: &Path) -> Result<Vec<u8>> {
        if self.dentry.is_deleted() {
            return Err(ENOENT);
        }
        match self.text_from(root) {
            (text, true) => Ok(text),
            (text, false) => Ok([b"(unreachable)".as_slice(), &text].concat()),
        }
    }
}
