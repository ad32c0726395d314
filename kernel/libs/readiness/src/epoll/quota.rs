// SPDX-License-Identifier: MPL-2.0

//! How many files a user may watch with all epolls together (`/proc/sys/fs/epoll/max_user_watches`).

use crate::sync::{AtomicUsize, Ordering, const_unless_modelled};

/// A count of entries with a limit. One per user, shared by all epolls of that user.
pub struct WatchQuota {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl WatchQuota {
    const_unless_modelled! {
        /// A quota of `limit` entries, none of them used.
        pub fn new(limit: usize) -> Self {
            Self { used: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
        }
    }

    /// How many entries there are.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Changes the limit. Entries beyond it stay.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes one entry out of the quota. Returns `false` if none is left.
    pub(super) fn charge(&self) -> bool {
        // Relaxed: it counts, and publishes nothing. Adding first keeps two racing ADDs from both taking the last one.
        if self.used.fetch_add(1, Ordering::Relaxed) < self.limit.load(Ordering::Relaxed) {
            return true;
        }
        self.refund();
        false
    }

    /// Gives one entry back.
    pub(super) fn refund(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}
