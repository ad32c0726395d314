// SPDX-License-Identifier: MPL-2.0

//! `/proc/PID` and `/proc/PID/task/TID`: the directories of a process and of its threads.

use super::{
    super::{
        Inode, InodeKind, Link, Path, mount,
        pseudo::{DirInode, Directory, Identity, LinkInode, Name, TextInode},
    },
    fd, file_system, inode_number, parse_number, status,
};
use crate::{
    prelude::*,
    process::{Process, Thread, Tid, credentials::Capabilities, table},
};

/// The process or thread that a directory is about.
#[derive(Clone)]
pub(super) struct Subject {
    /// The process.
    pub process: Arc<Process>,
    /// The thread; the main one for `/proc/PID`. `None` once all are gone (a zombie).
    pub thread: Option<Arc<Thread>>,
    /// Its number.
    pub id: Tid,
    /// Whether it is about one thread only.
    pub is_task: bool,
}

impl Subject {
    /// The thread.
    ///
    /// # Errors
    /// `ESRCH` if it is gone.
    pub fn thread(&self) -> Result<&Arc<Thread>> {
        self.thread.as_ref().ok_or(ESRCH)
    }

    fn owner(&self) -> (u32, u32) {
        self.thread.as_ref().map_or((0, 0), |thread| {
            let credentials = thread.credentials.lock().clone();
            (credentials.euid, credentials.egid)
        })
    }

    /// Whether the caller may look into the memory and files of the subject (`ptrace(2)`, access mode checking).
    ///
    /// # Errors
    /// `EACCES` if not; `ESRCH` if it is gone.
    pub fn check_access(&self, ctx: &Context) -> Result<()> {
        if Arc::ptr_eq(&self.process, &ctx.process) {
            return Ok(());
        }
        let own = ctx.credentials();
        let other = self.thread()?.credentials.lock().clone();
        let is_same = [other.uid, other.euid, other.suid].iter().all(|uid| *uid == own.fsuid);
        if is_same || own.has(Capabilities::SYS_PTRACE) { Ok(()) } else { Err(EACCES) }
    }
}

/// What an entry is.
#[derive(Clone, Copy)]
enum Entry {
    /// A text for everybody.
    Text(fn(&Subject, &Context) -> Result<Vec<u8>>),
    /// A text for everybody about the mounts, which can be polled for changes of them.
    Mounts(fn(&Subject, &Context) -> Result<Vec<u8>>),
    /// A text for those who may look into the process, and the permissions that it shows.
    Secret(u16, fn(&Subject, &Context) -> Result<Vec<u8>>),
    /// A text that the owner may change.
    Setting(fn(&Subject, &Context) -> Result<Vec<u8>>, fn(&Subject, &Context, &[u8]) -> Result<()>),
    /// A magic link.
    Link(fn(&Subject) -> Result<Path>),
    /// `fd`
    Fds,
    /// `fdinfo`
    FdInfos,
    /// `task`, only in the directory of a process.
    Tasks,
}

const ENTRIES: &[(&str, Entry)] = &[
    ("auxv", Entry::Secret(0o400, status::auxv)),
    ("cgroup", Entry::Text(status::cgroup)),
    ("cmdline", Entry::Text(status::cmdline)),
    ("comm", Entry::Setting(status::comm, status::set_comm)),
    ("cwd", Entry::Link(working_directory)),
    ("environ", Entry::Secret(0o400, status::environ)),
    ("exe", Entry::Link(executable)),
    ("fd", Entry::Fds),
    ("fdinfo", Entry::FdInfos),
    ("limits", Entry::Text(status::limits)),
    ("loginuid", Entry::Text(status::loginuid)),
    ("maps", Entry::Secret(0o444, status::maps)),
    ("mountinfo", Entry::Mounts(status::mountinfo)),
    ("mounts", Entry::Mounts(status::mounts)),
    ("oom_score", Entry::Text(status::oom_score)),
    ("oom_score_adj", Entry::Setting(status::oom_score_adj, status::set_oom_score_adj)),
    ("personality", Entry::Secret(0o400, status::personality)),
    ("root", Entry::Link(root_directory)),
    ("smaps", Entry::Secret(0o444, status::smaps)),
    ("stat", Entry::Text(status::stat)),
    ("statm", Entry::Text(status::statm)),
    ("status", Entry::Text(status::status)),
    ("task", Entry::Tasks),
];

/// The inode number of the directory of `id`.
pub(super) fn number(id: u32) -> u64 {
    inode_number(id, 1)
}

/// The directory of process `id`, or of the process that thread `id` belongs to, which Linux finds, too.
pub(super) fn directory_of_id(id: u32) -> Option<Arc<dyn Inode>> {
    let (process, thread) = match table::process(id) {
        Some(process) => {
            let thread = process.main_thread();
            (process, thread)
        }
        None => {
            let thread = table::thread(id)?;
            (thread.process.clone(), Some(thread))
        }
    };
    Some(directory(Subject { process, thread, id, is_task: false }))
}

/// The process whose directory `inode` is; `None` for all other inodes, those of threads among them.
pub fn process_of_directory(inode: &Arc<dyn Inode>) -> Option<Arc<Process>> {
    let subject = &inode.downcast::<DirInode<ProcessDir>>()?.directory().0;
    (!subject.is_task).then(|| subject.process.clone())
}

fn directory(subject: Subject) -> Arc<dyn Inode> {
    let number = inode_number(subject.id, if subject.is_task { 2 } else { 1 });
    let identity = Identity { number, permissions: 0o555, owner: subject.owner() };
    DirInode::new(file_system(), identity, ProcessDir(subject))
}

struct ProcessDir(Subject);

impl ProcessDir {
    fn entries(&self) -> impl Iterator<Item = (usize, &'static (&'static str, Entry))> {
        let is_task = self.0.is_task;
        let shown = move |entry: &Entry| !(is_task && matches!(entry, Entry::Tasks));
        ENTRIES.iter().enumerate().filter(move |(_, (_, entry))| shown(entry))
    }

    fn entry_number(&self, index: usize) -> u64 {
        let base = if self.0.is_task { 64 } else { 8 };
        inode_number(self.0.id, base + index as u32)
    }

    fn inode(&self, number: u64, entry: Entry) -> Arc<dyn Inode> {
        let subject = self.0.clone();
        let fs = file_system();
        let identity = |permissions| Identity { number, permissions, owner: subject.owner() };
        match entry {
            Entry::Text(show) => {
                let identity = identity(0o444);
                Arc::new(TextInode::new(fs, identity, move |ctx| show(&subject, ctx)))
            }
            Entry::Mounts(show) => {
                let inode = TextInode::new(fs, identity(0o444), move |ctx| show(&subject, ctx));
                Arc::new(inode.polled_for(mount::changes()))
            }
            Entry::Secret(permissions, show) => {
                let identity = identity(permissions);
                Arc::new(TextInode::new(fs, identity, move |ctx| {
                    subject.check_access(ctx)?;
                    show(&subject, ctx)
                }))
            }
            Entry::Setting(show, store) => {
                let (identity, writer) = (identity(0o644), subject.clone());
                let inode = TextInode::new(fs, identity, move |ctx| show(&subject, ctx));
                Arc::new(inode.with_store(move |ctx, bytes| store(&writer, ctx, bytes)))
            }
            Entry::Link(find) => {
                let identity = identity(0o777);
                LinkInode::new(fs, identity, 0, move |ctx| {
                    subject.check_access(ctx)?;
                    find(&subject).map(Link::Jump)
                })
            }
            Entry::Fds => DirInode::new(fs, identity(0o500), fd::FdDir(subject)),
            Entry::FdInfos => DirInode::new(fs, identity(0o555), fd::FdInfoDir(subject)),
            Entry::Tasks => DirInode::new(fs, identity(0o555), TaskDir(subject)),
        }
    }
}

impl Directory for ProcessDir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let (index, (_, entry)) = self.entries().find(|(_, (known, _))| known.as_bytes() == name).ok_or(ENOENT)?;
        Ok(self.inode(self.entry_number(index), *entry))
    }

    fn list(&self) -> Vec<Name> {
        let names = self.entries().map(|(index, (name, entry))| Name {
            name: name.as_bytes().to_vec(),
            number: self.entry_number(index),
            kind: match entry {
                Entry::Link(_) => InodeKind::Symlink,
                Entry::Fds | Entry::FdInfos | Entry::Tasks => InodeKind::Directory,
                _ => InodeKind::Regular,
            },
            next: 3 + index as u64,
        });
        names.collect()
    }

    fn subdirectories(&self) -> u32 {
        if self.0.is_task { 2 } else { 3 }
    }
}

/// `/proc/PID/task`
struct TaskDir(Subject);

impl Directory for TaskDir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let tid = parse_number(name).ok_or(ENOENT)?;
        let thread = self.0.process.threads().into_iter().find(|thread| thread.tid() == tid).ok_or(ENOENT)?;
        let process = self.0.process.clone();
        Ok(directory(Subject { process, thread: Some(thread), id: tid, is_task: true }))
    }

    fn list(&self) -> Vec<Name> {
        let mut tids: Vec<Tid> = self.0.process.threads().iter().map(|thread| thread.tid()).collect();
        tids.sort_unstable();
        let names = tids.into_iter().map(|tid| Name {
            name: tid.to_string().into_bytes(),
            number: inode_number(tid, 2),
            kind: InodeKind::Directory,
            next: 3 + u64::from(tid),
        });
        names.collect()
    }

    fn subdirectories(&self) -> u32 {
        self.0.process.threads().len() as u32
    }
}

fn working_directory(subject: &Subject) -> Result<Path> {
    Ok(subject.thread()?.fs.lock().clone().cwd())
}

fn root_directory(subject: &Subject) -> Result<Path> {
    Ok(subject.thread()?.fs.lock().clone().root())
}

fn executable(subject: &Subject) -> Result<Path> {
    let program = subject.process.program.lock().clone();
    program.executable.map(|executable| executable.path).ok_or(ENOENT)
}
