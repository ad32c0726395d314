// SPDX-License-Identifier: MPL-2.0

//! `poll(2)` and `ppoll(2)`.

use readiness::{IoEvents, Timeout, WaitError};

use super::sigmask::{self, SigMask};
use crate::{
    events::PollTable,
    file::table::FileTable,
    prelude::*,
    signal,
    time::{Deadline, types::Timespec},
};

/// `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod)]
pub struct PollFd {
    fd: i32,
    events: u16,
    revents: u16,
}

/// Where `revents` lies in a [`PollFd`].
const REVENTS_OFFSET: usize = 6;

/// Entries of the caller's array between two that are written back in any case, so that each of its pages is known to be
/// writable.
const ENTRIES_PER_PAGE: usize = PAGE_SIZE / size_of::<PollFd>();

/// `poll(2)`: `timeout` in milliseconds, negative for none.
///
/// # Errors
/// `EINVAL` for more than `RLIMIT_NOFILE` entries; `EFAULT`; `EINTR`. Without a handler it goes on for the time that is left.
pub fn sys_poll(ctx: &Context, fds: Vaddr, count: usize, timeout: i32) -> Result<isize> {
    poll_or_restart(ctx, fds, count, sigmask::timeout_from_millis(timeout))
}

fn poll_or_restart(ctx: &Context, fds: Vaddr, count: usize, timeout: Timeout<Deadline>) -> Result<isize> {
    match poll(ctx, fds, count, timeout) {
        Err(EINTR) => Err(signal::restart_with(ctx, move |ctx| poll_or_restart(ctx, fds, count, timeout))),
        result => result,
    }
}

/// `ppoll(2)`: with a `struct timespec`, null for no timeout, into which the time that is left is written; and with `mask`,
/// if not null, as signal mask while it waits.
///
/// # Errors
/// As [`sys_poll`]; `EINVAL` for a bad timeout or a mask of another size.
pub fn sys_ppoll(
    ctx: &Context,
    fds: Vaddr,
    count: usize,
    timeout_address: Vaddr,
    mask: Vaddr,
    mask_size: usize,
) -> Result<isize> {
    let timeout = match timeout_address {
        0 => Timeout::Never,
        address => sigmask::timeout_from_nanos(ctx.read_val::<Timespec>(address)?.to_nanos()?),
    };
    let mask = SigMask::read(ctx, mask, mask_size)?;
    sigmask::with_mask(ctx, mask, || {
        let result = match poll(ctx, fds, count, timeout) {
            Err(EINTR) => Err(ERESTARTNOHAND),
            result => result,
        };
        let Some(nanos) = sigmask::remaining(timeout) else {
            return result;
        };
        // A restarted call reads its timeout again: if that is not what is left, it must not be restarted.
        match ctx.write_val(timeout_address, &Timespec::from_nanos(nanos)) {
            Err(_) if result == Err(ERESTARTNOHAND) => Err(EINTR),
            _ => result,
        }
    })
}

/// Waits until one of the files is ready, and answers how many are.
fn poll(ctx: &Context, address: Vaddr, count: usize, timeout: Timeout<Deadline>) -> Result<isize> {
    if count > ctx.process.limits.max_files() {
        return Err(EINVAL);
    }
    let mut scratch = ctx.poll_scratch.borrow_mut();
    let PollScratch { fds, changed, table } = &mut *scratch;
    fds.resize(count, PollFd::default());
    changed.clear();
    read_fds(ctx, address, fds)?;
    let files = ctx.files();
    let outcome = match look(&files, fds, changed, table) {
        0 => {
            let outcome = table.wait(ctx, &files, timeout, fds.iter().map(|entry| (entry.fd, entry.wanted())));
            table.found(|position, ready| fds[position].store(ready, position, changed));
            outcome
        }
        ready => Ok(ready),
    };
    // They are written back in every case, as Linux does.
    write_revents(ctx, address, fds, changed)?;
    match outcome {
        Ok(ready) => Ok(ready as isize),
        Err(WaitError::TimedOut) => Ok(0),
        Err(WaitError::Interrupted) => Err(EINTR),
    }
}

/// What `poll(2)` keeps from one call of a thread to the next.
#[derive(Default)]
pub struct PollScratch {
    fds: Vec<PollFd>,
    /// Positions in `fds` whose `revents` are not what the caller's memory holds.
    changed: Vec<usize>,
    table: PollTable,
}

impl PollFd {
    /// What is reported: what is asked for, and what is reported in any case.
    fn wanted(&self) -> IoEvents {
        IoEvents::from_bits_truncate(u32::from(self.events)) | IoEvents::ALWAYS | IoEvents::NVAL
    }

    /// Stores what was found, and notes in `changed` if that is new.
    fn store(&mut self, ready: IoEvents, position: usize, changed: &mut Vec<usize>) {
        let ready = ready.bits() as u16;
        if self.revents != ready {
            self.revents = ready;
            changed.push(position);
        }
    }
}

/// Looks at every file once, and returns how many are ready.
fn look(files: &FileTable, fds: &mut [PollFd], changed: &mut Vec<usize>, table: &mut PollTable) -> usize {
    let mut total = 0;
    let mut glance = table.glance(files);
    for (position, entry) in fds.iter_mut().enumerate() {
        let ready = match glance.ask(position, entry.fd) {
            Some(events) => events & entry.wanted(),
            None if entry.fd >= 0 => IoEvents::NVAL,
            None => IoEvents::empty(),
        };
        total += usize::from(!ready.is_empty());
        entry.store(ready, position, changed);
    }
    drop(glance);
    table.ask_uncached(|position, events| {
        let entry = &mut fds[position];
        let ready = events & entry.wanted();
        total += usize::from(!ready.is_empty());
        entry.store(ready, position, changed);
    });
    total
}

fn read_fds(ctx: &Context, address: Vaddr, fds: &mut [PollFd]) -> Result<()> {
    ctx.read_bytes(address, fds.as_mut_bytes())
}

/// Writes the `revents` that changed, and only those members.
fn write_revents(ctx: &Context, address: Vaddr, fds: &[PollFd], changed: &[usize]) -> Result<()> {
    for position in (0..fds.len()).step_by(ENTRIES_PER_PAGE).chain(changed.iter().copied()) {
        let offset = position * size_of::<PollFd>() + REVENTS_OFFSET;
        ctx.write_val(address.checked_add(offset).ok_or(EFAULT)?, &fds[position].revents)?;
    }
    Ok(())
}
