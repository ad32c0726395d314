// SPDX-License-Identifier: MPL-2.0

//! What happens to files, for those who watch (`inotify(7)`).
//!
//! # Protocol
//! Each function here is called when an operation has succeeded, with no spin lock held. While nobody watches anything it costs one
//! load ([`inotify::is_anybody_watching`]). Which events come, in which order, is that of Linux's `fsnotify`: the directory hears of
//! what happens in it with the name, then the file itself without. A file hears of its end when the last name has gone and nobody
//! has it open any more: that is when the last reference to its dentry goes.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{Dentry, Inode, Path, RenameMode, SuperBlock};
use crate::{
    events::inotify::{self, News},
    prelude::*,
};

bitflags::bitflags! {
    /// Events and flags of `inotify(7)`, with its values.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    #[allow(missing_docs, reason = "the names are those of inotify(7)")]
    pub struct FileEvents: u32 {
        const ACCESS = 0x1;
        const MODIFY = 0x2;
        const ATTRIB = 0x4;
        const CLOSE_WRITE = 0x8;
        const CLOSE_NOWRITE = 0x10;
        const OPEN = 0x20;
        const MOVED_FROM = 0x40;
        const MOVED_TO = 0x80;
        const CREATE = 0x100;
        const DELETE = 0x200;
        const DELETE_SELF = 0x400;
        const MOVE_SELF = 0x800;
        const UNMOUNT = 0x2000;
        const Q_OVERFLOW = 0x4000;
        const IGNORED = 0x8000;
        const ONLYDIR = 0x100_0000;
        const DONT_FOLLOW = 0x200_0000;
        const EXCL_UNLINK = 0x400_0000;
        const MASK_CREATE = 0x1000_0000;
        const MASK_ADD = 0x2000_0000;
        const ISDIR = 0x4000_0000;
        const ONESHOT = 0x8000_0000;

        /// `IN_ALL_EVENTS`
        const ALL = 0xfff;
        /// What an inode can be watched for; the rest is flags.
        const SOURCES = Self::ALL.bits() | Self::UNMOUNT.bits();
    }
}

/// How an operation came to the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum By {
    /// By an open file, which may have outlived its name.
    Description,
    /// By its name or inode.
    Name,
}

fn kind_flag(inode: &Arc<dyn Inode>) -> FileEvents {
    if inode.is_dir() { FileEvents::ISDIR } else { FileEvents::empty() }
}

/// Tells those who watch `inode`.
fn tell(inode: &Arc<dyn Inode>, news: &News<'_>) {
    if inode.base().is_watched(news.events & FileEvents::SOURCES) {
        inotify::deliver(inode, news);
    }
}

/// Something happened to `inode` itself.
fn tell_self(inode: &Arc<dyn Inode>, events: FileEvents) {
    tell(inode, &News { events: events | kind_flag(inode), cookie: 0, name: None, is_unlinked: false });
}

/// Something happened to the entry `name` of `dir`.
fn tell_dir(dir: &Dentry, name: &[u8], events: FileEvents, cookie: u32) {
    tell(dir.inode(), &News { events, cookie, name: Some(name), is_unlinked: false });
}

/// Something happened to a file in its place: tells the directory, then the file.
#[cold]
fn tell_both(dentry: &Dentry, events: FileEvents, by: By) {
    let inode = dentry.inode();
    let is_unlinked = by == By::Description && dentry.is_deleted();
    let news = News { events: events | kind_flag(inode), cookie: 0, name: None, is_unlinked };
    if let Some((parent, name)) = dentry.place() {
        tell(parent.inode(), &News { name: Some(&name), ..news });
    }
    tell(inode, &news);
}

/// Something was done by way of an open file, whose path is `path`.
#[inline]
pub fn used(path: &Path, events: FileEvents) {
    if inotify::is_anybody_watching() {
        tell_both(path.dentry(), events, By::Description);
    }
}

/// The attributes or the size of the file at `path` were changed.
#[inline]
pub fn changed(path: &Path, events: FileEvents) {
    if inotify::is_anybody_watching() {
        tell_both(path.dentry(), events, By::Name);
    }
}

/// `dentry` was made.
pub fn created(dentry: &Dentry) {
    if inotify::is_anybody_watching()
        && let Some((dir, name)) = dentry.place()
    {
        tell_dir(&dir, &name, FileEvents::CREATE | kind_flag(dentry.inode()), 0);
    }
}

/// An inode got the further name `dentry`.
pub fn linked(dentry: &Dentry) {
    if inotify::is_anybody_watching() {
        tell_self(dentry.inode(), FileEvents::ATTRIB);
        created(dentry);
    }
}

/// `victim` was removed from `dir`, where it was called `name`.
pub fn removed(dir: &Dentry, name: &[u8], victim: Arc<Dentry>) {
    if !inotify::is_anybody_watching() {
        return;
    }
    let kind = kind_flag(victim.inode());
    if kind.is_empty() {
        tell_self(victim.inode(), FileEvents::ATTRIB); // It has a link less.
    }
    // Maybe the end of it.
    drop(victim);
    tell_dir(dir, name, FileEvents::DELETE | kind, 0);
}

/// The two ends of a rename: directory and name.
pub type Ends<'a> = [(&'a Dentry, &'a [u8]); 2];

/// `moved` went from the first of `ends` to the second, and took the place of `target`, or exchanged it.
pub fn renamed(ends: Ends<'_>, moved: &Arc<Dentry>, target: Option<Arc<Dentry>>, mode: RenameMode) {
    if !inotify::is_anybody_watching() {
        return;
    }
    let [from, to] = ends;
    let exchanged = target.clone().filter(|_| mode == RenameMode::Exchange);
    let replaced = target.filter(|_| mode == RenameMode::Replace);
    tell_move(from, to, moved, replaced.as_ref());
    if let Some(exchanged) = &exchanged {
        tell_move(to, from, exchanged, None);
    }
    // Maybe the end of what was replaced.
    drop(replaced);
}

fn tell_move(from: (&Dentry, &[u8]), to: (&Dentry, &[u8]), moved: &Dentry, replaced: Option<&Arc<Dentry>>) {
    static COOKIE: AtomicU32 = AtomicU32::new(1);
    // Relaxed: only uniqueness matters. 0 means none.
    let cookie = COOKIE.fetch_add(1, Relaxed).max(1);
    let kind = kind_flag(moved.inode());
    tell_dir(from.0, from.1, FileEvents::MOVED_FROM | kind, cookie);
    tell_dir(to.0, to.1, FileEvents::MOVED_TO | kind, cookie);
    if let Some(replaced) = replaced {
        tell_self(replaced.inode(), FileEvents::ATTRIB);
    }
    tell_self(moved.inode(), FileEvents::MOVE_SELF);
}

/// The last reference to a removed name of `inode` is gone.
pub(super) fn name_is_gone(inode: &Arc<dyn Inode>) {
    if inotify::is_anybody_watching()
        && inode.base().is_watched(FileEvents::SOURCES)
        && inode.base().attributes().links == 0
    {
        inotify::inode_is_gone(inode);
    }
}

/// A file system is mounted nowhere any more, and nobody uses it.
pub(super) fn unmounted(super_block: &SuperBlock) {
    if inotify::is_anybody_watching() {
        inotify::unmounted(super_block.file_system().device());
    }
}
