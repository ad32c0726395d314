// SPDX-License-Identifier: MPL-2.0

//! `epoll_create(2)`, `epoll_ctl(2)`, `epoll_wait(2)` and their kin.
//!
//! The three ways to wait differ only in how their arguments are decoded.

use arrayvec::ArrayVec;
use ostd::mm::MAX_USERSPACE_VADDR;
use readiness::{
    Timeout, WaitError,
    epoll::{AT_ONCE, AddError, Epoll, EpollEvent, EpollWaitError, Fault, ModifyError, Sink},
};

use super::sigmask::{self, SigMask};
use crate::{
    events::EpollFile,
    file::{Description, table::Fd},
    prelude::*,
    time::{Deadline, types::Timespec},
};

const EPOLL_CLOEXEC: u32 = 0o2000000;

/// Operations of `epoll_ctl(2)`.
const EPOLL_CTL_ADD: i32 = 1;
const EPOLL_CTL_DEL: i32 = 2;
const EPOLL_CTL_MOD: i32 = 3;

/// `struct epoll_event`, packed: events, then the two halves of the data.
type RawEvent = [u32; 3];

/// The most events that one call returns (Linux's `EP_MAX_EVENTS`).
const MAX_EVENTS: i32 = i32::MAX / size_of::<RawEvent>() as i32;

/// `epoll_create(2)`: `size` is only checked.
///
/// # Errors
/// `EINVAL` unless it is positive; as [`sys_epoll_create1`].
pub fn sys_epoll_create(ctx: &Context, size: i32) -> Result<isize> {
    if size <= 0 { Err(EINVAL) } else { sys_epoll_create1(ctx, 0) }
}

/// `epoll_create1(2)`
///
/// # Errors
/// `EINVAL` for unknown flags; `EMFILE`.
pub fn sys_epoll_create1(ctx: &Context, flags: u32) -> Result<isize> {
    if flags & !EPOLL_CLOEXEC != 0 {
        return Err(EINVAL);
    }
    let limit = ctx.process.limits.max_files();
    let fd = ctx.files().insert(EpollFile::open(ctx), 0, limit, flags & EPOLL_CLOEXEC != 0)?;
    Ok(fd as isize)
}

/// `epoll_ctl(2)`; errors are found in the order of Linux's `do_epoll_ctl`.
///
/// # Errors
/// Those of the manual page, and `ELOOP` for too deep nesting, too.
pub fn sys_epoll_ctl(ctx: &Context, epfd: Fd, operation: i32, fd: Fd, event: Vaddr) -> Result<isize> {
    let event = if operation == EPOLL_CTL_DEL { EpollEvent::default() } else { decode_event(ctx.read_val(event)?) };
    let (description, target) = open_files(ctx, epfd, fd)?;
    if !target.is_pollable() {
        return Err(EPERM);
    }
    if Arc::ptr_eq(&description, &target) {
        return Err(EINVAL);
    }
    let epoll = epoll_of(&description)?;
    match operation {
        EPOLL_CTL_MOD => epoll.modify(fd, &target, event)?,
        EPOLL_CTL_ADD => epoll.add(fd, &target, event)?,
        EPOLL_CTL_DEL => epoll.delete(fd, &target).map_err(|_| ENOENT)?,
        _ => return Err(EINVAL),
    }
    Ok(0)
}

/// `epoll_wait(2)`: answers how many events were stored, 0 when time is up.
///
/// # Errors
/// `EBADF`; `EINVAL` for a bad count or if it is no epoll; `EFAULT`; `EINTR`, whatever `SA_RESTART` says.
// Always inlined, as what it calls on its way: else they save and load as many registers as they execute other instructions.
#[inline(always)]
pub fn sys_epoll_wait(ctx: &Context, epfd: Fd, events: Vaddr, max: i32, timeout: i32) -> Result<isize> {
    wait_for_events(ctx, epfd, events, max, || sigmask::timeout_from_millis(timeout))
}

/// What the three calls come down to. `timeout` is asked if nothing is ready.
#[inline(always)]
fn wait_for_events(
    ctx: &Context,
    epfd: Fd,
    events: Vaddr,
    max: i32,
    timeout: impl FnOnce() -> Timeout<Deadline>,
) -> Result<isize> {
    let description = ctx.file(epfd)?;
    if max <= 0 || max > MAX_EVENTS {
        return Err(EINVAL);
    }
    let max = max as usize;
    let mut buffer = UserBuffer::new(ctx, events)?;
    let epoll = epoll_of(&description)?;
    match epoll.harvest(max, &mut buffer) {
        Ok(0) => match timeout().deadline() {
            Ok(deadline) => sleep(ctx, epoll, max, deadline, &mut buffer),
            Err(_) => Ok(0),
        },
        Ok(count) => Ok(count as isize),
        Err(Fault) => Err(EFAULT),
    }
}

/// [`wait_for_events`] when nothing is ready.
#[inline(never)]
fn sleep(
    ctx: &Context,
    epoll: &Epoll<Description>,
    max: usize,
    deadline: Option<Deadline>,
    buffer: &mut UserBuffer<'_, '_>,
) -> Result<isize> {
    match epoll.wait(&mut ctx.waiter.borrow_mut(), max, deadline, buffer) {
        Ok(count) => Ok(count as isize),
        Err(EpollWaitError::Wait(WaitError::TimedOut)) => Ok(0),
        Err(EpollWaitError::Wait(WaitError::Interrupted)) => Err(EINTR),
        Err(EpollWaitError::Fault) => Err(EFAULT),
    }
}

/// `epoll_pwait(2)` and `epoll_pwait2(2)`: with `mask`, if not null, as signal mask while it waits.
///
/// # Errors
/// `EINVAL` for a mask of another size; as [`sys_epoll_wait`].
pub fn sys_epoll_pwait(ctx: &Context, wait: Wait, mask: Vaddr, mask_size: usize) -> Result<isize> {
    let mask = SigMask::read(ctx, mask, mask_size)?;
    let Wait { epfd, events, max, timeout } = wait;
    sigmask::with_mask(ctx, mask, || wait_for_events(ctx, epfd, events, max, || timeout))
}

/// The decoded arguments of the calls with a mask.
pub struct Wait {
    epfd: Fd,
    events: Vaddr,
    max: i32,
    timeout: Timeout<Deadline>,
}

impl Wait {
    /// Decodes the arguments of `epoll_pwait(2)`: the timeout is in milliseconds, negative for none.
    pub fn in_millis([epfd, events, max, timeout, ..]: [usize; 6]) -> Self {
        let timeout = sigmask::timeout_from_millis(timeout as i32);
        Self { epfd: epfd as Fd, events, max: max as i32, timeout }
    }

    /// Decodes the arguments of `epoll_pwait2(2)`: the timeout is a `struct timespec`, null for none.
    ///
    /// # Errors
    /// `EFAULT` or `EINVAL` for the timeout.
    pub fn in_timespec(ctx: &Context, [epfd, events, max, timeout, ..]: [usize; 6]) -> Result<Self> {
        let timeout = match timeout {
            0 => Timeout::Never,
            address => sigmask::timeout_from_nanos(ctx.read_val::<Timespec>(address)?.to_nanos()?),
        };
        Ok(Self { epfd: epfd as Fd, events, max: max as i32, timeout })
    }
}

/// What is left of the caller's array of events: as much as a harvest was told. What would lie beyond user space faults when it is
/// written: programs pass the largest count there is with an array that is smaller.
struct UserBuffer<'a, 'c> {
    ctx: &'a Context<'c>,
    /// Not beyond the end of user space.
    address: Vaddr,
}

impl<'a, 'c> UserBuffer<'a, 'c> {
    /// The array at `address`.
    ///
    /// # Errors
    /// `EFAULT` if it does not begin in user space.
    fn new(ctx: &'a Context<'c>, address: Vaddr) -> Result<Self> {
        if address <= MAX_USERSPACE_VADDR { Ok(Self { ctx, address }) } else { Err(EFAULT) }
    }

    /// Copies out up to [`AT_ONCE`] events. Inlined, because nearly always there is just one, and the compiler knows it. Returns how many were copied whole.
    #[inline]
    fn put_batch(&mut self, events: &[EpollEvent]) -> usize {
        let mut raw: ArrayVec<RawEvent, AT_ONCE> = ArrayVec::new();
        // Not collected: that would copy the whole array.
        raw.extend(events.iter().map(encode_event));
        let bytes = raw.as_bytes();
        let len = bytes.len().min(MAX_USERSPACE_VADDR - self.address);
        let copied = self.ctx.with_writer(self.address, len, |writer| {
            match writer.write_fallible(&mut VmReader::from(bytes).to_fallible()) {
                Ok(copied) | Err((_, copied)) => copied / size_of::<RawEvent>(),
            }
        });
        let copied = copied.unwrap_or(0);
        self.address += copied * size_of::<RawEvent>();
        copied
    }
}

impl Sink for UserBuffer<'_, '_> {
    #[inline]
    fn put(&mut self, events: &[EpollEvent]) -> usize {
        let mut total = 0;
        for batch in events.chunks(AT_ONCE) {
            let copied = self.put_batch(batch);
            total += copied;
            if copied < batch.len() {
                break;
            }
        }
        total
    }

    #[inline]
    fn put_now(&mut self, events: &[EpollEvent]) -> bool {
        let (ctx, address) = (self.ctx, self.address);
        let is_copied = ctx.local.with_faults_disabled(|| match events {
            // Nearly always there is just one.
            [event] => ctx.write_val(address, &encode_event(event)).is_ok(),
            _ => self.put(events) == events.len(),
        });
        self.address = address;
        is_copied
    }
}

fn encode_event(event: &EpollEvent) -> RawEvent {
    [event.events, event.data as u32, (event.data >> 32) as u32]
}

fn decode_event([events, low, high]: RawEvent) -> EpollEvent {
    EpollEvent { events, data: u64::from(low) | u64::from(high) << 32 }
}

/// The descriptions behind two descriptors, neither of which may only name a file.
#[inline]
fn open_files(ctx: &Context, first: Fd, second: Fd) -> Result<(Arc<Description>, Arc<Description>)> {
    let files = ctx.own_files.view();
    let open = |fd| files.get(fd).filter(|description| !description.is_path()).cloned().ok_or(EBADF);
    Ok((open(first)?, open(second)?))
}

/// The epoll that a description is of.
///
/// # Errors
/// `EINVAL` if it is of none.
pub fn epoll_of(description: &Description) -> Result<&Epoll<Description>> {
    description.file().as_epoll().map(EpollFile::epoll).ok_or(EINVAL)
}

impl From<AddError> for Errno {
    fn from(error: AddError) -> Self {
        match error {
            AddError::SameFile | AddError::BadExclusive | AddError::ExclusiveEpoll | AddError::TooManyPaths => EINVAL,
            AddError::WouldLoop | AddError::TooDeep => ELOOP,
            AddError::AlreadyThere => EEXIST,
            AddError::NoQuota => ENOSPC,
        }
    }
}

impl From<ModifyError> for Errno {
    fn from(error: ModifyError) -> Self {
        match error {
            ModifyError::NoEntry => ENOENT,
            ModifyError::Exclusive => EINVAL,
        }
    }
}
