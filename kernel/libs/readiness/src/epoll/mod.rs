// SPDX-License-Identifier: MPL-2.0

//! Epoll: an interest set of files, and a list of those that may be ready.
//!
//! # Role
//!
//! All of `epoll(7)` that can be said without tasks, descriptors and user memory. The kernel supplies the [`Target`] (its file
//! description) and the [`Sink`] (user memory), and turns errors into errnos. Inside: `entry` is the state machine of one
//! file, `ready` the list, `harvest` the way from the list to the caller, `interest` the set, `topology` the nesting.
//!
//! # Protocol
//!
//! ```text
//!  a file changes      Tracked::update ─► Observers::notify ─► Entry::on_ready ─► Observers::notify ─► Alarm::on_ready ─► unpark
//!  epoll_wait, known   Epoll::harvest ─► ReadyList::report_known
//!  epoll_wait, ready   Epoll::harvest ─► report ─► Target::poll
//!  epoll_wait, not     Epoll::wait ─► Waiter::sleep_until: register, harvest, sleep, harvest
//! ```
//!
//! An epoll is a pollee like any other: its waiters are exclusive observers of it, outer epolls and `poll` shared ones.
//!
//! # Invariants
//!
//! Those of the parts, and:
//!
//! - **X1** *Register, then ask*: ADD and MOD register at the file and then ask it, so an event is either told or found.
//! - **X2** An entry is removed by DEL, by the last close of its description ([`Pollee::close`]) or with the epoll, whichever comes
//!   first, exactly once; what was queued is dropped with it.
//!
//! # Concurrency
//!
//! The lock order is in the [crate's header](crate). Strong references to files are only held while they are asked; a
//! description whose last reference goes then is closed by the harvester, under `turn`: `on_close` does not take it.
//! Nothing of a file is asked or dropped under `interest` or the topology lock.

mod entry;
pub mod flags;
mod harvest;
mod interest;
mod quota;
mod ready;
mod topology;

use entry::{Entry, Item};
use interest::Interest;
pub use quota::WatchQuota;
pub use ready::AT_ONCE;
use ready::{ITEMS, InPlace, ReadyList};
pub use topology::Topology;
use topology::{EdgeKey, Nest};

use crate::{
    IoEvents, Mode, Observer, Parker, Pollable, Pollee, Subjects, WaitError, Waiter,
    slab::{Chunk, Vacancy},
    sync::{Arc, AtomicU32, Mutex, Ordering, SpinLock, Turn},
};

/// What an epoll with something to report is ready for.
const READY: IoEvents = IoEvents::READABLE;

/// A file description that can be put into an epoll.
pub trait Target: Pollable + 'static {
    /// The epoll that this description is of, if it is of one.
    fn as_epoll(&self) -> Option<&Epoll<Self>>;

    /// The identity of this description: what its destructor passes to [`Pollee::close`].
    fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// Where a harvest puts events.
pub trait Sink {
    /// Copies `events` out in order. Returns how many were copied whole; fewer than given means that the next one faulted.
    fn put(&mut self, events: &[EpollEvent]) -> usize;

    /// Copies `events` out in order without sleeping, if that can be done: it is called under a spin lock. Answers whether all of
    /// them were copied; if not, none counts, and what was copied is copied again.
    fn put_now(&mut self, events: &[EpollEvent]) -> bool;
}

/// An event to wait for, or one that is reported: `struct epoll_event` without its packing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollEvent {
    /// Event bits and [`flags`].
    pub events: u32,
    /// The caller's.
    pub data: u64,
}

/// Why [`Epoll::add`] refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// The epoll itself (`EINVAL`).
    SameFile,
    /// [`flags::EXCLUSIVE`] with bits that it excludes (`EINVAL`).
    BadExclusive,
    /// [`flags::EXCLUSIVE`] for an epoll (`EINVAL`).
    ExclusiveEpoll,
    /// It would close a cycle of epolls (`ELOOP`).
    WouldLoop,
    /// It would nest epolls too deep (`ELOOP`).
    TooDeep,
    /// Too many paths would lead up from a file (`EINVAL`).
    TooManyPaths,
    /// This descriptor of this description is there already (`EEXIST`).
    AlreadyThere,
    /// The user watches too many files (`ENOSPC`).
    NoQuota,
}

/// Why [`Epoll::modify`] refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModifyError {
    /// There is no such entry (`ENOENT`).
    NoEntry,
    /// The entry is [`flags::EXCLUSIVE`], or was to become so (`EINVAL`).
    Exclusive,
}

/// There is no such entry (`ENOENT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntry;

/// The first event could not be copied out (`EFAULT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Why [`Epoll::wait`] returned no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpollWaitError {
    /// The first event could not be copied out (`EFAULT`).
    Fault,
    /// Time is up (which is `0`), or a signal is to be handled (`EINTR`).
    Wait(WaitError),
}

/// An entry as `/proc/self/fdinfo` shows it.
pub struct EntryInfo<'a, T: ?Sized> {
    /// The descriptor number it was added with.
    pub fd: i32,
    /// What it was added or modified with.
    pub event: EpollEvent,
    /// The file.
    pub file: &'a Arc<T>,
}

/// An epoll instance. Dropping it takes its entries from their files.
pub struct Epoll<T: Target + ?Sized>(Arc<Core<T>>);

/// What entries share with their epoll, and what outlives it while a callback is under way.
struct Core<T: Target + ?Sized> {
    /// The waiters of this epoll, and the outer epolls and pollers.
    pollee: Pollee,
    ready: SpinLock<ReadyList<T>>,
    /// A copy of [`ReadyList::pending`] that can be read without the lock.
    pending: AtomicU32,
    /// Held during a harvest.
    turn: Turn,
    interest: Mutex<Interest<T>>,
    nest: Nest<T>,
    topology: &'static Topology,
    quota: Arc<WatchQuota>,
}

impl<T: Target + ?Sized> Core<T> {
    /// Runs `work` under the lock of the ready list, and publishes the count.
    #[inline(always)]
    fn with_ready<R>(&self, work: impl FnOnce(&mut ReadyList<T>) -> R) -> R {
        let mut ready = self.ready.lock();
        let result = work(&mut ready);
        // A plain store: the lock orders the writers. Relaxed: see `has_pending`.
        self.pending.store(ready.pending(), Ordering::Relaxed);
        result
    }

    /// Whether anything is queued or being reported. No lock.
    fn has_pending(&self) -> bool {
        // Relaxed: that a waiter sees what was queued before it was told, or before it registered, is the work of its alarm
        // and of `Word::meet`. Nothing else hangs on the count; the list has its lock.
        self.pending.load(Ordering::Relaxed) > 0
    }

    /// Makes an entry with its item. Everything is allocated outside the ready list's lock.
    fn make_entry(self: &Arc<Self>, fd: i32, file: &Arc<T>, event: EpollEvent) -> Arc<Entry<T>> {
        let index = self.reserve_item();
        let entry = Arc::new(Entry::new(self.clone(), file, fd, index));
        self.ready.lock().install(entry.clone(), event);
        entry
    }

    fn reserve_item(&self) -> u32 {
        loop {
            let mut ready = self.ready.lock();
            match ready.vacancy() {
                Vacancy::Free => {
                    if let Some(index) = ready.reserve() {
                        return index;
                    }
                }
                Vacancy::NeedsChunk => {
                    drop(ready);
                    let chunk: Chunk<Item<T>, ITEMS> = Chunk::new();
                    let superfluous = self.ready.lock().grow(chunk);
                    drop(superfluous);
                }
            }
        }
    }

    /// Takes apart what ADD has put together; the entry has left the interest set. `pollee` is its file's, or `None` if that is
    /// being closed and leaves by itself.
    fn dismantle(self: &Arc<Self>, entry: &Entry<T>, pollee: Option<&Pollee>) {
        if let Some(pollee) = pollee {
            pollee.deregister(entry.registration());
        }
        let kept = self.with_ready(|ready| ready.vacate(entry));
        drop(kept);
        self.quota.refund();
        topology::disconnect(self, edge_key(entry));
    }

    /// The file of `entry` was closed for good.
    fn forget(self: &Arc<Self>, entry: &Entry<T>, pollee: &Pollee) {
        let removed = self.interest.lock().remove_entry(entry);
        if removed.is_some() {
            self.dismantle(entry, Some(pollee));
        } else {
            // DEL or the epoll's end was faster, but may have found the file closed: then the registration is still there.
            pollee.deregister(entry.registration());
        }
    }
}

fn edge_key<T: Target + ?Sized>(entry: &Entry<T>) -> EdgeKey {
    EdgeKey { fd: entry.fd, description: entry.description() }
}

impl<T: Target + ?Sized> Epoll<T> {
    /// An empty epoll in the system of `topology`, for a user with this `quota` (`epoll_create1(2)`).
    pub fn new(topology: &'static Topology, quota: Arc<WatchQuota>) -> Self {
        Self(Arc::new(Core {
            pollee: Pollee::new(),
            ready: SpinLock::new(ReadyList::new()),
            pending: AtomicU32::new(0),
            turn: Turn::new(),
            interest: Mutex::new(Interest::new()),
            nest: Nest::new(),
            topology,
            quota,
        }))
    }

    /// Adds `file` under the number `fd` (`EPOLL_CTL_ADD`). A file that is ready is reported.
    ///
    /// # Errors
    ///
    /// See [`AddError`], in the order in which Linux looks for them.
    #[inline(never)]
    pub fn add(&self, fd: i32, file: &Arc<T>, event: EpollEvent) -> Result<(), AddError> {
        let core = &self.0;
        let event = event.with_always();
        let inner = file.as_epoll().map(|epoll| &epoll.0);
        check_exclusive(event, inner.is_some())?;
        if inner.is_some_and(|inner| Arc::ptr_eq(inner, core)) {
            return Err(AddError::SameFile);
        }
        let key = EdgeKey { fd, description: file.id() };
        if inner.is_some() || core.nest.is_watched() {
            // Before the checks that cost: but a cycle is found first, as on Linux, because it cannot be there already.
            if core.interest.lock().find(fd, file.id()).is_some() {
                return Err(AddError::AlreadyThere);
            }
            match inner {
                Some(inner) => topology::connect(core, inner, key)?,
                None => topology::check_paths(core, file.pollee())?,
            }
        }
        let added = self.insert(fd, file, event);
        match added {
            Ok(entry) => {
                self.queue_if_ready(&entry, file, event);
                Ok(())
            }
            Err(error) => {
                if inner.is_some() {
                    topology::disconnect(core, key);
                }
                Err(error)
            }
        }
    }

    /// Puts a new entry into the interest set and registers it at its file.
    fn insert(&self, fd: i32, file: &Arc<T>, event: EpollEvent) -> Result<Arc<Entry<T>>, AddError> {
        let core = &self.0;
        let mut interest = core.interest.lock();
        if interest.find(fd, file.id()).is_some() {
            return Err(AddError::AlreadyThere);
        }
        if !core.quota.charge() {
            return Err(AddError::NoQuota);
        }
        let entry = core.make_entry(fd, file, event);
        let mode = if event.events & flags::EXCLUSIVE != 0 { Mode::Exclusive } else { Mode::Noting };
        entry.set_registration(file.pollee().register(entry.clone(), event.mask(), mode));
        interest.insert(entry.clone());
        Ok(entry)
    }

    /// Changes an entry and arms it again (`EPOLL_CTL_MOD`). A file that is ready is reported (again).
    ///
    /// # Errors
    ///
    /// [`ModifyError::NoEntry`] if there is none; [`ModifyError::Exclusive`] if it is, or would become, exclusive.
    #[inline]
    pub fn modify(&self, fd: i32, file: &Arc<T>, event: EpollEvent) -> Result<(), ModifyError> {
        if event.events & flags::EXCLUSIVE != 0 {
            return Err(ModifyError::Exclusive);
        }
        let event = event.with_always();
        // Where the file is not registered anew, the list's lock is meeting enough: an event that found the entry as it was came before,
        // and is found by asking; a later one finds the entry changed.
        let changed = self.0.ready.lock().modify_in_place(fd, file.id(), event);
        match changed {
            InPlace::NotReady => {}
            InPlace::Ask(entry) => self.queue_if_ready(&entry, file, event),
            InPlace::NotDone => self.modify_registered(fd, file, event)?,
        }
        Ok(())
    }

    /// [`modify`](Epoll::modify) by way of the interest set.
    #[inline(never)]
    fn modify_registered(&self, fd: i32, file: &Arc<T>, event: EpollEvent) -> Result<(), ModifyError> {
        let core = &self.0;
        let interest = core.interest.lock();
        let entry = interest.find(fd, file.id()).ok_or(ModifyError::NoEntry)?.clone();
        let old = core.ready.lock().modify(&entry, event)?;
        if old.mask() != event.mask() {
            file.pollee().modify(&entry.registration(), event.mask());
        }
        drop(interest);
        self.queue_if_ready(&entry, file, event);
        Ok(())
    }

    /// Removes an entry (`EPOLL_CTL_DEL`).
    ///
    /// # Errors
    ///
    /// [`NoEntry`] if there is none.
    #[inline(never)]
    pub fn delete(&self, fd: i32, file: &Arc<T>) -> Result<(), NoEntry> {
        let core = &self.0;
        // A harvest of this epoll may be asking the inner one. It has to be over before the edge goes, or an edge the other way
        // round could be added, and two harvests wait for each other.
        let turn = file.as_epoll().map(|_| core.turn.lock());
        let removed = core.interest.lock().remove(fd, file.id());
        let entry = removed.ok_or(NoEntry)?;
        core.dismantle(&entry, Some(file.pollee()));
        drop(turn);
        Ok(())
    }

    /// Asks the file of an entry that has just been registered, or registered anew.
    fn queue_if_ready(&self, entry: &Entry<T>, file: &T, event: EpollEvent) {
        if !(file.poll() & event.mask()).is_empty() {
            let _ = entry.on_ready(event.mask());
        }
    }

    /// Sleeps until there are events, and copies up to `max` of them to `sink` (`epoll_wait(2)`). The caller has
    /// [harvested](Epoll::harvest) before, and found nothing.
    ///
    /// # Errors
    ///
    /// [`EpollWaitError`]; a timeout is one.
    pub fn wait<P: Parker>(
        &self,
        waiter: &mut Waiter<P>,
        max: usize,
        deadline: Option<P::Deadline>,
        sink: &mut impl Sink,
    ) -> Result<usize, EpollWaitError> {
        let check = || match self.harvest(max, sink) {
            Ok(0) => None,
            result => Some(result),
        };
        match waiter.sleep_until(&Harvesters(&self.0), deadline, check) {
            Ok(harvested) => harvested.map_err(|Fault| EpollWaitError::Fault),
            Err(error) => Err(EpollWaitError::Wait(error)),
        }
    }

    /// Calls `visit` for each entry whose file is open still (`/proc/self/fdinfo`). The epoll is not locked meanwhile.
    pub fn for_each_entry(&self, mut visit: impl FnMut(EntryInfo<'_, T>)) {
        let entries: alloc::vec::Vec<_> = self.0.interest.lock().iter().cloned().collect();
        for entry in entries {
            let event = self.0.with_ready(|ready| ready.event_of(&entry));
            if let (Some(event), Some(file)) = (event, entry.file.upgrade()) {
                visit(EntryInfo { fd: entry.fd, event, file: &file });
            }
        }
    }
}

impl<T: Target + ?Sized> Pollable for Epoll<T> {
    fn pollee(&self) -> &Pollee {
        &self.0.pollee
    }

    fn readiness(&self) -> IoEvents {
        if self.0.verify_ready() { READY } else { IoEvents::empty() }
    }

    /// Not cached: an item that ceases to be ready tells nobody.
    fn poll(&self) -> IoEvents {
        self.readiness()
    }
}

impl<T: Target + ?Sized> Drop for Epoll<T> {
    fn drop(&mut self) {
        let core = &self.0;
        // Taken out first: the last reference to a file may go here, and its destructor comes back for its entries.
        let entries = core.interest.lock().take();
        for entry in entries {
            let file = entry.file.upgrade();
            core.dismantle(&entry, file.as_deref().map(|file| file.pollee()));
        }
    }
}

/// Those who wait for an epoll: in turn.
struct Harvesters<'a, T: Target + ?Sized>(&'a Core<T>);

impl<T: Target + ?Sized> Subjects for Harvesters<'_, T> {
    fn for_each(&self, visit: &mut dyn FnMut(&Pollee, IoEvents, Mode)) {
        visit(&self.0.pollee, READY, Mode::Exclusive);
    }

    fn pass_on(&self) {
        if self.0.has_pending() {
            let _ = self.0.pollee.pass_on(READY);
        }
    }
}

/// What `epoll_ctl(2)` demands of an ADD with [`flags::EXCLUSIVE`].
fn check_exclusive(event: EpollEvent, is_epoll: bool) -> Result<(), AddError> {
    if event.events & flags::EXCLUSIVE == 0 {
        Ok(())
    } else if is_epoll {
        Err(AddError::ExclusiveEpoll)
    } else if event.events & !flags::ALLOWED_WITH_EXCLUSIVE != 0 {
        Err(AddError::BadExclusive)
    } else {
        Ok(())
    }
}
