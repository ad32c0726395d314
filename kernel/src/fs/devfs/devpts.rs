// SPDX-License-Identifier: MPL-2.0

//! `/dev/pts`: the terminal sides of the pseudo terminals that exist (`pts(4)`).

use spin::Once;

use super::super::{
    DeviceNumber, FileSystem, FileSystemType, Inode, InodeBase, InodeKind, OpenRequest, StatFs, SuperBlock,
    pseudo::{DirInode, Directory, Identity, Name, PseudoFs},
};
use crate::{
    device::tty::{Tty, nodes, pty},
    file::Description,
    prelude::*,
};

const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
/// The number of the node `ptmx`; those of terminals follow.
const PTMX: u64 = 2;

/// devpts as `mount(2)` knows it. All mounts show the same terminals.
pub struct DevPtsType;

impl FileSystemType for DevPtsType {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn mount(&self, _data: &str) -> Result<Arc<SuperBlock>> {
        static INSTANCE: Once<Arc<SuperBlock>> = Once::new();
        let instance = INSTANCE.call_once(|| {
            let root = DirInode::new(file_system(), Identity::of_root(1, 0o755), Root);
            SuperBlock::new(file_system().clone(), root as Arc<dyn Inode>)
        });
        Ok(instance.clone())
    }
}

fn file_system() -> &'static Arc<PseudoFs> {
    static FS: Once<Arc<PseudoFs>> = Once::new();
    FS.call_once(|| PseudoFs::new("devpts", DEVPTS_SUPER_MAGIC, EPERM))
}

struct Root;

impl Directory for Root {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if name == b"ptmx" {
            let base = file_system().base(PTMX, InodeKind::CharDevice, 0, (0, 0));
            return Ok(Arc::new(Terminal { base: base.with_special_device(DeviceNumber::new(5, 2)), tty: None }));
        }
        let index = super::super::procfs::parse_number(name).ok_or(ENOENT)?;
        let tty = pty::terminal(index).ok_or(ENOENT)?;
        let owner = tty.owner();
        let base = file_system().base(
            PTMX + 1 + u64::from(index),
            InodeKind::CharDevice,
            owner.permissions,
            (owner.uid, owner.gid),
        );
        Ok(Arc::new(Terminal { base: base.with_special_device(tty.number()), tty: Some(tty) }))
    }

    fn list(&self) -> Vec<Name> {
        let entry = |name: String, offset: u64| Name {
            name: name.into_bytes(),
            number: PTMX + offset,
            kind: InodeKind::CharDevice,
            next: 3 + offset,
        };
        let terminals = pty::terminals().into_iter().map(|(index, _)| entry(index.to_string(), 1 + u64::from(index)));
        core::iter::once(entry("ptmx".to_string(), 0)).chain(terminals).collect()
    }
}

/// The node of a terminal, or `ptmx`.
struct Terminal {
    base: InodeBase,
    tty: Option<Arc<Tty>>,
}

impl Inode for Terminal {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn statfs(&self) -> StatFs {
        file_system().statfs()
    }

    fn set_permissions(&self, permissions: u16) -> Result<()> {
        self.base.update(|attributes| attributes.permissions = permissions);
        self.keep_owner();
        Ok(())
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.base.update(|attributes| {
            attributes.uid = uid.unwrap_or(attributes.uid);
            attributes.gid = gid.unwrap_or(attributes.gid);
        });
        self.keep_owner();
        Ok(())
    }

    fn open(&self, request: OpenRequest, ctx: &Context) -> Result<Arc<Description>> {
        match &self.tty {
            Some(tty) => nodes::open_terminal(tty, &request, ctx, true),
            None => super::super::device::open(request, ctx),
        }
    }
}

impl Terminal {
    /// The inode is made anew at each look-up: what `chmod(2)` and `chown(2)` did is kept by the terminal.
    fn keep_owner(&self) {
        if let Some(tty) = &self.tty {
            let attributes = self.base.attributes();
            tty.set_owner(attributes.uid, attributes.gid, attributes.permissions);
        }
    }
}
