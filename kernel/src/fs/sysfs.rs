// SPDX-License-Identifier: MPL-2.0

//! `/sys`: the little of `sysfs(5)` that programs ask for, which is the machine's CPUs and whether pages are huge.

use alloc::format;

use ostd::cpu::num_cpus;
use spin::Once;

use super::{
    FileSystemType, Inode, InodeKind, SuperBlock,
    pseudo::{DirInode, Directory, Identity, Name, PseudoFs, TextInode, text},
};
use crate::prelude::*;

const SYSFS_MAGIC: u64 = 0x6265_6572;

/// sysfs as `mount(2)` knows it.
pub struct SysFsType;

impl FileSystemType for SysFsType {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn mount(&self, _data: &str) -> Result<Arc<SuperBlock>> {
        static INSTANCE: Once<Arc<SuperBlock>> = Once::new();
        let instance = INSTANCE.call_once(|| {
            let root = DirInode::new(file_system(), Identity::of_root(1, 0o555), Dir { nodes: ROOT, number: 1 });
            SuperBlock::new(file_system().clone(), root)
        });
        Ok(instance.clone())
    }
}

fn file_system() -> &'static Arc<PseudoFs> {
    static FS: Once<Arc<PseudoFs>> = Once::new();
    FS.call_once(|| PseudoFs::new("sysfs", SYSFS_MAGIC, EPERM))
}

/// A name and what it stands for.
type Entry = (&'static str, Node);

enum Node {
    Dir(&'static [Entry]),
    /// The CPUs: fixed entries, then `cpu0` and so on.
    Cpus(&'static [Entry]),
    Text(fn() -> String),
}

use Node::{Cpus, Dir as Subdir, Text};

const ROOT: &[Entry] = &[("devices", Subdir(DEVICES)), ("fs", Subdir(FS)), ("kernel", Subdir(KERNEL))];
const DEVICES: &[Entry] = &[("system", Subdir(SYSTEM))];
const SYSTEM: &[Entry] = &[("cpu", Cpus(CPU))];
/// Where control groups would be mounted.
const FS: &[Entry] = &[("cgroup", Subdir(&[]))];
const KERNEL: &[Entry] = &[("mm", Subdir(MM))];
const MM: &[Entry] = &[("transparent_hugepage", Subdir(HUGE_PAGES))];
const HUGE_PAGES: &[Entry] = &[
    ("defrag", Text(|| "always defer defer+madvise madvise [never]\n".into())),
    ("enabled", Text(|| "always madvise [never]\n".into())),
];
const CPU: &[Entry] = &[
    ("isolated", Text(|| "\n".into())),
    ("kernel_max", Text(|| format!("{}\n", num_cpus() - 1))),
    ("offline", Text(|| "\n".into())),
    ("online", Text(all_cpus)),
    ("possible", Text(all_cpus)),
    ("present", Text(all_cpus)),
];
/// The directory of one CPU.
const ONE_CPU: &[Entry] = &[("online", Text(|| "1\n".into()))];

/// The CPUs as a list, as `cpuset(7)` writes it.
fn all_cpus() -> String {
    match num_cpus() {
        0 | 1 => "0\n".into(),
        count => format!("0-{}\n", count - 1),
    }
}

/// A directory of the tree.
struct Dir {
    nodes: &'static [Entry],
    /// Its inode's number; those of its entries are derived.
    number: u64,
}

/// The directory of the CPUs.
struct CpuDir(Dir);

/// Room for the entries of one directory in the numbers of inodes.
const NUMBERS_PER_DIR: u64 = 64;
/// The first index of a CPU among the entries of its directory, as number and as cursor.
const FIRST_CPU: usize = 16;

impl Dir {
    fn entry_number(&self, index: usize) -> u64 {
        self.number.wrapping_mul(NUMBERS_PER_DIR).wrapping_add(index as u64 + 1)
    }

    fn inode(&self, index: usize, node: &'static Node) -> Arc<dyn Inode> {
        let number = self.entry_number(index);
        let dir = |nodes| Dir { nodes, number };
        let of_dir = Identity::of_root(number, 0o755);
        match node {
            Subdir(nodes) => DirInode::new(file_system(), of_dir, dir(nodes)),
            Cpus(nodes) => DirInode::new(file_system(), of_dir, CpuDir(dir(nodes))),
            Text(show) => {
                let show = *show;
                let identity = Identity::of_root(number, 0o444);
                Arc::new(TextInode::new(file_system(), identity, move |_| text(format_args!("{}", show()))))
            }
        }
    }

    fn name(&self, index: usize, name: &str, kind: InodeKind) -> Name {
        Name { name: name.into(), number: self.entry_number(index), kind, next: index as u64 + 3 }
    }
}

impl Directory for Dir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let found = self.nodes.iter().enumerate().find(|(_, (known, _))| known.as_bytes() == name);
        let (index, (_, node)) = found.ok_or(ENOENT)?;
        Ok(self.inode(index, node))
    }

    fn list(&self) -> Vec<Name> {
        let entries = self.nodes.iter().enumerate();
        let names = entries.map(|(index, (name, node))| {
            let kind = if matches!(node, Text(_)) { InodeKind::Regular } else { InodeKind::Directory };
            self.name(index, name, kind)
        });
        names.collect()
    }

    fn subdirectories(&self) -> u32 {
        self.nodes.iter().filter(|(_, node)| !matches!(node, Text(_))).count() as u32
    }
}

impl Directory for CpuDir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let cpu = (0..num_cpus()).find(|cpu| format!("cpu{cpu}").as_bytes() == name);
        let Some(cpu) = cpu else {
            return self.0.find(name);
        };
        let number = self.0.entry_number(FIRST_CPU + cpu);
        let dir = Dir { nodes: ONE_CPU, number };
        Ok(DirInode::new(file_system(), Identity::of_root(number, 0o755), dir))
    }

    fn list(&self) -> Vec<Name> {
        let mut names = self.0.list();
        names.extend(
            (0..num_cpus()).map(|cpu| self.0.name(FIRST_CPU + cpu, &format!("cpu{cpu}"), InodeKind::Directory)),
        );
        names
    }

    fn subdirectories(&self) -> u32 {
        num_cpus() as u32
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn every_listed_name_is_found_with_its_number() {
        let cpus = CpuDir(Dir { nodes: CPU, number: 5 });
        for name in cpus.list() {
            let inode = cpus.find(&name.name).unwrap();
            assert_eq!((inode.number(), inode.kind()), (name.number, name.kind));
        }
        assert_eq!(cpus.find(b"cpu99").err(), Some(ENOENT));
    }
}
