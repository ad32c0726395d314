// SPDX-License-Identifier: MPL-2.0

//! Event counters (`eventfd(2)`).
//!
//! # Protocol
//! The counter is [`Tracked`]. Every write that is accepted is an edge for readers, every read one for writers, whatever was
//! ready before: runtimes that are edge-triggered depend on it.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use readiness::{InTurn, IoEvents, Pollable, Pollee, Readiness, Timeout, Tracked, WaitError};

use crate::{
    file::{AccessMode, Description, File, IoDst, IoSrc, StatusFlags, Written},
    fs::{AnonInode, Inode},
    prelude::*,
};

/// What a write that would exceed it waits for. `u64::MAX` itself is an overflow, which only the kernel can cause.
const LARGEST: u64 = u64::MAX - 1;

/// An event counter.
pub struct EventFile {
    counter: Tracked<Counter, 1, Arc<Pollee>>,
    /// Whether reads take one at a time (`EFD_SEMAPHORE`).
    is_semaphore: bool,
    /// Its number in `/proc/PID/fdinfo`.
    id: u32,
}

struct Counter(u64);

impl Readiness for Counter {
    const IS_WHOLE: bool = true;

    fn readiness(&self, _side: usize) -> IoEvents {
        match self.0 {
            0 => IoEvents::OUT,
            1..LARGEST => IoEvents::IN | IoEvents::OUT,
            LARGEST => IoEvents::IN,
            u64::MAX => IoEvents::IN | IoEvents::ERR,
        }
    }
}

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl EventFile {
    /// The description that `eventfd2(2)` makes.
    pub fn open(initial: u32, is_semaphore: bool, status: StatusFlags) -> Arc<Description> {
        let counter = Tracked::new(Counter(u64::from(initial)));
        // Relaxed: only uniqueness matters.
        let file = Self { counter, is_semaphore, id: NEXT_ID.fetch_add(1, Relaxed) };
        Description::new(file, AccessMode::READ | AccessMode::WRITE, status)
    }

    /// Adds `value` on behalf of the kernel, which does not wait: at overflow the counter stays at `u64::MAX`, and is in error.
    /// Nothing of the kernel signals eventfds yet, so only the test of row 88 does. Mirrors Linux's `eventfd_signal`.
    #[cfg(ktest)]
    fn signal(&self, value: u64) {
        self.counter.update(|counter| {
            counter.0 = counter.0.saturating_add(value);
            counter.notify(0, IoEvents::IN | IoEvents::ERR);
        });
    }

    /// Takes the counter, or one of it. `None`: it is zero.
    fn take(&self) -> Option<u64> {
        self.counter.update(|counter| {
            if counter.0 == 0 {
                return None;
            }
            let taken = if self.is_semaphore { 1 } else { counter.0 };
            counter.0 -= taken;
            counter.notify(0, IoEvents::OUT);
            Some(taken)
        })
    }

    /// Adds `value`. `None`: the sum would be too large.
    fn add(&self, value: u64) -> Option<()> {
        self.counter.update(|counter| {
            if value > LARGEST.saturating_sub(counter.0) {
                return None;
            }
            counter.0 += value;
            counter.notify(0, IoEvents::IN);
            Some(())
        })
    }

    fn write_one(&self, ctx: &Context, src: &mut IoSrc<'_>, status: StatusFlags) -> Result<()> {
        // Linux refuses other lengths since 6.6; before, it ignored what came after eight bytes.
        if src.segment_len() != size_of::<u64>() {
            return Err(EINVAL);
        }
        let value: u64 = src.read_val()?;
        if value == u64::MAX {
            return Err(EINVAL);
        }
        self.wait(ctx, IoEvents::OUT, status, || self.add(value))
    }

    fn wait<R>(
        &self,
        ctx: &Context,
        events: IoEvents,
        status: StatusFlags,
        check: impl FnMut() -> Option<R>,
    ) -> Result<R> {
        let is_nonblocking = status.contains(StatusFlags::NONBLOCK);
        let timeout = if is_nonblocking { Timeout::Now } else { Timeout::Never };
        ctx.wait(&InTurn(self, events), timeout, check).map_err(|error| match error {
            WaitError::TimedOut => EAGAIN,
            WaitError::Interrupted => ERESTARTSYS,
        })
    }
}

impl Pollable for EventFile {
    fn pollee(&self) -> &Pollee {
        self.counter.pollee(0)
    }

    fn readiness(&self) -> IoEvents {
        self.counter.readiness(0)
    }

    fn shared_pollee(&self) -> Option<&Arc<Pollee>> {
        Some(self.counter.side(0))
    }
}

impl File for EventFile {
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        if dst.avail() < size_of::<u64>() {
            return Err(EINVAL);
        }
        let value = self.wait(ctx, IoEvents::IN, status, || self.take())?;
        // As on Linux, what was taken is lost if it cannot be copied out.
        dst.write_val(&value)?;
        Ok(size_of::<u64>())
    }

    /// Each segment of a `writev(2)` is a write of its own, as on Linux.
    fn write(&self, ctx: &Context, src: &mut IoSrc<'_>, _offset: u64, status: StatusFlags) -> Result<Written> {
        let mut count = 0;
        loop {
            let is_last = src.remain() == size_of::<u64>();
            match self.write_one(ctx, src, status) {
                Ok(()) => count += size_of::<u64>(),
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
            if is_last {
                break;
            }
        }
        Ok(Written::stream(count))
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        AnonInode::shared()
    }

    fn name(&self) -> Vec<u8> {
        b"anon_inode:[eventfd]".to_vec()
    }

    fn ignores_lseek(&self) -> bool {
        true
    }

    fn fdinfo(&self, out: &mut String) {
        let value = self.counter.read(|counter| counter.0);
        let (id, semaphore) = (self.id, u32::from(self.is_semaphore));
        *out += &alloc::format!("eventfd-count: {value:16x}\neventfd-id: {id}\neventfd-semaphore: {semaphore}\n");
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::ktest;

    use super::*;

    fn file(is_semaphore: bool) -> EventFile {
        EventFile { counter: Tracked::new(Counter(0)), is_semaphore, id: 0 }
    }

    #[ktest]
    fn the_kernel_overflows_into_an_error() {
        let file = file(false);
        assert_eq!(File::poll(&file), IoEvents::OUT);
        assert_eq!(file.add(LARGEST), Some(()));
        assert_eq!(file.add(1), None);
        assert_eq!(File::poll(&file), IoEvents::IN);
        file.signal(2);
        assert_eq!(File::poll(&file), IoEvents::IN | IoEvents::ERR);
        assert_eq!(file.take(), Some(u64::MAX));
        assert_eq!(File::poll(&file), IoEvents::OUT);
    }

    #[ktest]
    fn a_semaphore_gives_one_at_a_time() {
        let file = file(true);
        file.add(2);
        assert_eq!((file.take(), file.take(), file.take()), (Some(1), Some(1), None));
    }
}
