// SPDX-License-Identifier: MPL-2.0

//! `/dev`: devtmpfs, a tmpfs that starts with the nodes of all devices, and devpts.

pub mod devpts;

use spin::Once;

use super::{
    Dentry, FileSystemType, Mount, MountFlags, NewInode, NewKind, SuperBlock, namespace,
    tmpfs::{Flavour, Options, TmpFs},
};
use crate::{device, prelude::*};

/// devtmpfs as `mount(2)` knows it. There is one instance, as on Linux.
pub struct DevTmpFsType;

impl FileSystemType for DevTmpFsType {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn mount(&self, _data: &str) -> Result<Arc<SuperBlock>> {
        static INSTANCE: Once<Arc<SuperBlock>> = Once::new();
        Ok(INSTANCE.call_once(make).clone())
    }
}

/// Mounts devtmpfs on `/dev`, which it makes if need be, as Linux does with `CONFIG_DEVTMPFS_MOUNT`.
///
/// # Errors
/// As mounting.
pub fn mount_at_boot() -> Result<()> {
    let root = namespace().root().ok_or(ENOENT)?;
    let place = match root.child(b"dev") {
        Ok(place) => place,
        Err(_) => {
            let new = NewInode::of_root(NewKind::Directory, 0o755);
            root.with_dentry(root.dentry().create(b"dev", &new)?)
        }
    };
    let super_block = DevTmpFsType.mount("")?;
    let top = super_block.root().clone();
    namespace().attach(Mount::new(super_block, top, MountFlags::RELATIME, "devtmpfs"), place)
}

fn make() -> Arc<SuperBlock> {
    let (_, super_block) = TmpFs::new(Flavour::Tmpfs, "devtmpfs", Options::unlimited(0o755));
    if let Err(error) = fill(super_block.root()) {
        ostd::error!("devtmpfs is incomplete: {}", error.description());
    }
    super_block
}

/// Makes the nodes, the directories for further mounts, and the links that programs expect.
fn fill(root: &Arc<Dentry>) -> Result<()> {
    for node in device::nodes() {
        let kind = NewKind::CharDevice(node.number);
        root.create(node.name.as_bytes(), &NewInode::of_root(kind, node.permissions))?;
    }
    root.create(b"pts", &NewInode::of_root(NewKind::Directory, 0o755))?;
    root.create(b"shm", &NewInode::of_root(NewKind::Directory, 0o1777))?;
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (name, target) in links {
        let kind = NewKind::Symlink(target.as_bytes().to_vec());
        root.create(name.as_bytes(), &NewInode::of_root(kind, 0o777))?;
    }
    Ok(())
}
