// SPDX-License-Identifier: MPL-2.0

//! Moving bytes between a pipe and another file inside the kernel: the pipe's part of `splice(2)` and `tee(2)`.
//!
//! # Invariants
//! - **M1** Bytes leave a pipe only when the other side has taken them: an error or a short write loses nothing.
//!
//! # Concurrency
//! The consumer of a pipe is held while the other side takes bytes from it, as Linux holds the pipe's mutex. To move from pipe to
//! pipe, the other side is only tried, so nobody sleeps for room while holding a consumer.

use readiness::{InTurn, IoEvents, Pollable, Timeout, WaitError};

use super::{Pipe, PipeEnd, Writing};
use crate::{
    file::{IoDst, IoSrc, StatusFlags},
    prelude::*,
};

/// Bytes that are moved at a time.
const CHUNK: usize = 64 << 10;

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// Until there are bytes, or room.
    Waits,
    /// Not at all: `EAGAIN`.
    Tries,
}

impl Pipe {
    /// Lends up to `len` bytes to `take`, and frees as many as that says. `None`: there are none, but somebody may write. No
    /// bytes are the end.
    fn lend(&self, len: usize, take: impl FnOnce(&[u8]) -> Result<Taken>) -> Option<Result<usize>> {
        let pages = self.ends.consumer.lock();
        let (plan, writers) = self.state.read(|state| (state.ring.plan_read(len), state.openers.writers));
        if plan.is_empty() {
            return (writers == 0).then_some(Ok(0));
        }
        let len = plan.bytes().min(len);
        let mut bytes = alloc::vec![0; len];
        let lent = pages.peek(&plan, &mut IoDst::from_slice(&mut bytes), len);
        let lent = if lent.0 == 0 { lent.1.map(|()| 0) } else { Ok(lent.0) };
        Some(lent.and_then(|count| take(&bytes[..count])).map(|taken| {
            if let Taken::Gone(count @ 1..) = taken {
                self.free(count);
            }
            taken.count()
        }))
    }
}

/// What became of lent bytes.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    /// So many were moved.
    Gone(usize),
    /// So many were copied, and stay.
    Copied(usize),
}

impl Taken {
    fn count(self) -> usize {
        match self {
            Self::Gone(count) | Self::Copied(count) => count,
        }
    }
}

impl PipeEnd {
    /// Moves up to `len` bytes out of the pipe to `take`. Ends early when the pipe is empty after the first, or `take` is short.
    ///
    /// # Errors
    /// `EAGAIN`, `ERESTARTSYS`, and what `take` says, if nothing was moved.
    pub fn move_out(
        &self,
        ctx: &Context,
        len: usize,
        patience: Patience,
        mut take: impl FnMut(&[u8]) -> Result<usize>,
    ) -> Result<usize> {
        self.wait_for_bytes(ctx, patience)?;
        let mut total = 0;
        while total < len {
            let want = (len - total).min(CHUNK);
            match self.pipe().lend(want, |bytes| take(bytes).map(Taken::Gone)) {
                None | Some(Ok(0)) => break,
                Some(Ok(count)) => total += count,
                Some(Err(error)) if total == 0 => return Err(error),
                Some(Err(_)) => break,
            }
        }
        Ok(total)
    }

    /// Moves up to `len` bytes from `give` into the pipe: no more than there is room for without waiting again.
    ///
    /// # Errors
    /// `EAGAIN`, `ERESTARTSYS`, `EPIPE`, and what `give` says.
    pub fn move_in(
        &self,
        ctx: &Context,
        len: usize,
        patience: Patience,
        give: impl FnOnce(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        let room = self.wait_for_room(ctx, patience)?;
        let mut bytes = alloc::vec![0; len.min(room).min(CHUNK)];
        let count = give(&mut bytes)?;
        let mut src = IoSrc::from_slice(&bytes[..count]);
        let mut writing = Writing::new(count, StatusFlags::empty());
        if count > 0 {
            // There was room; should somebody have taken it meanwhile, what was given must not be lost.
            let subject = InTurn(self, IoEvents::WRITABLE);
            let outcome = ctx.wait(&subject, Timeout::Never, || self.pipe().write(&mut src, &mut writing));
            if let Ok(Err(error)) = outcome
                && writing.done == 0
            {
                return Err(self.report(ctx, error));
            }
        }
        Ok(writing.done)
    }

    /// Moves, or with `copies` copies, up to `len` bytes from this pipe to another.
    ///
    /// # Errors
    /// `EAGAIN`, `ERESTARTSYS`, `EPIPE`
    pub fn move_to_pipe(
        &self,
        ctx: &Context,
        to: &PipeEnd,
        len: usize,
        patience: Patience,
        copies: bool,
    ) -> Result<usize> {
        loop {
            self.wait_for_bytes(ctx, patience)?;
            let room = to.wait_for_room(ctx, patience)?;
            let lent = self.pipe().lend(len.min(room).min(CHUNK), |bytes| {
                let mut writing = Writing::new(bytes.len(), StatusFlags::empty());
                let outcome = to.pipe().write(&mut IoSrc::from_slice(bytes), &mut writing);
                match outcome {
                    Some(Err(error)) if writing.done == 0 => Err(error),
                    _ if copies => Ok(Taken::Copied(writing.done)),
                    _ => Ok(Taken::Gone(writing.done)),
                }
            });
            match lent {
                Some(Err(error)) => return Err(to.report(ctx, error)),
                Some(Ok(0)) if self.poll().contains(IoEvents::HUP) => return Ok(0),
                Some(Ok(count @ 1..)) => return Ok(count),
                // Somebody else was faster, on one side or the other.
                _ if patience == Patience::Tries => return Err(EAGAIN),
                _ => {}
            }
        }
    }

    /// Waits until there are bytes to read, or nobody left to write them.
    fn wait_for_bytes(&self, ctx: &Context, patience: Patience) -> Result<()> {
        let wanted = IoEvents::READABLE | IoEvents::HUP;
        self.wait_for(ctx, IoEvents::READABLE, patience, || self.poll().intersects(wanted).then_some(()))
    }

    /// Waits until there is room, and returns how much.
    fn wait_for_room(&self, ctx: &Context, patience: Patience) -> Result<usize> {
        let room = self.wait_for(ctx, IoEvents::WRITABLE, patience, || {
            self.pipe().state.read(|state| match state.ring.capacity() - state.ring.used() {
                _ if state.openers.readers == 0 => Some(Err(EPIPE)),
                0 => None,
                pages => Some(Ok(pages * PAGE_SIZE)),
            })
        })?;
        room.map_err(|error| self.report(ctx, error))
    }

    fn wait_for<R>(
        &self,
        ctx: &Context,
        events: IoEvents,
        patience: Patience,
        check: impl FnMut() -> Option<R>,
    ) -> Result<R> {
        let timeout = if patience == Patience::Tries { Timeout::Now } else { Timeout::Never };
        ctx.wait(&InTurn(self, events), timeout, check).map_err(|error| match error {
            WaitError::TimedOut => EAGAIN,
            WaitError::Interrupted => ERESTARTSYS,
        })
    }
}
