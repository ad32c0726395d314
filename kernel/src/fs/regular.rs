// SPDX-License-Identifier: MPL-2.0

//! Open regular files.

use super::{Inode, modify};
use crate::{
    file::{File, IoDst, IoSrc, Mappable, StatusFlags, Written},
    prelude::*,
    process::{Resource, credentials::Capabilities},
    signal::{self, SI_USER, Signal},
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

    fn write(&self, ctx: &Context, src: &mut IoSrc<'_>, offset: u64, status: StatusFlags) -> Result<Written> {
        let append = status.contains(StatusFlags::APPEND);
        limit_to_size_limit(ctx, src, if append { self.inode.size() } else { offset })?;
        let written = self.inode.write_at(offset, src, append)?;
        if written.count > 0 && !ctx.credentials().has(Capabilities::FSETID) {
            modify::drop_set_id_bits(&self.inode);
        }
        Ok(written)
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

/// Shortens `src` to what `RLIMIT_FSIZE` allows at `offset`.
///
/// # Errors
/// `EFBIG`, with `SIGXFSZ`, if that is nothing.
fn limit_to_size_limit(ctx: &Context, src: &mut IoSrc<'_>, offset: u64) -> Result<()> {
    let limit = ctx.process.limits.soft(Resource::Fsize);
    let end = offset.saturating_add(src.remain() as u64);
    if end <= limit || src.remain() == 0 {
        return Ok(());
    }
    check_size_limit(ctx, offset.saturating_add(1))?;
    src.limit(usize::try_from(limit - offset).unwrap_or(usize::MAX));
    Ok(())
}

/// Checks a file's new size against `RLIMIT_FSIZE`.
///
/// # Errors
/// `EFBIG` if it is larger, and the thread gets `SIGXFSZ`.
pub fn check_size_limit(ctx: &Context, size: u64) -> Result<()> {
    if size <= ctx.process.limits.soft(Resource::Fsize) {
        return Ok(());
    }
    // It cannot fail for want of room: one instance of a standard signal is enough.
    let _ = signal::send_to_thread(&ctx.thread, signal::info_from(ctx, Signal::XFSZ, SI_USER));
    Err(EFBIG)
}
