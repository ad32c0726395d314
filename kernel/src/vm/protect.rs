// SPDX-License-Identifier: MPL-2.0

//! `mprotect(2)`.

use core::ops::Range;

use super::{
    AddressSpace, State,
    layout::MAX_MAP_COUNT,
    map::check_data_limit,
    mapping::{Mapping, Protection},
};
use crate::prelude::*;

impl AddressSpace {
    /// Sets the protection of a range; with `extend_down` from the start of the stack that holds its first page
    /// (`PROT_GROWSDOWN`).
    ///
    /// As on Linux what comes before the first gap or refusal is changed.
    ///
    /// # Errors
    /// `ENOMEM` for a gap, or too many mappings; `EACCES` if the mapping does not allow it; `EINVAL` if `extend_down` is
    /// asked for where no stack is.
    pub fn protect(&self, mut range: Range<Vaddr>, protection: Protection, extend_down: bool) -> Result<()> {
        let mut state = self.state.write();
        let first = state.mappings.find(range.start).ok_or(ENOMEM)?;
        if extend_down {
            if !first.grows_down() {
                return Err(EINVAL);
            }
            range.start = first.start;
        }
        let (end, outcome) = changeable_part(&state, &range, protection);
        if range.start < end {
            self.change_protection(&mut state, range.start..end, protection)?;
        }
        outcome
    }

    fn change_protection(&self, state: &mut State, range: Range<Vaddr>, protection: Protection) -> Result<()> {
        if state.mappings.len() + state.mappings.splits_of(&range) > MAX_MAP_COUNT {
            return Err(ENOMEM);
        }
        state.mappings.update(range, |mapping| {
            let lost = mapping.protection - protection;
            if mapping.protection != protection {
                mapping.protection = protection;
                self.apply_protection(mapping, !lost.is_empty());
            }
        });
        Ok(())
    }
}

/// How far from its start a range can get the protection, and why not farther.
fn changeable_part(state: &State, range: &Range<Vaddr>, protection: Protection) -> (Vaddr, Result<()>) {
    let mut end = range.start;
    for mapping in state.mappings.overlapping(range.clone()) {
        if mapping.start > end {
            return (end, Err(ENOMEM));
        }
        if !mapping.max_protection.contains(protection) {
            return (end, Err(EACCES));
        }
        if becomes_data(mapping, protection)
            && let Err(error) = check_data_limit(&state.mappings, mapping.pages())
        {
            return (end, Err(error));
        }
        end = mapping.end.min(range.end);
    }
    (end, if end < range.end { Err(ENOMEM) } else { Ok(()) })
}

fn becomes_data(mapping: &Mapping, protection: Protection) -> bool {
    protection.contains(Protection::WRITE) && !mapping.is_data() && !mapping.is_shared() && !mapping.grows_down()
}
