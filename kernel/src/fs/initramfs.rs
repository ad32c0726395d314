// SPDX-License-Identifier: MPL-2.0

//! The first root file system, filled from the image that the boot loader passed.
//!
//! # Role
//! The image is one or more cpio archives in the "newc" format, each plain or compressed by gzip, with zeros between them,
//! as Linux takes it (`initramfs-buffer-format` in its documentation). Files keep pointing into the image; their pages are
//! made when they are first used.

mod cpio;
mod gzip;

use core::{error::Error, fmt};

use ostd::mm::{UFrame, io::util::HasVmReaderWriter};

use self::cpio::{Archive, Entry};
use super::{
    Dentry, DeviceNumber, InodeKind, Mount, MountFlags, NewInode, NewKind, Timestamp, namespace,
    tmpfs::{Flavour, Options, TmpFs},
};
use crate::{file::IoSrc, prelude::*, vm::PageSource};

/// Why an image cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ImageError {
    /// Bytes that start neither an archive nor a compressed one.
    UnknownFormat {
        /// Where, in bytes from the start of the image.
        offset: usize,
    },
    /// The archive breaks off or its header is no header.
    BadHeader {
        /// Where, in bytes from the start of the (unpacked) archive.
        offset: usize,
    },
    /// The compressed data is damaged.
    BadCompression(&'static str),
    /// An entry cannot be made.
    CannotMake {
        /// Its name.
        name: String,
        /// Why.
        error: Errno,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFormat { offset } => {
                write!(f, "initramfs: neither a newc cpio archive nor gzip data at byte {offset}")
            }
            Self::BadHeader { offset } => {
                write!(f, "initramfs: the cpio archive is broken at byte {offset}")
            }
            Self::BadCompression(reason) => write!(f, "initramfs: damaged gzip data: {reason}"),
            Self::CannotMake { name, error } => {
                write!(f, "initramfs: cannot make {name}: {}", error.description())
            }
        }
    }
}

impl Error for ImageError {}

/// Makes the root file system and unpacks `image` into it; without an image it is empty.
///
/// # Errors
/// What is wrong with the image. The root file system exists nevertheless, with what came before.
pub fn init(image: Option<&'static [u8]>) -> core::result::Result<(), ImageError> {
    let (file_system, super_block) = TmpFs::new(Flavour::Ramfs, "rootfs", Options::unlimited(0o755));
    let root = super_block.root().clone();
    namespace().set_root(Mount::new(super_block, root.clone(), MountFlags::empty(), "rootfs"));
    match image {
        Some(image) => unpack_image(&Unpacker { file_system, root }, image),
        None => Ok(()),
    }
}

/// Unpacks all archives of an image.
fn unpack_image(unpacker: &Unpacker, image: &'static [u8]) -> core::result::Result<(), ImageError> {
    let mut offset = 0;
    loop {
        let rest = image.get(offset..).unwrap_or_default();
        let Some(zeros) = rest.iter().position(|byte| *byte != 0) else {
            return Ok(());
        };
        offset += zeros;
        let rest = &rest[zeros..];
        offset += if cpio::is_archive(rest) {
            unpacker.unpack(rest)?
        } else if gzip::is_member(rest) {
            let (bytes, len) = gzip::decompress_member(rest).map_err(ImageError::BadCompression)?;
            // The files point into it for ever.
            unpack_image(unpacker, Vec::leak(bytes))?;
            len
        } else {
            return Err(ImageError::UnknownFormat { offset });
        };
    }
}

/// Where an archive is unpacked to.
struct Unpacker {
    file_system: Arc<TmpFs>,
    root: Arc<Dentry>,
}

impl Unpacker {
    /// Unpacks one archive and tells its length.
    fn unpack(&self, bytes: &'static [u8]) -> core::result::Result<usize, ImageError> {
        let mut archive = Archive::new(bytes);
        let mut links: BTreeMap<(u32, u32, u32), Arc<Dentry>> = BTreeMap::new();
        while let Some(entry) = archive.next_entry()? {
            let cannot =
                |error| ImageError::CannotMake { name: String::from_utf8_lossy(entry.name).into_owned(), error };
            self.make(&entry, &mut links).map_err(cannot)?;
        }
        Ok(archive.offset())
    }

    /// Makes one entry. Further names of a file come with the same inode number; the last one brings the content.
    fn make(&self, entry: &Entry<'static>, links: &mut BTreeMap<(u32, u32, u32), Arc<Dentry>>) -> Result<()> {
        let (dir, name) = self.parent_of(entry.name)?;
        let Some(name) = name else {
            return apply_attributes(&self.root, entry); // The root itself.
        };
        let kind = new_kind(entry)?;
        if matches!(kind, NewKind::Directory)
            && let Ok(existing) = dir.lookup(name)
            && existing.inode().is_dir()
        {
            return apply_attributes(&existing, entry);
        }
        let is_shared = entry.links > 1 && matches!(kind, NewKind::Regular);
        if is_shared && let Some(first) = links.get(&entry.identity()) {
            return self.make_link(first, &dir, name, entry);
        }
        let dentry = self.make_inode(&dir, name, kind, entry)?;
        if is_shared {
            links.insert(entry.identity(), dentry);
        }
        Ok(())
    }

    /// Adds a further name of `first`'s file, and the content if this entry brings it.
    fn make_link(&self, first: &Arc<Dentry>, dir: &Arc<Dentry>, name: &[u8], entry: &Entry<'static>) -> Result<()> {
        remove_existing(dir, name)?;
        dir.link(name, first.inode())?;
        if !entry.data.is_empty() {
            first.inode().truncate(0)?;
            first.inode().write_at(0, &mut IoSrc::from_slice(entry.data), false)?;
        }
        apply_attributes(first, entry)
    }

    fn make_inode(&self, dir: &Arc<Dentry>, name: &[u8], kind: NewKind, entry: &Entry<'static>) -> Result<Arc<Dentry>> {
        remove_existing(dir, name)?;
        let new = NewInode { kind, permissions: (entry.mode & 0o7777) as u16, uid: entry.uid, gid: entry.gid };
        let dentry = if matches!(new.kind, NewKind::Regular) && !entry.data.is_empty() {
            let source = Box::new(ImageBytes(entry.data));
            let inode = self.file_system.new_sourced_file(&new, entry.data.len() as u64, source);
            dir.link(name, &(inode as Arc<dyn super::Inode>))?
        } else {
            dir.create(name, &new)?
        };
        apply_attributes(&dentry, entry)?;
        Ok(dentry)
    }

    /// The directory of `name`, made if missing, and the last component; `None` for the root itself.
    fn parent_of<'a>(&self, name: &'a [u8]) -> Result<(Arc<Dentry>, Option<&'a [u8]>)> {
        let components = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        let mut components = components.peekable();
        let mut dir = self.root.clone();
        while let Some(part) = components.next() {
            if part == b".." || part.len() > super::NAME_MAX {
                return Err(EINVAL);
            }
            if components.peek().is_none() {
                return Ok((dir, Some(part)));
            }
            dir = match dir.lookup(part) {
                Ok(found) if found.inode().is_dir() => found,
                Ok(_) => return Err(ENOTDIR),
                Err(ENOENT) => dir.create(part, &NewInode::of_root(NewKind::Directory, 0o755))?,
                Err(error) => return Err(error),
            };
        }
        Ok((dir, None))
    }
}

/// A later entry replaces an earlier one, as on Linux.
fn remove_existing(dir: &Arc<Dentry>, name: &[u8]) -> Result<()> {
    match dir.lookup(name) {
        Ok(existing) => dir.remove(name, existing.inode().is_dir(), |_| Ok(())).map(drop),
        Err(ENOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn apply_attributes(dentry: &Arc<Dentry>, entry: &Entry<'_>) -> Result<()> {
    let modified = Timestamp { seconds: i64::from(entry.modified), nanoseconds: 0 };
    dentry.inode().base().update(|attributes| {
        attributes.permissions = (entry.mode & 0o7777) as u16;
        (attributes.uid, attributes.gid) = (entry.uid, entry.gid);
        (attributes.modified, attributes.accessed) = (modified, modified);
    });
    Ok(())
}

fn new_kind(entry: &Entry<'_>) -> Result<NewKind> {
    let device = DeviceNumber::new(entry.special_major, entry.special_minor);
    Ok(match InodeKind::from_mode(entry.mode).ok_or(EINVAL)? {
        InodeKind::Regular => NewKind::Regular,
        InodeKind::Directory => NewKind::Directory,
        InodeKind::Symlink => NewKind::Symlink(entry.data.to_vec()),
        InodeKind::CharDevice => NewKind::CharDevice(device),
        InodeKind::BlockDevice => NewKind::BlockDevice(device),
        InodeKind::Fifo => NewKind::Fifo,
        InodeKind::Socket => NewKind::Socket,
        InodeKind::Anonymous => return Err(EINVAL),
    })
}

/// A file's bytes in the image.
struct ImageBytes(&'static [u8]);

impl PageSource for ImageBytes {
    fn fill(&self, index: usize, frame: &UFrame) -> Result<()> {
        let start = index.saturating_mul(PAGE_SIZE).min(self.0.len());
        let end = start.saturating_add(PAGE_SIZE).min(self.0.len());
        frame.writer().write(&mut VmReader::from(&self.0[start..end]));
        Ok(())
    }
}
