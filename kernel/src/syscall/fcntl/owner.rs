// SPDX-License-Identifier: MPL-2.0

//! Whom a file signals: `F_SETOWN`, `F_SETSIG` and their kin.

use crate::{
    file::{Description, SigOwner},
    prelude::*,
    process::table,
    signal::Signal,
    syscall::signal::check_permission,
};

/// `struct f_owner_ex`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct OwnerEx {
    kind: i32,
    id: i32,
}

const THREAD: i32 = 0;
const PROCESS: i32 = 1;
const GROUP: i32 = 2;

/// The argument of `F_SETOWN`: a process, a group if negative, nobody if 0.
///
/// # Errors
/// `EINVAL` for the one number that has no opposite.
pub(super) fn decode(id: i32) -> Result<Option<SigOwner>> {
    match id {
        0 => Ok(None),
        1.. => Ok(Some(SigOwner::Process(id.unsigned_abs()))),
        i32::MIN => Err(EINVAL),
        _ => Ok(Some(SigOwner::Group(id.unsigned_abs()))),
    }
}

/// The answer of `F_GETOWN`.
pub(super) fn encode(owner: Option<SigOwner>) -> isize {
    match owner {
        None => 0,
        Some(SigOwner::Thread(id) | SigOwner::Process(id)) => id as isize,
        Some(SigOwner::Group(id)) => -(id as isize),
    }
}

/// Sets the owner. Whether the caller may signal it is checked now; Linux does so with each signal, by who the caller was.
///
/// # Errors
/// `ESRCH` if it does not exist; `EPERM` if the caller may not signal it.
pub(super) fn set(ctx: &Context, file: &Description, owner: Option<SigOwner>) -> Result<isize> {
    let check = |process: &Arc<crate::process::Process>| check_permission(ctx, process, None);
    match owner {
        None => {}
        Some(SigOwner::Thread(id)) => check(&table::thread(id).ok_or(ESRCH)?.process)?,
        Some(SigOwner::Process(id)) => check(&table::process_of_id(id).ok_or(ESRCH)?)?,
        Some(SigOwner::Group(id)) => {
            let members = table::group(id);
            if members.is_empty() {
                return Err(ESRCH);
            }
            members.iter().try_for_each(check)?;
        }
    }
    file.sigio().set_owner(owner);
    Ok(0)
}

/// `F_SETSIG`
///
/// # Errors
/// `EINVAL` if it is no signal.
pub(super) fn set_signal(file: &Description, argument: usize) -> Result<isize> {
    let number = u32::try_from(argument).map_err(|_| EINVAL)?;
    if number != 0 {
        Signal::new(number.cast_signed())?;
    }
    file.sigio().set_signal(number);
    Ok(0)
}

/// `F_SETOWN_EX`
///
/// # Errors
/// `EFAULT`; `EINVAL` for an unknown kind; as [`set`].
pub(super) fn set_ex(ctx: &Context, file: &Description, argument: Vaddr) -> Result<isize> {
    let OwnerEx { kind, id } = ctx.read_val(argument)?;
    if ![THREAD, PROCESS, GROUP].contains(&kind) {
        return Err(EINVAL);
    }
    let id = u32::try_from(id).map_err(|_| ESRCH)?;
    let owner = match (kind, id) {
        (_, 0) => None,
        (THREAD, _) => Some(SigOwner::Thread(id)),
        (PROCESS, _) => Some(SigOwner::Process(id)),
        _ => Some(SigOwner::Group(id)),
    };
    set(ctx, file, owner)
}

/// `F_GETOWN_EX`
///
/// # Errors
/// `EFAULT`
pub(super) fn get_ex(ctx: &Context, file: &Description, argument: Vaddr) -> Result<isize> {
    let (kind, id) = match file.sigio().owner() {
        None => (THREAD, 0),
        Some(SigOwner::Thread(id)) => (THREAD, id),
        Some(SigOwner::Process(id)) => (PROCESS, id),
        Some(SigOwner::Group(id)) => (GROUP, id),
    };
    ctx.write_val(argument, &OwnerEx { kind, id: id.cast_signed() })?;
    Ok(0)
}
