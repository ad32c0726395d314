// SPDX-License-Identifier: MPL-2.0

//! What `poll(2)`, `select(2)` and `epoll_wait(2)` share: the temporary signal mask, and timeouts.

use readiness::Timeout;

use crate::{
    prelude::*,
    signal::{self, SigSet},
    time::Deadline,
};

/// The signal mask for the time of a call; `None` leaves it alone.
pub struct SigMask(Option<SigSet>);

impl SigMask {
    /// Reads the mask at `address`, unless that is null.
    ///
    /// # Errors
    /// `EINVAL` if `size` is not 8; `EFAULT`.
    pub fn read(ctx: &Context, address: Vaddr, size: usize) -> Result<Self> {
        if address == 0 {
            return Ok(Self(None));
        }
        if size != size_of::<SigSet>() {
            return Err(EINVAL);
        }
        Ok(Self(Some(ctx.read_val(address)?)))
    }
}

/// Runs `call` under `mask`. If a signal interrupted it, its handler is still chosen under `mask` and returns to the old one.
///
/// # Errors
/// What `call` says.
pub fn with_mask(ctx: &Context, mask: SigMask, call: impl FnOnce() -> Result<isize>) -> Result<isize> {
    let Some(mask) = mask.0 else {
        return call();
    };
    signal::begin_temporary_mask(ctx, mask);
    let result = call();
    signal::end_temporary_mask(ctx, matches!(result, Err(EINTR | ERESTARTNOHAND)));
    result
}

/// A timeout in milliseconds; any negative one is infinite.
pub fn timeout_from_millis(millis: i32) -> Timeout<Deadline> {
    match u64::try_from(millis) {
        Ok(millis) => timeout_from_nanos(millis.saturating_mul(1_000_000)),
        Err(_) => Timeout::Never,
    }
}

/// A timeout in nanoseconds.
pub fn timeout_from_nanos(nanos: u64) -> Timeout<Deadline> {
    if nanos == 0 { Timeout::Now } else { Timeout::At(Deadline::after_nanos(nanos)) }
}

/// What is left of a timeout, in nanoseconds; `None` if there is nothing to write back: it was infinite, or zero from the
/// start.
pub fn remaining(timeout: Timeout<Deadline>) -> Option<u64> {
    match timeout {
        Timeout::At(deadline) => Some(deadline.remaining_nanos()),
        Timeout::Now | Timeout::Never => None,
    }
}
