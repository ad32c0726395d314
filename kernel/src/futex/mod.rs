// SPDX-License-Identifier: MPL-2.0

//! Futexes (`futex(2)`, `futex(7)`): sleeping until a word of user memory changes.
//!
//! # Role
//! [`wait`] and [`wake`] are the heart; [`queue`] is where sleepers are, [`pi`] are the locks with owners, [`robust`] is what
//! happens to locks whose owner ends.
//!
//! # Protocol
//! A sleeper looks at the word and queues itself under one lock, that of the word's bucket; a waker takes that lock after its
//! program has changed the word. So either the sleeper sees the change or the waker sees the sleeper.
//!
//! # Concurrency
//! The word is read under a spin lock, where no page can be faulted in: [`Context::try_load_u32`] answers `None` instead. The
//! lock is then released, the page faulted in, and everything begun again.

pub mod pi;
mod queue;
pub mod robust;

use readiness::{Nothing, Timeout, WaitError};

use self::queue::{WakeList, lock};
pub use self::{queue::Waiter, robust::exit_robust_list};
use crate::{prelude::*, time::Deadline, vm::FutexKey};

/// The set of `FUTEX_WAIT` and `FUTEX_WAKE`: it meets every other.
pub const ANY: u32 = u32::MAX;

/// Sleeps until woken, if the word at `address` holds `expected`.
///
/// # Errors
/// `EAGAIN` if it does not; `ETIMEDOUT`; `EINTR` if a signal came, and the caller decides on a restart; `EFAULT`.
pub fn wait(
    ctx: &Context,
    address: Vaddr,
    is_private: bool,
    expected: u32,
    bits: u32,
    deadline: Option<Deadline>,
) -> Result<()> {
    let key = ctx.vm.futex_key(address, is_private)?;
    loop {
        let mut queue = lock(&key);
        match ctx.try_load_u32(address) {
            Some(value) if value == expected => {
                queue.push(&key, bits, &ctx.thread);
                break;
            }
            Some(_) => return Err(EAGAIN),
            None => {
                drop(queue);
                ctx.atomic_load_u32(address)?;
            }
        }
    }
    sleep(ctx, deadline)
}

/// Sleeps while queued.
fn sleep(ctx: &Context, deadline: Option<Deadline>) -> Result<()> {
    let timeout = deadline.map_or(Timeout::Never, Timeout::At);
    let error = match ctx.wait(&Nothing, timeout, || ctx.thread.futex.is_woken().then_some(())) {
        Ok(()) => return Ok(()),
        Err(WaitError::TimedOut) => ETIMEDOUT,
        Err(WaitError::Interrupted) => EINTR,
    };
    // A wake beats both: it must not be lost to a thread that does not go on.
    if queue::remove(&ctx.thread) { Err(error) } else { Ok(()) }
}

/// Wakes up to `count` sleepers whose set meets `bits`, first come, first served. Returns their number.
///
/// # Errors
/// `EFAULT` if `address` is not mapped.
pub fn wake(ctx: &Context, address: Vaddr, is_private: bool, count: usize, bits: u32) -> Result<usize> {
    let key = ctx.vm.futex_key(address, is_private)?;
    Ok(wake_key(&key, count, bits))
}

fn wake_key(key: &FutexKey, count: usize, bits: u32) -> usize {
    let mut total = 0;
    let mut woken = WakeList::new();
    loop {
        let found = lock(key).take(key, count - total, bits, &mut woken);
        total += found;
        // A full list may have left some behind.
        if !woken.wake_all() || total == count {
            return total;
        }
    }
}

/// Wakes up to `count` sleepers at `address`, for the end of a thread. The word may be shared with other processes.
pub fn wake_at(ctx: &Context, address: Vaddr, count: usize) {
    // A word that is gone has no sleepers.
    let _ = wake(ctx, address, false, count, ANY);
}

/// Where `FUTEX_REQUEUE` and its kin move sleepers from and to.
pub struct Move {
    /// The word that they sleep on.
    pub from: Vaddr,
    /// The word that they will sleep on.
    pub to: Vaddr,
    /// Whether both are of this address space only.
    pub is_private: bool,
    /// How many to wake instead.
    pub wake_count: usize,
    /// How many of the rest to move.
    pub move_count: usize,
    /// What the first word must hold, if anything.
    pub expected: Option<u32>,
}

/// Wakes some sleepers and moves others to another word. Returns the number of both together with `expected`, of those
/// woken without.
///
/// # Errors
/// `EAGAIN` if the word does not hold what is expected; `EFAULT`.
pub fn requeue(ctx: &Context, request: &Move) -> Result<usize> {
    let from = ctx.vm.futex_key(request.from, request.is_private)?;
    let to = ctx.vm.futex_key(request.to, request.is_private)?;
    loop {
        let mut woken = WakeList::new();
        let (mut source, mut target) = queue::lock_two(&from, &to);
        if let Some(expected) = request.expected {
            match ctx.try_load_u32(request.from) {
                Some(value) if value == expected => {}
                Some(_) => return Err(EAGAIN),
                None => {
                    drop((source, target));
                    ctx.atomic_load_u32(request.from)?;
                    continue;
                }
            }
        }
        // More than the list holds are woken in a second round, after the rest has moved.
        let taken = source.take(&from, request.wake_count, ANY, &mut woken);
        let moved = queue::move_all(&from, &to, &mut source, target.as_mut(), request.move_count);
        drop((source, target));
        let is_full = woken.wake_all();
        let rest = request.wake_count - taken;
        let late = if is_full && rest > 0 { wake_key(&from, rest, ANY) } else { 0 };
        return Ok(taken + late + moved);
    }
}

/// Changes the word at `second` as `operation` says, wakes sleepers on `first`, and on `second` if its old value fits
/// (`FUTEX_WAKE_OP`). Returns the number woken.
///
/// # Errors
/// `ENOSYS` for an unknown operation; `EFAULT`.
pub fn wake_op(
    ctx: &Context,
    first: Vaddr,
    second: Vaddr,
    is_private: bool,
    counts: [usize; 2],
    operation: u32,
) -> Result<usize> {
    let operation = Operation::decode(operation)?;
    let first = ctx.vm.futex_key(first, is_private)?;
    let second_key = ctx.vm.futex_key(second, is_private)?;
    let old = operation.apply(ctx, second)?;
    let mut total = wake_key(&first, counts[0], ANY);
    if operation.compares(old) {
        total += wake_key(&second_key, counts[1], ANY);
    }
    Ok(total)
}

/// The packed operation of `FUTEX_WAKE_OP`.
#[derive(Clone, Copy)]
struct Operation {
    operator: u32,
    argument: u32,
    comparison: u32,
    reference: u32,
}

impl Operation {
    fn decode(packed: u32) -> Result<Self> {
        const SHIFTS_ARGUMENT: u32 = 8;
        let sign_extend = |field: u32| (field.cast_signed() << 20 >> 20).cast_unsigned();
        let operator = packed >> 28;
        let argument = sign_extend(packed >> 12 & 0xFFF);
        let shifts = operator & SHIFTS_ARGUMENT != 0;
        let decoded = Self {
            operator: operator & 7,
            argument: if shifts { 1 << (argument & 31) } else { argument },
            comparison: packed >> 24 & 0xF,
            reference: sign_extend(packed & 0xFFF),
        };
        if decoded.operator > 4 || decoded.comparison > 5 { Err(ENOSYS) } else { Ok(decoded) }
    }

    fn result(&self, old: u32) -> u32 {
        match self.operator {
            0 => self.argument,
            1 => old.wrapping_add(self.argument),
            2 => old | self.argument,
            3 => old & !self.argument,
            _ => old ^ self.argument,
        }
    }

    /// Changes the word in one piece; the answer is its old value.
    fn apply(&self, ctx: &Context, address: Vaddr) -> Result<u32> {
        let mut old = ctx.atomic_load_u32(address)?;
        loop {
            let held = ctx.compare_exchange_u32(address, old, self.result(old))?;
            if held == old {
                return Ok(old);
            }
            old = held;
        }
    }

    fn compares(&self, old: u32) -> bool {
        let (old, reference) = (old.cast_signed(), self.reference.cast_signed());
        match self.comparison {
            0 => old == reference,
            1 => old != reference,
            2 => old < reference,
            3 => old <= reference,
            4 => old > reference,
            _ => old >= reference,
        }
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    fn operation(operator: u32, argument: u32, comparison: u32, reference: u32) -> Operation {
        Operation::decode(operator << 28 | comparison << 24 | argument << 12 | reference).unwrap()
    }

    #[ktest]
    fn operations() {
        assert_eq!(operation(0, 5, 0, 0).result(9), 5);
        assert_eq!(operation(1, 0xFFF, 0, 0).result(9), 8);
        assert_eq!(operation(8 | 2, 4, 0, 0).result(1), 17);
        assert_eq!(operation(3, 1, 0, 0).result(3), 2);
        assert_eq!(operation(4, 1, 0, 0).result(3), 2);
        assert!(operation(0, 0, 4, 0xFFF).compares(0));
        assert!(!operation(0, 0, 2, 0xFFF).compares(0));
        assert!(Operation::decode(5 << 28).is_err());
        assert!(Operation::decode(6 << 24).is_err());
    }
}
