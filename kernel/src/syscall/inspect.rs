// SPDX-License-Identifier: MPL-2.0

//! Calls that look into another process: `kcmp(2)`, `process_vm_readv(2)`, `process_vm_writev(2)`.

use core::{cmp::Ordering, sync::atomic::Ordering::Relaxed};

use rand_chacha::rand_core::RngCore;
use spin::Once;

use super::{
    epoll::epoll_of,
    rw::{IoVec, iov_dst, iov_src, read_iovecs},
};
use crate::{
    file::{Description, table::Fd},
    prelude::*,
    process::{Process, Thread, credentials::Capabilities, table},
    random,
    vm::AddressSpace,
};

/// The most bytes that are in the kernel on their way from one process to another.
const STEP: usize = 16 * PAGE_SIZE;

/// A thread, which may have ended if nobody waited for its process yet.
struct Subject {
    process: Arc<Process>,
    thread: Option<Arc<Thread>>,
}

impl Subject {
    /// The one with this number.
    ///
    /// # Errors
    /// `ESRCH`
    fn find(id: i32) -> Result<Self> {
        let id = u32::try_from(id).map_err(|_| ESRCH)?;
        match table::thread(id) {
            Some(thread) => Ok(Self { process: thread.process.clone(), thread: Some(thread) }),
            None => Ok(Self { process: table::process(id).ok_or(ESRCH)?, thread: None }),
        }
    }

    /// # Errors
    /// `EPERM` if the caller may not look into it.
    fn check_access(&self, ctx: &Context) -> Result<()> {
        match &self.thread {
            Some(thread) => check_access(ctx, thread),
            None if self.process.uid() == ctx.credentials().uid => Ok(()),
            None if ctx.credentials().has(Capabilities::SYS_PTRACE) => Ok(()),
            None => Err(EPERM),
        }
    }

    /// # Errors
    /// `EBADF` if there is none, as after the end.
    fn description(&self, fd: Fd) -> Result<Arc<Description>> {
        let files = self.thread.as_ref().ok_or(EBADF)?.files.lock().clone();
        files.get(fd)
    }

    /// `None` after the end.
    fn vm(&self) -> Option<Arc<AddressSpace>> {
        self.thread.as_ref().and_then(|thread| thread.process.vm.lock().clone())
    }
}

/// Whether the caller might attach to `target` (`ptrace(2)`, `PTRACE_MODE_ATTACH_REALCREDS`).
///
/// # Errors
/// `EPERM` if not.
pub fn check_access(ctx: &Context, target: &Thread) -> Result<()> {
    let own = ctx.credentials();
    if Arc::ptr_eq(&ctx.process, &target.process) || own.has(Capabilities::SYS_PTRACE) {
        return Ok(());
    }
    let other = target.credentials.lock().clone();
    let is_same_user = [other.uid, other.euid, other.suid].iter().all(|uid| *uid == own.uid);
    let is_same_group = [other.gid, other.egid, other.sgid].iter().all(|gid| *gid == own.gid);
    let is_no_more_capable = own.permitted.contains(other.permitted);
    let may = is_same_user && is_same_group && is_no_more_capable && target.process.is_dumpable.load(Relaxed);
    if may { Ok(()) } else { Err(EPERM) }
}

/// `struct kcmp_epoll_slot`: a file of an epoll.
#[repr(C)]
#[derive(Clone, Copy, Pod)]
struct EpollSlot {
    /// The epoll.
    epfd: u32,
    /// The number that the file was added with.
    fd: u32,
    /// Which of those that were added with this number.
    index: u32,
}

/// `kcmp(2)`: 0 if two threads share a resource; 1 if the first's comes before the second's in some order, 2 if after it. Mirrors
/// Linux's `kernel/kcmp.c`.
///
/// # Errors
/// `ESRCH` if there is no such thread; `EPERM` if the caller may not look into both; `EINVAL` for an unknown type, or a descriptor
/// that is not of an epoll; `EBADF`; `ENOENT` if the epoll has no such file; `EFAULT`.
pub fn sys_kcmp(ctx: &Context, ids: [i32; 2], kind: i32, first: usize, second: usize) -> Result<isize> {
    const KCMP_FILE: i32 = 0;
    const KCMP_VM: i32 = 1;
    const KCMP_FILES: i32 = 2;
    const KCMP_FS: i32 = 3;
    const KCMP_SIGHAND: i32 = 4;
    const KCMP_IO: i32 = 5;
    const KCMP_SYSVSEM: i32 = 6;
    const KCMP_EPOLL_TFD: i32 = 7;

    let subjects = [Subject::find(ids[0])?, Subject::find(ids[1])?];
    for subject in &subjects {
        subject.check_access(ctx)?;
    }
    let [one, other] = &subjects;
    let ordering = match kind {
        KCMP_FILE => {
            let first = one.description(number(first)?)?;
            first.id().cmp(&other.description(number(second)?)?.id())
        }
        KCMP_EPOLL_TFD => {
            let first = one.description(number(first)?)?;
            first.id().cmp(&find_watched(other, ctx.read_val(second)?)?)
        }
        KCMP_VM => compare(one.vm(), other.vm()),
        KCMP_FILES => {
            let files = |subject: &Subject| subject.thread.as_ref().map(|thread| thread.files.lock().clone());
            compare(files(one), files(other))
        }
        KCMP_FS => {
            let fs = |subject: &Subject| subject.thread.as_ref().map(|thread| thread.fs.lock().clone());
            compare(fs(one), fs(other))
        }
        KCMP_SIGHAND => compare(Some(one.process.signals.actions()), Some(other.process.signals.actions())),
        // Nobody has an I/O context or undoes semaphores here: on Linux, too, those who have none are equal.
        KCMP_IO | KCMP_SYSVSEM => Ordering::Equal,
        _ => return Err(EINVAL),
    };
    Ok(match ordering {
        Ordering::Equal => 0,
        Ordering::Less => 1,
        Ordering::Greater => 2,
    })
}

/// A register as a descriptor.
///
/// # Errors
/// `EBADF` if it can be none.
fn number(word: usize) -> Result<Fd> {
    Fd::try_from(word as u32).map_err(|_| EBADF)
}

/// The number of the description that `slot` names.
///
/// # Errors
/// As [`sys_kcmp`].
fn find_watched(subject: &Subject, slot: EpollSlot) -> Result<u64> {
    let description = subject.description(number(slot.epfd as usize)?)?;
    let mut found = Vec::new();
    epoll_of(&description)?.for_each_entry(|entry| {
        if entry.fd as u32 == slot.fd {
            found.push(entry.file.id());
        }
    });
    found.sort_unstable();
    found.get(slot.index as usize).copied().ok_or(ENOENT)
}

/// Whether both are the same, and else an order that does not tell where in memory they are.
fn compare<T>(one: Option<Arc<T>>, other: Option<Arc<T>>) -> Ordering {
    static KEY: Once<usize> = Once::new();
    let key = *KEY.call_once(|| random::generator().next_u64() as usize);
    let place = |object: &Option<Arc<T>>| object.as_ref().map_or(0, |object| Arc::as_ptr(object).addr() ^ key);
    place(&one).cmp(&place(&other))
}

/// `process_vm_readv(2)`: copies from the memory of another process to the caller's.
///
/// # Errors
/// `EINVAL` for flags, more than 1024 elements or a negative length; `ESRCH`; `EPERM` if the caller may not look into it; `EFAULT` if
/// not one byte could be copied.
pub fn sys_process_vm_readv(ctx: &Context, pid: i32, own: [usize; 2], other: [usize; 2], flags: u64) -> Result<isize> {
    if flags != 0 {
        return Err(EINVAL);
    }
    let mut dst = iov_dst(ctx, own[0], own[1])?;
    transfer(ctx, pid, other, dst.avail(), |vm, address, buffer| {
        let count = vm.read_as_owner(address, buffer);
        dst.write_slice(&buffer[..count])
    })
}

/// `process_vm_writev(2)`: copies from the caller's memory to that of another process.
///
/// # Errors
/// As [`sys_process_vm_readv`].
pub fn sys_process_vm_writev(ctx: &Context, pid: i32, own: [usize; 2], other: [usize; 2], flags: u64) -> Result<isize> {
    if flags != 0 {
        return Err(EINVAL);
    }
    let mut src = iov_src(ctx, own[0], own[1])?;
    transfer(ctx, pid, other, src.remain(), |vm, address, buffer| {
        let count = src.read_slice(buffer)?;
        Ok(vm.write_as_owner(address, &buffer[..count]))
    })
}

/// Calls `copy` with each part of up to `room` bytes of the memory of `pid`, and a buffer as long as it, until one could not be copied
/// as a whole.
fn transfer(
    ctx: &Context,
    pid: i32,
    [vectors, count]: [usize; 2],
    room: usize,
    mut copy: impl FnMut(&AddressSpace, Vaddr, &mut [u8]) -> Result<usize>,
) -> Result<isize> {
    if room == 0 {
        return Ok(0);
    }
    let vectors = read_iovecs(ctx, vectors, count)?;
    let wanted = vectors.iter().map(|vector| vector.len).sum::<usize>().min(room);
    if wanted == 0 {
        return Ok(0);
    }
    let subject = Subject::find(pid)?;
    let vm = subject.vm().ok_or(ESRCH)?;
    subject.check_access(ctx)?;
    let mut buffer = alloc::vec![0; wanted.min(STEP)];
    let mut total = 0;
    for IoVec { base, len } in vectors {
        let mut done = 0;
        while done < len && total < wanted {
            let part = (len - done).min(wanted - total).min(STEP);
            let outcome = base.checked_add(done).map_or(Err(EFAULT), |at| copy(&vm, at, &mut buffer[..part]));
            let copied = *outcome.as_ref().unwrap_or(&0);
            (done, total) = (done + copied, total + copied);
            match outcome {
                _ if copied == part => {}
                Err(error) if total == 0 && error != EFAULT => return Err(error),
                _ if total == 0 => return Err(EFAULT),
                _ => return Ok(total as isize),
            }
        }
    }
    Ok(total as isize)
}
