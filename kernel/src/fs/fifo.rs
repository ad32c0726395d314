// SPDX-License-Identifier: MPL-2.0

//! The way from a FIFO's inode to the pipe behind it.

use super::{
    Attachment, OpenRequest,
    pipe::{Pipe, PipeEnd},
};
use crate::{file::Description, prelude::*};

/// Opens a FIFO, or an unnamed pipe through `/proc/PID/fd`; see `fifo(7)`. The pipe lives for as long as somebody has it open.
///
/// # Errors
/// `EINVAL` if opened for neither reading nor writing; `ENXIO` for a writer that does not wait if there is no reader;
/// `ERESTARTSYS` if a signal ends the wait for the other side.
pub fn open(request: OpenRequest, ctx: &Context) -> Result<Arc<Description>> {
    if request.access.is_empty() {
        return Err(EINVAL);
    }
    let inode = request.path.inode().clone();
    let pipe = pipe_behind(inode.attachment().ok_or(ENXIO)?);
    let end = PipeEnd::meet(ctx, pipe, inode, request.access, request.status)?;
    Ok(request.describe(end))
}

/// The pipe that is attached to an inode, or a new one.
fn pipe_behind(attachment: &Attachment) -> Arc<Pipe> {
    let known = attachment.lock().as_ref().and_then(Weak::upgrade);
    if let Some(pipe) = known.and_then(|attached| attached.downcast().ok()) {
        return pipe;
    }
    let new: Arc<dyn core::any::Any + Send + Sync> = Pipe::new();
    let mut attached = attachment.lock();
    // Somebody may have been faster.
    let current = attached.as_ref().and_then(Weak::upgrade).unwrap_or_else(|| {
        *attached = Some(Arc::downgrade(&new));
        new.clone()
    });
    drop(attached);
    current.downcast().unwrap_or_else(|_| Pipe::new())
}
