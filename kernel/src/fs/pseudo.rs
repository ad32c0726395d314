// SPDX-License-Identifier: MPL-2.0

//! Building blocks of file systems whose content is computed: procfs, sysfs, devpts.
//!
//! # Role
//! A [`Directory`] lists and finds; [`TextInode`] is a file whose text a function writes; [`LinkInode`] a symbolic link whose
//! target a function finds. The inodes are made anew at each look-up, so what they are about is in the functions.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use readiness::{IoEvents, Pollable, Pollee};
use spin::Once;

use super::{
    DeviceNumber, DirEntry, FileSystem, Inode, InodeBase, InodeKind, Link, NewInode, OpenRequest, StatFs,
    new_anonymous_device,
};
use crate::{
    file::{ALWAYS_READY, Description, File, IoDst, IoSrc, StatusFlags, Written},
    prelude::*,
};

/// Longest text that is taken from a writer at once.
const WRITE_MAX: usize = PAGE_SIZE;

/// A file system of computed files.
pub struct PseudoFs {
    name: &'static str,
    magic: u64,
    device: DeviceNumber,
    /// What making a file answers.
    creation_error: Errno,
}

impl PseudoFs {
    /// The file system `name`, with its number from `linux/magic.h`, and the error of whoever tries to make a file there.
    pub fn new(name: &'static str, magic: u64, creation_error: Errno) -> Arc<Self> {
        Arc::new(Self { name, magic, device: new_anonymous_device(), creation_error })
    }

    /// The base of an inode on it.
    pub fn base(&self, number: u64, kind: InodeKind, permissions: u16, owner: (u32, u32)) -> InodeBase {
        InodeBase::new(self.device, number, kind, permissions, owner.0, owner.1)
    }
}

impl FileSystem for PseudoFs {
    fn kind_name(&self) -> &'static str {
        self.name
    }

    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: self.magic, block_size: PAGE_SIZE as u64, ..StatFs::default() }
    }
}

/// Number, kind and owner of a computed inode.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// `st_ino`
    pub number: u64,
    /// The low twelve bits of `st_mode`.
    pub permissions: u16,
    /// User and group.
    pub owner: (u32, u32),
}

impl Identity {
    /// Root's file `number`.
    pub fn of_root(number: u64, permissions: u16) -> Self {
        Self { number, permissions, owner: (0, 0) }
    }
}

/// A name in a computed directory.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name.
    pub name: Vec<u8>,
    /// `d_ino`
    pub number: u64,
    /// The kind.
    pub kind: InodeKind,
    /// Continues behind this entry; ascending, from 3 on.
    pub next: u64,
}

/// What a computed directory contains.
pub trait Directory: Send + Sync + 'static {
    /// The inode called `name`.
    ///
    /// # Errors
    /// `ENOENT`.
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>>;

    /// The names in ascending order of their cursors.
    fn list(&self) -> Vec<Name>;

    /// Sub-directories, for the link count.
    fn subdirectories(&self) -> u32 {
        0
    }
}

/// A computed directory.
pub struct DirInode<D> {
    base: InodeBase,
    fs: Arc<PseudoFs>,
    directory: D,
}

impl<D: Directory> DirInode<D> {
    /// The inode of `directory`.
    pub fn new(fs: &Arc<PseudoFs>, identity: Identity, directory: D) -> Arc<Self> {
        let base = fs.base(identity.number, InodeKind::Directory, identity.permissions, identity.owner);
        base.update(|attributes| attributes.links += directory.subdirectories());
        Arc::new(Self { base, fs: fs.clone(), directory })
    }

    /// What it contains.
    pub fn directory(&self) -> &D {
        &self.directory
    }
}

impl<D: Directory> Inode for DirInode<D> {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn statfs(&self) -> StatFs {
        self.fs.statfs()
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        self.directory.find(name)
    }

    fn create(&self, _name: &[u8], _new: &NewInode) -> Result<Arc<dyn Inode>> {
        Err(self.fs.creation_error)
    }

    fn readdir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        for entry in self.directory.list() {
            if entry.next <= cursor {
                continue;
            }
            let Name { name, number, kind, next } = &entry;
            if !emit(DirEntry { name, number: *number, kind: *kind, next: *next }) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Writes the text of a file.
pub type Show = dyn Fn(&Context) -> Result<Vec<u8>> + Send + Sync;
/// Takes what was written to a file.
pub type Store = dyn Fn(&Context, &[u8]) -> Result<()> + Send + Sync;

/// A file with a computed text.
pub struct TextInode {
    base: InodeBase,
    fs: Arc<PseudoFs>,
    show: Arc<Show>,
    store: Option<Arc<Store>>,
    polling: Polling,
}

/// What polling a file with a computed text finds. Linux's procfs lets files about the system be polled, but not those about
/// processes.
#[derive(Clone, Copy)]
enum Polling {
    /// It cannot be waited for.
    Never,
    /// It is always ready.
    Always,
    /// It can always be read, and is in error once after each change.
    Changes(&'static Changes),
}

/// The changes of something of which there are computed texts.
#[derive(Default)]
pub struct Changes {
    count: AtomicU64,
    pollee: Pollee,
}

impl Changes {
    /// Notes a change. To be called after it, without locks.
    pub fn note(&self) {
        // Relaxed: the bump of the pollee orders it.
        self.count.fetch_add(1, Relaxed);
        let _ = self.pollee.notify(IoEvents::ERR | IoEvents::PRI);
    }

    fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

impl TextInode {
    /// A file to be read.
    pub fn new(
        fs: &Arc<PseudoFs>,
        identity: Identity,
        show: impl Fn(&Context) -> Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let base = fs.base(identity.number, InodeKind::Regular, identity.permissions, identity.owner);
        Self { base, fs: fs.clone(), show: Arc::new(show), store: None, polling: Polling::Never }
    }

    /// The same, as a file that `epoll_ctl(2)` takes; it is always ready.
    pub fn pollable(mut self) -> Self {
        self.polling = Polling::Always;
        self
    }

    /// The same, as a file that can be polled for changes of what it shows.
    pub fn polled_for(mut self, changes: &'static Changes) -> Self {
        self.polling = Polling::Changes(changes);
        self
    }

    /// The same, to be written, too.
    pub fn with_store(mut self, store: impl Fn(&Context, &[u8]) -> Result<()> + Send + Sync + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }
}

impl Inode for TextInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn statfs(&self) -> StatFs {
        self.fs.statfs()
    }

    fn truncate(&self, _size: u64) -> Result<()> {
        // The shell's `>` truncates; there is nothing to cut.
        Ok(())
    }

    fn open(&self, request: OpenRequest, _ctx: &Context) -> Result<Arc<Description>> {
        let inode = request.path.inode().clone();
        let (show, store) = (self.show.clone(), self.store.clone());
        let (polling, text) = (self.polling, SpinLock::new(Arc::default()));
        let seen = match polling {
            Polling::Changes(changes) => changes.count(),
            Polling::Never | Polling::Always => 0,
        };
        Ok(request.describe(TextFile { inode, show, store, text, polling, seen: AtomicU64::new(seen) }))
    }
}

struct TextFile {
    inode: Arc<dyn Inode>,
    show: Arc<Show>,
    store: Option<Arc<Store>>,
    /// The text since the last read from the start: later reads continue in the same one.
    text: SpinLock<Arc<Vec<u8>>>,
    polling: Polling,
    /// The changes that polls have told of.
    seen: AtomicU64,
}

impl Pollable for TextFile {
    fn pollee(&self) -> &Pollee {
        static CONSTANT: Once<Pollee> = Once::new();
        match self.polling {
            Polling::Changes(changes) => &changes.pollee,
            Polling::Never | Polling::Always => CONSTANT.call_once(Pollee::new),
        }
    }

    fn readiness(&self) -> IoEvents {
        match self.polling {
            Polling::Changes(changes) if changes.count() != self.seen.load(Relaxed) => CHANGED,
            Polling::Changes(_) => IoEvents::READABLE,
            Polling::Never | Polling::Always => ALWAYS_READY,
        }
    }

    /// A change is told once, to whoever asks first, so there is no answer to be kept. Mirrors `mounts_poll`.
    fn poll(&self) -> IoEvents {
        let Polling::Changes(changes) = self.polling else {
            return ALWAYS_READY;
        };
        let count = changes.count();
        if self.seen.swap(count, Relaxed) == count { IoEvents::READABLE } else { CHANGED }
    }
}

/// What a poll finds after a change.
const CHANGED: IoEvents = IoEvents::READABLE.union(IoEvents::ERR).union(IoEvents::PRI);

impl File for TextFile {
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, offset: u64, _status: StatusFlags) -> Result<usize> {
        if offset == 0 {
            let fresh = Arc::new((self.show)(ctx)?);
            *self.text.lock() = fresh;
        }
        let text = self.text.lock().clone();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        dst.write_slice(&text[start..])
    }

    fn write(&self, ctx: &Context, src: &mut IoSrc<'_>, offset: u64, _status: StatusFlags) -> Result<Written> {
        let store = self.store.as_ref().ok_or(EIO)?;
        let mut bytes = alloc::vec![0; src.remain().min(WRITE_MAX)];
        let count = src.read_slice(&mut bytes)?;
        store(ctx, &bytes[..count])?;
        Ok(Written { count, end: offset.saturating_add(count as u64) })
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        if matches!(self.polling, Polling::Never) { None } else { Some(self) }
    }
}

/// Finds where a symbolic link leads.
pub type Follow = dyn Fn(&Context) -> Result<Link> + Send + Sync;

/// A symbolic link with a computed target.
pub struct LinkInode {
    base: InodeBase,
    fs: Arc<PseudoFs>,
    follow: Box<Follow>,
    /// What `st_size` shows.
    size: u64,
}

impl LinkInode {
    /// A link that leads where `follow` says.
    pub fn new(
        fs: &Arc<PseudoFs>,
        identity: Identity,
        size: u64,
        follow: impl Fn(&Context) -> Result<Link> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let base = fs.base(identity.number, InodeKind::Symlink, identity.permissions, identity.owner);
        Arc::new(Self { base, fs: fs.clone(), follow: Box::new(follow), size })
    }
}

impl Inode for LinkInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn statfs(&self) -> StatFs {
        self.fs.statfs()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn readlink(&self, ctx: &Context) -> Result<Vec<u8>> {
        match (self.follow)(ctx)? {
            Link::Target(target) => Ok(target),
            Link::Jump(path) => Ok(path.display(&ctx.fs().root())),
        }
    }

    fn follow(&self, ctx: &Context) -> Result<Link> {
        (self.follow)(ctx)
    }
}

/// The text of `lines`, each ended by a newline.
pub fn text(lines: core::fmt::Arguments<'_>) -> Result<Vec<u8>> {
    Ok(alloc::format!("{lines}").into_bytes())
}
