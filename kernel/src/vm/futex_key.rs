// SPDX-License-Identifier: MPL-2.0

//! What makes two futex words the same one (`futex(7)`).

use super::AddressSpace;
use crate::prelude::*;

/// The identity of a futex word.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum FutexKey {
    /// A word of one address space.
    Private {
        /// The address space.
        space: u64,
        /// The word's address.
        address: Vaddr,
    },
    /// A word of a file or shared memory.
    Shared {
        /// The file.
        object: u64,
        /// The word's offset in it, in bytes.
        offset: u64,
    },
}

impl AddressSpace {
    /// The key of the word at `address`, which the caller knows to be aligned. `private` is `FUTEX_PRIVATE_FLAG`: the
    /// program promises that nobody else uses the word, and no mapping has to be looked at.
    ///
    /// # Errors
    /// `EFAULT` if `address` is not mapped.
    pub fn futex_key(&self, address: Vaddr, private: bool) -> Result<FutexKey> {
        let own = FutexKey::Private { space: self.id, address };
        if private {
            return Ok(own);
        }
        let state = self.state.read();
        let mapping = state.mappings.find(address).ok_or(EFAULT)?;
        let page = address - address % PAGE_SIZE;
        match mapping.page_at(page).filter(|_| mapping.is_shared()) {
            Some((cache, index)) => {
                let start = (index as u64).saturating_mul(PAGE_SIZE as u64);
                let offset = start.saturating_add((address - page) as u64);
                Ok(FutexKey::Shared { object: cache.id(), offset })
            }
            None => Ok(own),
        }
    }
}
