// SPDX-License-Identifier: MPL-2.0

//! Open directories.

use super::{Inode, Path};
use crate::{
    file::{File, IoDst, StatusFlags},
    prelude::*,
};

/// An open directory. Its position is the cursor of [`Inode::readdir`].
pub struct DirFile {
    inode: Arc<dyn Inode>,
}

impl DirFile {
    /// The open directory `inode`.
    pub fn new(inode: Arc<dyn Inode>) -> Self {
        Self { inode }
    }

    /// Hands out entries from `cursor` on, `.` and `..` included; see [`Inode::readdir`].
    ///
    /// # Errors
    /// As [`Inode::readdir`].
    pub fn readdir(
        &self,
        path: Option<&Path>,
        cursor: u64,
        emit: &mut dyn FnMut(super::DirEntry<'_>) -> bool,
    ) -> Result<()> {
        use super::{DirEntry, InodeKind::Directory};
        let own = self.inode.number();
        let parent = path.and_then(|path| path.dentry().parent()).map_or(own, |parent| parent.inode().number());
        if cursor == 0 && !emit(DirEntry { name: b".", number: own, kind: Directory, next: 1 }) {
            return Ok(());
        }
        if cursor <= 1 && !emit(DirEntry { name: b"..", number: parent, kind: Directory, next: 2 }) {
            return Ok(());
        }
        self.inode.readdir(cursor.max(2), emit)
    }
}

impl File for DirFile {
    fn read(&self, _ctx: &Context, _dst: &mut IoDst<'_>, _offset: u64, _status: StatusFlags) -> Result<usize> {
        Err(EISDIR)
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }
}
