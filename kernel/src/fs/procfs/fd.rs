// SPDX-License-Identifier: MPL-2.0

//! `/proc/PID/fd` and `/proc/PID/fdinfo`: the open descriptors of a process.

use core::fmt::Write;

use super::{
    super::{
        Inode, InodeKind, Link,
        pseudo::{Directory, Identity, LinkInode, Name, TextInode},
    },
    file_system, inode_number, parse_number,
    process::Subject,
};
use crate::{
    file::{AccessMode, Description, table::Fd},
    prelude::*,
};

/// Inode numbers of descriptors start here within a process.
const FIRST_FD: u32 = 0x0100_0000;
/// And those of their `fdinfo` here.
const FIRST_INFO: u32 = 0x0200_0000;

/// `O_CLOEXEC`, which `fdinfo` shows beside the status flags.
const O_CLOEXEC: u32 = 0o2_000_000;

/// `/proc/PID/fd`
pub(super) struct FdDir(pub Subject);

/// `/proc/PID/fdinfo`
pub(super) struct FdInfoDir(pub Subject);

fn description(subject: &Subject, fd: Fd) -> Result<Arc<Description>> {
    subject.thread()?.files.lock().clone().get(fd).map_err(|_| ENOENT)
}

fn parse_fd(name: &[u8]) -> Result<Fd> {
    parse_number(name).and_then(|number| Fd::try_from(number).ok()).ok_or(ENOENT)
}

fn list(subject: &Subject, first: u32, kind: InodeKind) -> Vec<Name> {
    let Ok(thread) = subject.thread() else {
        return Vec::new();
    };
    let files = thread.files.lock().clone();
    let names = files.snapshot().into_iter().map(|(fd, _)| Name {
        name: fd.to_string().into_bytes(),
        number: inode_number(subject.id, first + fd as u32),
        kind,
        next: 3 + fd as u64,
    });
    names.collect()
}

impl Directory for FdDir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let fd = parse_fd(name)?;
        let access = description(&self.0, fd)?.access();
        // As on Linux the permissions of the link show how the file is open.
        let mut permissions = 0o100;
        if access.contains(AccessMode::READ) {
            permissions |= 0o400;
        }
        if access.contains(AccessMode::WRITE) {
            permissions |= 0o200;
        }
        let number = inode_number(self.0.id, FIRST_FD + fd as u32);
        let subject = self.0.clone();
        Ok(LinkInode::new(file_system(), Identity { number, permissions, owner: (0, 0) }, 64, move |ctx| {
            subject.check_access(ctx)?;
            Ok(Link::Jump(description(&subject, fd)?.path()))
        }))
    }

    fn list(&self) -> Vec<Name> {
        list(&self.0, FIRST_FD, InodeKind::Symlink)
    }
}

impl Directory for FdInfoDir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let fd = parse_fd(name)?;
        description(&self.0, fd)?;
        let identity = Identity::of_root(inode_number(self.0.id, FIRST_INFO + fd as u32), 0o444);
        let subject = self.0.clone();
        Ok(Arc::new(TextInode::new(file_system(), identity, move |ctx| {
            subject.check_access(ctx)?;
            show_info(&subject, fd)
        })))
    }

    fn list(&self) -> Vec<Name> {
        list(&self.0, FIRST_INFO, InodeKind::Regular)
    }
}

/// As Linux's `seq_show` in `fs/proc/fd.c`.
fn show_info(subject: &Subject, fd: Fd) -> Result<Vec<u8>> {
    let description = description(subject, fd)?;
    let files = subject.thread()?.files.lock().clone();
    let mut flags = description.status().bits() | description.access().to_open_flags();
    if files.close_on_exec(fd).unwrap_or(false) {
        flags |= O_CLOEXEC;
    }
    let position = if description.file().is_seekable() { *description.position().lock() } else { 0 };
    let path = description.path();
    let mut out = String::new();
    let (mount, inode) = (path.mount().id(), path.inode().number());
    let _ = write!(out, "pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{inode}\n");
    description.file().fdinfo(&mut out);
    Ok(out.into_bytes())
}
