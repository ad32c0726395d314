// SPDX-License-Identifier: MPL-2.0

//! What every socket is: [`Socket`], and how it is a file.
//!
//! # Protocol
//! A family implements [`Socket`] for each of its types. Whatever implements it is a [`File`], so that a look of `poll(2)` or
//! `epoll_wait(2)` costs one virtual call, as for any other file; the calls of `socket(7)` reach it by
//! [`File::as_socket`].

pub mod inet;
pub mod netlink;
mod payload;
pub mod unix;

use core::any::Any;

use readiness::{IoEvents, Pollable, Timeout, WaitError};

use super::{Incoming, MsgFlags, Options, Outgoing, SocketAddress, message::Receive};
use crate::{
    file::{AccessMode, Description, File, IoDst, IoSrc, StatusFlags, Written},
    fs::{AnonInode, AnonKind, Inode},
    prelude::*,
    signal::{self, Signal},
    time::Deadline,
};

/// The families that there are (`address_families(7)`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum Family {
    /// `AF_UNIX`
    Unix = 1,
    /// `AF_INET`
    Inet = 2,
    /// `AF_INET6`
    Inet6 = 10,
    /// `AF_NETLINK`
    Netlink = 16,
}

impl Family {
    /// The family with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        [Self::Unix, Self::Inet, Self::Inet6, Self::Netlink].into_iter().find(|family| family.number() == number)
    }

    /// `sa_family_t`
    pub fn number(self) -> u16 {
        self as u16
    }
}

/// The types of sockets that there are (`socket(2)`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum SocketType {
    /// `SOCK_STREAM`
    Stream = 1,
    /// `SOCK_DGRAM`
    Datagram = 2,
    /// `SOCK_RAW`
    Raw = 3,
    /// `SOCK_SEQPACKET`
    SeqPacket = 5,
}

impl SocketType {
    /// The type with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Stream, Self::Datagram, Self::Raw, Self::SeqPacket].into_iter().find(|kind| *kind as u32 == number)
    }
}

/// Which directions `shutdown(2)` ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shutdown {
    /// `SHUT_RD`
    Read,
    /// `SHUT_WR`
    Write,
    /// `SHUT_RDWR`
    Both,
}

impl Shutdown {
    /// Whether nothing more is to be received.
    pub fn ends_reading(self) -> bool {
        self != Self::Write
    }

    /// Whether nothing more is to be sent.
    pub fn ends_writing(self) -> bool {
        self != Self::Read
    }
}

/// What all sockets have.
pub struct Common {
    /// The inode, in no tree.
    pub inode: Arc<dyn Inode>,
    /// The family it was made in.
    pub family: Family,
    /// Its type.
    pub kind: SocketType,
    /// Its protocol's number (`SO_PROTOCOL`).
    pub protocol: i32,
    /// The options of level `SOL_SOCKET`.
    pub options: Options,
}

impl Common {
    /// A new socket's, owned by the caller.
    pub fn new(ctx: &Context, family: Family, kind: SocketType, protocol: i32) -> Self {
        let credentials = ctx.credentials();
        let inode = AnonInode::new(AnonKind::Socket, credentials.fsuid, credentials.fsgid);
        Self { inode, family, kind, protocol, options: Options::new() }
    }

    /// How long a call that receives may block.
    pub fn receive_timeout(&self, is_nonblocking: bool) -> Timeout<Deadline> {
        timeout(is_nonblocking, self.options.receive_timeout())
    }

    /// How long a call that sends or connects may block.
    pub fn send_timeout(&self, is_nonblocking: bool) -> Timeout<Deadline> {
        timeout(is_nonblocking, self.options.send_timeout())
    }
}

fn timeout(is_nonblocking: bool, nanos: Option<u64>) -> Timeout<Deadline> {
    match nanos {
        _ if is_nonblocking => Timeout::Now,
        Some(nanos) => Timeout::At(Deadline::after_nanos(nanos)),
        None => Timeout::Never,
    }
}

/// What a fruitless wait of a call with `timeout` means: with a limit (`SO_RCVTIMEO`) it is never restarted (`signal(7)`).
pub fn errno_of(error: WaitError, timeout: Timeout<Deadline>) -> Errno {
    match (error, timeout) {
        (WaitError::TimedOut, _) => EAGAIN,
        (WaitError::Interrupted, Timeout::At(_)) => EINTR,
        (WaitError::Interrupted, _) => ERESTARTSYS,
    }
}

/// Sends `SIGPIPE` for an `EPIPE`, unless the caller does not want it.
pub fn report_broken_pipe(ctx: &Context, flags: MsgFlags) {
    if !flags.contains(MsgFlags::NOSIGNAL) {
        let _ = signal::send_to_thread(&ctx.thread, signal::info_from(ctx, Signal::PIPE, signal::SI_USER));
    }
}

/// What `listen(2)` asks for, limited by `/proc/sys/net/core/somaxconn`. A negative backlog is a very large one, as on Linux.
pub fn limit_backlog(backlog: i32) -> usize {
    backlog.cast_unsigned().min(inet::settings::SOMAXCONN.get()) as usize
}

/// The description of a new socket.
pub fn describe<S: Socket>(socket: S, status: StatusFlags) -> Arc<Description> {
    Description::new(socket, AccessMode::READ | AccessMode::WRITE, status)
}

/// A socket of some family and type. The defaults are those of a type that lacks the operation.
pub trait Socket: Pollable + Any + Send + Sync {
    /// What all sockets have.
    fn common(&self) -> &Common;

    /// `bind(2)`
    fn bind(&self, ctx: &Context, address: &SocketAddress) -> Result<()> {
        let _ = (ctx, address);
        Err(EOPNOTSUPP)
    }

    /// `connect(2)`
    fn connect(&self, ctx: &Context, address: &SocketAddress, is_nonblocking: bool) -> Result<()> {
        let _ = (ctx, address, is_nonblocking);
        Err(EOPNOTSUPP)
    }

    /// `listen(2)`; the backlog is not yet limited by `somaxconn`.
    fn listen(&self, ctx: &Context, backlog: i32) -> Result<()> {
        let _ = (ctx, backlog);
        Err(EOPNOTSUPP)
    }

    /// `accept(2)`: the new socket's description, with `status`, and its peer.
    fn accept(
        &self,
        ctx: &Context,
        is_nonblocking: bool,
        status: StatusFlags,
    ) -> Result<(Arc<Description>, SocketAddress)> {
        let _ = (ctx, is_nonblocking, status);
        Err(EOPNOTSUPP)
    }

    /// `sendmsg(2)`: sends from `src`. Raises `SIGPIPE` itself ([`report_broken_pipe`]).
    fn send(&self, ctx: &Context, src: &mut IoSrc<'_>, message: Outgoing) -> Result<usize>;

    /// `recvmsg(2)`: receives into `dst`.
    fn receive(&self, ctx: &Context, dst: &mut IoDst<'_>, how: Receive) -> Result<Incoming>;

    /// `read(2)`: bytes and nothing else.
    fn read_bytes(&self, ctx: &Context, dst: &mut IoDst<'_>, is_nonblocking: bool) -> Result<usize> {
        self.receive(ctx, dst, Receive::plain(is_nonblocking)).map(|message| message.count)
    }

    /// `write(2)`: bytes and nothing else.
    fn write_bytes(&self, ctx: &Context, src: &mut IoSrc<'_>, is_nonblocking: bool) -> Result<usize> {
        self.send(ctx, src, Outgoing::plain(is_nonblocking))
    }

    /// `shutdown(2)`
    fn shutdown(&self, ctx: &Context, how: Shutdown) -> Result<()> {
        let _ = (ctx, how);
        Err(EOPNOTSUPP)
    }

    /// `getsockname(2)`
    fn local_address(&self) -> Result<SocketAddress>;

    /// `getpeername(2)`
    ///
    /// # Errors
    /// `ENOTCONN` if there is no peer.
    fn peer_address(&self) -> Result<SocketAddress> {
        Err(ENOTCONN)
    }

    /// `setsockopt(2)`. Types override it for what they know, and leave the rest to the default.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an unknown option; `EINVAL` for a bad value.
    fn set_option(&self, ctx: &Context, level: i32, name: i32, value: &[u8]) -> Result<()> {
        self.common().options.set(ctx, level, name, value)
    }

    /// `getsockopt(2)`: the whole value, of which the caller gets as much as there is room for.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an unknown option.
    fn option(&self, ctx: &Context, level: i32, name: i32) -> Result<Vec<u8>> {
        let _ = ctx;
        self.common().options.get(self.common(), level, name)
    }

    /// The pending error (`SO_ERROR`), which is cleared by asking.
    fn take_error(&self) -> Option<Errno> {
        None
    }

    /// Keeps an error that a call could not report, for the next one to do so.
    fn set_error(&self, error: Errno) {
        let _ = error;
    }

    /// Whether it listens (`SO_ACCEPTCONN`).
    fn is_listening(&self) -> bool {
        false
    }

    /// `ioctl(2)`
    fn control(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        let _ = (ctx, command, argument);
        Err(ENOTTY)
    }
}

impl<S: Socket> File for S {
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        if dst.avail() == 0 {
            return Ok(0);
        }
        self.read_bytes(ctx, dst, status.contains(StatusFlags::NONBLOCK))
    }

    fn write(&self, ctx: &Context, src: &mut IoSrc<'_>, _offset: u64, status: StatusFlags) -> Result<Written> {
        self.write_bytes(ctx, src, status.contains(StatusFlags::NONBLOCK)).map(Written::stream)
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn poll(&self) -> IoEvents {
        Pollable::poll(self)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.common().inode
    }

    fn name(&self) -> Vec<u8> {
        alloc::format!("socket:[{}]", self.common().inode.number()).into_bytes()
    }

    fn ioctl(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        match self.control(ctx, command, argument) {
            // As on Linux, a socket of any family may be asked for the interfaces.
            Err(ENOTTY) => inet::interface::control(ctx, command, argument),
            outcome => outcome,
        }
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

/// `socket(2)` and `socketpair(2)`: which families make which sockets.
///
/// # Errors
/// `EAFNOSUPPORT`, `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`; `EPERM` for a raw socket without privilege.
pub fn create(
    ctx: &Context,
    family: u32,
    kind: SocketType,
    protocol: i32,
    status: StatusFlags,
) -> Result<Arc<Description>> {
    match u16::try_from(family).ok().and_then(Family::from_number) {
        Some(Family::Unix) => unix::create(ctx, kind, protocol, status),
        Some(family @ (Family::Inet | Family::Inet6)) => inet::create(ctx, family, kind, protocol, status),
        Some(Family::Netlink) => netlink::create(ctx, kind, protocol, status),
        None => Err(EAFNOSUPPORT),
    }
}

/// `socketpair(2)`: two sockets connected to each other.
///
/// # Errors
/// As [`create`]; `EOPNOTSUPP` for families that have no pairs.
pub fn create_pair(
    ctx: &Context,
    family: u32,
    kind: SocketType,
    protocol: i32,
    status: StatusFlags,
) -> Result<[Arc<Description>; 2]> {
    match u16::try_from(family).ok().and_then(Family::from_number) {
        Some(Family::Unix) => unix::create_pair(ctx, kind, protocol, status),
        Some(_) => Err(EOPNOTSUPP),
        None => Err(EAFNOSUPPORT),
    }
}
