// SPDX-License-Identifier: MPL-2.0

//! What threads share under `CLONE_FS`: root, working directory and umask.

use spin::Once;

use super::{Path, namespace};
use crate::prelude::*;

/// Root, working directory and umask.
pub struct FsContext {
    inner: SpinLock<Inner>,
}

#[derive(Clone)]
struct Inner {
    root: Path,
    cwd: Path,
    umask: u16,
}

impl FsContext {
    /// Root and working directory at `root`, umask 022.
    pub fn new(root: Path) -> Self {
        let cwd = root.clone();
        Self { inner: SpinLock::new(Inner { root, cwd, umask: 0o022 }) }
    }

    /// The context of the first process.
    ///
    /// # Errors
    /// `ENOENT` before the root is mounted.
    pub fn of_init() -> Result<Self> {
        Ok(Self::new(namespace().root().ok_or(ENOENT)?))
    }

    /// The context of threads that have ended.
    pub fn of_nobody() -> Arc<Self> {
        static NOBODY: Once<Arc<FsContext>> = Once::new();
        let root = || namespace().root().unwrap_or_else(super::anon::nameless_root);
        NOBODY.call_once(|| Arc::new(Self::new(root()))).clone()
    }

    /// A copy of one's own, for `fork(2)`.
    pub fn duplicate(&self) -> Self {
        Self { inner: SpinLock::new(self.inner.lock().clone()) }
    }

    /// The root directory.
    pub fn root(&self) -> Path {
        self.inner.lock().root.clone()
    }

    /// The working directory.
    pub fn cwd(&self) -> Path {
        self.inner.lock().cwd.clone()
    }

    /// The permission bits that new files lack.
    pub fn umask(&self) -> u16 {
        self.inner.lock().umask
    }

    /// `umask(2)`: sets the mask and answers the old one.
    pub fn set_umask(&self, umask: u16) -> u16 {
        core::mem::replace(&mut self.inner.lock().umask, umask & 0o777)
    }

    /// `chdir(2)`, without any check.
    pub fn set_cwd(&self, cwd: Path) {
        let old = core::mem::replace(&mut self.inner.lock().cwd, cwd);
        drop(old);
    }

    /// `chroot(2)`, without any check.
    pub fn set_root(&self, root: Path) {
        let old = core::mem::replace(&mut self.inner.lock().root, root);
        drop(old);
    }
}
