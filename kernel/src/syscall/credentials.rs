// SPDX-License-Identifier: MPL-2.0

//! Who a thread is: users, groups, capabilities (`credentials(7)`, `capabilities(7)`).
//!
//! As in Linux's kernel the calls change the calling thread only; the C library spreads a change over all threads.

use crate::{
    prelude::*,
    process::{
        credentials::{Capabilities, Credentials},
        table,
    },
};

/// In an argument: leave as it is. Also no valid number.
const KEEP: u32 = u32::MAX;
/// The most supplementary groups (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65536;

/// Replaces the caller's credentials by a changed copy.
fn update(ctx: &Context, change: impl FnOnce(&mut Credentials) -> Result<()>) -> Result<isize> {
    let old = ctx.credentials();
    let mut new = (*old).clone();
    change(&mut new)?;
    *ctx.thread.credentials.lock() = Arc::new(new);
    Ok(0)
}

/// [`update`] for user numbers: capabilities follow.
fn update_users(ctx: &Context, change: impl FnOnce(&mut Credentials) -> Result<()>) -> Result<isize> {
    let old = ctx.credentials();
    update(ctx, |new| {
        change(new)?;
        new.adjust_capabilities(&old);
        new.adjust_file_capabilities(&old);
        Ok(())
    })
}

/// `setuid(2)`
///
/// # Errors
/// `EINVAL` for -1; `EPERM` for another user's number without `CAP_SETUID`.
pub fn sys_setuid(ctx: &Context, uid: u32) -> Result<isize> {
    update_users(ctx, |new| {
        if uid == KEEP {
            return Err(EINVAL);
        }
        if new.has(Capabilities::SETUID) {
            (new.uid, new.suid) = (uid, uid);
        } else if ![new.uid, new.suid].contains(&uid) {
            return Err(EPERM);
        }
        (new.euid, new.fsuid) = (uid, uid);
        Ok(())
    })
}

/// `setgid(2)`
///
/// # Errors
/// `EINVAL` for -1; `EPERM` for another group's number without `CAP_SETGID`.
pub fn sys_setgid(ctx: &Context, gid: u32) -> Result<isize> {
    update(ctx, |new| {
        if gid == KEEP {
            return Err(EINVAL);
        }
        if new.has(Capabilities::SETGID) {
            (new.gid, new.sgid) = (gid, gid);
        } else if ![new.gid, new.sgid].contains(&gid) {
            return Err(EPERM);
        }
        (new.egid, new.fsgid) = (gid, gid);
        Ok(())
    })
}

/// Real, effective and saved number of a user or group, and what a `setre*id` or `setres*id` makes of them.
#[derive(Clone, Copy)]
struct Ids {
    real: u32,
    effective: u32,
    saved: u32,
}

impl Ids {
    /// `setresuid(2)`: each number may become any of the three, or with privilege anything.
    fn set_all(self, wanted: Self, is_privileged: bool) -> Result<Self> {
        let known = [self.real, self.effective, self.saved, KEEP];
        let is_allowed = |id: u32| is_privileged || known.contains(&id);
        if ![wanted.real, wanted.effective, wanted.saved].into_iter().all(is_allowed) {
            return Err(EPERM);
        }
        let choose = |id: u32, old: u32| if id == KEEP { old } else { id };
        Ok(Self {
            real: choose(wanted.real, self.real),
            effective: choose(wanted.effective, self.effective),
            saved: choose(wanted.saved, self.saved),
        })
    }

    /// `setreuid(2)`: the saved number follows the effective one unless only the effective one became the real one.
    fn set_two(self, real: u32, effective: u32, is_privileged: bool) -> Result<Self> {
        let may_be_real = [self.real, self.effective, KEEP].contains(&real);
        let may_be_effective = [self.real, self.effective, self.saved, KEEP].contains(&effective);
        let is_allowed = may_be_real && may_be_effective;
        if !is_privileged && !is_allowed {
            return Err(EPERM);
        }
        let choose = |id: u32, old: u32| if id == KEEP { old } else { id };
        let (new_real, new_effective) = (choose(real, self.real), choose(effective, self.effective));
        let saved_follows = real != KEEP || (effective != KEEP && effective != self.real);
        let saved = if saved_follows { new_effective } else { self.saved };
        Ok(Self { real: new_real, effective: new_effective, saved })
    }
}

impl Credentials {
    fn users(&self) -> Ids {
        Ids { real: self.uid, effective: self.euid, saved: self.suid }
    }

    fn groups_of_three(&self) -> Ids {
        Ids { real: self.gid, effective: self.egid, saved: self.sgid }
    }

    fn set_users(&mut self, ids: Ids) {
        (self.uid, self.euid, self.suid, self.fsuid) = (ids.real, ids.effective, ids.saved, ids.effective);
    }

    fn set_groups_of_three(&mut self, ids: Ids) {
        (self.gid, self.egid, self.sgid, self.fsgid) = (ids.real, ids.effective, ids.saved, ids.effective);
    }
}

/// `setreuid(2)`
pub fn sys_setreuid(ctx: &Context, real: u32, effective: u32) -> Result<isize> {
    update_users(ctx, |new| {
        let ids = new.users().set_two(real, effective, new.has(Capabilities::SETUID))?;
        new.set_users(ids);
        Ok(())
    })
}

/// `setregid(2)`
pub fn sys_setregid(ctx: &Context, real: u32, effective: u32) -> Result<isize> {
    update(ctx, |new| {
        let ids = new.groups_of_three().set_two(real, effective, new.has(Capabilities::SETGID))?;
        new.set_groups_of_three(ids);
        Ok(())
    })
}

/// `setresuid(2)`
pub fn sys_setresuid(ctx: &Context, real: u32, effective: u32, saved: u32) -> Result<isize> {
    update_users(ctx, |new| {
        let wanted = Ids { real, effective, saved };
        let ids = new.users().set_all(wanted, new.has(Capabilities::SETUID))?;
        new.set_users(ids);
        Ok(())
    })
}

/// `setresgid(2)`
pub fn sys_setresgid(ctx: &Context, real: u32, effective: u32, saved: u32) -> Result<isize> {
    update(ctx, |new| {
        let wanted = Ids { real, effective, saved };
        let ids = new.groups_of_three().set_all(wanted, new.has(Capabilities::SETGID))?;
        new.set_groups_of_three(ids);
        Ok(())
    })
}

fn write_ids(ctx: &Context, ids: Ids, addresses: [Vaddr; 3]) -> Result<isize> {
    for (address, id) in addresses.into_iter().zip([ids.real, ids.effective, ids.saved]) {
        ctx.write_val(address, &id)?;
    }
    Ok(0)
}

/// `getresuid(2)`
pub fn sys_getresuid(ctx: &Context, real: Vaddr, effective: Vaddr, saved: Vaddr) -> Result<isize> {
    write_ids(ctx, ctx.credentials().users(), [real, effective, saved])
}

/// `getresgid(2)`
pub fn sys_getresgid(ctx: &Context, real: Vaddr, effective: Vaddr, saved: Vaddr) -> Result<isize> {
    write_ids(ctx, ctx.credentials().groups_of_three(), [real, effective, saved])
}

/// `setfsuid(2)`: answers the old number whatever happens.
pub fn sys_setfsuid(ctx: &Context, fsuid: u32) -> Result<isize> {
    let old = ctx.credentials();
    let ids = old.users();
    let is_known = [ids.real, ids.effective, ids.saved, old.fsuid].contains(&fsuid);
    if fsuid != KEEP && (is_known || old.has(Capabilities::SETUID)) {
        update(ctx, |new| {
            new.fsuid = fsuid;
            new.adjust_file_capabilities(&old);
            Ok(())
        })?;
    }
    Ok(old.fsuid as isize)
}

/// `setfsgid(2)`: answers the old number whatever happens.
pub fn sys_setfsgid(ctx: &Context, fsgid: u32) -> Result<isize> {
    let old = ctx.credentials();
    let ids = old.groups_of_three();
    let is_known = [ids.real, ids.effective, ids.saved, old.fsgid].contains(&fsgid);
    if fsgid != KEEP && (is_known || old.has(Capabilities::SETGID)) {
        update(ctx, |new| {
            new.fsgid = fsgid;
            Ok(())
        })?;
    }
    Ok(old.fsgid as isize)
}

/// `getgroups(2)`
///
/// # Errors
/// `EINVAL` if `size` is negative, or not 0 and too small.
pub fn sys_getgroups(ctx: &Context, size: i32, list: Vaddr) -> Result<isize> {
    let groups = ctx.credentials().groups.clone();
    let size = usize::try_from(size).map_err(|_| EINVAL)?;
    if size > 0 {
        if size < groups.len() {
            return Err(EINVAL);
        }
        ctx.write_bytes(list, groups.as_bytes())?;
    }
    Ok(groups.len() as isize)
}

/// `setgroups(2)`
///
/// # Errors
/// `EPERM` without `CAP_SETGID`; `EINVAL` for more than 65 536 groups.
pub fn sys_setgroups(ctx: &Context, size: i32, list: Vaddr) -> Result<isize> {
    if !ctx.credentials().has(Capabilities::SETGID) {
        return Err(EPERM);
    }
    let size = usize::try_from(size).ok().filter(|size| *size <= MAX_GROUPS).ok_or(EINVAL)?;
    let mut groups = alloc::vec![0u32; size];
    let mut dst = VmWriter::from(groups.as_mut_slice().as_mut_bytes()).to_fallible();
    ctx.reader(list, size * size_of::<u32>())?.read_fallible(&mut dst)?;
    groups.sort_unstable();
    update(ctx, |new| {
        new.groups = groups.into();
        Ok(())
    })
}

/// `struct __user_cap_header_struct`
#[repr(C)]
#[derive(Clone, Copy, Pod)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`
#[repr(C)]
#[derive(Clone, Copy, Default, Pod)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// Number of `CapData` that the header's version has. An unknown version is replaced by the preferred one.
fn words_of_version(ctx: &Context, header: Vaddr, version: u32) -> Result<usize> {
    match version {
        VERSION_1 => Ok(1),
        VERSION_2 | VERSION_3 => Ok(2),
        _ => {
            ctx.write_val(header, &VERSION_3)?;
            Err(EINVAL)
        }
    }
}

/// `capget(2)`
///
/// # Errors
/// `EINVAL` for an unknown version (unless `data` is null, which only asks for ours) or a negative number; `ESRCH`.
pub fn sys_capget(ctx: &Context, header: Vaddr, data: Vaddr) -> Result<isize> {
    let CapHeader { version, pid } = ctx.read_val(header)?;
    let words = match words_of_version(ctx, header, version) {
        Err(EINVAL) if data == 0 => return Ok(0),
        other => other?,
    };
    let credentials = match u32::try_from(pid).map_err(|_| EINVAL)? {
        0 => ctx.credentials(),
        tid => table::thread(tid).ok_or(ESRCH)?.credentials.lock().clone(),
    };
    if data == 0 {
        return Ok(0);
    }
    for word in 0..words {
        let half = |set: Capabilities| (set.bits() >> (32 * word)) as u32;
        let value = CapData {
            effective: half(credentials.effective),
            permitted: half(credentials.permitted),
            inheritable: half(credentials.inheritable),
        };
        ctx.write_val(data + word * size_of::<CapData>(), &value)?;
    }
    Ok(0)
}

/// `capset(2)`
///
/// # Errors
/// `EPERM` for another thread, or for more than `capabilities(7)` lets a thread give itself; `EINVAL` for a bad version.
pub fn sys_capset(ctx: &Context, header: Vaddr, data: Vaddr) -> Result<isize> {
    let CapHeader { version, pid } = ctx.read_val(header)?;
    let words = words_of_version(ctx, header, version)?;
    if pid != 0 && u32::try_from(pid) != Ok(ctx.thread.tid()) {
        return Err(EPERM);
    }
    let mut sets = [0u64; 3];
    for word in 0..words {
        let value: CapData = ctx.read_val(data + word * size_of::<CapData>())?;
        for (set, half) in sets.iter_mut().zip([value.effective, value.permitted, value.inheritable]) {
            *set |= u64::from(half) << (32 * word);
        }
    }
    let [effective, permitted, inheritable] = sets.map(Capabilities::from_bits_truncate);
    update(ctx, |new| {
        let may_inherit = new.inheritable | new.permitted;
        let is_within_bounds = (new.inheritable | new.bounding).contains(inheritable);
        let is_allowed = permitted.contains(effective)
            && new.permitted.contains(permitted)
            && is_within_bounds
            && (may_inherit.contains(inheritable) || new.has(Capabilities::SETPCAP));
        if !is_allowed {
            return Err(EPERM);
        }
        (new.effective, new.permitted, new.inheritable) = (effective, permitted, inheritable);
        Ok(())
    })
}
