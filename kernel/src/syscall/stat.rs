// SPDX-License-Identifier: MPL-2.0

//! Looking at files: `stat` and its kin, `access`, `readlink`, `statfs`.

use super::file::read_path;
use crate::{
    file::table::Fd,
    fs::{
        InodeKind, Metadata, MountFlags, Path, Start, StatFs, Timestamp, Walk, WalkFlags,
        walk::{AT_FDCWD, check_inode},
    },
    prelude::*,
    process::credentials::Permission,
};

/// `AT_SYMLINK_NOFOLLOW`
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// `AT_EACCESS` of `faccessat2(2)`
const AT_EACCESS: u32 = 0x200;
/// `AT_NO_AUTOMOUNT`: there are no automounts.
const AT_NO_AUTOMOUNT: u32 = 0x800;
/// `AT_EMPTY_PATH`
pub const AT_EMPTY_PATH: u32 = 0x1000;

/// The walk flags that `flags` of a `*at` call mean.
pub fn walk_flags(flags: u32) -> WalkFlags {
    let mut walk = WalkFlags::empty();
    walk.set(WalkFlags::NO_FOLLOW, flags & AT_SYMLINK_NOFOLLOW != 0);
    walk.set(WalkFlags::EMPTY_PATH, flags & AT_EMPTY_PATH != 0);
    walk
}

/// Resolves the path argument of a `*at` call.
///
/// # Errors
/// `EFAULT`; as [`Walk::resolve`].
pub fn resolve_at(ctx: &Context, dirfd: Fd, path: Vaddr, flags: u32) -> Result<Path> {
    let path = read_path(ctx, path)?;
    Walk::new(ctx, walk_flags(flags)).resolve(dirfd.into(), path.as_bytes())
}

/// `struct stat`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct Stat {
    device: u64,
    number: u64,
    links: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    padding: u32,
    special_device: u64,
    size: i64,
    block_size: i64,
    blocks: i64,
    accessed: [i64; 2],
    modified: [i64; 2],
    changed: [i64; 2],
    unused: [i64; 3],
}

impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Self {
        let time = |time: Timestamp| [time.seconds, i64::from(time.nanoseconds)];
        Self {
            device: metadata.device.encode(),
            number: metadata.number,
            links: u64::from(metadata.links),
            mode: metadata.mode(),
            uid: metadata.uid,
            gid: metadata.gid,
            padding: 0,
            special_device: metadata.special_device.encode(),
            size: metadata.size as i64,
            block_size: i64::from(metadata.block_size),
            blocks: metadata.blocks as i64,
            accessed: time(metadata.accessed),
            modified: time(metadata.modified),
            changed: time(metadata.changed),
            unused: [0; 3],
        }
    }
}

/// `fstat(2)`
pub fn sys_fstat(ctx: &Context, fd: Fd, buffer: Vaddr) -> Result<isize> {
    let metadata = ctx.file(fd)?.inode().metadata();
    ctx.write_val(buffer, &Stat::from(&metadata))?;
    Ok(0)
}

/// `newfstatat(2)`; `stat(2)` and `lstat(2)` are cases of it.
pub fn sys_newfstatat(ctx: &Context, dirfd: Fd, path: Vaddr, buffer: Vaddr, flags: u32) -> Result<isize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let (metadata, _) = metadata_at(ctx, dirfd, path, flags)?;
    ctx.write_val(buffer, &Stat::from(&metadata))?;
    Ok(0)
}

/// The metadata of a file and the number of its mount. `fstat` in the disguise of an empty path needs no path.
fn metadata_at(ctx: &Context, dirfd: Fd, path: Vaddr, flags: u32) -> Result<(Metadata, Option<(u32, bool)>)> {
    let path = if path == 0 && flags & AT_EMPTY_PATH != 0 { None } else { Some(read_path(ctx, path)?) };
    let bytes = path.as_ref().map_or(&b""[..], |path| path.as_bytes());
    if bytes.is_empty() && flags & AT_EMPTY_PATH != 0 && dirfd != AT_FDCWD {
        return Ok((ctx.file(dirfd)?.inode().metadata(), None));
    }
    let path = Walk::new(ctx, walk_flags(flags)).resolve(dirfd.into(), bytes)?;
    Ok((path.inode().metadata(), Some((path.mount().id(), path.is_mount_root()))))
}

/// `struct statx_timestamp`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct StatxTimestamp {
    seconds: i64,
    nanoseconds: u32,
    reserved: i32,
}

impl From<Timestamp> for StatxTimestamp {
    fn from(time: Timestamp) -> Self {
        Self { seconds: time.seconds, nanoseconds: time.nanoseconds, reserved: 0 }
    }
}

/// `struct statx`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    padding: u16,
    number: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    accessed: StatxTimestamp,
    born: StatxTimestamp,
    changed: StatxTimestamp,
    modified: StatxTimestamp,
    special_major: u32,
    special_minor: u32,
    device_major: u32,
    device_minor: u32,
    mount: u64,
    unused: [u64; 13],
}

/// `statx(2)`
pub fn sys_statx(ctx: &Context, dirfd: Fd, path: Vaddr, flags: u32, mask: u32, buffer: Vaddr) -> Result<isize> {
    const SYNC_MASK: u32 = 0x6000;
    const RESERVED: u32 = 0x8000_0000;
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | SYNC_MASK;
    if flags & !known != 0 || flags & SYNC_MASK == SYNC_MASK || mask & RESERVED != 0 {
        return Err(EINVAL);
    }
    let (metadata, mount) = metadata_at(ctx, dirfd, path, flags)?;
    ctx.write_val(buffer, &statx(&metadata, mount))?;
    Ok(0)
}

fn statx(metadata: &Metadata, mount: Option<(u32, bool)>) -> Statx {
    const BASIC_STATS: u32 = 0x7ff;
    const BORN: u32 = 0x800;
    const MOUNT_ID: u32 = 0x1000;
    const ATTR_MOUNT_ROOT: u64 = 0x2000;
    let (device, special) = (metadata.device, metadata.special_device);
    let is_mount_root = mount.is_some_and(|(_, is_root)| is_root);
    Statx {
        mask: BASIC_STATS | BORN | if mount.is_some() { MOUNT_ID } else { 0 },
        block_size: metadata.block_size,
        attributes: if is_mount_root { ATTR_MOUNT_ROOT } else { 0 },
        links: metadata.links,
        uid: metadata.uid,
        gid: metadata.gid,
        mode: metadata.mode() as u16,
        padding: 0,
        number: metadata.number,
        size: metadata.size,
        blocks: metadata.blocks,
        attributes_mask: ATTR_MOUNT_ROOT,
        accessed: metadata.accessed.into(),
        born: metadata.born.into(),
        changed: metadata.changed.into(),
        modified: metadata.modified.into(),
        special_major: special.major,
        special_minor: special.minor,
        device_major: device.major,
        device_minor: device.minor,
        mount: mount.map_or(0, |(id, _)| u64::from(id)),
        unused: [0; 13],
    }
}

/// `faccessat2(2)`; `access(2)` and `faccessat(2)` are cases of it.
pub fn sys_faccessat2(ctx: &Context, dirfd: Fd, path: Vaddr, mode: u32, flags: u32) -> Result<isize> {
    if mode & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let path = read_path(ctx, path)?;
    let effective = ctx.credentials();
    let credentials = if flags & AT_EACCESS != 0 { effective } else { Arc::new(effective.real()) };
    let mut walk = Walk::with_credentials(ctx, walk_flags(flags), credentials);
    let found = walk.resolve(dirfd.into(), path.as_bytes())?;
    let wanted = Permission::from_bits_truncate(mode as u16);
    let (inode, mount) = (found.inode(), found.mount());
    let is_regular = inode.kind() == InodeKind::Regular;
    if wanted.contains(Permission::EXEC) && is_regular && mount.flags().contains(MountFlags::NO_EXEC) {
        return Err(EACCES);
    }
    check_inode(walk.credentials(), inode, wanted)?;
    let has_content = matches!(inode.kind(), InodeKind::Regular | InodeKind::Directory | InodeKind::Symlink);
    if wanted.contains(Permission::WRITE) && has_content {
        mount.check_writable()?;
    }
    Ok(0)
}

/// `readlinkat(2)`. An empty path means the link that `dirfd` was opened on with `O_PATH`.
pub fn sys_readlinkat(ctx: &Context, dirfd: Fd, path: Vaddr, buffer: Vaddr, size: i32) -> Result<isize> {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(EINVAL)?;
    let path = read_path(ctx, path)?;
    let found = Walk::new(ctx, WalkFlags::NO_FOLLOW | WalkFlags::EMPTY_PATH).resolve(dirfd.into(), path.as_bytes())?;
    if found.inode().kind() != InodeKind::Symlink {
        return Err(if path.is_empty() { ENOENT } else { EINVAL });
    }
    let target = found.inode().readlink(ctx)?;
    let len = target.len().min(size);
    ctx.write_bytes(buffer, &target[..len])?;
    Ok(len as isize)
}

/// `struct statfs`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct RawStatFs {
    magic: u64,
    block_size: u64,
    blocks: u64,
    blocks_free: u64,
    blocks_available: u64,
    inodes: u64,
    inodes_free: u64,
    id: u64,
    name_max: u64,
    fragment_size: u64,
    flags: u64,
    spare: [u64; 4],
}

/// `statfs(2)`
pub fn sys_statfs(ctx: &Context, path: Vaddr, buffer: Vaddr) -> Result<isize> {
    let path = read_path(ctx, path)?;
    let path = Walk::new(ctx, WalkFlags::empty()).resolve(Start::Cwd, path.as_bytes())?;
    write_statfs(ctx, &path, buffer)
}

/// `fstatfs(2)`
pub fn sys_fstatfs(ctx: &Context, fd: Fd, buffer: Vaddr) -> Result<isize> {
    write_statfs(ctx, &ctx.file(fd)?.path(), buffer)
}

fn write_statfs(ctx: &Context, path: &Path, buffer: Vaddr) -> Result<isize> {
    /// `ST_VALID`: the flags are there.
    const VALID: u64 = 0x20;
    let StatFs { magic, block_size, blocks, blocks_free, inodes, inodes_free, id } = path.inode().statfs();
    let raw = RawStatFs {
        magic,
        block_size,
        blocks,
        blocks_free,
        blocks_available: blocks_free,
        inodes,
        inodes_free,
        id,
        name_max: crate::fs::NAME_MAX as u64,
        fragment_size: block_size,
        flags: VALID | statfs_flags(path.mount().flags()),
        spare: [0; 4],
    };
    ctx.write_val(buffer, &raw)?;
    Ok(0)
}

/// Mount flags have other bits in `statfs(2)` than in `mount(2)`, but for the lowest five.
fn statfs_flags(flags: MountFlags) -> u64 {
    const LOW: u32 = 0x1f;
    let moved = [
        (MountFlags::NO_ATIME, 0x400),
        (MountFlags::NO_DIRATIME, 0x800),
        (MountFlags::RELATIME, 0x1000),
        (MountFlags::NO_SYMFOLLOW, 0x2000),
    ];
    let set = moved.iter().filter(|(flag, _)| flags.contains(*flag));
    u64::from(flags.bits() & LOW) | set.map(|(_, bit)| *bit).sum::<u64>()
}
