// SPDX-License-Identifier: MPL-2.0

//! An open description of a pipe: blocking, signals, and what `poll(2)` sees.

use readiness::{InTurn, IoEvents, Pollable, Pollee, Readiness, Timeout, WaitError};

use super::{
    PARTNER, Pipe, Writing,
    state::{BOTH, Openers, READER, State, WRITER},
};
use crate::{
    file::{AccessMode, File, IoDst, IoSrc, StatusFlags, Written},
    fs::Inode,
    prelude::*,
    signal::{self, Signal},
};

/// `ioctl(2)`: how many bytes can be read (`FIONREAD`).
const FIONREAD: u32 = 0x541b;

/// An open pipe: its reading end, its writing end, or both.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    inode: Arc<dyn Inode>,
    access: AccessMode,
    /// The side of the pipe's state that `access` makes it.
    side: usize,
    /// For a FIFO that was opened for reading without waiting for a writer: how often it had been opened for writing. Until
    /// there is one, nobody can have hung up.
    opened_before_writer: Option<u32>,
}

impl PipeEnd {
    /// Opens a pipe that the other end is open of, or will be at once.
    pub fn new(pipe: Arc<Pipe>, inode: Arc<dyn Inode>, access: AccessMode) -> Self {
        // Only asking for a reader can fail.
        let _ = pipe.enter(access, false);
        Self { pipe, inode, access, side: side_of(access), opened_before_writer: None }
    }

    /// Opens a FIFO, and waits for the other side as `fifo(7)` has it.
    ///
    /// # Errors
    /// `ENXIO` for a writer that will not wait if there is no reader; `ERESTARTSYS` if a signal comes first.
    pub fn meet(
        ctx: &Context,
        pipe: Arc<Pipe>,
        inode: Arc<dyn Inode>,
        access: AccessMode,
        status: StatusFlags,
    ) -> Result<Self> {
        let waits = !status.contains(StatusFlags::NONBLOCK);
        let at_open = pipe.enter(access, access == AccessMode::WRITE && !waits)?;
        let mut end = Self { pipe, inode, access, side: side_of(access), opened_before_writer: None };
        if access == AccessMode::READ && at_open.writers == 0 {
            if waits {
                end.wait_for_partner(ctx, |openers| openers.writes != at_open.writes)?;
            } else {
                end.opened_before_writer = Some(at_open.writes);
            }
        } else if access == AccessMode::WRITE && at_open.readers == 0 {
            end.wait_for_partner(ctx, |openers| openers.reads != at_open.reads)?;
        }
        Ok(end)
    }

    /// The pipe.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    fn wait_for_partner(&self, ctx: &Context, has_come: impl Fn(&Openers) -> bool) -> Result<()> {
        let check = || self.pipe.state.read(|state| has_come(&state.openers).then_some(()));
        let subject = readiness::Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| {
            register(self.pollee(), PARTNER);
        });
        ctx.wait(&subject, Timeout::Never, check).map_err(|_| ERESTARTSYS)
    }

    /// Sends `SIGPIPE` if the error of a write is `EPIPE`.
    #[cold]
    pub(super) fn report(&self, ctx: &Context, error: Errno) -> Errno {
        if error == EPIPE {
            let _ = signal::send_to_thread(&ctx.thread, signal::info_from(ctx, Signal::PIPE, signal::SI_USER));
        }
        error
    }

    /// Whether no writer has come since this end was opened without one.
    fn awaits_first_writer(&self) -> bool {
        self.opened_before_writer.is_some_and(|opens| self.pipe.state.read(|state| state.openers.writes == opens))
    }
}

fn side_of(access: AccessMode) -> usize {
    match (access.contains(AccessMode::READ), access.contains(AccessMode::WRITE)) {
        (true, true) => BOTH,
        (true, false) => READER,
        (false, _) => WRITER,
    }
}

/// How long a call on a description with `status` may block.
fn patience<D>(status: StatusFlags) -> Timeout<D> {
    if status.contains(StatusFlags::NONBLOCK) { Timeout::Now } else { Timeout::Never }
}

/// What a fruitless wait means to `read(2)` and `write(2)`.
fn errno_of(error: WaitError) -> Errno {
    match error {
        WaitError::TimedOut => EAGAIN,
        WaitError::Interrupted => ERESTARTSYS,
    }
}

impl Readiness for State {
    const IS_WHOLE: bool = true;

    /// Mirrors Linux's `pipe_poll`: a writer is told of room by the page, and of room even if nobody will read.
    fn readiness(&self, side: usize) -> IoEvents {
        let mut events = IoEvents::empty();
        if side != WRITER {
            events.set(IoEvents::READABLE, !self.ring.is_empty());
            events.set(IoEvents::HUP, self.openers.writers == 0);
        }
        if side != READER {
            events.set(IoEvents::WRITABLE, !self.ring.is_full());
            events.set(IoEvents::ERR, self.openers.readers == 0);
        }
        events
    }
}

impl Pollable for PipeEnd {
    fn pollee(&self) -> &Pollee {
        self.pipe.state.pollee(self.side)
    }

    fn readiness(&self) -> IoEvents {
        self.pipe.state.readiness(self.side)
    }

    fn poll(&self) -> IoEvents {
        File::poll(self)
    }

    /// Who may have been opened before the first writer computes.
    #[inline]
    fn cached(&self) -> Option<IoEvents> {
        self.shared_pollee()?.cached()
    }

    fn shared_pollee(&self) -> Option<&Arc<Pollee>> {
        let computes = self.opened_before_writer.is_some();
        (!computes).then(|| self.pipe.state.side(self.side))
    }
}

impl File for PipeEnd {
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        let len = dst.avail();
        if len == 0 {
            return Ok(0);
        }
        let subject = InTurn(self, IoEvents::READABLE);
        ctx.wait(&subject, patience(status), || self.pipe.read(dst, len)).unwrap_or_else(|error| Err(errno_of(error)))
    }

    fn write(&self, ctx: &Context, src: &mut IoSrc<'_>, _offset: u64, status: StatusFlags) -> Result<Written> {
        let len = src.remain();
        if len == 0 {
            return Ok(Written::stream(0));
        }
        let mut writing = Writing::new(len, status);
        let subject = InTurn(self, IoEvents::WRITABLE);
        let result = ctx
            .wait(&subject, patience(status), || self.pipe.write(src, &mut writing))
            .unwrap_or_else(|error| Err(errno_of(error)));
        if let Err(error) = result {
            // The signal comes even if part was written.
            let error = self.report(ctx, error);
            if writing.done == 0 {
                return Err(error);
            }
        }
        Ok(Written::stream(writing.done))
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn poll(&self) -> IoEvents {
        let events = self.pipe.state.poll(self.side);
        if events.contains(IoEvents::HUP) && self.awaits_first_writer() { events - IoEvents::HUP } else { events }
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    fn name(&self) -> Vec<u8> {
        alloc::format!("pipe:[{}]", self.inode.number()).into_bytes()
    }

    fn ioctl(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        if command != FIONREAD {
            return Err(ENOTTY);
        }
        let bytes = self.pipe.state.read(|state| state.ring.bytes());
        ctx.write_val(argument, &i32::try_from(bytes).unwrap_or(i32::MAX))?;
        Ok(0)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.pipe.leave(self.access);
    }
}
