// SPDX-License-Identifier: MPL-2.0

//! Files by name.

/// An inode.
pub trait Inode: core::any::Any + Send + Sync {}

/// Working directory, root and umask of a thread.
pub struct FsContext {}
