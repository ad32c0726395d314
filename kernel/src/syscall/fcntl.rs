// SPDX-License-Identifier: MPL-2.0

//! Control of open files: `fcntl`, `flock`, `ioctl`.

mod owner;

use crate::{
    file::{AccessMode, Description, StatusFlags, table::Fd},
    fs::{
        InodeKind, SealFlags,
        locks::{self, Lock, Owner},
        pipe,
    },
    prelude::*,
};

/// The commands of `fcntl(2)`.
mod command {
    pub const DUPFD: u32 = 0;
    pub const GETFD: u32 = 1;
    pub const SETFD: u32 = 2;
    pub const GETFL: u32 = 3;
    pub const SETFL: u32 = 4;
    pub const GETLK: u32 = 5;
    pub const SETLK: u32 = 6;
    pub const SETLKW: u32 = 7;
    pub const SETOWN: u32 = 8;
    pub const GETOWN: u32 = 9;
    pub const SETSIG: u32 = 10;
    pub const GETSIG: u32 = 11;
    pub const SETOWN_EX: u32 = 15;
    pub const GETOWN_EX: u32 = 16;
    pub const OFD_GETLK: u32 = 36;
    pub const OFD_SETLK: u32 = 37;
    pub const OFD_SETLKW: u32 = 38;
    pub const DUPFD_CLOEXEC: u32 = 1030;
    pub const SETPIPE_SZ: u32 = 1031;
    pub const GETPIPE_SZ: u32 = 1032;
    pub const ADD_SEALS: u32 = 1033;
    pub const GET_SEALS: u32 = 1034;
}

/// `fcntl(2)`
pub fn sys_fcntl(ctx: &Context, fd: Fd, command: u32, argument: usize) -> Result<isize> {
    let files = ctx.files();
    let file = files.get(fd)?;
    match command {
        command::DUPFD | command::DUPFD_CLOEXEC => {
            let limit = ctx.process.limits.max_files();
            let minimum = usize::try_from(argument as i32).ok().filter(|minimum| *minimum < limit).ok_or(EINVAL)?;
            let close_on_exec = command == command::DUPFD_CLOEXEC;
            files.insert(file, minimum, limit, close_on_exec).map(|fd| fd as isize)
        }
        command::GETFD => files.close_on_exec(fd).map(isize::from),
        command::SETFD => files.set_close_on_exec(fd, argument & 1 != 0).map(|()| 0),
        command::GETFL if file.is_path() => Ok(file.status().bits() as isize),
        command::GETFL => Ok((file.status().bits() | file.access().to_open_flags()) as isize),
        _ if file.is_path() => Err(EBADF),
        command::SETFL => set_status(ctx, &file, fd, argument as u32),
        command::GETLK => get_lock(ctx, &file, argument, Owner::of_process(&files)),
        command::SETLK => set_lock(ctx, &file, argument, Owner::of_process(&files), false),
        command::SETLKW => set_lock(ctx, &file, argument, Owner::of_process(&files), true),
        command::SETOWN => owner::set(ctx, &file, owner::decode(argument as i32)?),
        command::GETOWN => Ok(owner::encode(file.sigio().owner())),
        command::SETSIG => owner::set_signal(&file, argument),
        command::GETSIG => Ok(file.sigio().signal() as isize),
        command::SETOWN_EX => owner::set_ex(ctx, &file, argument),
        command::GETOWN_EX => owner::get_ex(ctx, &file, argument),
        command::OFD_GETLK => get_lock(ctx, &file, argument, Owner::Description(file.id())),
        command::OFD_SETLK => set_lock(ctx, &file, argument, Owner::Description(file.id()), false),
        command::OFD_SETLKW => set_lock(ctx, &file, argument, Owner::Description(file.id()), true),
        command::SETPIPE_SZ => pipe::set_size(ctx, &file, argument as u32),
        command::GETPIPE_SZ => pipe::get_size(&file),
        command::ADD_SEALS => add_seals(&file, argument as u32),
        command::GET_SEALS => Ok(file.inode().seals().ok_or(EINVAL)?.get().bits() as isize),
        _ => Err(EINVAL),
    }
}

fn set_status(ctx: &Context, file: &Description, fd: Fd, flags: u32) -> Result<isize> {
    let mask = StatusFlags::APPEND | StatusFlags::NONBLOCK | StatusFlags::DIRECT | StatusFlags::NOATIME;
    let wants_async = StatusFlags::from_bits_retain(flags).contains(StatusFlags::ASYNC);
    let flags = StatusFlags::from_bits_retain(flags) & mask;
    let is_new = |flag| flags.contains(flag) && !file.status().contains(flag);
    if is_new(StatusFlags::NOATIME) && !ctx.credentials().is_owner(file.inode().metadata().uid) {
        return Err(EPERM);
    }
    let has_direct_io = matches!(file.inode().kind(), InodeKind::Regular | InodeKind::Fifo);
    if is_new(StatusFlags::DIRECT) && !has_direct_io {
        return Err(EINVAL);
    }
    file.set_status(mask, flags);
    if wants_async != file.status().contains(StatusFlags::ASYNC) {
        file.set_async(wants_async, fd);
    }
    Ok(0)
}

fn add_seals(file: &Description, flags: u32) -> Result<isize> {
    let seals = file.inode().seals().ok_or(EINVAL)?;
    let flags = SealFlags::from_bits(flags).ok_or(EINVAL)?;
    if !file.access().contains(AccessMode::WRITE) {
        return Err(EPERM);
    }
    let has_writable_mappings = file.inode().page_cache().is_some_and(|cache| cache.writable_mappings() > 0);
    seals.add(flags, has_writable_mappings)?;
    Ok(0)
}

/// `struct flock`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct RawLock {
    kind: i16,
    whence: i16,
    padding: u32,
    start: i64,
    len: i64,
    pid: i32,
    tail: u32,
}

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

impl RawLock {
    /// The range in bytes, first and last.
    ///
    /// # Errors
    /// `EINVAL` for an unknown `whence` or a range before the start of the file; `EOVERFLOW` beyond its largest end.
    fn range(&self, file: &Description) -> Result<(u64, u64)> {
        let base = match self.whence {
            0 => 0,
            1 => *file.position().lock(),
            2 => file.inode().size(),
            _ => return Err(EINVAL),
        };
        let base = i64::try_from(base).map_err(|_| EOVERFLOW)?;
        let start = base.checked_add(self.start).ok_or(EOVERFLOW)?;
        let (first, last) = match self.len {
            0 => (start, None),
            1.. => (start, Some(start.checked_add(self.len - 1).ok_or(EOVERFLOW)?)),
            _ => (start.checked_add(self.len).ok_or(EINVAL)?, Some(start - 1)),
        };
        let first = u64::try_from(first).map_err(|_| EINVAL)?;
        let last = last.map(|last| u64::try_from(last).map_err(|_| EINVAL)).transpose()?;
        Ok((first, last.filter(|last| *last < i64::MAX as u64).unwrap_or(u64::MAX)))
    }

    fn decode(&self, ctx: &Context, file: &Description, owner: Owner) -> Result<Lock> {
        let (start, end) = self.range(file)?;
        let pid = match owner {
            Owner::Process(_) => Some(ctx.process.pid),
            _ if self.pid != 0 => return Err(EINVAL),
            _ => None,
        };
        Ok(Lock { owner, pid, is_exclusive: self.kind == F_WRLCK, start, end })
    }
}

fn get_lock(ctx: &Context, file: &Description, argument: Vaddr, owner: Owner) -> Result<isize> {
    let mut raw: RawLock = ctx.read_val(argument)?;
    if raw.kind != F_RDLCK && raw.kind != F_WRLCK {
        return Err(EINVAL);
    }
    let wanted = raw.decode(ctx, file, owner)?;
    match locks::conflict(file.inode(), &wanted) {
        None => raw.kind = F_UNLCK,
        Some(lock) => {
            raw.kind = if lock.is_exclusive { F_WRLCK } else { F_RDLCK };
            raw.whence = 0;
            raw.start = lock.start as i64;
            raw.len = if lock.end == u64::MAX { 0 } else { (lock.end - lock.start + 1) as i64 };
            raw.pid = lock.pid.map_or(-1, |pid| pid as i32);
        }
    }
    ctx.write_val(argument, &raw)?;
    Ok(0)
}

fn set_lock(ctx: &Context, file: &Description, argument: Vaddr, owner: Owner, is_blocking: bool) -> Result<isize> {
    let raw: RawLock = ctx.read_val(argument)?;
    let wanted = raw.decode(ctx, file, owner)?;
    match raw.kind {
        F_UNLCK => {
            locks::unlock(file.inode(), &wanted);
            return Ok(0);
        }
        F_RDLCK if file.access().contains(AccessMode::READ) => {}
        F_WRLCK if file.access().contains(AccessMode::WRITE) => {}
        F_RDLCK | F_WRLCK => return Err(EBADF),
        _ => return Err(EINVAL),
    }
    if matches!(owner, Owner::Description(_)) {
        file.note_locks();
    }
    locks::lock(ctx, file.inode(), &wanted, is_blocking)?;
    Ok(0)
}

/// `flock(2)`
pub fn sys_flock(ctx: &Context, fd: Fd, operation: u32) -> Result<isize> {
    const SHARED: u32 = 1;
    const EXCLUSIVE: u32 = 2;
    const NONBLOCK: u32 = 4;
    const UNLOCK: u32 = 8;
    let kind = operation & !NONBLOCK;
    if ![SHARED, EXCLUSIVE, UNLOCK].contains(&kind) {
        return Err(EINVAL);
    }
    let file = ctx.file(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    let owner = Owner::Flock(file.id());
    if kind == UNLOCK {
        locks::release(file.inode(), owner);
        return Ok(0);
    }
    file.note_locks();
    let wanted = Lock { owner, pid: Some(ctx.process.pid), is_exclusive: kind == EXCLUSIVE, start: 0, end: u64::MAX };
    if locks::conflict(file.inode(), &wanted).is_some() {
        // A conversion gives the old lock up first: it is not atomic (flock(2)).
        locks::release(file.inode(), owner);
    }
    locks::lock(ctx, file.inode(), &wanted, operation & NONBLOCK == 0)?;
    Ok(0)
}

/// `ioctl(2)`: what is common to all files; the rest is the file's.
pub fn sys_ioctl(ctx: &Context, fd: Fd, command: u32, argument: usize) -> Result<isize> {
    const FIONBIO: u32 = 0x5421;
    const FIOASYNC: u32 = 0x5452;
    const FIONCLEX: u32 = 0x5450;
    const FIOCLEX: u32 = 0x5451;
    const FIONREAD: u32 = 0x541b;
    let files = ctx.files();
    let file = files.get(fd)?;
    if file.is_path() {
        return Err(EBADF);
    }
    match command {
        FIOCLEX => files.set_close_on_exec(fd, true)?,
        FIONCLEX => files.set_close_on_exec(fd, false)?,
        FIONBIO => {
            let is_on = ctx.read_val::<i32>(argument)? != 0;
            let flags = if is_on { StatusFlags::NONBLOCK } else { StatusFlags::empty() };
            file.set_status(StatusFlags::NONBLOCK, flags);
        }
        FIOASYNC if file.has_sigio() => {
            let is_on = ctx.read_val::<i32>(argument)? != 0;
            file.set_async(is_on, fd);
        }
        FIOASYNC => return Err(ENOTTY),
        FIONREAD if file.inode().kind() == InodeKind::Regular => {
            let left = file.inode().size() as i64 - *file.position().lock() as i64;
            ctx.write_val(argument, &(left as i32))?;
        }
        _ => return file.file().ioctl(ctx, command, argument),
    }
    Ok(0)
}
