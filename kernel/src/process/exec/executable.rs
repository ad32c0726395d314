// SPDX-License-Identifier: MPL-2.0

//! Files that are executed.

use crate::{
    file::IoDst,
    fs::{FileEvents, Inode, InodeKind, MountFlags, Path, notify, walk},
    prelude::*,
    process::credentials::Permission,
};

/// A file that may be executed.
#[derive(Clone)]
pub struct Executable {
    /// Where it was found.
    pub path: Path,
    _use: Arc<ExecutableUse>,
}

/// For those who watch the file, it is open for as long as it is executed.
struct ExecutableUse(Path);

impl ExecutableUse {
    fn begin(path: &Path) -> Arc<Self> {
        notify::used(path, FileEvents::OPEN);
        notify::used(path, FileEvents::ACCESS);
        Arc::new(Self(path.clone()))
    }
}

impl Drop for ExecutableUse {
    fn drop(&mut self) {
        notify::used(&self.0, FileEvents::CLOSE_NOWRITE);
    }
}

impl Executable {
    /// Checks that `path` is a regular file that the caller may execute.
    ///
    /// # Errors
    /// `EACCES` if it is not.
    pub fn new(ctx: &Context, path: Path) -> Result<Self> {
        let inode = path.inode();
        let is_forbidden = path.mount().flags().contains(MountFlags::NO_EXEC);
        if inode.kind() != InodeKind::Regular || is_forbidden {
            return Err(EACCES);
        }
        walk::check_inode(&ctx.credentials(), inode, Permission::EXEC)?;
        let _use = ExecutableUse::begin(&path);
        Ok(Self { path, _use })
    }

    pub(super) fn inode(&self) -> &Arc<dyn Inode> {
        self.path.inode()
    }

    pub(super) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<usize> {
        self.inode().read_at(offset, &mut IoDst::from_slice(bytes))
    }

    /// # Errors
    /// `ENOEXEC` if the file ends before.
    pub(super) fn read_exact(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        if self.read_at(offset, bytes)? < bytes.len() { Err(ENOEXEC) } else { Ok(()) }
    }
}
