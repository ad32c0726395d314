// SPDX-License-Identifier: MPL-2.0

//! The alternate signal stack (`sigaltstack(2)`).

use crate::prelude::*;

/// The smallest alternate stack that `sigaltstack(2)` takes (`MINSIGSTKSZ`).
const MIN_SIZE: usize = 2048;
const SS_ONSTACK: u32 = 1;
const SS_DISABLE: u32 = 2;
const SS_AUTODISARM: u32 = 1 << 31;

/// `stack_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod)]
pub struct UserStack {
    base: usize,
    flags: u32,
    padding: u32,
    size: usize,
}

/// A thread's alternate stack; of size 0 if there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct AltStack {
    base: usize,
    size: usize,
    disarms_itself: bool,
}

impl AltStack {
    /// The address above it, or `None` if there is none or `sp` lies on it already.
    pub(super) fn top_for(&self, sp: usize) -> Option<usize> {
        (self.size != 0 && !self.is_active(sp)).then(|| self.base.saturating_add(self.size))
    }

    /// Whether a thread with stack pointer `sp` runs on it. One that disarms itself never counts as in use.
    fn is_active(&self, sp: usize) -> bool {
        !self.disarms_itself && self.contains(sp)
    }

    /// Whether a stack pointer lies in it, the address above its last byte included.
    pub(super) fn contains(&self, sp: usize) -> bool {
        sp > self.base && sp - self.base <= self.size
    }

    /// As `sigaltstack(2)` and signal frames show it.
    pub(super) fn to_user(self) -> UserStack {
        let mode = if self.size == 0 { SS_DISABLE } else { 0 };
        let disarms = if self.disarms_itself { SS_AUTODISARM } else { 0 };
        UserStack { base: self.base, flags: mode | disarms, padding: 0, size: self.size }
    }

    /// As [`Self::to_user`], with the mark of a stack in use.
    fn to_user_at(self, sp: usize) -> UserStack {
        let mut user = self.to_user();
        if self.is_active(sp) {
            user.flags |= SS_ONSTACK;
        }
        user
    }

    /// # Errors
    /// `EINVAL` for unknown flags, `ENOMEM` if it is too small.
    pub(super) fn from_user(user: UserStack) -> Result<Self> {
        let mode = user.flags & !SS_AUTODISARM;
        if mode != 0 && mode != SS_ONSTACK && mode != SS_DISABLE {
            return Err(EINVAL);
        }
        if mode == SS_DISABLE {
            return Ok(Self { disarms_itself: user.flags & SS_AUTODISARM != 0, ..Self::default() });
        }
        if user.size < MIN_SIZE {
            return Err(ENOMEM);
        }
        let disarms_itself = user.flags & SS_AUTODISARM != 0;
        Ok(Self { base: user.base, size: user.size, disarms_itself })
    }

    /// Whether it disarms itself when a handler starts on it.
    pub(super) fn disarms_itself(&self) -> bool {
        self.disarms_itself
    }
}

/// `sigaltstack(2)`, with `sp` the caller's stack pointer.
///
/// # Errors
/// `EFAULT`; `EPERM` while the caller runs on the alternate stack; as [`AltStack::from_user`].
pub fn sigaltstack(ctx: &Context, new: Vaddr, old: Vaddr, sp: usize) -> Result<isize> {
    let requested = if new == 0 { None } else { Some(ctx.read_val::<UserStack>(new)?) };
    let current = ctx.thread.signals.own.lock().alt_stack;
    if let Some(requested) = requested {
        if current.is_active(sp) {
            return Err(EPERM);
        }
        let stack = AltStack::from_user(requested)?;
        ctx.thread.signals.own.lock().alt_stack = stack;
    }
    if old != 0 {
        ctx.write_val(old, &current.to_user_at(sp))?;
    }
    Ok(0)
}
