// SPDX-License-Identifier: MPL-2.0

//! `mount`, `umount2`.

use super::file::read_path;
use crate::{
    fs::{Mount, MountFlags, Path, Start, Walk, WalkFlags, mount, namespace},
    prelude::*,
    process::credentials::Capabilities,
};

const MS_REMOUNT: u64 = 32;
const MS_BIND: u64 = 4096;
const MS_MOVE: u64 = 8192;
/// `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`
const MS_PROPAGATION: u64 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;
/// `MS_STRICTATIME`: against the default, `relatime`.
const MS_STRICTATIME: u64 = 1 << 24;
/// The magic number that old programs put into the upper half.
const MS_MGC_VAL: u64 = 0xc0ed_0000;

/// Flags of a new or changed mount. `relatime` is the default.
fn mount_flags(flags: u64) -> MountFlags {
    let mut kept = MountFlags::from_bits_truncate(flags as u32);
    let is_relative = flags & MS_STRICTATIME == 0 && !kept.contains(MountFlags::NO_ATIME);
    kept.set(MountFlags::RELATIME, is_relative);
    kept
}

fn check_privilege(ctx: &Context) -> Result<()> {
    if ctx.credentials().has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(EPERM) }
}

/// An optional string argument.
fn read_optional(ctx: &Context, address: Vaddr) -> Result<String> {
    if address == 0 {
        return Ok(String::new());
    }
    read_path(ctx, address)?.into_string().map_err(|_| EINVAL)
}

/// `mount(2)`
pub fn sys_mount(ctx: &Context, source: Vaddr, target: Vaddr, kind: Vaddr, flags: u64, data: Vaddr) -> Result<isize> {
    let kind = read_optional(ctx, kind)?;
    let source = read_optional(ctx, source)?;
    let data = read_optional(ctx, data)?;
    let target = read_path(ctx, target)?;
    let target = Walk::new(ctx, WalkFlags::empty()).resolve(Start::Cwd, target.as_bytes())?;
    check_privilege(ctx)?;
    let flags = if flags & 0xffff_0000 == MS_MGC_VAL { flags & 0xffff } else { flags };
    if flags & MS_REMOUNT != 0 {
        remount(&target, flags, &data)?;
    } else if flags & MS_BIND != 0 {
        bind(ctx, &source, target)?;
    } else if flags & MS_PROPAGATION != 0 {
        // One namespace: nothing propagates anywhere, so every setting holds.
        return if target.is_mount_root() { Ok(0) } else { Err(EINVAL) };
    } else if flags & MS_MOVE != 0 {
        let from = Walk::new(ctx, WalkFlags::empty()).resolve(Start::Cwd, source.as_bytes())?;
        if !from.is_mount_root() {
            return Err(EINVAL);
        }
        namespace().relocate(from.mount(), target)?;
    } else {
        attach_new(&kind, &source, target, flags, &data)?;
    }
    Ok(0)
}

fn attach_new(kind: &str, source: &str, target: Path, flags: u64, data: &str) -> Result<()> {
    if kind.is_empty() {
        return Err(EINVAL);
    }
    let kind = mount::find_type(kind)?;
    let super_block = kind.mount(data)?;
    let root = super_block.root().clone();
    let is_there = target.is_mount_root()
        && Arc::ptr_eq(target.mount().super_block(), &super_block)
        && Arc::ptr_eq(target.dentry(), &root);
    if is_there {
        return Err(EBUSY); // The same file system twice on one place.
    }
    let source = if source.is_empty() { "none" } else { source };
    namespace().attach(Mount::new(super_block, root, mount_flags(flags), source), target)
}

/// `MS_BIND`: the tree at `source` appears at `target`, too. Mounts below it do not come along, with `MS_REC` neither.
fn bind(ctx: &Context, source: &str, target: Path) -> Result<()> {
    let from = Walk::new(ctx, WalkFlags::empty()).resolve(Start::Cwd, source.as_bytes())?;
    let mount = from.mount();
    let bound = Mount::new(mount.super_block().clone(), from.dentry().clone(), mount.flags(), mount.source());
    namespace().attach(bound, target)
}

fn remount(target: &Path, flags: u64, data: &str) -> Result<()> {
    if !target.is_mount_root() {
        return Err(EINVAL);
    }
    if flags & MS_BIND == 0 {
        target.mount().super_block().file_system().remount(data)?;
    }
    target.mount().set_flags(mount_flags(flags));
    Ok(())
}

/// `umount2(2)`
pub fn sys_umount2(ctx: &Context, target: Vaddr, flags: u32) -> Result<isize> {
    const FORCE: u32 = 1;
    const DETACH: u32 = 2;
    const EXPIRE: u32 = 4;
    const NOFOLLOW: u32 = 8;
    if flags & !(FORCE | DETACH | EXPIRE | NOFOLLOW) != 0 {
        return Err(EINVAL);
    }
    check_privilege(ctx)?;
    let path = read_path(ctx, target)?;
    let mut walk_flags = WalkFlags::empty();
    walk_flags.set(WalkFlags::NO_FOLLOW, flags & NOFOLLOW != 0);
    let target = Walk::new(ctx, walk_flags).resolve(Start::Cwd, path.as_bytes())?;
    if !target.is_mount_root() || (flags & EXPIRE != 0 && flags & (FORCE | DETACH) != 0) {
        return Err(EINVAL);
    }
    if flags & EXPIRE != 0 {
        // Marks are not kept: the first call never expires a mount, and there is no second.
        return Err(EAGAIN);
    }
    let mount = target.mount().clone();
    drop(target);
    namespace().detach(&mount, flags & DETACH != 0)?;
    Ok(0)
}
