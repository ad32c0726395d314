// SPDX-License-Identifier: MPL-2.0

//! Files by name.
//!
//! # Role
//! - [`inode`]: what a file system implements per file.
//! - [`dentry`], [`mount`], [`path`]: names, cached and joined to one tree; [`walk`] resolves them for a caller.
//! - [`open`]: from a path to an open file description.
//! - [`tmpfs`] is the file system of ordinary files; [`initramfs`] fills the first one at boot.
//! - [`notify`]: what happens to files, for those who watch.
//! - [`anon`]: inodes without names. [`device`] finds what serves a device node.
//!
//! # Concurrency
//! Lock order: `dentry::RENAME`, then directories' `children` (see [`dentry`]), then a file system's own locks, then the
//! namespace, then `Dentry::place` and the attributes of inodes, which are leaves.

pub mod anon;
pub mod clock;
pub mod context;
pub mod dentry;
pub mod devfs;
pub mod device;
pub mod dir;
pub mod fifo;
pub mod initramfs;
pub mod inode;
pub mod locks;
pub mod metadata;
pub mod modify;
pub mod mount;
pub mod notify;
pub mod open;
pub mod path;
pub mod pipe;
pub mod procfs;
pub mod pseudo;
pub mod regular;
pub mod seals;
pub mod sysfs;
#[cfg(ktest)]
mod tests;
pub mod tmpfs;
pub mod walk;
pub mod xattr;

pub use self::{
    anon::{AnonInode, AnonKind, nameless_path},
    context::FsContext,
    dentry::Dentry,
    device::Device,
    inode::{Attachment, DirEntry, FallocateMode, Inode, Link, NewInode, NewKind, RenameMode},
    metadata::{DeviceNumber, InodeBase, InodeKind, Metadata, StatFs, Timestamp},
    mount::{FileSystem, FileSystemType, Mount, MountFlags, SuperBlock, namespace, new_anonymous_device},
    notify::FileEvents,
    open::{HowToOpen, OpenFlags, OpenRequest},
    path::{NAME_MAX, PATH_MAX, Path},
    seals::{SealFlags, Seals},
    walk::{Start, Walk, WalkFlags},
};

/// Makes the file systems known, and the root from the boot image `image`. Call once, before the first process.
///
/// # Errors
/// What is wrong with the image; the root holds what came before.
pub fn init(image: Option<&'static [u8]>) -> core::result::Result<(), initramfs::ImageError> {
    mount::register_type(&tmpfs::Flavour::Ramfs);
    mount::register_type(&tmpfs::Flavour::Tmpfs);
    mount::register_type(&devfs::DevTmpFsType);
    mount::register_type(&devfs::devpts::DevPtsType);
    mount::register_type(&procfs::ProcFsType);
    mount::register_type(&sysfs::SysFsType);
    initramfs::init(image)
}
