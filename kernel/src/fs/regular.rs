// SPDX-License-Identifier: MPL-2.0

//! Open regular files.

use super::Inode;
use crate::{
    file::{File, IoDst, IoSrc, Mappable, StatusFlags, Written},
    prelude::*,
};

/// An open regular file: reads and writes go to the inode.
pub struct RegularFile {
    inode: Arc<dyn Inode>,
}

impl RegularFile {
    /// The open file on `inode`.
    pub fn new(inode: Arc<dyn Inode>) -> Self {
        Self { inode }
    }
}

impl File for RegularFile {
    fn read(&self, _ctx: &Context, dst: &mut IoDst<'_>, offset: u64, status: StatusFlags) -> Result<usize> {
        let count = self.inode.read_at(offset, dst)?;
        if !status.contains(StatusFlags::NOATIME) {
            self.inode.base().touch_accessed();
        }
        Ok(count)
    }

    fn write(&self, _ctx: &Context, src: &mut IoSrc<'_>, offset: u64, status: StatusFlags) -> Result<Written> {
        self.inode.write_at(offset, src, status.contains(StatusFlags::APPEND))
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn mmap(&self, shared: bool, write: bool) -> Result<Mappable> {
        if shared
            && write
            && let Some(seals) = self.inode.seals()
        {
            seals.check_write()?;
        }
        self.inode.page_cache().cloned().map(Mappable::Pages).ok_or(ENODEV)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }
}
