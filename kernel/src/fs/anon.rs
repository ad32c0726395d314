// SPDX-License-Identifier: MPL-2.0

//! Inodes that are in no tree: pipes, sockets, and the one that all eventfds and their like share.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use spin::Once;

use super::{
    Attachment, Dentry, DeviceNumber, FileSystem, Inode, InodeBase, InodeKind, Mount, MountFlags, Path, StatFs,
    SuperBlock, new_anonymous_device,
};
use crate::prelude::*;

/// The file systems of nameless inodes, as Linux has them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnonKind {
    /// `pipefs`
    Pipe,
    /// `sockfs`
    Socket,
    /// `anon_inodefs`
    AnonInode,
}

impl AnonKind {
    fn file_system(self) -> &'static Arc<AnonFs> {
        static PIPE: Once<Arc<AnonFs>> = Once::new();
        static SOCKET: Once<Arc<AnonFs>> = Once::new();
        static ANON: Once<Arc<AnonFs>> = Once::new();
        let (once, name, magic) = match self {
            Self::Pipe => (&PIPE, "pipefs", 0x5049_5045),
            Self::Socket => (&SOCKET, "sockfs", 0x534f_434b),
            Self::AnonInode => (&ANON, "anon_inodefs", 0x0904_1934),
        };
        once.call_once(|| Arc::new(AnonFs { name, magic, device: new_anonymous_device() }))
    }
}

struct AnonFs {
    name: &'static str,
    magic: u64,
    device: DeviceNumber,
}

impl FileSystem for AnonFs {
    fn kind_name(&self) -> &'static str {
        self.name
    }

    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: self.magic, block_size: PAGE_SIZE as u64, ..StatFs::default() }
    }
}

/// An inode without a name.
pub struct AnonInode {
    base: InodeBase,
    file_system: &'static Arc<AnonFs>,
    attachment: Attachment,
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(2);

impl AnonInode {
    /// A new inode with its own number, for a pipe or socket of the owner `uid`, `gid`.
    pub fn new(kind: AnonKind, uid: u32, gid: u32) -> Arc<Self> {
        let (inode_kind, permissions) = match kind {
            AnonKind::Pipe => (InodeKind::Fifo, 0o600),
            AnonKind::Socket => (InodeKind::Socket, 0o777),
            AnonKind::AnonInode => (InodeKind::Anonymous, 0o600),
        };
        let file_system = kind.file_system();
        let number = NEXT_NUMBER.fetch_add(1, Relaxed);
        let base = InodeBase::new(file_system.device, number, inode_kind, permissions, uid, gid);
        Arc::new(Self { base, file_system, attachment: SpinLock::new(None) })
    }

    /// The inode that eventfd, epoll, timerfd and the like share.
    pub fn shared() -> &'static Arc<dyn Inode> {
        static SHARED: Once<Arc<dyn Inode>> = Once::new();
        SHARED.call_once(|| Self::new(AnonKind::AnonInode, 0, 0))
    }
}

impl Inode for AnonInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn statfs(&self) -> StatFs {
        self.file_system.statfs()
    }

    fn attachment(&self) -> Option<&Attachment> {
        Some(&self.attachment)
    }
}

/// A path for an inode in no tree, which displays as `name`: `pipe:[7]`.
pub fn nameless_path(inode: Arc<dyn Inode>, name: &[u8]) -> Path {
    Path::new(nameless_mount().clone(), Dentry::new_root(inode, name))
}

/// The root of the mount that nameless files are in.
pub fn nameless_root() -> Path {
    nameless_mount().root_path()
}

fn nameless_mount() -> &'static Arc<Mount> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT.call_once(|| {
        let file_system = AnonKind::AnonInode.file_system().clone();
        let super_block = SuperBlock::new(file_system, AnonInode::shared().clone());
        let root = super_block.root().clone();
        Mount::new(super_block, root, MountFlags::empty(), "none")
    })
}
