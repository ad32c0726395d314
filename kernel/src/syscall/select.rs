// SPDX-License-Identifier: MPL-2.0

//! `select(2)` and `pselect6(2)`.

use readiness::{IoEvents, Timeout, WaitError};

use super::sigmask::{self, SigMask};
use crate::{
    events::PollTable,
    file::table::Fd,
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
    sets: [Vec<u64>; 3],
    requests: Vec<Request>,
    table: PollTable,
}

/// A file that is in at least one set.
#[derive(Clone, Copy)]
struct Request {
    fd: Fd,
    /// In which sets: a bit for each, the first one the lowest.
    sets: u8,
}

/// What is wanted of a file, by [`Request::sets`].
const WANTED: [IoEvents; 8] = {
    let mut wanted = [IoEvents::empty(); 8];
    let mut sets = 0;
    while sets < wanted.len() {
        let mut set = 0;
        while set < MEANING.len() {
            if sets >> set & 1 != 0 {
                wanted[sets] = wanted[sets].union(MEANING[set]);
            }
            set += 1;
        }
        sets += 1;
    }
    wanted
};

impl Request {
    fn wanted(self) -> IoEvents {
        WANTED[usize::from(self.sets) % WANTED.len()]
    }

    fn is_in(self, set: usize) -> bool {
        self.sets >> set & 1 != 0
    }
}

/// Waits until a file in one of the sets is ready, and answers how many bits are set.
fn select(ctx: &Context, count: i32, sets: [Vaddr; 3], timeout: Timeout<Deadline>) -> Result<isize> {
    let files = ctx.files();
    let count = usize::try_from(count).map_err(|_| EINVAL)?.min(files.room());
    let mut scratch = ctx.select_scratch.borrow_mut();
    let scratch = &mut *scratch;
    for (set, address) in scratch.sets.iter_mut().zip(sets) {
        read_set(ctx, set, address, count)?;
    }
    scratch.collect_requests(count);
    let SelectScratch { sets: bits, requests, table } = scratch;
    if !table.load(&files, requests.iter().map(|request| (request.fd, request.wanted()))) {
        table.clear();
        return Err(EBADF);
    }
    let outcome = table.wait(ctx, timeout, |index, ready| {
        requests.get(index).is_some_and(|request| request.wanted().intersects(ready))
    });
    let total = store_results(bits, requests, table);
    table.clear();
    if outcome == Err(WaitError::Interrupted) {
        return Err(ERESTARTNOHAND);
    }
    for (set, address) in bits.iter().zip(sets) {
        write_set(ctx, set, address)?;
    }
    Ok(total as isize)
}

/// Copies a set in: only the words that `count` numbers need. A null set is empty.
fn read_set(ctx: &Context, set: &mut Vec<u64>, address: Vaddr, count: usize) -> Result<()> {
    set.clear();
    set.resize(count.div_ceil(BITS), 0);
    if address != 0 {
        let bytes = set.as_mut_slice().as_mut_bytes();
        ctx.reader(address, bytes.len())?.read_fallible(&mut VmWriter::from(bytes).to_fallible())?;
    }
    Ok(())
}

fn write_set(ctx: &Context, set: &[u64], address: Vaddr) -> Result<()> {
    if address == 0 { Ok(()) } else { ctx.write_bytes(address, set.as_bytes()) }
}

impl SelectScratch {
    /// Lists the files below `count` that are in a set.
    fn collect_requests(&mut self, count: usize) {
        let Self { sets: [reads, writes, exceptions], requests, .. } = self;
        requests.clear();
        let words = reads.iter().zip(writes.iter()).zip(exceptions.iter()).enumerate();
        for (index, ((reads, writes), exceptions)) in words {
            let mut rest = reads | writes | exceptions;
            if (index + 1) * BITS > count {
                rest &= !(u64::MAX << (count % BITS));
            }
            while rest != 0 {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let [reads, writes, exceptions] = [reads, writes, exceptions].map(|set| (set >> bit & 1) as u8);
                let sets = reads | writes << 1 | exceptions << 2;
                requests.push(Request { fd: (index * BITS + bit) as Fd, sets });
            }
        }
    }
}

/// Replaces the sets by what was found, and counts the bits.
fn store_results(sets: &mut [Vec<u64>; 3], requests: &[Request], table: &PollTable) -> usize {
    sets.iter_mut().for_each(|set| set.fill(0));
    let mut total = 0;
    for (request, watch) in requests.iter().zip(table.watches()).filter(|(_, watch)| !watch.ready.is_empty()) {
        let fd = request.fd as usize;
        for (index, (set, events)) in sets.iter_mut().zip(MEANING).enumerate() {
            if request.is_in(index) && events.intersects(watch.ready) {
                set[fd / BITS] |= 1 << (fd % BITS);
                total += 1;
            }
        }
    }
    total
}
