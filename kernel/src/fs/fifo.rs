// SPDX-License-Identifier: MPL-2.0

//! The way from a FIFO's inode to the pipe behind it.

use super::OpenRequest;
use crate::{file::Description, prelude::*};

/// Opens a FIFO; see `fifo(7)`. The pipe lives in the inode's attachment.
///
/// # Errors
/// `ENXIO`
pub fn open(request: OpenRequest, ctx: &Context) -> Result<Arc<Description>> {
    let _ = (request, ctx);
    Err(ENXIO)
}
