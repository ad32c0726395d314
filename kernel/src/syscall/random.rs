// SPDX-License-Identifier: MPL-2.0

//! `getrandom(2)`.

use crate::{context::MAX_RW_COUNT, device::mem, prelude::*};

bitflags::bitflags! {
    /// Flags of `getrandom(2)`. The generator is always seeded, so they change nothing but what is an error.
    struct RandomFlags: u32 {
        const NONBLOCK = 1;
        const RANDOM = 2;
        const INSECURE = 4;
    }
}

/// `getrandom(2)`.
///
/// # Errors
/// `EINVAL` for unknown flags, or `GRND_RANDOM` with `GRND_INSECURE`; `EFAULT`.
pub fn sys_getrandom(ctx: &Context, address: Vaddr, len: usize, flags: u32) -> Result<isize> {
    let flags = RandomFlags::from_bits(flags).ok_or(EINVAL)?;
    if flags.contains(RandomFlags::RANDOM | RandomFlags::INSECURE) {
        return Err(EINVAL);
    }
    let mut dst = ctx.io_dst(address, len.min(MAX_RW_COUNT))?;
    Ok(mem::read_random(&mut dst)? as isize)
}
