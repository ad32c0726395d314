// SPDX-License-Identifier: MPL-2.0

//! `mlock(2)` and its kin.
//!
//! Nothing is ever swapped out or reclaimed, so locking means: pages are made now, or stay once made, and the range counts
//! against `RLIMIT_MEMLOCK`, which `CAP_IPC_LOCK` overrides.

use core::ops::Range;

use super::{
    AddressSpace,
    layout::{MAX_MAP_COUNT, TASK_SIZE},
    map::{current_limit, current_thread},
    mapping::{Mapping, Traits},
    mappings::Mappings,
};
use crate::{
    prelude::*,
    process::{Resource, credentials::Capabilities},
};

/// How a range is locked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LockMode {
    /// Not.
    Unlocked,
    /// Pages are made at once.
    Now,
    /// Pages are made when touched (`MLOCK_ONFAULT`, `MCL_ONFAULT`).
    OnFault,
}

impl LockMode {
    fn traits(self) -> Traits {
        match self {
            Self::Unlocked => Traits::empty(),
            Self::Now => Traits::LOCKED,
            Self::OnFault => Traits::LOCKED_ON_FAULT,
        }
    }
}

impl AddressSpace {
    /// `mlock2(2)` and `munlock(2)`.
    ///
    /// # Errors
    /// `EPERM` without privilege if `RLIMIT_MEMLOCK` is 0; `ENOMEM` beyond that limit, for a gap or too many mappings;
    /// `EAGAIN` if pages cannot be made.
    pub fn set_locked(&self, range: Range<Vaddr>, mode: LockMode) -> Result<()> {
        {
            let mut state = self.state.write();
            if mode != LockMode::Unlocked {
                check_may_lock(&state.mappings, &range)?;
            }
            if state.mappings.len() + state.mappings.splits_of(&range) > MAX_MAP_COUNT {
                return Err(ENOMEM);
            }
            state.mappings.update(range.clone(), |mapping| set_mode(mapping, mode));
            if !state.mappings.covers(range.clone()) {
                return Err(ENOMEM);
            }
        }
        if mode == LockMode::Now { self.populate(range, false).map_err(|_| EAGAIN) } else { Ok(()) }
    }

    /// `mlockall(2)` and `munlockall(2)`: what is mapped now if `current` says so, and what will be.
    ///
    /// # Errors
    /// `EPERM` without privilege if `RLIMIT_MEMLOCK` is 0; `ENOMEM` if what is mapped now is beyond it.
    pub fn set_all_locked(&self, current: Option<LockMode>, future: LockMode) -> Result<()> {
        let mut ranges = Vec::new();
        {
            let mut state = self.state.write();
            if future != LockMode::Unlocked || current.is_some_and(|mode| mode != LockMode::Unlocked) {
                check_may_lock(&state.mappings, &(0..if current.is_some() { TASK_SIZE } else { 0 }))?;
            }
            state.lock_future = future.traits();
            if let Some(mode) = current {
                state.mappings.for_each_mut(|mapping| set_mode(mapping, mode));
                if mode == LockMode::Now {
                    ranges.extend(state.mappings.iter().map(Mapping::range));
                }
            }
        }
        for range in ranges {
            // As on Linux what cannot be made is passed over.
            let _ = self.populate(range, false);
        }
        Ok(())
    }
}

/// # Errors
/// `EPERM` if nothing may be locked, `ENOMEM` if not so much.
fn check_may_lock(mappings: &Mappings, range: &Range<Vaddr>) -> Result<()> {
    let limit = limit();
    if limit == 0 {
        return Err(EPERM);
    }
    let locked = mappings.overlapping(range.clone()).filter(|mapping| mapping.is_locked());
    let counted: usize = locked.map(Mapping::pages).sum();
    let added = mappings.pages_in(range.clone()).saturating_sub(counted);
    check_limit(mappings, added).map_err(|_| ENOMEM)
}

fn set_mode(mapping: &mut Mapping, mode: LockMode) {
    if mapping.special.is_none() {
        mapping.traits -= Traits::LOCKED | Traits::LOCKED_ON_FAULT;
        mapping.traits |= mode.traits();
    }
}

/// Pages that are locked, `VmLck`.
pub fn locked_pages(mappings: &Mappings) -> usize {
    mappings.iter().filter(|mapping| mapping.is_locked()).map(Mapping::pages).sum()
}

/// Pages that an unprivileged caller may have locked, `usize::MAX` with `CAP_IPC_LOCK`.
fn limit() -> usize {
    let is_privileged = current_thread().is_none_or(|thread| thread.credentials.lock().has(Capabilities::IPC_LOCK));
    if is_privileged { usize::MAX } else { current_limit(Resource::Memlock) / PAGE_SIZE }
}

/// # Errors
/// `EAGAIN` if `added` pages more are beyond `RLIMIT_MEMLOCK`.
pub fn check_limit(mappings: &Mappings, added: usize) -> Result<()> {
    let limit = limit();
    // Counting takes a walk, which no limit saves.
    if limit != usize::MAX && locked_pages(mappings).saturating_add(added) > limit {
        return Err(EAGAIN);
    }
    Ok(())
}
