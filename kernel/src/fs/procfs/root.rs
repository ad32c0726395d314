// SPDX-License-Identifier: MPL-2.0

//! The directory `/proc` itself.

use super::{
    super::{
        Inode, InodeKind, Link,
        pseudo::{DirInode, Directory, Identity, LinkInode, Name, TextInode},
    },
    file_system, inode_number, net, parse_number, process, sys, system,
};
use crate::{prelude::*, process::table};

/// Cursors of processes start here, above those of the fixed entries.
const FIRST_PROCESS: u64 = 256;

/// The root directory.
pub struct Root;

/// A fixed entry.
enum Entry {
    /// A text.
    Text(fn(&Context) -> Result<Vec<u8>>),
    /// A symbolic link.
    Link(fn(&Context) -> Result<Link>),
    /// `/proc/sys`
    Sys,
    /// `/proc/net`
    Net,
}

const ENTRIES: &[(&str, Entry)] = &[
    ("self", Entry::Link(self_link)),
    ("thread-self", Entry::Link(thread_self_link)),
    ("mounts", Entry::Link(mounts_link)),
    ("cgroups", Entry::Text(system::cgroups)),
    ("cmdline", Entry::Text(system::cmdline)),
    ("consoles", Entry::Text(system::consoles)),
    ("cpuinfo", Entry::Text(system::cpuinfo)),
    ("devices", Entry::Text(system::devices)),
    ("filesystems", Entry::Text(system::filesystems)),
    ("interrupts", Entry::Text(system::interrupts)),
    ("locks", Entry::Text(system::locks)),
    ("loadavg", Entry::Text(system::loadavg)),
    ("meminfo", Entry::Text(system::meminfo)),
    ("partitions", Entry::Text(system::partitions)),
    ("stat", Entry::Text(system::stat)),
    ("swaps", Entry::Text(system::swaps)),
    ("uptime", Entry::Text(system::uptime)),
    ("version", Entry::Text(system::version)),
    ("vmstat", Entry::Text(system::vmstat)),
    ("sys", Entry::Sys),
    ("net", Entry::Net),
];

impl Entry {
    fn kind(&self) -> InodeKind {
        match self {
            Self::Text(_) => InodeKind::Regular,
            Self::Link(_) => InodeKind::Symlink,
            Self::Sys | Self::Net => InodeKind::Directory,
        }
    }

    fn inode(&self, number: u64) -> Arc<dyn Inode> {
        match self {
            Self::Text(show) => {
                Arc::new(TextInode::new(file_system(), Identity::of_root(number, 0o444), *show).pollable())
            }
            Self::Link(follow) => LinkInode::new(file_system(), Identity::of_root(number, 0o777), 0, *follow),
            Self::Sys => DirInode::new(file_system(), Identity::of_root(number, 0o555), sys::top()),
            Self::Net => DirInode::new(file_system(), Identity::of_root(number, 0o555), net::NetDir),
        }
    }
}

fn entry_number(index: usize) -> u64 {
    inode_number(0, 2 + index as u32)
}

impl Directory for Root {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if let Some(index) = ENTRIES.iter().position(|(known, _)| known.as_bytes() == name) {
            return Ok(ENTRIES[index].1.inode(entry_number(index)));
        }
        let pid = parse_number(name).ok_or(ENOENT)?;
        process::directory_of_id(pid).ok_or(ENOENT)
    }

    fn list(&self) -> Vec<Name> {
        let fixed = ENTRIES.iter().enumerate().map(|(index, (name, entry))| Name {
            name: name.as_bytes().to_vec(),
            number: entry_number(index),
            kind: entry.kind(),
            next: 3 + index as u64,
        });
        let processes = table::processes().into_iter().map(|process| Name {
            name: process.pid.to_string().into_bytes(),
            number: process::number(process.pid),
            kind: InodeKind::Directory,
            next: FIRST_PROCESS + u64::from(process.pid),
        });
        fixed.chain(processes).collect()
    }

    fn subdirectories(&self) -> u32 {
        2 + table::processes().len() as u32
    }
}

fn self_link(ctx: &Context) -> Result<Link> {
    Ok(Link::Target(ctx.process.pid.to_string().into_bytes()))
}

fn thread_self_link(ctx: &Context) -> Result<Link> {
    Ok(Link::Target(alloc::format!("{}/task/{}", ctx.process.pid, ctx.thread.tid()).into_bytes()))
}

fn mounts_link(_ctx: &Context) -> Result<Link> {
    Ok(Link::Target(b"self/mounts".to_vec()))
}
