// SPDX-License-Identifier: MPL-2.0

//! File seals (`fcntl(2)` `F_ADD_SEALS`).

use crate::prelude::*;

bitflags::bitflags! {
    /// What a sealed file refuses.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct SealFlags: u32 {
        /// Further seals.
        const SEAL = 1;
        /// Getting shorter.
        const SHRINK = 2;
        /// Getting longer.
        const GROW = 4;
        /// Any write.
        const WRITE = 8;
        /// Any write but by mappings that exist.
        const FUTURE_WRITE = 16;
        /// Changes of the execute bits.
        const EXEC = 32;
    }
}

/// The seals of one file.
pub struct Seals {
    flags: SpinLock<SealFlags>,
}

impl Seals {
    /// The seals of a new file.
    pub const fn new(flags: SealFlags) -> Self {
        Self { flags: SpinLock::new(flags) }
    }

    /// The present seals.
    pub fn get(&self) -> SealFlags {
        *self.flags.lock()
    }

    /// Adds seals. `has_writable_mappings` refuses [`SealFlags::WRITE`].
    ///
    /// # Errors
    /// `EPERM` if sealed against it; `EBUSY` for writable mappings.
    pub fn add(&self, flags: SealFlags, has_writable_mappings: bool) -> Result<()> {
        let mut present = self.flags.lock();
        if present.contains(SealFlags::SEAL) {
            return Err(EPERM);
        }
        if flags.contains(SealFlags::WRITE) && !present.contains(SealFlags::WRITE) && has_writable_mappings {
            return Err(EBUSY);
        }
        *present |= flags;
        Ok(())
    }

    /// # Errors
    /// `EPERM` if sealed against writing.
    pub fn check_write(&self) -> Result<()> {
        if self.get().intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) { Err(EPERM) } else { Ok(()) }
    }

    /// # Errors
    /// `EPERM` if sealed against that change of size.
    pub fn check_resize(&self, old: u64, new: u64) -> Result<()> {
        let seals = self.get();
        let is_refused =
            (new < old && seals.contains(SealFlags::SHRINK)) || (new > old && seals.contains(SealFlags::GROW));
        if is_refused { Err(EPERM) } else { Ok(()) }
    }
}
