// SPDX-License-Identifier: MPL-2.0

//! Address spaces.

use ostd::mm::VmSpace;

use crate::prelude::*;

/// The memory of a process.
pub struct AddressSpace {
    space: Arc<VmSpace>,
}

impl AddressSpace {
    /// OSTD's part: the page table.
    pub fn space(&self) -> &Arc<VmSpace> {
        &self.space
    }
}
