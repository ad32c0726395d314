// SPDX-License-Identifier: MPL-2.0

//! Sockets that are connected to one other: `SOCK_STREAM` and `SOCK_SEQPACKET`.
//!
//! # Protocol
//! `write(2)` and `read(2)` go straight to the [`super::connection`]; whatever else there is to a message takes
//! the way of [`transfer`]. How a socket becomes what it is, is in [`connect`].

mod connect;
mod transfer;

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use readiness::{InTurn, IoEvents, Pollable, Pollee};
use spin::Once;

use super::{
    Identity, PeerCredentials, Shown,
    connection::{Endpoint, Plain, Unit},
    listener::{Listener, Room},
    name::{self, Binding, Target},
    rights::{self, Rights},
    state::ROOM,
    write::Writing,
};
use crate::{
    file::{Description, IoDst, IoSrc, StatusFlags},
    net::{
        Common, Family, Incoming, MsgFlags, Outgoing, Shutdown, Socket, SocketAddress, SocketType,
        address::UnixAddress,
        message::{Receive, UserCredentials},
        options::{SOL_SOCKET, name as option},
        socket::{describe, errno_of, limit_backlog},
    },
    prelude::*,
};

/// The bits of [`StreamSocket::shut_before`].
const SHUT_READ: u8 = 1;
const SHUT_WRITE: u8 = 2;

/// A stream or seqpacket socket.
pub struct StreamSocket {
    common: Common,
    pollee: Arc<Pollee>,
    phase: Once<Phase>,
    /// Whether receiving needs no more than bytes: neither credentials nor a low-water mark. Relaxed: an option orders nothing.
    reads_plainly: AtomicBool,
    /// What was shut down before it was connected. Changed with `binding` held.
    shut_before: AtomicU8,
    identity: Arc<Identity>,
    /// Its name. Held while the phase changes.
    binding: Mutex<Option<Arc<Binding>>>,
}

/// What the socket has become.
enum Phase {
    Listening(Arc<Listener>),
    Connected(Endpoint),
}

impl StreamSocket {
    /// A socket that is neither named nor connected.
    pub fn new(ctx: &Context, kind: SocketType) -> Self {
        let common = Common::new(ctx, Family::Unix, kind, 0);
        let identity = Identity::new(common.inode.number(), kind);
        Self {
            common,
            pollee: Arc::new(Pollee::new()),
            phase: Once::new(),
            reads_plainly: AtomicBool::new(kind == SocketType::Stream),
            shut_before: AtomicU8::new(0),
            identity,
            binding: Mutex::new(None),
        }
    }

    fn unit(&self) -> Unit {
        if self.common.kind == SocketType::Stream { Unit::Byte } else { Unit::Packet }
    }

    #[inline]
    fn endpoint(&self) -> Option<&Endpoint> {
        match self.phase.get() {
            Some(Phase::Connected(endpoint)) => Some(endpoint),
            _ => None,
        }
    }

    fn listener(&self) -> Option<&Arc<Listener>> {
        match self.phase.get() {
            Some(Phase::Listening(listener)) => Some(listener),
            _ => None,
        }
    }

    /// What others see of it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Calls `visit` for the files of each message that can be received here. To be called with the graph held.
    pub fn for_each_queued(&self, visit: &mut dyn FnMut(&Rights)) {
        match self.phase.get() {
            Some(Phase::Listening(listener)) => listener.for_each_queued(visit),
            Some(Phase::Connected(endpoint)) => endpoint.connection.for_each_queued(endpoint.side, visit),
            None => {}
        }
    }

    /// Takes these files out. To be called with the graph held.
    pub fn take_queued(&self) -> Vec<Rights> {
        match self.phase.get() {
            Some(Phase::Listening(listener)) => listener.take_queued(),
            Some(Phase::Connected(endpoint)) => endpoint.connection.take_queued(endpoint.side),
            None => Vec::new(),
        }
    }
}

impl Pollable for StreamSocket {
    #[inline]
    fn pollee(&self) -> &Pollee {
        &self.pollee
    }

    fn readiness(&self) -> IoEvents {
        match self.phase.get() {
            Some(Phase::Connected(endpoint)) => endpoint.connection.state.readiness(endpoint.side),
            Some(Phase::Listening(listener)) => listener.readiness(),
            None => {
                let shut = self.shut_before.load(Relaxed);
                let mut events = ROOM | IoEvents::HUP;
                events.set(IoEvents::READABLE | IoEvents::RDHUP, shut & SHUT_READ != 0);
                events
            }
        }
    }

    fn shared_pollee(&self) -> Option<&Arc<Pollee>> {
        Some(&self.pollee)
    }
}

impl Socket for StreamSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, ctx: &Context, address: &SocketAddress) -> Result<()> {
        let address = name::of_unix(address)?;
        if *address == UnixAddress::Unnamed {
            return self.autobind(ctx);
        }
        let mut binding = self.binding.lock();
        if self.identity.name().is_some() {
            return Err(EINVAL);
        }
        *binding = Some(self.bind_to(ctx, address)?);
        Ok(())
    }

    fn connect(&self, ctx: &Context, address: &SocketAddress, is_nonblocking: bool) -> Result<()> {
        let address = name::of_unix(address)?;
        if *address == UnixAddress::Unnamed {
            return Err(EINVAL);
        }
        if self.common.options.passes_credentials() {
            self.autobind(ctx)?;
        }
        let listener = name::find_listener(ctx, address, self.common.kind)?;
        let timeout = self.common.send_timeout(is_nonblocking);
        let room = Room(&listener);
        ctx.wait(&InTurn(&room, IoEvents::WRITABLE), timeout, || self.try_connect(ctx, &listener))
            .unwrap_or_else(|error| Err(errno_of(error, timeout)))
    }

    fn listen(&self, ctx: &Context, backlog: i32) -> Result<()> {
        let binding = self.binding.lock();
        let limit = limit_backlog(backlog);
        match (self.phase.get(), &*binding) {
            (Some(Phase::Connected(_)), _) => Err(EINVAL),
            (Some(Phase::Listening(listener)), _) => {
                listener.set_limit(limit);
                Ok(())
            }
            (None, None) => Err(EINVAL),
            (None, Some(binding)) => {
                let credentials = PeerCredentials::of_caller(ctx);
                let listener = Listener::new(self.pollee.clone(), binding.clone(), credentials, limit);
                listener.set_passes_credentials(self.common.options.passes_credentials());
                if let Some(how) = self.shut_before() {
                    listener.shutdown(how);
                }
                binding.set_target(Target::Listener(Arc::downgrade(&listener)));
                self.identity.shown.call_once(|| Shown::Listening);
                self.phase.call_once(|| Phase::Listening(listener));
                self.pollee.invalidate();
                Ok(())
            }
        }
    }

    fn accept(
        &self,
        ctx: &Context,
        is_nonblocking: bool,
        status: StatusFlags,
    ) -> Result<(Arc<Description>, SocketAddress)> {
        let listener = self.listener().ok_or(EINVAL)?;
        let timeout = self.common.receive_timeout(is_nonblocking);
        let outcome = ctx.wait(&InTurn(self, IoEvents::READABLE), timeout, || listener.take());
        let embryo = outcome.map_err(|error| errno_of(error, timeout))??;
        let socket = self.accepted(ctx, embryo);
        let peer = socket.peer_address()?;
        Ok((describe(socket, status), peer))
    }

    fn send(&self, ctx: &Context, src: &mut IoSrc<'_>, message: Outgoing) -> Result<usize> {
        self.send_message(ctx, src, message)
    }

    fn receive(&self, ctx: &Context, dst: &mut IoDst<'_>, how: Receive) -> Result<Incoming> {
        self.receive_message(ctx, dst, how)
    }

    // Always inlined, as its kin, into the one place where it is called.
    #[inline(always)]
    fn read_bytes(&self, ctx: &Context, dst: &mut IoDst<'_>, is_nonblocking: bool) -> Result<usize> {
        if self.reads_plainly.load(Relaxed)
            && let Some(endpoint) = self.endpoint()
        {
            let len = dst.avail();
            let mut read = || endpoint.connection.read(endpoint.side, dst, len);
            let plain = match read() {
                Some(plain) => plain,
                None => {
                    let timeout = self.common.receive_timeout(is_nonblocking);
                    let subject = InTurn(self, IoEvents::READABLE);
                    ctx.sleep(&subject, timeout, read).map_err(|error| errno_of(error, timeout))?
                }
            };
            match plain {
                Plain::Bytes(count) => return Ok(count),
                Plain::Faulted(error) => return Err(error),
                Plain::Special => {}
            }
        }
        self.receive(ctx, dst, Receive::plain(is_nonblocking)).map(|message| message.count)
    }

    #[inline(always)]
    fn write_bytes(&self, ctx: &Context, src: &mut IoSrc<'_>, is_nonblocking: bool) -> Result<usize> {
        let len = src.remain();
        if let Some(endpoint) = self.endpoint()
            && endpoint.connection.unit == Unit::Byte
            && len > 0
            && !endpoint.connection.passes_credentials()
        {
            let mut writing = Writing::new(len);
            let outcome = self.write_all(ctx, endpoint, src, &mut writing, is_nonblocking);
            return self.finish_write(ctx, outcome, (writing.done, writing.has_waited), MsgFlags::empty());
        }
        self.send(ctx, src, Outgoing::plain(is_nonblocking))
    }

    fn shutdown(&self, _ctx: &Context, how: Shutdown) -> Result<()> {
        let _unchanging = self.binding.lock();
        match self.phase.get() {
            Some(Phase::Connected(endpoint)) => endpoint.connection.shutdown(endpoint.side, how),
            Some(Phase::Listening(listener)) => listener.shutdown(how),
            None => {
                let read = if how.ends_reading() { SHUT_READ } else { 0 };
                let write = if how.ends_writing() { SHUT_WRITE } else { 0 };
                self.shut_before.fetch_or(read | write, Relaxed);
                let _ = self.pollee.notify(IoEvents::all());
            }
        }
        Ok(())
    }

    fn local_address(&self) -> Result<SocketAddress> {
        Ok(self.identity.address())
    }

    fn peer_address(&self) -> Result<SocketAddress> {
        let endpoint = self.endpoint().ok_or(ENOTCONN)?;
        Ok(endpoint.connection.identities[endpoint.other()].address())
    }

    fn set_option(&self, ctx: &Context, level: i32, name: i32, value: &[u8]) -> Result<()> {
        if level != SOL_SOCKET {
            return Err(EOPNOTSUPP);
        }
        let options = &self.common.options;
        options.set(ctx, level, name, value)?;
        let passes_credentials = options.passes_credentials();
        let is_plain = !passes_credentials && options.receive_low_water() <= 1;
        self.reads_plainly.store(is_plain && self.unit() == Unit::Byte, Relaxed);
        match self.phase.get() {
            Some(Phase::Connected(endpoint)) => {
                endpoint.connection.set_passes_credentials(endpoint.side, passes_credentials);
                if matches!(name, option::SNDBUF | option::SNDBUFFORCE) {
                    endpoint.connection.set_limit(endpoint.side, options.send_buffer());
                }
            }
            Some(Phase::Listening(listener)) => listener.set_passes_credentials(passes_credentials),
            None => {}
        }
        Ok(())
    }

    fn option(&self, ctx: &Context, level: i32, name: i32) -> Result<Vec<u8>> {
        let _ = ctx;
        let peer = match self.phase.get() {
            Some(Phase::Connected(endpoint)) => Some(&endpoint.connection.credentials[endpoint.other()]),
            Some(Phase::Listening(listener)) => Some(&listener.credentials),
            None => None,
        };
        match (level, name) {
            (SOL_SOCKET, option::PEERCRED) => {
                const NOBODY: UserCredentials = UserCredentials { pid: 0, uid: u32::MAX, gid: u32::MAX };
                Ok(peer.map_or(NOBODY, |peer| peer.user).as_bytes().to_vec())
            }
            (SOL_SOCKET, option::PEERGROUPS) => Ok(peer.ok_or(ENODATA)?.groups.as_bytes().to_vec()),
            (SOL_SOCKET, _) => self.common.options.get(&self.common, level, name),
            _ => Err(EOPNOTSUPP),
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.endpoint().and_then(|endpoint| endpoint.connection.take_error(endpoint.side))
    }

    fn set_error(&self, error: Errno) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.connection.set_error(endpoint.side, error);
        }
    }

    fn is_listening(&self) -> bool {
        self.listener().is_some()
    }

    fn control(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        super::ioctl::control(ctx, self, &self.identity, command, argument)
    }
}

impl super::ioctl::Counted for StreamSocket {
    fn unread(&self) -> Result<usize> {
        match self.phase.get() {
            Some(Phase::Connected(endpoint)) => {
                let from = endpoint.other();
                Ok(endpoint.connection.state.read(|state| state.directions[from].readable_bytes()))
            }
            Some(Phase::Listening(_)) => Err(EINVAL),
            None => Ok(0),
        }
    }

    fn unsent(&self) -> usize {
        let charge =
            |endpoint: &Endpoint| endpoint.connection.state.read(|state| state.directions[endpoint.side].charge);
        self.endpoint().map_or(0, charge) as usize
    }

    fn is_at_mark(&self) -> bool {
        self.endpoint().is_some_and(|endpoint| endpoint.connection.is_at_mark(endpoint.side))
    }
}

impl Drop for StreamSocket {
    fn drop(&mut self) {
        if let Some(listener) = self.listener() {
            listener.close();
        }
        // The end of an endpoint tells the other side; then there may be sockets that nobody can receive any more.
        self.phase = Once::new();
        rights::collect();
    }
}
