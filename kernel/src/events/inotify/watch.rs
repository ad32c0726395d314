// SPDX-License-Identifier: MPL-2.0

//! Watches: which inotify wants to know what about which inode.
//!
//! # Invariants
//! 1. The registry has a watch from when it is entered until somebody ends it. It keeps the inode, whose address is the key.
//! 2. [`InodeBase::set_watched`](crate::fs::InodeBase::set_watched) of an inode has what its watches in the registry want, together;
//!    it changes under the registry's lock.
//!
//! # Concurrency
//! Watches leave the registry under its lock, and are dropped outside: an inode may go with the last one.

use core::{
    fmt::Write,
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use super::{
    Event, Instance,
    queue::{News, push},
};
use crate::{
    fs::{Dentry, DeviceNumber, FileEvents, Inode, Path},
    prelude::*,
};

/// One inotify's interest in one inode.
pub struct Watch {
    number: i32,
    instance: Weak<Instance>,
    inode: Arc<dyn Inode>,
    /// A name that is only remembered while it is in use (procfs): it goes on to mean this inode.
    _name: Option<Arc<Dentry>>,
    /// [`FileEvents`], of which some are flags. Relaxed: an event that races with a change may go either way.
    mask: AtomicU32,
    /// Set under the update of the instance's queue.
    is_over: AtomicBool,
}

type Registry = BTreeMap<usize, Vec<Arc<Watch>>>;

static REGISTRY: SpinLock<Registry> = SpinLock::new(BTreeMap::new());
/// Watches in the registry.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether anybody watches anything.
#[inline]
pub fn is_anybody_watching() -> bool {
    // Relaxed: who added a watch before, by any means that others can know of, is seen.
    COUNT.load(Relaxed) != 0
}

fn key(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).cast::<()>().addr()
}

/// What is kept of a mask: events, and the flags that act when one comes.
const KEPT: FileEvents =
    FileEvents::ALL.union(FileEvents::UNMOUNT).union(FileEvents::EXCL_UNLINK).union(FileEvents::ONESHOT);

impl Watch {
    pub(super) fn new(number: i32, instance: &Arc<Instance>, path: &Path, mask: FileEvents) -> Self {
        let dentry = path.dentry();
        let is_volatile = dentry.parent().is_some_and(|parent| parent.inode().is_volatile());
        Self {
            number,
            instance: Arc::downgrade(instance),
            inode: path.inode().clone(),
            _name: is_volatile.then(|| dentry.clone()),
            mask: AtomicU32::new((mask & KEPT | FileEvents::UNMOUNT).bits()),
            is_over: AtomicBool::new(false),
        }
    }

    pub(super) fn number(&self) -> i32 {
        self.number
    }

    fn mask(&self) -> FileEvents {
        FileEvents::from_bits_retain(self.mask.load(Relaxed))
    }

    /// Replaces what it waits for, or adds to it (`MASK_ADD`).
    pub(super) fn set_mask(&self, mask: FileEvents) {
        let registry = REGISTRY.lock();
        let old = if mask.contains(FileEvents::MASK_ADD) { self.mask() } else { FileEvents::UNMOUNT };
        self.mask.store((old | mask & KEPT).bits(), Relaxed);
        update_inode(&registry, &self.inode);
    }

    /// Notes that nothing is to be queued any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Release);
    }

    /// Whether it wants to hear of `news`.
    fn wants(&self, news: &News<'_>) -> bool {
        let mask = self.mask();
        mask.intersects(news.events & FileEvents::SOURCES)
            && !(news.is_unlinked && mask.contains(FileEvents::EXCL_UNLINK))
    }

    fn tell(self: &Arc<Self>, news: &News<'_>) {
        let Some(instance) = self.instance.upgrade() else {
            return;
        };
        instance.queue.update(|queue| {
            // Acquire pairs with the Release in `end`; the queue's lock orders them anyway.
            if !self.is_over.load(Acquire) {
                push(queue, Event::new(self.number, news));
            }
        });
        if self.mask().contains(FileEvents::ONESHOT) {
            instance.remove(self);
        }
    }

    /// Its line in `/proc/PID/fdinfo`. Mirrors `inotify_fdinfo`; file handles do not exist here.
    pub(super) fn show(&self, out: &mut String) {
        let base = self.inode.base();
        let device = base.device();
        let device = u64::from(device.major) << 20 | u64::from(device.minor);
        let mask = (self.mask() & KEPT).difference(FileEvents::UNMOUNT).bits();
        let (number, inode) = (self.number, base.number());
        let _ = writeln!(out, "inotify wd:{number:x} ino:{inode:x} sdev:{device:x} mask:{mask:x} ignored_mask:0 ");
    }
}

/// Brings the inode's own mask up to date.
fn update_inode(registry: &Registry, inode: &Arc<dyn Inode>) {
    let watches = registry.get(&key(inode)).map_or(&[][..], Vec::as_slice);
    inode.base().set_watched(watches.iter().fold(FileEvents::empty(), |union, watch| union | watch.mask()));
}

/// The watch of `instance` on `inode`.
pub(super) fn find(instance: &Arc<Instance>, inode: &Arc<dyn Inode>) -> Option<Arc<Watch>> {
    let registry = REGISTRY.lock();
    let is_ours = |watch: &&Arc<Watch>| core::ptr::eq(watch.instance.as_ptr(), Arc::as_ptr(instance));
    registry.get(&key(inode))?.iter().find(is_ours).cloned()
}

/// Lets a new watch take effect.
pub(super) fn enter(watch: &Arc<Watch>) {
    let mut registry = REGISTRY.lock();
    registry.entry(key(&watch.inode)).or_default().push(watch.clone());
    COUNT.fetch_add(1, Relaxed);
    update_inode(&registry, &watch.inode);
}

/// Takes a watch out.
pub(super) fn leave(watch: &Arc<Watch>) {
    let mut registry = REGISTRY.lock();
    let key = key(&watch.inode);
    let Some(watches) = registry.get_mut(&key) else {
        return;
    };
    let found = watches.iter().position(|known| Arc::ptr_eq(known, watch));
    let taken = found.map(|index| watches.remove(index));
    if watches.is_empty() {
        registry.remove(&key);
    }
    if taken.is_some() {
        COUNT.fetch_sub(1, Relaxed);
    }
    update_inode(&registry, &watch.inode);
    drop(registry);
    drop(taken);
}

fn watches_of(inode: &Arc<dyn Inode>) -> Vec<Arc<Watch>> {
    REGISTRY.lock().get(&key(inode)).cloned().unwrap_or_default()
}

/// Tells those who watch `inode` and want to know.
#[cold]
pub fn deliver(inode: &Arc<dyn Inode>, news: &News<'_>) {
    let watches = watches_of(inode);
    watches.iter().filter(|watch| watch.wants(news)).for_each(|watch| watch.tell(news));
}

/// The last name and the last use of `inode` are gone: tells, and ends its watches.
#[cold]
pub fn inode_is_gone(inode: &Arc<dyn Inode>) {
    end_all(watches_of(inode), FileEvents::DELETE_SELF);
}

/// The file system `device` is gone: tells those who watch anything in it, and ends their watches.
#[cold]
pub fn unmounted(device: DeviceNumber) {
    let is_there =
        |watches: &&Vec<Arc<Watch>>| watches.first().is_some_and(|watch| watch.inode.base().device() == device);
    let gone = REGISTRY.lock().values().filter(is_there).flatten().cloned().collect();
    end_all(gone, FileEvents::UNMOUNT);
}

fn end_all(watches: Vec<Arc<Watch>>, reason: FileEvents) {
    for watch in watches {
        let is_dir = if watch.inode.is_dir() { FileEvents::ISDIR } else { FileEvents::empty() };
        let news = News { events: reason | is_dir, cookie: 0, name: None, is_unlinked: false };
        if watch.wants(&news) {
            watch.tell(&news);
        }
        if let Some(instance) = watch.instance.upgrade() {
            instance.remove(&watch);
        }
    }
}
