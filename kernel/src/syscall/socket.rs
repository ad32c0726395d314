// SPDX-License-Identifier: MPL-2.0

//! Sockets: making, naming, connecting, and their options.

use crate::{
    file::{Description, StatusFlags, table::Fd},
    net::{
        Shutdown, Socket, SocketAddress, SocketType,
        options::{SOL_SOCKET, name},
        socket,
    },
    prelude::*,
};

/// What `SOCK_NONBLOCK` and `SOCK_CLOEXEC` ask for.
#[derive(Clone, Copy)]
struct SockFlags {
    status: StatusFlags,
    close_on_exec: bool,
}

impl SockFlags {
    /// # Errors
    /// `EINVAL` for other flags.
    fn decode(raw: u32) -> Result<Self> {
        const SOCK_CLOEXEC: u32 = 0o2000000;
        let status = StatusFlags::from_bits_truncate(raw) & StatusFlags::NONBLOCK;
        if raw & !(SOCK_CLOEXEC | status.bits()) != 0 {
            return Err(EINVAL);
        }
        Ok(Self { status, close_on_exec: raw & SOCK_CLOEXEC != 0 })
    }
}

/// The most bytes of an option's value that are read.
const MAX_OPTION: usize = 4096;

/// Runs `call` with the socket behind `fd`.
///
/// # Errors
/// `EBADF`; `ENOTSOCK` if it is none; what `call` says.
pub fn with_socket<R>(ctx: &Context, fd: Fd, call: impl FnOnce(&dyn Socket, &Description) -> Result<R>) -> Result<R> {
    let description = ctx.file(fd)?;
    if description.is_path() {
        return Err(EBADF);
    }
    let socket = description.file().as_socket().ok_or(ENOTSOCK)?;
    call(socket, &description)
}

/// Whether a call on `description` may not block.
pub fn is_nonblocking(description: &Description) -> bool {
    description.status().contains(StatusFlags::NONBLOCK)
}

/// `socket(2)`
///
/// # Errors
/// `EINVAL` for an unknown flag or type; `EAFNOSUPPORT`, `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`; `EMFILE`.
pub fn sys_socket(ctx: &Context, family: u32, kind: u32, protocol: i32) -> Result<isize> {
    let (kind, flags) = decode_type(kind)?;
    let description = socket::create(ctx, family, kind, protocol, flags.status)?;
    insert(ctx, description, flags).map(|fd| fd as isize)
}

/// `socketpair(2)`
///
/// # Errors
/// As [`sys_socket`]; `EOPNOTSUPP` if the family has no pairs; `EFAULT`.
pub fn sys_socketpair(ctx: &Context, family: u32, kind: u32, protocol: i32, fds: Vaddr) -> Result<isize> {
    let (kind, flags) = decode_type(kind)?;
    let [one, other] = socket::create_pair(ctx, family, kind, protocol, flags.status)?;
    let first = insert(ctx, one, flags)?;
    let outcome = insert(ctx, other, flags).and_then(|second| {
        let copied = ctx.write_val(fds, &[first, second]);
        copied.inspect_err(|_| drop(ctx.files().remove(second)))
    });
    if outcome.is_err() {
        drop(ctx.files().remove(first));
    }
    outcome.map(|()| 0)
}

/// `bind(2)`
///
/// # Errors
/// `EINVAL` for a bad length; what the socket says.
pub fn sys_bind(ctx: &Context, fd: Fd, address: Vaddr, len: i32) -> Result<isize> {
    with_socket(ctx, fd, |socket, _| socket.bind(ctx, &SocketAddress::read(ctx, address, len)?).map(|()| 0))
}

/// `connect(2)`
///
/// # Errors
/// `EINVAL` for a bad length; what the socket says.
pub fn sys_connect(ctx: &Context, fd: Fd, address: Vaddr, len: i32) -> Result<isize> {
    with_socket(ctx, fd, |socket, description| {
        let address = SocketAddress::read(ctx, address, len)?;
        socket.connect(ctx, &address, is_nonblocking(description)).map(|()| 0)
    })
}

/// `listen(2)`
///
/// # Errors
/// What the socket says.
pub fn sys_listen(ctx: &Context, fd: Fd, backlog: i32) -> Result<isize> {
    with_socket(ctx, fd, |socket, _| socket.listen(ctx, backlog).map(|()| 0))
}

/// `accept4(2)`; `accept(2)` is the same without flags.
///
/// # Errors
/// `EINVAL` for unknown flags; `EMFILE`; `EFAULT`; what the socket says.
pub fn sys_accept4(ctx: &Context, fd: Fd, address: Vaddr, len_address: Vaddr, flags: u32) -> Result<isize> {
    let flags = SockFlags::decode(flags)?;
    with_socket(ctx, fd, |socket, description| {
        // A connection that there is no number for stays in the queue.
        ctx.files().check_room(ctx.process.limits.max_files())?;
        let (accepted, peer) = socket.accept(ctx, is_nonblocking(description), flags.status)?;
        if address != 0 {
            peer.write(ctx, address, len_address)?;
        }
        insert(ctx, accepted, flags).map(|fd| fd as isize)
    })
}

/// `getsockname(2)`
///
/// # Errors
/// `EINVAL` for a negative length; `EFAULT`.
pub fn sys_getsockname(ctx: &Context, fd: Fd, address: Vaddr, len_address: Vaddr) -> Result<isize> {
    with_socket(ctx, fd, |socket, _| socket.local_address()?.write(ctx, address, len_address).map(|()| 0))
}

/// `getpeername(2)`
///
/// # Errors
/// `ENOTCONN`; `EINVAL` for a negative length; `EFAULT`.
pub fn sys_getpeername(ctx: &Context, fd: Fd, address: Vaddr, len_address: Vaddr) -> Result<isize> {
    with_socket(ctx, fd, |socket, _| socket.peer_address()?.write(ctx, address, len_address).map(|()| 0))
}

/// `shutdown(2)`
///
/// # Errors
/// `EINVAL` for an unknown direction; `ENOTCONN`.
pub fn sys_shutdown(ctx: &Context, fd: Fd, how: i32) -> Result<isize> {
    let how = match how {
        0 => Shutdown::Read,
        1 => Shutdown::Write,
        2 => Shutdown::Both,
        _ => return with_socket(ctx, fd, |_, _| Err(EINVAL)),
    };
    with_socket(ctx, fd, |socket, _| socket.shutdown(ctx, how).map(|()| 0))
}

/// `setsockopt(2)`
///
/// # Errors
/// `EINVAL` for a bad length; `EFAULT`; what the socket says.
pub fn sys_setsockopt(ctx: &Context, fd: Fd, level: i32, name: i32, value: Vaddr, len: i32) -> Result<isize> {
    with_socket(ctx, fd, |socket, _| {
        let len = usize::try_from(len).map_err(|_| EINVAL)?.min(MAX_OPTION);
        let mut bytes = alloc::vec![0; len];
        ctx.read_bytes(value, &mut bytes)?;
        socket.set_option(ctx, level, name, &bytes).map(|()| 0)
    })
}

/// `getsockopt(2)`
///
/// # Errors
/// `EINVAL` for a negative length; `EFAULT`; what the socket says.
pub fn sys_getsockopt(ctx: &Context, fd: Fd, level: i32, name: i32, value: Vaddr, len_address: Vaddr) -> Result<isize> {
    with_socket(ctx, fd, |socket, _| {
        let room = usize::try_from(ctx.read_val::<i32>(len_address)?).map_err(|_| EINVAL)?;
        let bytes = match (level, name) {
            (SOL_SOCKET, name::ERROR) => int(socket.take_error().map_or(0, |error| error as i32)),
            (SOL_SOCKET, name::ACCEPTCONN) => int(i32::from(socket.is_listening())),
            _ => socket.option(ctx, level, name)?,
        };
        let len = bytes.len().min(room);
        ctx.write_bytes(value, &bytes[..len])?;
        ctx.write_val(len_address, &(len as u32))?;
        Ok(0)
    })
}

fn int(value: i32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// Splits the type argument into type and flags.
///
/// # Errors
/// `EINVAL` for what is neither.
fn decode_type(raw: u32) -> Result<(SocketType, SockFlags)> {
    const TYPE_MASK: u32 = 0xf;
    let flags = SockFlags::decode(raw & !TYPE_MASK)?;
    // Linux knows types that nothing here has, and numbers beyond its list.
    const LARGEST: u32 = 10;
    match SocketType::from_number(raw & TYPE_MASK) {
        Some(kind) => Ok((kind, flags)),
        None if raw & TYPE_MASK <= LARGEST => Err(ESOCKTNOSUPPORT),
        None => Err(EINVAL),
    }
}

fn insert(ctx: &Context, description: Arc<Description>, flags: SockFlags) -> Result<Fd> {
    ctx.files().insert(description, 0, ctx.process.limits.max_files(), flags.close_on_exec)
}
