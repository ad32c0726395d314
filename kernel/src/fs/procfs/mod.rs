// SPDX-License-Identifier: MPL-2.0

//! `/proc`: what the kernel knows about processes and about itself, `proc(5)`.
//!
//! # Role
//! [`root`] is the directory itself with the files about the system, [`system`] their texts, [`process`] and [`fd`] the
//! directories of a process, [`status`] its larger texts, [`sys`] the tree below `/proc/sys`, [`net`] the sockets. Formats are byte for byte those
//! of Linux; values that mean nothing here are 0, as Linux has them where a feature is not configured.
//!
//! # Numbers of inodes
//! The low 32 bits tell the file within its directory, the high ones the process or thread.

mod fd;
mod net;
mod process;
mod root;
mod status;
mod sys;
mod system;

pub use self::process::process_of_directory;

use spin::Once;

use super::{
    FileSystemType, Inode, SuperBlock,
    pseudo::{DirInode, Identity, PseudoFs},
};
use crate::prelude::*;

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// procfs as `mount(2)` knows it.
pub struct ProcFsType;

impl FileSystemType for ProcFsType {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn mount(&self, _data: &str) -> Result<Arc<SuperBlock>> {
        static INSTANCE: Once<Arc<SuperBlock>> = Once::new();
        let instance = INSTANCE.call_once(|| {
            let root = DirInode::new(file_system(), Identity::of_root(1, 0o555), root::Root);
            SuperBlock::new(file_system().clone(), root as Arc<dyn Inode>)
        });
        Ok(instance.clone())
    }
}

/// The one instance.
fn file_system() -> &'static Arc<PseudoFs> {
    static FS: Once<Arc<PseudoFs>> = Once::new();
    FS.call_once(|| PseudoFs::new("proc", PROC_SUPER_MAGIC, ENOENT))
}

/// The number of inode `index` that belongs to process or thread `owner`, or to the system for 0.
fn inode_number(owner: u32, index: u32) -> u64 {
    u64::from(owner) << 32 | u64::from(index)
}

/// A name that is a number without leading zeros.
pub(super) fn parse_number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn numbers_are_plain() {
        assert_eq!(parse_number(b"17"), Some(17));
        assert_eq!(parse_number(b"0"), Some(0));
        assert_eq!(parse_number(b"017"), None);
        assert_eq!(parse_number(b"+1"), None);
        assert_eq!(parse_number(b""), None);
        assert_eq!(parse_number(b"99999999999"), None);
    }
}
