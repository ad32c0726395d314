// SPDX-License-Identifier: MPL-2.0

//! `select(2)` and `pselect6(2)`.

use readiness::{IoEvents, Timeout, WaitError};

use super::sigmask::{self, SigMask};
use crate::{
    events::PollTable,
    file::table::{Fd, FileTable},
    prelude::*,
    time::{
        Deadline, NANOS_PER_SEC,
        types::{Timespec, Timeval},
    },
};

/// Bits of one word of an `fd_set`.
const BITS: usize = u64::BITS as usize;

/// What each of the three sets means, in the order of the arguments (Linux's `POLLIN_SET`, `POLLOUT_SET` and `POLLEX_SET`).
/// A file that fails is readable and writable; one that hung up is readable.
const MEANING: [IoEvents; 3] = [
    IoEvents::READABLE.union(IoEvents::RDBAND).union(IoEvents::HUP).union(IoEvents::ERR).union(IoEvents::NVAL),
    IoEvents::WRITABLE.union(IoEvents::WRBAND).union(IoEvents::ERR).union(IoEvents::NVAL),
    IoEvents::PRI.union(IoEvents::NVAL),
];

/// `select(2)`: with a `struct timeval`, null for no timeout, into which the time that is left is written.
///
/// # Errors
/// `EINVAL` for a negative count or timeout; `EBADF` if a file in a set is not open; `EFAULT`; `ERESTARTNOHAND`.
pub fn sys_select(ctx: &Context, count: i32, sets: [Vaddr; 3], timeout_address: Vaddr) -> Result<isize> {
    let timeout = match timeout_address {
        0 => Timeout::Never,
        address => sigmask::timeout_from_nanos(nanos_of(ctx.read_val(address)?)?),
    };
    let result = select(ctx, count, sets, timeout);
    write_back(timeout, result, |nanos| ctx.write_val(timeout_address, &Timeval::from_nanos(nanos)))
}

/// `pselect6(2)`: with a `struct timespec`, and with a pointer to the address and the size of a signal mask for the time of
/// the call. Either pointer may be null.
///
/// # Errors
/// As [`sys_select`]; `EINVAL` for a mask of another size.
pub fn sys_pselect6(ctx: &Context, count: i32, sets: [Vaddr; 3], timeout_address: Vaddr, mask: Vaddr) -> Result<isize> {
    let [mask, mask_size] = if mask == 0 { [0, 0] } else { ctx.read_val(mask)? };
    let timeout = match timeout_address {
        0 => Timeout::Never,
        address => sigmask::timeout_from_nanos(ctx.read_val::<Timespec>(address)?.to_nanos()?),
    };
    let mask = SigMask::read(ctx, mask, mask_size)?;
    sigmask::with_mask(ctx, mask, || {
        let result = select(ctx, count, sets, timeout);
        write_back(timeout, result, |nanos| ctx.write_val(timeout_address, &Timespec::from_nanos(nanos)))
    })
}

/// Nanoseconds of a `struct timeval` whose microseconds may be a second or more.
fn nanos_of(timeval: Timeval) -> Result<u64> {
    let sec = u64::try_from(timeval.sec).map_err(|_| EINVAL)?;
    let usec = u64::try_from(timeval.usec).map_err(|_| EINVAL)?;
    Ok(sec.saturating_mul(NANOS_PER_SEC).saturating_add(usec.saturating_mul(1000)))
}

/// Writes the time that is left. A restarted call reads its timeout again: if that could not be written, it must not be
/// restarted.
fn write_back(
    timeout: Timeout<Deadline>,
    result: Result<isize>,
    write: impl FnOnce(u64) -> Result<()>,
) -> Result<isize> {
    let Some(nanos) = sigmask::remaining(timeout) else {
        return result;
    };
    match write(nanos) {
        Err(_) if result == Err(ERESTARTNOHAND) => Err(EINTR),
        _ => result,
    }
}

/// What `select(2)` keeps from one call of a thread to the next.
#[derive(Default)]
pub struct SelectScratch {
    sets: Sets,
    requests: Vec<Request>,
    table: PollTable,
}

/// The three sets of a call. A set that is null has no words, the others have as many as the numbers need.
#[derive(Default)]
struct Sets {
    wanted: [Vec<u64>; 3],
    /// What is ready of that.
    found: [Vec<u64>; 3],
}

/// A file that is in at least one set.
#[derive(Clone, Copy)]
struct Request {
    fd: Fd,
    wanted: IoEvents,
}

/// Waits until a file in one of the sets is ready, and answers how many bits are set.
fn select(ctx: &Context, count: i32, addresses: [Vaddr; 3], timeout: Timeout<Deadline>) -> Result<isize> {
    let files = ctx.files();
    let count = usize::try_from(count).map_err(|_| EINVAL)?.min(files.room());
    let mut scratch = ctx.select_scratch.borrow_mut();
    let SelectScratch { sets, requests, table } = &mut *scratch;
    sets.read(ctx, addresses, count)?;
    let mut total = look(&files, sets, table)?;
    if total == 0 {
        sets.collect_requests(requests);
        let outcome = table.wait(ctx, &files, timeout, requests.iter().map(|request| (request.fd, request.wanted)));
        table.found(|index, ready| total += sets.store(requests[index].fd, ready));
        if outcome == Err(WaitError::Interrupted) {
            return Err(ERESTARTNOHAND);
        }
    }
    sets.write_found(ctx, addresses)?;
    Ok(total as isize)
}

/// Looks at every file once, set by set: most calls have only one. Returns how many bits are set.
///
/// # Errors
/// `EBADF` if one is not open.
fn look(files: &FileTable, sets: &mut Sets, table: &mut PollTable) -> Result<usize> {
    let (mut total, mut are_open) = (0, true);
    let mut glance = table.glance(files);
    for ((wanted, found), meaning) in sets.wanted.iter().zip(&mut sets.found).zip(MEANING) {
        for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
            let mut rest = *wanted;
            *found = 0;
            while rest != 0 {
                let fd = fd_of(index, rest.trailing_zeros());
                match glance.ask(fd as usize, fd) {
                    Some(events) if events.intersects(meaning) => {
                        *found |= rest & rest.wrapping_neg();
                        total += 1;
                    }
                    Some(_) => {}
                    None => are_open = false,
                }
                rest &= rest - 1;
            }
        }
    }
    drop(glance);
    table.ask_uncached(|fd, events| total += sets.store(fd as Fd, events));
    if are_open { Ok(total) } else { Err(EBADF) }
}

/// The number that a bit of a word of a set stands for.
fn fd_of(index: usize, bit: u32) -> Fd {
    index as Fd * BITS as Fd + bit as Fd
}

impl Sets {
    /// Copies the sets in: only the words that `count` numbers need.
    fn read(&mut self, ctx: &Context, addresses: [Vaddr; 3], count: usize) -> Result<()> {
        for ((wanted, found), address) in self.wanted.iter_mut().zip(&mut self.found).zip(addresses) {
            if address == 0 {
                wanted.clear();
                found.clear();
                continue;
            }
            let len = count.div_ceil(BITS);
            wanted.resize(len, 0);
            found.resize(len, 0);
            ctx.read_bytes(address, wanted.as_mut_slice().as_mut_bytes())?;
            if let Some(last) = wanted.last_mut().filter(|_| !count.is_multiple_of(BITS)) {
                *last &= !(u64::MAX << (count % BITS));
            }
        }
        Ok(())
    }

    /// Copies out what was found.
    fn write_found(&self, ctx: &Context, addresses: [Vaddr; 3]) -> Result<()> {
        for (found, address) in self.found.iter().zip(addresses).filter(|(_, address)| *address != 0) {
            ctx.write_bytes(address, found.as_bytes())?;
        }
        Ok(())
    }

    /// Lists the files that are in a set.
    fn collect_requests(&self, requests: &mut Vec<Request>) {
        requests.clear();
        for index in 0..self.wanted.iter().map(Vec::len).max().unwrap_or(0) {
            let words = self.wanted.each_ref().map(|set| set.get(index).copied().unwrap_or(0));
            let mut rest = words[0] | words[1] | words[2];
            while rest != 0 {
                let bit = rest.trailing_zeros();
                let sets = words.into_iter().zip(MEANING).filter(|(word, _)| word >> bit & 1 != 0);
                requests.push(Request { fd: fd_of(index, bit), wanted: sets.map(|(_, meaning)| meaning).collect() });
                rest &= rest - 1;
            }
        }
    }

    /// Notes what was found of a file, in the sets that it is in. Returns in how many it is ready.
    fn store(&mut self, fd: Fd, events: IoEvents) -> usize {
        let (index, bit) = (fd as usize / BITS, 1 << (fd as usize % BITS));
        let mut count = 0;
        for ((wanted, found), meaning) in self.wanted.iter().zip(&mut self.found).zip(MEANING) {
            // Else the set is null.
            if let (Some(wanted), Some(found)) = (wanted.get(index), found.get_mut(index))
                && events.intersects(meaning)
                && wanted & bit & !*found != 0
            {
                *found |= bit;
                count += 1;
            }
        }
        count
    }
}
