// SPDX-License-Identifier: MPL-2.0

//! Messages on sockets: `send(2)`, `recv(2)` and their kin.

use super::{
    rw::{iov_dst, iov_src},
    socket::{is_nonblocking, with_socket},
};
use crate::{
    context::MAX_RW_COUNT,
    file::{Description, IoDst, IoSrc, table::Fd},
    net::{
        ControlMessage, Family, Incoming, MsgFlags, Outgoing, Socket, SocketAddress, address,
        message::{Receive, UserCredentials},
        options::{SOL_SOCKET, name},
    },
    prelude::*,
    time::{Deadline, types::Timespec},
};

const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;
/// The most descriptors in one message (`SCM_MAX_FD`).
const MAX_RIGHTS: usize = 253;
/// The most bytes of control messages that are read (`net.core.optmem_max`).
const MAX_CONTROL: usize = 20_480;
/// The most messages of one call (`UIO_MAXIOV`).
const MAX_MESSAGES: u32 = 1024;

/// `struct msghdr`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct MsgHdr {
    name: usize,
    name_len: i32,
    padding: u32,
    vectors: usize,
    vector_count: usize,
    control: usize,
    control_len: usize,
    flags: u32,
    tail: u32,
}

/// Bytes of `struct mmsghdr`: a header, a length, padding.
const MMSG_LEN: usize = size_of::<MsgHdr>() + 8;

/// Where in `struct msghdr` its members lie.
const NAME_LEN_OFFSET: usize = core::mem::offset_of!(MsgHdr, name_len);
const CONTROL_LEN_OFFSET: usize = core::mem::offset_of!(MsgHdr, control_len);
const FLAGS_OFFSET: usize = core::mem::offset_of!(MsgHdr, flags);

/// `struct cmsghdr`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct CmsgHdr {
    len: usize,
    level: i32,
    kind: i32,
}

/// `sendto(2)`; `send(2)` is the same without a destination.
///
/// # Errors
/// `EINVAL` for a bad address length; `EFAULT`; what the socket says.
pub fn sys_sendto(ctx: &Context, [fd, buffer, len, flags, address, address_len]: [usize; 6]) -> Result<isize> {
    with_socket(ctx, fd as Fd, |socket, description| {
        let destination = match address {
            0 => None,
            _ => Some(SocketAddress::read(ctx, address, address_len as i32)?),
        };
        let flags = MsgFlags::from_bits_retain(flags as u32);
        // Unlike that of a `write(2)`, the length may be anything.
        let outgoing = outgoing(description, flags, destination, Vec::new());
        socket.send(ctx, &mut ctx.io_src(buffer, len.min(MAX_RW_COUNT))?, outgoing).map(|count| count as isize)
    })
}

/// `recvfrom(2)`; `recv(2)` is the same without a source.
///
/// # Errors
/// `EFAULT`; what the socket says.
pub fn sys_recvfrom(ctx: &Context, [fd, buffer, len, flags, address, len_address]: [usize; 6]) -> Result<isize> {
    with_socket(ctx, fd as Fd, |socket, description| {
        let how = receive(description, MsgFlags::from_bits_retain(flags as u32), false);
        let incoming = socket.receive(ctx, &mut ctx.io_dst(buffer, len.min(MAX_RW_COUNT))?, how)?;
        if address != 0 {
            match &incoming.source {
                Some(source) => source.write(ctx, address, len_address)?,
                None => write_no_source(ctx, len_address)?,
            }
        }
        Ok(incoming.count as isize)
    })
}

/// A stream has no sources, nor has a message of somebody without a name: the length becomes zero.
///
/// # Errors
/// `EINVAL` if the room is negative; `EFAULT`.
fn write_no_source(ctx: &Context, len_address: Vaddr) -> Result<()> {
    u32::try_from(ctx.read_val::<i32>(len_address)?).map_err(|_| EINVAL)?;
    ctx.write_val(len_address, &0u32)
}

/// `sendmsg(2)`
///
/// # Errors
/// `EMSGSIZE` for too many vectors; `EINVAL` for malformed control messages; `ENOBUFS` for too long ones; `EFAULT`; what the
/// socket says.
pub fn sys_sendmsg(ctx: &Context, fd: Fd, header: Vaddr, flags: u32) -> Result<isize> {
    with_socket(ctx, fd, |socket, description| {
        send_message(ctx, socket, description, header, flags).map(|count| count as isize)
    })
}

/// `recvmsg(2)`
///
/// # Errors
/// `EMSGSIZE` for too many vectors; `EFAULT`; what the socket says.
pub fn sys_recvmsg(ctx: &Context, fd: Fd, header: Vaddr, flags: u32) -> Result<isize> {
    with_socket(ctx, fd, |socket, description| {
        receive_message(ctx, socket, description, header, flags).map(|count| count as isize)
    })
}

/// `sendmmsg(2)`: how many messages were sent. An error after the first message ends the call short.
///
/// # Errors
/// As [`sys_sendmsg`], for the first message.
pub fn sys_sendmmsg(ctx: &Context, fd: Fd, messages: Vaddr, count: u32, flags: u32) -> Result<isize> {
    with_socket(ctx, fd, |socket, description| {
        let mut sent = 0;
        while sent < count.min(MAX_MESSAGES) {
            let header = message_at(messages, sent)?;
            let outcome = send_message(ctx, socket, description, header, flags)
                .and_then(|len| ctx.write_val(header + size_of::<MsgHdr>(), &(len as u32)));
            match outcome {
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
                Ok(()) => sent += 1,
            }
        }
        Ok(sent as isize)
    })
}

/// `recvmmsg(2)`: how many messages were received. The timeout is looked at after each message, as on Linux, and what is left of
/// it is written back. An error after the first message ends the call short, and is the socket's pending error from then on.
///
/// # Errors
/// The pending error; as [`sys_recvmsg`], for the first message; `EINVAL` for a bad timeout.
pub fn sys_recvmmsg(ctx: &Context, fd: Fd, messages: Vaddr, count: u32, flags: u32, timeout: Vaddr) -> Result<isize> {
    let deadline = match timeout {
        0 => None,
        address => Some(Deadline::after_nanos(ctx.read_val::<Timespec>(address)?.to_nanos()?)),
    };
    with_socket(ctx, fd, |socket, description| {
        let mut received = 0;
        let mut flags = MsgFlags::from_bits_retain(flags);
        let waits_for_one = flags.contains(MsgFlags::WAITFORONE);
        flags.remove(MsgFlags::WAITFORONE);
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        while received < count.min(MAX_MESSAGES) {
            let header = message_at(messages, received)?;
            let outcome = receive_message(ctx, socket, description, header, flags.bits())
                .and_then(|len| ctx.write_val(header + size_of::<MsgHdr>(), &(len as u32)));
            match outcome {
                Ok(()) => received += 1,
                Err(error) if received == 0 => return Err(error),
                Err(EAGAIN | ERESTARTSYS) => break,
                Err(error) => {
                    socket.set_error(error);
                    break;
                }
            }
            flags.set(MsgFlags::DONTWAIT, waits_for_one || flags.contains(MsgFlags::DONTWAIT));
            if deadline.is_some_and(Deadline::has_passed) {
                break;
            }
        }
        if let Some(deadline) = deadline {
            ctx.write_val(timeout, &Timespec::from_nanos(deadline.remaining_nanos()))?;
        }
        Ok(received as isize)
    })
}

/// The address of the message with this index.
fn message_at(messages: Vaddr, index: u32) -> Result<Vaddr> {
    messages.checked_add(index as usize * MMSG_LEN).ok_or(EFAULT)
}

fn outgoing(
    description: &Description,
    flags: MsgFlags,
    destination: Option<SocketAddress>,
    control: Vec<ControlMessage>,
) -> Outgoing {
    let is_nonblocking = is_nonblocking(description) || flags.contains(MsgFlags::DONTWAIT);
    Outgoing { destination, control, flags, is_nonblocking }
}

fn receive(description: &Description, flags: MsgFlags, wants_control: bool) -> Receive {
    let is_nonblocking = is_nonblocking(description) || flags.contains(MsgFlags::DONTWAIT);
    Receive { flags, is_nonblocking, wants_control }
}

/// Sends the message of one `struct msghdr`.
fn send_message(
    ctx: &Context,
    socket: &dyn Socket,
    description: &Description,
    header: Vaddr,
    flags: u32,
) -> Result<usize> {
    let header: MsgHdr = ctx.read_val(header)?;
    let mut src = source(ctx, &header)?;
    let destination = match header.name {
        0 => None,
        _ if header.name_len == 0 => None,
        name => {
            let len = usize::try_from(header.name_len).map_err(|_| EINVAL)?.min(address::MAX_LEN);
            Some(SocketAddress::read(ctx, name, len as i32)?)
        }
    };
    let common = socket.common();
    let has_txtime = common.options.has_txtime() && matches!(common.family, Family::Inet | Family::Inet6);
    let control = read_control(ctx, header.control, header.control_len, has_txtime)?;
    socket.send(ctx, &mut src, outgoing(description, MsgFlags::from_bits_retain(flags), destination, control))
}

fn source<'a>(ctx: &'a Context, header: &MsgHdr) -> Result<IoSrc<'a>> {
    iov_src(ctx, header.vectors, header.vector_count).map_err(too_many_vectors(header))
}

/// More vectors than there may be are `EMSGSIZE` here, not `EINVAL`.
fn too_many_vectors(header: &MsgHdr) -> impl FnOnce(Errno) -> Errno + use<> {
    const IOV_MAX: usize = 1024;
    let are_too_many = header.vector_count > IOV_MAX;
    move |error| if are_too_many { EMSGSIZE } else { error }
}

/// Receives into the buffers of one `struct msghdr`.
fn receive_message(
    ctx: &Context,
    socket: &dyn Socket,
    description: &Description,
    address: Vaddr,
    flags: u32,
) -> Result<usize> {
    let header: MsgHdr = ctx.read_val(address)?;
    if header.name != 0 && header.name_len < 0 {
        return Err(EINVAL);
    }
    let mut dst: IoDst<'_> = iov_dst(ctx, header.vectors, header.vector_count).map_err(too_many_vectors(&header))?;
    let flags = MsgFlags::from_bits_retain(flags);
    let incoming = socket.receive(ctx, &mut dst, receive(description, flags, true))?;
    let Incoming { count, source, control, flags: mut shown } = incoming;
    let written = write_control(ctx, &header, control, flags.contains(MsgFlags::CMSG_CLOEXEC), &mut shown)?;
    if header.name != 0 {
        match source {
            Some(source) => source.write(ctx, header.name, address + NAME_LEN_OFFSET)?,
            None => write_no_source(ctx, address + NAME_LEN_OFFSET)?,
        }
    }
    // As on Linux, the flag is shown where it was asked for.
    shown.set(MsgFlags::CMSG_CLOEXEC, flags.contains(MsgFlags::CMSG_CLOEXEC));
    ctx.write_val(address + FLAGS_OFFSET, &shown.bits())?;
    ctx.write_val(address + CONTROL_LEN_OFFSET, &written)?;
    Ok(count)
}

/// Reads the control messages of `sendmsg(2)`. `has_txtime`: one may be a time to send at.
fn read_control(ctx: &Context, address: Vaddr, len: usize, has_txtime: bool) -> Result<Vec<ControlMessage>> {
    if address == 0 || len == 0 {
        return Ok(Vec::new());
    }
    if len > MAX_CONTROL {
        return Err(ENOBUFS);
    }
    let mut bytes = alloc::vec![0; len];
    ctx.read_bytes(address, &mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while rest.len() >= size_of::<CmsgHdr>() {
        let header: CmsgHdr = VmReader::from(rest).read_val()?;
        let data = rest.get(size_of::<CmsgHdr>()..header.len).ok_or(EINVAL)?;
        match (header.level, header.kind) {
            // At once, as on Linux where there is no queue that would heed it.
            (SOL_SOCKET, name::TXTIME) if has_txtime && data.len() == size_of::<u64>() => {}
            _ => add_control(ctx, &mut messages, &header, data)?,
        }
        rest = rest.get(aligned(header.len)..).unwrap_or(&[]);
    }
    Ok(messages)
}

/// Decodes one control message.
fn add_control(ctx: &Context, messages: &mut Vec<ControlMessage>, header: &CmsgHdr, data: &[u8]) -> Result<()> {
    let message = match (header.level, header.kind) {
        (SOL_SOCKET, SCM_RIGHTS) => ControlMessage::Rights(read_rights(ctx, data)?),
        (SOL_SOCKET, SCM_CREDENTIALS) if data.len() == size_of::<UserCredentials>() => {
            ControlMessage::Credentials(VmReader::from(data).read_val()?)
        }
        (SOL_SOCKET, _) => return Err(EINVAL),
        (level, kind) => ControlMessage::Other { level, kind, data: data.to_vec() },
    };
    messages.push(message);
    Ok(())
}

fn read_rights(ctx: &Context, data: &[u8]) -> Result<Vec<Arc<Description>>> {
    let (numbers, _) = data.as_chunks::<4>();
    if numbers.len() > MAX_RIGHTS {
        return Err(EINVAL);
    }
    let file = |bytes: &[u8; 4]| {
        let file = ctx.file(Fd::from_ne_bytes(*bytes))?;
        if file.is_path() { Err(EBADF) } else { Ok(file) }
    };
    numbers.iter().map(file).collect()
}

/// Writes control messages to where `header` has room, and returns how many bytes that took. What does not fit is dropped, and
/// `MSG_CTRUNC` says so.
fn write_control(
    ctx: &Context,
    header: &MsgHdr,
    messages: Vec<ControlMessage>,
    closes_on_exec: bool,
    shown: &mut MsgFlags,
) -> Result<usize> {
    let mut written = 0;
    for message in messages {
        let room = header.control_len.saturating_sub(written);
        if header.control == 0 || room < size_of::<CmsgHdr>() {
            *shown |= MsgFlags::CTRUNC;
            break;
        }
        let at = header.control.checked_add(written).ok_or(EFAULT)?;
        let room = room - size_of::<CmsgHdr>();
        let (level, kind, data, is_whole) = match message {
            ControlMessage::Rights(files) => {
                let (numbers, is_whole) = install_rights(ctx, files, room / size_of::<Fd>(), closes_on_exec);
                if numbers.is_empty() {
                    *shown |= MsgFlags::CTRUNC;
                    continue;
                }
                (SOL_SOCKET, SCM_RIGHTS, numbers.as_bytes().to_vec(), is_whole)
            }
            ControlMessage::Credentials(credentials) => {
                (SOL_SOCKET, SCM_CREDENTIALS, credentials.as_bytes().to_vec(), true)
            }
            ControlMessage::Other { level, kind, data } => (level, kind, data, true),
        };
        let len = data.len().min(room);
        if !is_whole || len < data.len() {
            *shown |= MsgFlags::CTRUNC;
        }
        ctx.write_val(at, &CmsgHdr { len: size_of::<CmsgHdr>() + len, level, kind })?;
        ctx.write_bytes(at + size_of::<CmsgHdr>(), &data[..len])?;
        written = (written + aligned(size_of::<CmsgHdr>() + len)).min(header.control_len);
    }
    Ok(written)
}

/// Gives descriptors that came numbers, as far as there is room for them. Says whether all got one.
fn install_rights(ctx: &Context, files: Vec<Arc<Description>>, room: usize, closes_on_exec: bool) -> (Vec<Fd>, bool) {
    let wanted = files.len();
    let (table, limit) = (ctx.files(), ctx.process.limits.max_files());
    let install = |file| table.insert(file, 0, limit, closes_on_exec).ok();
    let numbers: Vec<Fd> = files.into_iter().take(room).map_while(install).collect();
    let is_whole = numbers.len() == wanted;
    (numbers, is_whole)
}

/// Rounds up to where the next control message begins (`CMSG_ALIGN`).
fn aligned(len: usize) -> usize {
    len.checked_next_multiple_of(size_of::<usize>()).unwrap_or(usize::MAX)
}
