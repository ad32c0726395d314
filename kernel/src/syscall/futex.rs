// SPDX-License-Identifier: MPL-2.0

//! `futex(2)` and robust lists.

use core::sync::atomic::Ordering::Relaxed;

use super::time::{read_absolute, read_timeout};
use crate::{
    futex::{self, ANY, Move, pi, robust},
    prelude::*,
    process::table,
    signal,
    time::{Clock, Deadline},
};

const FUTEX_PRIVATE_FLAG: i32 = 128;
const FUTEX_CLOCK_REALTIME: i32 = 256;

/// The arguments of `futex(2)` that have one meaning in all operations.
struct Call {
    address: Vaddr,
    is_private: bool,
    clock: Clock,
}

/// `futex(2)`
///
/// # Errors
/// `ENOSYS` for an unknown operation or one that takes no clock; `EINVAL` for a word at an odd address, a bad time, an empty set
/// or a negative count; those of the operation.
pub fn sys_futex(
    ctx: &Context,
    address: Vaddr,
    operation: i32,
    value: u32,
    timeout: usize,
    second: Vaddr,
    value3: u32,
) -> Result<isize> {
    const WAIT: i32 = 0;
    const WAKE: i32 = 1;
    const REQUEUE: i32 = 3;
    const CMP_REQUEUE: i32 = 4;
    const WAKE_OP: i32 = 5;
    const LOCK_PI: i32 = 6;
    const UNLOCK_PI: i32 = 7;
    const TRYLOCK_PI: i32 = 8;
    const WAIT_BITSET: i32 = 9;
    const WAKE_BITSET: i32 = 10;
    const LOCK_PI2: i32 = 13;
    let command = operation & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    let is_realtime = operation & FUTEX_CLOCK_REALTIME != 0;
    if is_realtime && !matches!(command, WAIT_BITSET | LOCK_PI2) {
        return Err(ENOSYS);
    }
    let call = Call {
        address,
        is_private: operation & FUTEX_PRIVATE_FLAG != 0,
        clock: if is_realtime { Clock::Realtime } else { Clock::Monotonic },
    };
    match command {
        WAIT => {
            let deadline = read_timeout(ctx, timeout)?;
            call.wait(ctx, value, ANY, deadline)
        }
        WAIT_BITSET => {
            let deadline = read_absolute(ctx, call.clock, timeout)?;
            call.wait(ctx, value, value3, deadline)
        }
        WAKE => call.wake(ctx, value, ANY),
        WAKE_BITSET => call.wake(ctx, value, value3),
        REQUEUE => call.requeue(ctx, second, value, timeout, None),
        CMP_REQUEUE => call.requeue(ctx, second, value, timeout, Some(value3)),
        WAKE_OP => call.wake_op(ctx, second, [value, timeout as u32], value3),
        LOCK_PI => {
            let deadline = read_absolute(ctx, Clock::Realtime, timeout)?;
            call.lock_pi(ctx, deadline, false)
        }
        LOCK_PI2 => {
            let deadline = read_absolute(ctx, call.clock, timeout)?;
            call.lock_pi(ctx, deadline, false)
        }
        TRYLOCK_PI => call.lock_pi(ctx, None, true),
        UNLOCK_PI => {
            call.check_address(address)?;
            pi::unlock_pi(ctx, address, call.is_private).map(|()| 0)
        }
        _ => Err(ENOSYS),
    }
}

/// A count as Linux takes it where it wakes before it counts: at least one.
fn at_least_one(count: u32) -> usize {
    usize::try_from(count.cast_signed()).unwrap_or(0).max(1)
}

impl Call {
    fn check_address(&self, address: Vaddr) -> Result<()> {
        if address.is_multiple_of(size_of::<u32>()) { Ok(()) } else { Err(EINVAL) }
    }

    fn wait(&self, ctx: &Context, expected: u32, bits: u32, deadline: Option<Deadline>) -> Result<isize> {
        if bits == 0 {
            return Err(EINVAL);
        }
        self.check_address(self.address)?;
        wait(ctx, self.address, self.is_private, expected, bits, deadline)
    }

    fn wake(&self, ctx: &Context, count: u32, bits: u32) -> Result<isize> {
        if bits == 0 {
            return Err(EINVAL);
        }
        self.check_address(self.address)?;
        let woken = futex::wake(ctx, self.address, self.is_private, at_least_one(count), bits)?;
        Ok(woken as isize)
    }

    fn requeue(
        &self,
        ctx: &Context,
        second: Vaddr,
        wake_count: u32,
        move_count: usize,
        expected: Option<u32>,
    ) -> Result<isize> {
        let count = |value: u32| usize::try_from(value.cast_signed()).map_err(|_| EINVAL);
        let request = Move {
            from: self.address,
            to: second,
            is_private: self.is_private,
            wake_count: count(wake_count)?,
            move_count: count(move_count as u32)?,
            expected,
        };
        self.check_address(self.address)?;
        self.check_address(second)?;
        Ok(futex::requeue(ctx, &request)? as isize)
    }

    fn wake_op(&self, ctx: &Context, second: Vaddr, counts: [u32; 2], operation: u32) -> Result<isize> {
        self.check_address(self.address)?;
        self.check_address(second)?;
        let counts = counts.map(at_least_one);
        let woken = futex::wake_op(ctx, self.address, second, self.is_private, counts, operation)?;
        Ok(woken as isize)
    }

    fn lock_pi(&self, ctx: &Context, deadline: Option<Deadline>, only_try: bool) -> Result<isize> {
        self.check_address(self.address)?;
        pi::lock_pi(ctx, self.address, self.is_private, deadline, only_try).map(|()| 0)
    }
}

fn wait(
    ctx: &Context,
    address: Vaddr,
    is_private: bool,
    expected: u32,
    bits: u32,
    deadline: Option<Deadline>,
) -> Result<isize> {
    match futex::wait(ctx, address, is_private, expected, bits, deadline) {
        Ok(()) => Ok(0),
        Err(EINTR) if deadline.is_some() => {
            Err(signal::restart_with(ctx, move |ctx| wait(ctx, address, is_private, expected, bits, deadline)))
        }
        Err(EINTR) => Err(ERESTARTSYS),
        Err(error) => Err(error),
    }
}

/// `set_robust_list(2)`
///
/// # Errors
/// `EINVAL` for a head of another size.
pub fn sys_set_robust_list(ctx: &Context, head: Vaddr, len: usize) -> Result<isize> {
    if len != size_of::<robust::Head>() {
        return Err(EINVAL);
    }
    ctx.thread.robust_list.store(head, Relaxed);
    Ok(0)
}

/// `get_robust_list(2)`
///
/// # Errors
/// `ESRCH` if there is no such thread; `EPERM` if it is another user's; `EFAULT`.
pub fn sys_get_robust_list(ctx: &Context, pid: i32, head: Vaddr, len: Vaddr) -> Result<isize> {
    let thread = match u32::try_from(pid).map_err(|_| ESRCH)? {
        0 => ctx.thread.clone(),
        tid => table::thread(tid).ok_or(ESRCH)?,
    };
    let (own, uid) = (ctx.credentials(), thread.credentials.lock().uid);
    if own.euid != 0 && own.euid != uid {
        return Err(EPERM);
    }
    ctx.write_val(len, &size_of::<robust::Head>())?;
    ctx.write_val(head, &thread.robust_list.load(Relaxed))?;
    Ok(0)
}
