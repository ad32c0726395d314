// SPDX-License-Identifier: MPL-2.0

//! Who has which port, and who is in which group.
//!
//! # Concurrency
//! The table has a lock of its own, and no other one is taken under it.

use super::Core;
use crate::prelude::*;

/// The largest number of a group, those of `NETLINK_ROUTE` (`RTNLGRP_MAX`).
pub const GROUPS: u32 = 36;

static PORTS: SpinLock<BTreeMap<u32, Bound>> = SpinLock::new(BTreeMap::new());

struct Bound {
    core: Weak<Core>,
    groups: u64,
}

/// A port that is taken; it is free again when this goes.
pub struct Claim(u32);

impl Claim {
    /// Takes `port`.
    ///
    /// # Errors
    /// `EADDRINUSE` if somebody has it.
    pub fn new(core: &Arc<Core>, port: u32) -> Result<Self> {
        let mut ports = PORTS.lock();
        if ports.contains_key(&port) {
            return Err(EADDRINUSE);
        }
        ports.insert(port, Bound { core: Arc::downgrade(core), groups: 0 });
        Ok(Self(port))
    }

    /// Takes the port with the number of the process or, if somebody has that, any other: as on Linux one that no
    /// process can have.
    ///
    /// # Errors
    /// `EADDRINUSE` if all are taken.
    pub fn any(core: &Arc<Core>, process: u32) -> Result<Self> {
        const FIRST: u32 = 4096_u32.wrapping_neg();
        const LAST: u32 = 1 << 31;
        Self::new(core, process).or_else(|_| {
            let free = {
                let ports = PORTS.lock();
                (LAST..=FIRST).rev().find(|port| !ports.contains_key(port)).ok_or(EADDRINUSE)?
            };
            Self::new(core, free)
        })
    }

    /// The port.
    pub fn port(&self) -> u32 {
        self.0
    }

    /// The groups, group 1 as the lowest bit.
    pub fn groups(&self) -> u64 {
        PORTS.lock().get(&self.0).map_or(0, |bound| bound.groups)
    }

    /// Changes the groups: those in `mask` become those of `groups`.
    pub fn set_groups(&self, mask: u64, groups: u64) {
        if let Some(bound) = PORTS.lock().get_mut(&self.0) {
            bound.groups = bound.groups & !mask | groups & mask;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        PORTS.lock().remove(&self.0);
    }
}

/// The socket with this port.
pub fn find(port: u32) -> Option<Arc<Core>> {
    PORTS.lock().get(&port).and_then(|bound| bound.core.upgrade())
}

/// The members of `group` but for `sender`.
pub fn members(group: u32, sender: u32) -> Vec<Arc<Core>> {
    let bit = 1_u64.checked_shl(group.wrapping_sub(1)).unwrap_or(0);
    let ports = PORTS.lock();
    let members = ports.iter().filter(|(port, bound)| **port != sender && bound.groups & bit != 0);
    members.filter_map(|(_, bound)| bound.core.upgrade()).collect()
}
