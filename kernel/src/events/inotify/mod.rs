// SPDX-License-Identifier: MPL-2.0

//! What happens to files, told as it happens (`inotify(7)`).
//!
//! # Role
//! The file system's operations call [`crate::fs::notify`], which says in the terms of Linux's `fsnotify` what happened. Here are
//! those who want to know: an [`InotifyFile`] with its queue of events ([`queue`]), its watches on inodes ([`watch`]), and what each
//! user may have of both ([`limits`]).
//!
//! # Protocol
//! - While nobody watches anything, an operation pays for one load: [`is_anybody_watching`].
//! - Else it asks the inode, by one load again, whether anybody watches *it* and for such events
//!   ([`InodeBase::is_watched`](crate::fs::InodeBase::is_watched)), and only then looks for the watches.
//! - A watch ends by `inotify_rm_watch(2)`, after one event (`IN_ONESHOT`), with its inode or its file system, or with the
//!   inotify. Whoever takes it out of the inotify's table does the rest. Nothing is queued for it after `IN_IGNORED`.
//!
//! # Concurrency
//! Order: [`Instance::changes`], which sleeps, then the registry of watches, then an inotify's table. Queues are tracked states, and
//! taken under none of them. Hooks are called in task context, and not under spin locks: observers are woken by them.

pub mod limits;
mod queue;
mod watch;

use readiness::{InTurn, IoEvents, Pollable, Pollee, Timeout, Tracked, WaitError};

use self::{
    limits::Quota,
    queue::{Event, Queue},
    watch::Watch,
};
pub use self::{
    queue::News,
    watch::{deliver, inode_is_gone, is_anybody_watching, unmounted},
};
use crate::{
    file::{AccessMode, Description, File, IoDst, StatusFlags},
    fs::{AnonInode, FileEvents, Inode, Path},
    prelude::*,
};

/// An inotify.
pub struct InotifyFile {
    instance: Arc<Instance>,
}

/// The part of an inotify that its watches refer to.
struct Instance {
    queue: Tracked<Queue>,
    table: SpinLock<Table>,
    /// Held while a watch is added, so that no inode gets two, and no watch is asked to go before it has come.
    changes: Mutex<()>,
    quota: Arc<Quota>,
}

/// The watches by number.
struct Table {
    by_number: BTreeMap<i32, Arc<Watch>>,
    /// Numbers are given out in circles, as Linux does.
    next: i32,
}

impl Table {
    /// Enters the watch that `make` makes of a free number.
    ///
    /// # Errors
    /// `ENOSPC` if there is none.
    fn insert(&mut self, make: impl FnOnce(i32) -> Watch) -> Result<Arc<Watch>> {
        let free = |from: i32, to: i32| {
            let mut used = self.by_number.range(from..=to).map(|(number, _)| *number);
            let mut candidate = from;
            while used.next() == Some(candidate) {
                candidate = candidate.checked_add(1)?;
            }
            (candidate <= to).then_some(candidate)
        };
        let number = free(self.next, i32::MAX).or_else(|| free(1, self.next)).ok_or(ENOSPC)?;
        self.next = number.checked_add(1).unwrap_or(1);
        let watch = Arc::new(make(number));
        self.by_number.insert(number, watch.clone());
        Ok(watch)
    }
}

impl Instance {
    /// See [`InotifyFile::add`].
    fn add(self: &Arc<Self>, path: &Path, mask: FileEvents) -> Result<i32> {
        let _changes = self.changes.lock();
        if let Some(watch) = watch::find(self, path.inode()) {
            if mask.contains(FileEvents::MASK_CREATE) {
                return Err(EEXIST);
            }
            watch.set_mask(mask);
            return Ok(watch.number());
        }
        self.quota.take_watch()?;
        let made = self.table.lock().insert(|number| Watch::new(number, self, path, mask));
        let watch = made.inspect_err(|_| self.quota.give_watch_back())?;
        watch::enter(&watch);
        Ok(watch.number())
    }

    /// Ends a watch, unless somebody else did. Returns whether it was still there.
    fn remove(&self, watch: &Arc<Watch>) -> bool {
        let mut table = self.table.lock();
        let is_known = table.by_number.get(&watch.number()).is_some_and(|known| Arc::ptr_eq(known, watch));
        let taken = if is_known { table.by_number.remove(&watch.number()) } else { None };
        drop(table);
        if taken.is_none() {
            return false;
        }
        watch::leave(watch);
        self.quota.give_watch_back();
        self.queue.update(|queue| {
            watch.end();
            queue::push(queue, Event::ignored(watch.number()));
        });
        true
    }

    /// Ends all watches: the inotify is closed.
    fn close(&self) {
        let watches = core::mem::take(&mut self.table.lock().by_number);
        for watch in watches.values() {
            watch::leave(watch);
            self.quota.give_watch_back();
        }
    }
}

impl InotifyFile {
    /// The description that `inotify_init1(2)` makes.
    ///
    /// # Errors
    /// `EMFILE` if the user has too many.
    pub fn open(ctx: &Context, status: StatusFlags) -> Result<Arc<Description>> {
        let quota = limits::quota_of(ctx.credentials().uid);
        quota.take_instance()?;
        let instance = Instance {
            queue: Tracked::new(Queue::new(limits::max_queued_events())),
            table: SpinLock::new(Table { by_number: BTreeMap::new(), next: 1 }),
            changes: Mutex::new(()),
            quota,
        };
        Ok(Description::new(Self { instance: Arc::new(instance) }, AccessMode::READ, status))
    }

    /// Watches the file at `path` for the events in `mask`, or changes how it is watched. Returns the number of the watch.
    ///
    /// # Errors
    /// `EEXIST` if it is watched already and `mask` has `MASK_CREATE`; `ENOSPC` if the user has too many watches.
    pub fn add(&self, path: &Path, mask: FileEvents) -> Result<i32> {
        self.instance.add(path, mask)
    }

    /// Ends the watch with this number.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub fn remove(&self, number: i32) -> Result<()> {
        let changes = self.instance.changes.lock();
        let watch = self.instance.table.lock().by_number.get(&number).cloned();
        drop(changes);
        let was_there = watch.is_some_and(|watch| self.instance.remove(&watch));
        if was_there { Ok(()) } else { Err(EINVAL) }
    }

    /// Takes the first event if its record fits into `room` bytes. `None`: there is no event.
    fn take(&self, room: usize) -> Option<Result<Event>> {
        self.instance.queue.update(|queue| {
            let size = queue.front()?.record_len();
            if size > room {
                return Some(Err(EINVAL)); // It stays.
            }
            queue.notify_nothing();
            queue.pop().map(Ok)
        })
    }

    /// `INOTIFY_IOC_SETNEXTWD`, by which a program that was frozen gets back the numbers that it knows.
    fn set_next(&self, number: usize) -> Result<isize> {
        let number = i32::try_from(number).ok().filter(|number| *number > 0).ok_or(EINVAL)?;
        self.instance.table.lock().next = number;
        Ok(0)
    }
}

impl Drop for InotifyFile {
    fn drop(&mut self) {
        self.instance.close();
        self.instance.quota.give_instance_back();
    }
}

impl Pollable for InotifyFile {
    fn pollee(&self) -> &Pollee {
        self.instance.queue.pollee(0)
    }

    fn readiness(&self) -> IoEvents {
        self.instance.queue.readiness(0)
    }
}

impl File for InotifyFile {
    /// Takes as many events as there is room for, and waits for the first.
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        let is_nonblocking = status.contains(StatusFlags::NONBLOCK);
        let timeout = if is_nonblocking { Timeout::Now } else { Timeout::Never };
        let waited = ctx.wait(&InTurn(self, IoEvents::IN), timeout, || self.take(dst.avail()));
        let mut next = waited.map(Some).map_err(|error| match error {
            WaitError::TimedOut => EAGAIN,
            WaitError::Interrupted => ERESTARTSYS,
        })?;
        let mut count = 0;
        while let Some(event) = next {
            let record = match event {
                Ok(event) => event.record(),
                Err(_) if count > 0 => break,
                Err(error) => return Err(error),
            };
            // As on Linux an event that cannot be copied out is lost, and the call fails whatever came before.
            if dst.write_slice(&record)? < record.len() {
                return Err(EFAULT);
            }
            count += record.len();
            next = self.take(dst.avail());
        }
        Ok(count)
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        AnonInode::shared()
    }

    fn name(&self) -> Vec<u8> {
        b"anon_inode:inotify".to_vec()
    }

    fn has_sigio(&self) -> bool {
        true
    }

    fn ignores_lseek(&self) -> bool {
        true
    }

    /// One line per watch, the latest first.
    fn fdinfo(&self, out: &mut String) {
        let watches: Vec<_> = self.instance.table.lock().by_number.values().rev().cloned().collect();
        watches.iter().for_each(|watch| watch.show(out));
    }

    fn ioctl(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        const FIONREAD: u32 = 0x541b;
        const INOTIFY_IOC_SETNEXTWD: u32 = 0x4004_4900;
        match command {
            FIONREAD => {
                let len = self.instance.queue.read(Queue::record_len);
                ctx.write_val(argument, &i32::try_from(len).unwrap_or(i32::MAX))?;
                Ok(0)
            }
            INOTIFY_IOC_SETNEXTWD => self.set_next(argument),
            _ => Err(ENOTTY),
        }
    }
}
