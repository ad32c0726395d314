// SPDX-License-Identifier: MPL-2.0

//! How much of inotify each user may have: `/proc/sys/fs/inotify`.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{prelude::*, system};

/// The limits that can be set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// Events that a queue holds; counts for inotifies that are made later.
    QueuedEvents,
    /// Inotifies of a user.
    UserInstances,
    /// Watches of a user.
    UserWatches,
}

/// Nothing was set yet.
const UNSET: usize = usize::MAX;

static QUEUED_EVENTS: AtomicUsize = AtomicUsize::new(16384);
static USER_INSTANCES: AtomicUsize = AtomicUsize::new(128);
static USER_WATCHES: AtomicUsize = AtomicUsize::new(UNSET);

impl Limit {
    // Relaxed throughout: a limit orders nothing.
    fn cell(self) -> &'static AtomicUsize {
        match self {
            Self::QueuedEvents => &QUEUED_EVENTS,
            Self::UserInstances => &USER_INSTANCES,
            Self::UserWatches => &USER_WATCHES,
        }
    }

    /// Its value.
    pub fn get(self) -> usize {
        match self.cell().load(Relaxed) {
            UNSET => default_user_watches(),
            value => value,
        }
    }

    /// Sets it.
    ///
    /// # Errors
    /// `EINVAL` for negative values and those beyond an `int`.
    pub fn set(self, value: i64) -> Result<()> {
        let value = i32::try_from(value).ok().and_then(|value| usize::try_from(value).ok()).ok_or(EINVAL)?;
        self.cell().store(value, Relaxed);
        Ok(())
    }
}

/// As on Linux: watches, with an inode each, may take one per cent of memory.
fn default_user_watches() -> usize {
    const COST: usize = 1280;
    (system::memory().total / 100 / COST).clamp(8192, 1 << 20)
}

/// How many events a new queue may hold.
pub(super) fn max_queued_events() -> usize {
    Limit::QueuedEvents.get()
}

/// What a user has.
#[derive(Default)]
pub struct Quota {
    instances: AtomicUsize,
    watches: AtomicUsize,
}

static QUOTAS: SpinLock<BTreeMap<u32, Arc<Quota>>> = SpinLock::new(BTreeMap::new());

/// The quota of a user.
pub(super) fn quota_of(uid: u32) -> Arc<Quota> {
    QUOTAS.lock().entry(uid).or_default().clone()
}

fn take(count: &AtomicUsize, limit: Limit, error: Errno) -> Result<()> {
    let max = limit.get();
    let more = |count: usize| (count < max).then_some(count + 1);
    count.fetch_update(Relaxed, Relaxed, more).map(drop).map_err(|_| error)
}

impl Quota {
    /// # Errors
    /// `EMFILE` if the user has too many inotifies.
    pub(super) fn take_instance(&self) -> Result<()> {
        take(&self.instances, Limit::UserInstances, EMFILE)
    }

    pub(super) fn give_instance_back(&self) {
        self.instances.fetch_sub(1, Relaxed);
    }

    /// # Errors
    /// `ENOSPC` if the user has too many watches.
    pub(super) fn take_watch(&self) -> Result<()> {
        take(&self.watches, Limit::UserWatches, ENOSPC)
    }

    pub(super) fn give_watch_back(&self) {
        self.watches.fetch_sub(1, Relaxed);
    }
}
