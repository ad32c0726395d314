// SPDX-License-Identifier: MPL-2.0

//! `/proc/net`: what there is of sockets.

use super::{
    super::{
        Inode, InodeKind,
        pseudo::{Directory, Identity, Name, TextInode},
    },
    file_system, inode_number,
};
use crate::{net::socket::unix, prelude::*};

/// The directory `/proc/net`.
pub(super) struct NetDir;

type Show = fn(&Context) -> Result<Vec<u8>>;

const ENTRIES: &[(&str, Show)] = &[("unix", |_| Ok(unix::show_sockets()))];

/// Inodes of the entries: beside those of `/proc` and `/proc/sys`.
const FIRST_NUMBER: u32 = 900;

fn entry_number(index: usize) -> u64 {
    inode_number(0, FIRST_NUMBER + index as u32)
}

impl Directory for NetDir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let index = ENTRIES.iter().position(|(known, _)| known.as_bytes() == name).ok_or(ENOENT)?;
        let identity = Identity::of_root(entry_number(index), 0o444);
        Ok(Arc::new(TextInode::new(file_system(), identity, ENTRIES[index].1).pollable()))
    }

    fn list(&self) -> Vec<Name> {
        let entries = ENTRIES.iter().enumerate();
        let names = entries.map(|(index, (name, _))| Name {
            name: name.as_bytes().to_vec(),
            number: entry_number(index),
            kind: InodeKind::Regular,
            next: 3 + index as u64,
        });
        names.collect()
    }

    fn subdirectories(&self) -> u32 {
        0
    }
}
