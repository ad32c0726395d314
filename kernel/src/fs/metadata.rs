// SPDX-License-Identifier: MPL-2.0

//! What `stat(2)` tells about a file, and the part of it that every inode keeps.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::FileEvents;
use crate::prelude::*;

/// A point in wall-clock time, as file systems record it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds, below 1 000 000 000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The present.
    pub fn now() -> Self {
        crate::fs::clock::now()
    }

    /// The time `nanos` nanoseconds after the epoch.
    pub fn from_nanos(nanos: u64) -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self { seconds: (nanos / SECOND) as i64, nanoseconds: (nanos % SECOND) as u32 }
    }
}

/// The kind of an inode: the `S_IFMT` bits of `st_mode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InodeKind {
    /// `S_IFREG`
    Regular,
    /// `S_IFDIR`
    Directory,
    /// `S_IFLNK`
    Symlink,
    /// `S_IFCHR`
    CharDevice,
    /// `S_IFBLK`
    BlockDevice,
    /// `S_IFIFO`
    Fifo,
    /// `S_IFSOCK`
    Socket,
    /// No type bits at all: eventfd, epoll and their like (`anon_inode` on Linux).
    Anonymous,
}

/// The mask of the type bits in `st_mode`.
pub const S_IFMT: u32 = 0o170000;

impl InodeKind {
    /// Its bits in `st_mode`.
    pub const fn type_bits(self) -> u32 {
        match self {
            Self::Regular => 0o100000,
            Self::Directory => 0o040000,
            Self::Symlink => 0o120000,
            Self::CharDevice => 0o020000,
            Self::BlockDevice => 0o060000,
            Self::Fifo => 0o010000,
            Self::Socket => 0o140000,
            Self::Anonymous => 0,
        }
    }

    /// The kind that `mode`'s type bits name; `None` for a combination that Linux does not know.
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & S_IFMT {
            0o100000 => Self::Regular,
            0o040000 => Self::Directory,
            0o120000 => Self::Symlink,
            0o020000 => Self::CharDevice,
            0o060000 => Self::BlockDevice,
            0o010000 => Self::Fifo,
            0o140000 => Self::Socket,
            0 => Self::Anonymous,
            _ => return None,
        })
    }

    /// The `d_type` of `getdents64(2)`.
    pub const fn dirent_type(self) -> u8 {
        (self.type_bits() >> 12) as u8
    }
}

/// The number of a device: `st_rdev`, and `st_dev` of file systems.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The driver's device.
    pub minor: u32,
}

impl DeviceNumber {
    /// The device `major:minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Decodes what `makedev(3)` made.
    pub const fn decode(encoded: u64) -> Self {
        Self {
            major: (((encoded >> 8) & 0xfff) | ((encoded >> 32) & 0xffff_f000)) as u32,
            minor: ((encoded & 0xff) | ((encoded >> 12) & 0xffff_ff00)) as u32,
        }
    }

    /// Encodes as `makedev(3)` does.
    pub const fn encode(self) -> u64 {
        let (major, minor) = (self.major as u64, self.minor as u64);
        ((major & 0xfff) << 8) | ((major & 0xffff_f000) << 32) | (minor & 0xff) | ((minor & 0xffff_ff00) << 12)
    }
}

/// The answer to `stat(2)`.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// `st_dev`
    pub device: DeviceNumber,
    /// `st_ino`
    pub number: u64,
    /// The type bits of `st_mode`.
    pub kind: InodeKind,
    /// The other twelve bits of `st_mode`.
    pub permissions: u16,
    /// `st_nlink`
    pub links: u32,
    /// `st_uid`
    pub uid: u32,
    /// `st_gid`
    pub gid: u32,
    /// `st_rdev`
    pub special_device: DeviceNumber,
    /// `st_size`, bytes
    pub size: u64,
    /// `st_blksize`, bytes
    pub block_size: u32,
    /// `st_blocks`, units of 512 bytes
    pub blocks: u64,
    /// `st_atim`
    pub accessed: Timestamp,
    /// `st_mtim`
    pub modified: Timestamp,
    /// `st_ctim`
    pub changed: Timestamp,
    /// `stx_btime`
    pub born: Timestamp,
}

impl Metadata {
    /// `st_mode`.
    pub fn mode(&self) -> u32 {
        self.kind.type_bits() | u32::from(self.permissions)
    }
}

/// What an inode keeps of its metadata, under one lock.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// The low twelve bits of `st_mode`.
    pub permissions: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Names, and for a directory its sub-directories.
    pub links: u32,
    /// Last read.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of content or metadata.
    pub changed: Timestamp,
}

/// The part that inodes of all file systems share.
pub struct InodeBase {
    number: u64,
    kind: InodeKind,
    device: DeviceNumber,
    special_device: DeviceNumber,
    born: Timestamp,
    attributes: SpinLock<Attributes>,
    /// The [`FileEvents`] that somebody watches the inode for. Relaxed: see [`crate::events::inotify`].
    watched: AtomicU32,
}

impl InodeBase {
    /// The base of inode `number` on the file system `device`, with one link (two for a directory), made now.
    pub fn new(device: DeviceNumber, number: u64, kind: InodeKind, permissions: u16, uid: u32, gid: u32) -> Self {
        let now = Timestamp::now();
        let links = if kind == InodeKind::Directory { 2 } else { 1 };
        let attributes = Attributes { permissions, uid, gid, links, accessed: now, modified: now, changed: now };
        let special_device = DeviceNumber::default();
        Self {
            number,
            kind,
            device,
            special_device,
            born: now,
            attributes: SpinLock::new(attributes),
            watched: AtomicU32::new(0),
        }
    }

    /// The same, as the node of a device.
    pub fn with_special_device(self, special_device: DeviceNumber) -> Self {
        Self { special_device, ..self }
    }

    /// `st_ino`.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The kind, fixed for life.
    pub fn kind(&self) -> InodeKind {
        self.kind
    }

    /// `st_dev`.
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// `st_rdev`.
    pub fn special_device(&self) -> DeviceNumber {
        self.special_device
    }

    /// A copy of the changeable part.
    pub fn attributes(&self) -> Attributes {
        *self.attributes.lock()
    }

    /// Whether anybody watches the inode for one of `events`.
    #[inline]
    pub fn is_watched(&self, events: FileEvents) -> bool {
        self.watched.load(Relaxed) & events.bits() != 0
    }

    /// Says what the inode is watched for.
    pub fn set_watched(&self, events: FileEvents) {
        self.watched.store(events.bits(), Relaxed);
    }

    /// Changes the attributes.
    pub fn update<R>(&self, change: impl FnOnce(&mut Attributes) -> R) -> R {
        change(&mut self.attributes.lock())
    }

    /// Records a change of metadata, or with `is_content` of the content.
    pub fn touch(&self, is_content: bool) {
        let now = Timestamp::now();
        self.update(|attributes| {
            attributes.changed = now;
            if is_content {
                attributes.modified = now;
            }
        });
    }

    /// Records a read as `relatime` (`mount(8)`) does: only if the recorded one is not newer than the last change, or is
    /// older than a day.
    pub fn touch_accessed(&self) {
        const DAY: i64 = 24 * 60 * 60;
        let now = Timestamp::now();
        self.update(|attributes| {
            let old = attributes.accessed;
            let is_old = now.seconds.saturating_sub(old.seconds) >= DAY;
            if old <= attributes.modified || old <= attributes.changed || is_old {
                attributes.accessed = now;
            }
        });
    }

    /// The answer to `stat(2)` with the given size in bytes.
    pub fn metadata(&self, size: u64) -> Metadata {
        let attributes = self.attributes();
        Metadata {
            device: self.device,
            number: self.number,
            kind: self.kind,
            permissions: attributes.permissions,
            links: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            special_device: self.special_device,
            size,
            block_size: PAGE_SIZE as u32,
            blocks: 0,
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            born: self.born,
        }
    }
}

/// The answer to `statfs(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatFs {
    /// The magic number of `linux/magic.h`.
    pub magic: u64,
    /// Bytes per block.
    pub block_size: u64,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// All inodes.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_free: u64,
    /// The file system's number, `f_fsid`.
    pub id: u64,
}
