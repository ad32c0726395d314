// SPDX-License-Identifier: MPL-2.0

//! Open files: what a file descriptor refers to.
//!
//! # Role
//! A [`Description`] is Linux's `struct file`, POSIX's *open file description*: the state that `dup(2)` and `fork(2)`
//! share. [`table`] maps numbers to descriptions, [`File`] is what each kind of file implements.
//!
//! # Protocol
//! The last `Arc<Description>` to go closes the description; files put their closing work into `Drop`. The file itself is behind a
//! pointer of its own: to find it in the same allocation, behind a head of known size, takes a dozen instructions each time.

pub mod io;
pub mod sigio;
pub mod table;

use core::{
    any::Any,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use readiness::{IoEvents, Pollable, Pollee};

pub use self::{
    io::{IoDst, IoSrc},
    sigio::{SigIo, SigOwner},
};
use crate::{
    events::EpollFile,
    fs::{FileEvents, InodeKind, Path, nameless_path, notify},
    prelude::*,
    vm::PageCache,
};

bitflags::bitflags! {
    /// The file status flags that `fcntl(2)` `F_GETFL` returns, access mode excluded. Values of x86-64.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct StatusFlags: u32 {
        /// Writes go to the end.
        const APPEND = 0o2000;
        /// Calls answer `EAGAIN` where they would block.
        const NONBLOCK = 0o4000;
        /// Synchronised writes of data.
        const DSYNC = 0o10000;
        /// `SIGIO` on readiness.
        const ASYNC = 0o20000;
        /// Packet mode of a pipe; direct I/O elsewhere.
        const DIRECT = 0o40000;
        /// Reported as set on every description, as a 64-bit Linux does.
        const LARGEFILE = 0o100000;
        /// Does not update access times.
        const NOATIME = 0o1000000;
        /// Only names the file: no reads, no writes.
        const PATH = 0o10000000;
        /// The rest of `O_SYNC`.
        const SYNC = 0o4000000;
    }
}

bitflags::bitflags! {
    /// What the description was opened for.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct AccessMode: u32 {
        /// `read(2)` is allowed.
        const READ = 1;
        /// `write(2)` is allowed.
        const WRITE = 2;
    }
}

impl AccessMode {
    /// Decodes the two low bits of `open(2)`'s flags. The fourth value (3) opens for neither, as on Linux.
    pub fn from_open_flags(flags: u32) -> Self {
        match flags & 3 {
            0 => Self::READ,
            1 => Self::WRITE,
            2 => Self::READ | Self::WRITE,
            _ => Self::empty(),
        }
    }

    /// The two low bits of `F_GETFL`'s answer.
    pub fn to_open_flags(self) -> u32 {
        match (self.contains(Self::READ), self.contains(Self::WRITE)) {
            (true, false) => 0,
            (false, true) => 1,
            (true, true) => 2,
            (false, false) => 3,
        }
    }
}

/// What `poll(2)` finds of a file that cannot be waited for (Linux's `DEFAULT_POLLMASK`).
pub const ALWAYS_READY: IoEvents = IoEvents::READABLE.union(IoEvents::WRITABLE);

/// An open file description: the file and what all its descriptors share.
pub struct Description {
    /// Unique over the life of the kernel; the second half of epoll's key.
    id: u64,
    access: AccessMode,
    status: AtomicU32,
    /// [`File::is_seekable`], which does not change.
    is_seekable: bool,
    /// Bytes from the start; used by seekable files only.
    position: Mutex<u64>,
    /// The name it was opened by; `None` for files that never had one.
    path: Option<Path>,
    /// Whether a lock of `flock(2)` or of the open-file-description kind was ever taken. Relaxed: only its owner sets it.
    has_locks: AtomicBool,
    /// Whom to signal on readiness; most descriptions never have that.
    sigio: SpinLock<Option<Arc<SigIo>>>,
    /// The pollee of the file, if that has its whole answer: it is asked without a virtual call.
    answer: Option<Arc<Pollee>>,
    file: Box<dyn File>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// Descriptions that exist. Relaxed: a figure for `/proc/sys/fs/file-nr`.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// Number of open file descriptions.
pub fn open_descriptions() -> u64 {
    OPEN.load(Ordering::Relaxed)
}

impl Description {
    /// Wraps `file`.
    pub fn new(file: impl File, access: AccessMode, status: StatusFlags) -> Arc<Self> {
        Self::build(Box::new(file), access, status, None)
    }

    /// Wraps a file that was opened by name.
    pub fn opened(file: impl File, access: AccessMode, status: StatusFlags, path: Path) -> Arc<Self> {
        Self::build(Box::new(file), access, status, Some(path))
    }

    fn build(file: Box<dyn File>, access: AccessMode, status: StatusFlags, path: Option<Path>) -> Arc<Self> {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            // Relaxed: only uniqueness matters.
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            access,
            status: AtomicU32::new(status.bits()),
            is_seekable: file.is_seekable(),
            position: Mutex::new(0),
            path,
            has_locks: AtomicBool::new(false),
            sigio: SpinLock::new(None),
            answer: file.pollable().and_then(Pollable::shared_pollee).cloned(),
            file,
        })
    }
}

impl Description {
    /// The number that tells this description from every other there ever was.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it was opened for.
    pub fn access(&self) -> AccessMode {
        self.access
    }

    /// The current status flags.
    pub fn status(&self) -> StatusFlags {
        // Relaxed: a flag orders nothing else; whoever shares the description sees it soon.
        StatusFlags::from_bits_retain(self.status.load(Ordering::Relaxed))
    }

    /// Replaces the flags in `mask` by those in `flags`.
    pub fn set_status(&self, mask: StatusFlags, flags: StatusFlags) {
        let update = |old: u32| Some((old & !mask.bits()) | (flags & mask).bits());
        let _ = self.status.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// The file itself.
    #[inline]
    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// The file offset, locked as `read(2)` and `write(2)` do for seekable files.
    pub fn position(&self) -> &Mutex<u64> {
        &self.position
    }

    /// Tells those who watch the file what was done by way of it.
    #[inline]
    pub fn note(&self, events: FileEvents) {
        if let Some(path) = &self.path {
            notify::used(path, events);
        }
    }

    /// What its end is for those who watch: `None` if it only named the file.
    fn closing(&self) -> Option<FileEvents> {
        let is_writer = self.access.contains(AccessMode::WRITE);
        let events = if is_writer { FileEvents::CLOSE_WRITE } else { FileEvents::CLOSE_NOWRITE };
        (!self.status().contains(StatusFlags::PATH)).then_some(events)
    }
}

impl Drop for Description {
    /// The last close: entries of epolls leave at once (`epoll(7)`, question 6).
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        if let Some(events) = self.closing() {
            self.note(events);
        }
        if let Some(pollable) = self.file.pollable() {
            if let Some(sigio) = self.sigio.lock().take() {
                sigio.disarm(pollable);
            }
            // As `Target::id` has it.
            pollable.pollee().close(core::ptr::from_ref(self).addr());
        }
        if self.has_locks.load(Ordering::Relaxed) {
            crate::fs::locks::release_description(self.file.inode(), self.id);
        }
    }
}

impl Description {
    /// What is ready now.
    #[inline]
    pub fn poll(&self) -> IoEvents {
        self.answer.as_ref().and_then(|pollee| pollee.cached()).unwrap_or_else(|| self.file.poll())
    }

    /// What is ready now, if that is known without a lock ([`Pollable::cached`]).
    #[inline]
    pub fn cached(&self) -> Option<IoEvents> {
        match &self.answer {
            Some(pollee) => pollee.cached(),
            None => self.file.cached(),
        }
    }

    /// The pollee of the file, if that has its whole answer ([`Pollable::shared_pollee`]).
    pub fn shared_pollee(&self) -> Option<&Arc<Pollee>> {
        self.answer.as_ref()
    }

    /// Whether it can be waited for.
    #[inline]
    pub fn is_pollable(&self) -> bool {
        self.answer.is_some() || self.file.pollable().is_some()
    }

    /// The file as its concrete kind, if it is of that kind.
    pub fn downcast<F: File>(&self) -> Option<&F> {
        (&*self.file as &dyn Any).downcast_ref()
    }

    /// The file's name. Files without one get a path that displays as [`File::name`].
    pub fn path(&self) -> Path {
        match &self.path {
            Some(path) => path.clone(),
            None => nameless_path(self.file.inode().clone(), &self.file.name()),
        }
    }

    /// The inode behind the file.
    pub fn inode(&self) -> &Arc<dyn crate::fs::Inode> {
        self.file.inode()
    }

    /// The part about signals on readiness, made if need be.
    pub fn sigio(&self) -> Arc<SigIo> {
        self.sigio.lock().get_or_insert_default().clone()
    }

    /// Whether `O_ASYNC` means anything for the file; see [`sigio`].
    pub fn has_sigio(&self) -> bool {
        self.file.has_sigio() && self.file.pollable().is_some()
    }

    /// Sets or clears `O_ASYNC`, by way of the descriptor `fd`.
    pub fn set_async(&self, is_on: bool, fd: table::Fd) {
        let Some(pollable) = self.file.pollable().filter(|_| self.has_sigio()) else {
            return;
        };
        let flags = if is_on { StatusFlags::ASYNC } else { StatusFlags::empty() };
        self.set_status(StatusFlags::ASYNC, flags);
        if is_on {
            self.sigio().arm(pollable, fd);
        } else {
            self.sigio().disarm(pollable);
        }
    }

    /// Notes that it holds locks, for its end.
    pub fn note_locks(&self) {
        self.has_locks.store(true, Ordering::Relaxed);
    }

    /// Whether it was opened with `O_PATH`.
    pub fn is_path(&self) -> bool {
        self.status().contains(StatusFlags::PATH)
    }

    /// `read(2)`: at the position for a seekable file.
    ///
    /// # Errors
    /// `EBADF` if not open for reading; what the file says.
    // Always inlined, as its kin: else they save and load as many registers as they execute other instructions.
    #[inline(always)]
    pub fn read(&self, ctx: &Context, dst: &mut IoDst<'_>) -> Result<usize> {
        self.read_with(ctx, dst, self.status())
    }

    /// [`Self::read`] with other status flags than the description's, for `preadv2(2)`.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[inline(always)]
    pub fn read_with(&self, ctx: &Context, dst: &mut IoDst<'_>, status: StatusFlags) -> Result<usize> {
        if !self.access.contains(AccessMode::READ) {
            return Err(EBADF);
        }
        let count = if self.is_seekable {
            self.read_at_position(ctx, dst, status)?
        } else {
            self.file.read(ctx, dst, 0, status)?
        };
        if count > 0 {
            self.note(FileEvents::ACCESS);
        }
        Ok(count)
    }

    #[inline(always)]
    fn read_at_position(&self, ctx: &Context, dst: &mut IoDst<'_>, status: StatusFlags) -> Result<usize> {
        let mut position = self.position.lock();
        check_range(*position, dst.avail())?;
        let count = self.file.read(ctx, dst, *position, status)?;
        *position += count as u64;
        Ok(count)
    }

    /// `write(2)`: at the position for a seekable file, at the end with `O_APPEND`.
    ///
    /// # Errors
    /// `EBADF` if not open for writing; what the file says.
    #[inline(always)]
    pub fn write(&self, ctx: &Context, src: &mut IoSrc<'_>) -> Result<usize> {
        self.write_with(ctx, src, self.status())
    }

    /// [`Self::write`] with other status flags than the description's, for `pwritev2(2)`.
    ///
    /// # Errors
    /// As [`Self::write`].
    #[inline(always)]
    pub fn write_with(&self, ctx: &Context, src: &mut IoSrc<'_>, status: StatusFlags) -> Result<usize> {
        if !self.access.contains(AccessMode::WRITE) {
            return Err(EBADF);
        }
        let count = if self.is_seekable {
            self.write_at_position(ctx, src, status)?
        } else {
            self.file.write(ctx, src, 0, status)?.count
        };
        if count > 0 {
            self.note(FileEvents::MODIFY);
        }
        Ok(count)
    }

    #[inline(always)]
    fn write_at_position(&self, ctx: &Context, src: &mut IoSrc<'_>, status: StatusFlags) -> Result<usize> {
        let mut position = self.position.lock();
        check_range(*position, src.remain())?;
        let written = self.file.write(ctx, src, *position, status)?;
        *position = written.end;
        Ok(written.count)
    }

    /// `pread(2)`: at `offset`, wherever the position is. The file is seekable, and the caller has checked that it is open for
    /// reading and the range.
    ///
    /// # Errors
    /// What the file says.
    pub fn read_at(&self, ctx: &Context, dst: &mut IoDst<'_>, offset: u64, status: StatusFlags) -> Result<usize> {
        let count = self.file.read(ctx, dst, offset, status)?;
        if count > 0 {
            self.note(FileEvents::ACCESS);
        }
        Ok(count)
    }

    /// `pwrite(2)`: at `offset`, wherever the position is. As [`Self::read_at`].
    ///
    /// # Errors
    /// What the file says.
    pub fn write_at(&self, ctx: &Context, src: &mut IoSrc<'_>, offset: u64, status: StatusFlags) -> Result<usize> {
        let count = self.file.write(ctx, src, offset, status)?.count;
        if count > 0 {
            self.note(FileEvents::MODIFY);
        }
        Ok(count)
    }
}

/// Checks that a read or write of `len` bytes at `offset` stays within the offsets that there are.
///
/// # Errors
/// `EINVAL` if not.
pub fn check_range(offset: u64, len: usize) -> Result<()> {
    let end = offset.checked_add(len as u64);
    if end.is_some_and(|end| end <= i64::MAX as u64) { Ok(()) } else { Err(EINVAL) }
}

/// What `mmap(2)` of a file maps.
pub enum Mappable {
    /// The pages of a file.
    Pages(Arc<PageCache>),
    /// Fresh zeros, as `/dev/zero` gives them.
    Zeros,
}

/// What a write did.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Bytes taken from the source.
    pub count: usize,
    /// The offset behind the last byte: with `O_APPEND` not where the caller thought. 0 for files without offsets.
    pub end: u64,
}

impl Written {
    /// The answer of a file without offsets.
    pub fn stream(count: usize) -> Self {
        Self { count, end: 0 }
    }
}

/// A kind of file.
///
/// The defaults are those of Linux for a `struct file_operations` with the member absent.
pub trait File: Any + Send + Sync {
    /// Reads into `dst`, from `offset` if seekable. 0 is the end of the file. Blocks unless `NONBLOCK` is in `status`.
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, offset: u64, status: StatusFlags) -> Result<usize> {
        let _ = (ctx, dst, offset, status);
        Err(EINVAL)
    }

    /// Writes from `src`, at `offset` if seekable. Blocks unless `NONBLOCK` is in `status`.
    fn write(&self, ctx: &Context, src: &mut IoSrc<'_>, offset: u64, status: StatusFlags) -> Result<Written> {
        let _ = (ctx, src, offset, status);
        Err(EINVAL)
    }

    /// The file as something that can be waited for. `None`: it never blocks, `poll(2)` finds it readable and writable, and
    /// `epoll_ctl(2)` answers `EPERM`.
    fn pollable(&self) -> Option<&dyn Pollable> {
        None
    }

    /// What is ready now: [`Pollable::poll`] behind one virtual call.
    fn poll(&self) -> IoEvents {
        self.pollable().map_or(ALWAYS_READY, |pollable| pollable.poll())
    }

    /// [`Pollable::cached`] behind one virtual call.
    fn cached(&self) -> Option<IoEvents> {
        self.pollable()?.cached()
    }

    /// Whether it takes `O_ASYNC` (Linux's `fasync`). Such a file notifies in task context only.
    fn has_sigio(&self) -> bool {
        matches!(self.inode().kind(), InodeKind::Fifo | InodeKind::Socket)
    }

    /// Whether offsets mean anything: `lseek`, `pread` and `pwrite` answer `ESPIPE` otherwise.
    fn is_seekable(&self) -> bool {
        false
    }

    /// Whether `lseek(2)` succeeds and does nothing, as for eventfd, epoll and their like (Linux's `noop_llseek`).
    fn ignores_lseek(&self) -> bool {
        false
    }

    /// The inode behind the file: metadata, `/proc/self/fd` links, mappings, directories.
    fn inode(&self) -> &Arc<dyn crate::fs::Inode>;

    /// What `mmap(2)` of it maps; `write` is whether a shared mapping may write.
    ///
    /// # Errors
    /// `ENODEV` if it cannot be mapped; `EPERM` if a seal forbids it.
    fn mmap(&self, shared: bool, write: bool) -> Result<Mappable> {
        let _ = (shared, write);
        Err(ENODEV)
    }

    /// How `/proc/PID/fd` shows a file that has no path: `pipe:[7]`, `anon_inode:[eventfd]`.
    fn name(&self) -> Vec<u8> {
        alloc::format!("anon_inode:[{}]", self.inode().number()).into_bytes()
    }

    /// Lines of `/proc/PID/fdinfo/N` behind `pos`, `flags` and `ino`.
    fn fdinfo(&self, out: &mut String) {
        let _ = out;
    }

    /// `ioctl(2)`; `FIONBIO`, `FIOCLEX` and `FIONCLEX` are handled before.
    fn ioctl(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        let _ = (ctx, command, argument);
        Err(ENOTTY)
    }

    /// The file as an epoll; `None`: `epoll_ctl(2)` and `epoll_wait(2)` answer `EINVAL`. Asked by each of them, so it is shorter than
    /// [`Description::downcast`].
    fn as_epoll(&self) -> Option<&EpollFile> {
        None
    }

    /// The file as a socket; `None`: the calls of `socket(7)` answer `ENOTSOCK`.
    fn as_socket(&self) -> Option<&dyn crate::net::Socket> {
        None
    }
}
