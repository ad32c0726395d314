// SPDX-License-Identifier: MPL-2.0

//! `/proc/sys`: settings. What can be written takes effect; the others are read-only.

use core::fmt::Write;

use spin::Once;

use super::{
    super::{
        Inode, InodeKind,
        pseudo::{DirInode, Directory, Identity, Name, TextInode, text},
    },
    file_system, inode_number,
};
use crate::{
    events::{epoll, inotify::limits::Limit},
    file::table::NR_OPEN,
    fs::pipe,
    prelude::*,
    process::table,
    random, system,
};

mod net;

type Show = fn(&Context) -> Result<Vec<u8>>;
type Store = fn(&Context, &[u8]) -> Result<()>;

/// A name below `/proc/sys`.
enum Node {
    Dir(&'static [(&'static str, Node)]),
    /// To be read.
    Fixed(Show),
    /// To be read and, by root, written.
    Setting(Show, Store),
}

use Node::{Dir, Fixed, Setting};

const TOP: &[(&str, Node)] = &[("fs", Dir(FS)), ("kernel", Dir(KERNEL)), ("net", Dir(net::SETTINGS)), ("vm", Dir(VM))];

const KERNEL: &[(&str, Node)] = &[
    ("cap_last_cap", Fixed(|_| text(format_args!("40\n")))),
    ("core_pattern", Fixed(|_| text(format_args!("\n")))),
    (
        "domainname",
        Setting(|_| line(&system::names().domain), |_, bytes| set_name(bytes, |names, name| names.domain = name)),
    ),
    ("hostname", Setting(|_| line(&system::names().host), |_, bytes| set_name(bytes, |names, name| names.host = name))),
    ("ngroups_max", Fixed(|_| text(format_args!("65536\n")))),
    ("osrelease", Fixed(|_| line(system::RELEASE.as_bytes()))),
    ("ostype", Fixed(|_| line(system::SYSTEM_NAME.as_bytes()))),
    ("overflowgid", Fixed(|_| text(format_args!("65534\n")))),
    ("overflowuid", Fixed(|_| text(format_args!("65534\n")))),
    ("pid_max", Fixed(|_| text(format_args!("{}\n", table::PID_MAX)))),
    ("printk", Setting(show_printk, store_printk)),
    ("random", Dir(RANDOM)),
    ("threads-max", Fixed(|_| text(format_args!("{}\n", table::max_threads())))),
    ("version", Fixed(|_| line(system::VERSION.as_bytes()))),
];

const RANDOM: &[(&str, Node)] = &[
    ("boot_id", Fixed(|_| text(format_args!("{}\n", boot_id())))),
    ("entropy_avail", Fixed(|_| text(format_args!("256\n")))),
    ("poolsize", Fixed(|_| text(format_args!("256\n")))),
    ("uuid", Fixed(|_| text(format_args!("{}\n", new_uuid())))),
];

const FS: &[(&str, Node)] = &[
    ("epoll", Dir(EPOLL)),
    ("file-max", Fixed(|_| text(format_args!("{}\n", i64::MAX)))),
    ("file-nr", Fixed(|_| text(format_args!("{}\t0\t{}\n", crate::file::open_descriptions(), i64::MAX)))),
    ("inotify", Dir(INOTIFY)),
    ("nr_open", Fixed(|_| text(format_args!("{NR_OPEN}\n")))),
    ("overflowgid", Fixed(|_| text(format_args!("65534\n")))),
    ("overflowuid", Fixed(|_| text(format_args!("65534\n")))),
    (
        "pipe-max-size",
        Setting(|_| text(format_args!("{}\n", pipe::max_size())), |_, bytes| pipe::set_max_size(parse(bytes)?)),
    ),
];

const EPOLL: &[(&str, Node)] = &[(
    "max_user_watches",
    Setting(
        |_| text(format_args!("{}\n", epoll::max_user_watches())),
        |_, bytes| epoll::set_max_user_watches(parse(bytes)?),
    ),
)];

const INOTIFY: &[(&str, Node)] = &[
    ("max_queued_events", Setting(|_| show(Limit::QueuedEvents), |_, bytes| Limit::QueuedEvents.set(parse(bytes)?))),
    ("max_user_instances", Setting(|_| show(Limit::UserInstances), |_, bytes| Limit::UserInstances.set(parse(bytes)?))),
    ("max_user_watches", Setting(|_| show(Limit::UserWatches), |_, bytes| Limit::UserWatches.set(parse(bytes)?))),
];

fn show(limit: Limit) -> Result<Vec<u8>> {
    text(format_args!("{}\n", limit.get()))
}

const VM: &[(&str, Node)] = &[
    ("max_map_count", Fixed(|_| text(format_args!("{}\n", crate::vm::MAX_MAP_COUNT)))),
    ("mmap_min_addr", Fixed(|_| text(format_args!("65536\n")))),
    // Memory is not accounted before it is touched.
    ("overcommit_memory", Fixed(|_| text(format_args!("1\n")))),
    ("swappiness", Fixed(|_| text(format_args!("0\n")))),
];

/// The directory `/proc/sys`.
pub(super) fn top() -> SysDir {
    SysDir { entries: TOP, number: 1000 }
}

/// A directory below `/proc/sys`.
pub(super) struct SysDir {
    entries: &'static [(&'static str, Node)],
    /// Its inode's number; its entries follow, with room for their own.
    number: u32,
}

impl SysDir {
    fn entry_number(&self, index: usize) -> u32 {
        // Unique while no directory has more than 64 entries and none lies deeper than four levels.
        self.number.wrapping_mul(64).wrapping_add(index as u32 + 1)
    }

    fn inode(&self, index: usize, node: &'static Node) -> Arc<dyn Inode> {
        let entry_number = self.entry_number(index);
        let identity = |permissions| Identity::of_root(inode_number(0, entry_number), permissions);
        match node {
            Dir(entries) => {
                let directory = SysDir { entries, number: entry_number };
                DirInode::new(file_system(), identity(0o555), directory)
            }
            Fixed(show) => Arc::new(TextInode::new(file_system(), identity(0o444), *show).pollable()),
            Setting(show, store) => {
                let inode = TextInode::new(file_system(), identity(0o644), *show);
                Arc::new(inode.with_store(*store).pollable())
            }
        }
    }
}

impl Directory for SysDir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let index = self.entries.iter().position(|(known, _)| known.as_bytes() == name).ok_or(ENOENT)?;
        Ok(self.inode(index, &self.entries[index].1))
    }

    fn list(&self) -> Vec<Name> {
        let entries = self.entries.iter().enumerate();
        let names = entries.map(|(index, (name, node))| Name {
            name: name.as_bytes().to_vec(),
            number: inode_number(0, self.entry_number(index)),
            kind: if matches!(node, Dir(_)) { InodeKind::Directory } else { InodeKind::Regular },
            next: 3 + index as u64,
        });
        names.collect()
    }

    fn subdirectories(&self) -> u32 {
        self.entries.iter().filter(|(_, node)| matches!(node, Dir(_))).count() as u32
    }
}

fn line(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok([bytes, b"\n"].concat())
}

/// The first line of what was written, without white space at its end.
fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or(&[]).trim_ascii_end()
}

/// # Errors
/// `EINVAL` if it is not a number.
fn parse<T: core::str::FromStr>(bytes: &[u8]) -> Result<T> {
    let text = core::str::from_utf8(first_line(bytes)).map_err(|_| EINVAL)?;
    text.trim().parse().map_err(|_| EINVAL)
}

fn set_name(bytes: &[u8], set: fn(&mut system::Names, Vec<u8>)) -> Result<()> {
    let name = first_line(bytes);
    if name.len() > system::NAME_MAX {
        return Err(EINVAL);
    }
    system::set_names(|names| set(names, name.to_vec()));
    Ok(())
}

/// Current, default, minimum and boot-time level of the console.
fn show_printk(_ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("{}\t4\t1\t5\n", crate::log::console_level()))
}

fn store_printk(_ctx: &Context, bytes: &[u8]) -> Result<()> {
    let first = first_line(bytes).split(u8::is_ascii_whitespace).next().unwrap_or(&[]);
    crate::log::set_console_level(parse(first)?);
    Ok(())
}

fn boot_id() -> &'static str {
    static ID: Once<String> = Once::new();
    ID.call_once(new_uuid)
}

/// A random UUID: version 4, variant 1 (RFC 9562, section 5.4).
fn new_uuid() -> String {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut out = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    out
}
