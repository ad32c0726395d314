// SPDX-License-Identifier: MPL-2.0

//! Sockets that are connected to one other: `SOCK_STREAM` and `SOCK_SEQPACKET`.
//!
//! # Protocol
//! `write(2)` and `read(2)` go straight to the [`super::connection`]; whatever else there is to a message takes
//! [`Socket::send`] and [`Socket::receive`].

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use readiness::{InTurn, IoEvents, Pollable, Pollee};
use spin::Once;

use super::{
    Identity, PeerCredentials, Shown,
    connection::{Connection, Endpoint, Party, Plain, Unit, Writing},
    control::{self, Control, own_credentials},
    listener::{Embryo, Listener, Room},
    name::{self, Binding, Target},
    receive::Reading,
    rights::{self, Rights},
    state::{ROOM, Side, Urgency},
};
use crate::{
    file::{Description, IoDst, IoSrc, StatusFlags},
    net::{
        Common, Family, Incoming, MsgFlags, Outgoing, Shutdown, Socket, SocketAddress, SocketType,
        address::UnixAddress,
        message::{Receive, UserCredentials},
        options::{SOL_SOCKET, name as option},
        socket::{describe, errno_of, inet::settings, limit_backlog, report_broken_pipe},
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

    /// Two sockets that are connected to each other.
    pub fn new_pair(ctx: &Context, kind: SocketType) -> [Self; 2] {
        let pair = [Self::new(ctx, kind), Self::new(ctx, kind)];
        let credentials = PeerCredentials::of_caller(ctx);
        let parties = pair.each_ref().map(|socket| socket.party(credentials.clone()));
        let connection = Connection::new(pair[0].unit(), parties);
        for (side, socket) in pair.iter().enumerate() {
            socket.become_connected(Endpoint { connection: connection.clone(), side, is_embryo: false });
        }
        pair
    }

    /// The socket for a connection that is accepted.
    fn accepted(&self, ctx: &Context, embryo: Embryo) -> Self {
        let common = Common::new(ctx, Family::Unix, self.common.kind, 0);
        let Embryo { mut endpoint, pollee, identity } = embryo;
        endpoint.is_embryo = false;
        identity.register(common.inode.number());
        let passes_credentials = endpoint.connection.is_passing_credentials(endpoint.side);
        common.options.set_passes_credentials(passes_credentials);
        let socket = Self {
            reads_plainly: AtomicBool::new(common.kind == SocketType::Stream && !passes_credentials),
            common,
            pollee,
            phase: Once::new(),
            shut_before: AtomicU8::new(0),
            identity,
            binding: Mutex::new(None),
        };
        socket.become_connected(endpoint);
        socket
    }

    fn unit(&self) -> Unit {
        if self.common.kind == SocketType::Stream { Unit::Byte } else { Unit::Packet }
    }

    fn party(&self, credentials: PeerCredentials) -> Party {
        let shut = self.shut_before.load(Relaxed);
        let side = Side { receives: shut & SHUT_READ == 0, sends: shut & SHUT_WRITE == 0, ..Side::new() };
        Party {
            pollee: self.pollee.clone(),
            identity: self.identity.clone(),
            credentials,
            side,
            send_buffer: self.common.options.send_buffer(),
            passes_credentials: self.common.options.passes_credentials(),
        }
    }

    /// What was shut down before the socket became anything.
    fn shut_before(&self) -> Option<Shutdown> {
        const BOTH: u8 = SHUT_READ | SHUT_WRITE;
        match self.shut_before.load(Relaxed) {
            SHUT_READ => Some(Shutdown::Read),
            SHUT_WRITE => Some(Shutdown::Write),
            BOTH => Some(Shutdown::Both),
            _ => None,
        }
    }

    fn become_connected(&self, endpoint: Endpoint) {
        self.identity.shown.call_once(|| Shown::Connected);
        self.phase.call_once(|| Phase::Connected(endpoint));
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

    /// Gives the socket a name of the kernel's choice, unless it has one.
    fn autobind(&self, ctx: &Context) -> Result<()> {
        let mut binding = self.binding.lock();
        if binding.is_none() && self.identity.name().is_none() {
            *binding = Some(self.bind_to(ctx, &UnixAddress::Unnamed)?);
        }
        Ok(())
    }

    fn bind_to(&self, ctx: &Context, address: &UnixAddress) -> Result<Arc<Binding>> {
        let mode = self.common.inode.base().attributes().permissions;
        let binding = Binding::new(ctx, address, self.common.kind, mode)?;
        self.identity.name.call_once(|| binding.name.clone());
        Ok(binding)
    }

    /// Tries to connect to `listener`. `None`: its queue is full.
    fn try_connect(&self, ctx: &Context, listener: &Listener) -> Option<Result<()>> {
        match listener.is_full() {
            Ok(false) => {}
            Ok(true) => return None,
            Err(error) => return Some(Err(error)),
        }
        let _unchanging = self.binding.lock();
        match self.phase.get() {
            Some(Phase::Connected(_)) => return Some(Err(EISCONN)),
            Some(Phase::Listening(_)) => return Some(Err(EINVAL)),
            None => {}
        }
        let pollee = Arc::new(Pollee::new());
        let identity = Identity::embryo(self.common.kind);
        identity.name.call_once(|| listener.binding.name.clone());
        let other = Party {
            pollee: pollee.clone(),
            identity: identity.clone(),
            credentials: listener.credentials.clone(),
            side: Side::new(),
            send_buffer: settings::SEND_DEFAULT.get(),
            passes_credentials: listener.passes_credentials(),
        };
        let own = self.party(PeerCredentials::of_caller(ctx));
        let connection = Connection::new(self.unit(), [own, other]);
        let endpoint = Endpoint { connection: connection.clone(), side: 1, is_embryo: true };
        let embryo = Embryo { endpoint, pollee, identity };
        let commit = || self.become_connected(Endpoint { connection, side: 0, is_embryo: false });
        let outcome = listener.offer(embryo, commit);
        // An answer from before may have been kept since the connection was made.
        self.pollee.invalidate();
        outcome
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

    /// Whether the caller's message may go, and what goes with it.
    fn prepare(&self, ctx: &Context, len: usize, message: Outgoing) -> Result<(&Endpoint, Writing)> {
        let is_stream = self.unit() == Unit::Byte;
        let is_urgent = message.flags.contains(MsgFlags::OOB);
        if is_urgent && (!is_stream || len == 0) {
            return Err(EOPNOTSUPP);
        }
        let control = Control::decode(ctx, message.control)?;
        if self.common.options.passes_credentials() {
            self.autobind(ctx)?;
        }
        let endpoint = match self.endpoint() {
            Some(_) if is_stream && message.destination.is_some() => return Err(EISCONN),
            Some(endpoint) => endpoint,
            None if is_stream && message.destination.is_some() => return Err(EOPNOTSUPP),
            None => return Err(ENOTCONN),
        };
        if !is_stream {
            if let Some(error) = endpoint.connection.take_error(endpoint.side) {
                return Err(error);
            }
            if len > (self.common.options.send_buffer() as usize).saturating_sub(32) {
                return Err(EMSGSIZE);
            }
        }
        let mut writing = Writing::new(if is_urgent { len - 1 } else { len });
        writing.control = control.boxed();
        if endpoint.connection.passes_credentials() {
            writing.credentials = Some(own_credentials(ctx));
        }
        Ok((endpoint, writing))
    }

    /// Writes, and waits for room as long as it may. Says how much was written.
    fn write_all(
        &self,
        ctx: &Context,
        endpoint: &Endpoint,
        src: &mut IoSrc<'_>,
        writing: &mut Writing,
        is_nonblocking: bool,
    ) -> Result<()> {
        let timeout = self.common.send_timeout(is_nonblocking);
        let subject = InTurn(self, IoEvents::WRITABLE);
        ctx.wait(&subject, timeout, || endpoint.connection.write(endpoint.side, src, writing))
            .unwrap_or_else(|error| Err(errno_of(error, timeout)))
    }

    fn finish_write(
        &self,
        ctx: &Context,
        outcome: Result<()>,
        (done, has_waited): (usize, bool),
        flags: MsgFlags,
    ) -> Result<usize> {
        match outcome {
            Ok(()) => Ok(done),
            Err(_) if done > 0 => Ok(done),
            Err(error) => {
                // Packets, and writes that had to wait, break without a signal, as on Linux.
                if error == EPIPE && self.unit() == Unit::Byte && !has_waited {
                    report_broken_pipe(ctx, flags);
                }
                Err(error)
            }
        }
    }

    fn receive_on(
        &self,
        ctx: &Context,
        endpoint: &Endpoint,
        dst: &mut IoDst<'_>,
        how: Receive,
        reading: &mut Reading,
    ) -> Result<()> {
        let timeout = self.common.receive_timeout(how.is_nonblocking);
        let subject = InTurn(self, IoEvents::READABLE);
        let outcome = ctx.wait(&subject, timeout, || endpoint.connection.receive(endpoint.side, dst, reading));
        match outcome {
            Ok(outcome) => outcome,
            Err(_) if reading.has_message => Ok(()),
            Err(error) => Err(errno_of(error, timeout)),
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
        let (flags, is_nonblocking) = (message.flags, message.is_nonblocking);
        let len = src.remain();
        let (endpoint, mut writing) = self.prepare(ctx, len, message)?;
        let is_urgent = flags.contains(MsgFlags::OOB);
        let mut outcome = Ok(());
        if len > 1 || !is_urgent {
            outcome = self.write_all(ctx, endpoint, src, &mut writing, is_nonblocking);
        }
        let (mut done, mut has_waited) = (writing.done, writing.has_waited);
        if is_urgent && outcome.is_ok() {
            // The last byte is the urgent one.
            let mut last = Writing::new(1);
            (last.control, last.credentials, last.urgency) = (writing.control, writing.credentials, Urgency::Pending);
            outcome = self.write_all(ctx, endpoint, src, &mut last, is_nonblocking);
            done += last.done;
            has_waited |= last.has_waited;
        }
        self.finish_write(ctx, outcome, (done, has_waited), flags)
    }

    fn receive(&self, ctx: &Context, dst: &mut IoDst<'_>, how: Receive) -> Result<Incoming> {
        let is_stream = self.unit() == Unit::Byte;
        let endpoint = self.endpoint().ok_or(if is_stream { EINVAL } else { ENOTCONN })?;
        let other = &endpoint.connection.identities[endpoint.other()];
        let (options, peeks) = (&self.common.options, how.flags.contains(MsgFlags::PEEK));
        if how.flags.contains(MsgFlags::OOB) {
            if !is_stream {
                return Err(EOPNOTSUPP);
            }
            if options.takes_urgent_inline() {
                return Err(EINVAL);
            }
            let count = endpoint.connection.receive_urgent(endpoint.side, dst, peeks)?;
            return Ok(Incoming { flags: MsgFlags::OOB, ..Incoming::bytes(count) });
        }
        let mut reading = Reading::new(dst.avail(), how.flags, options.receive_low_water());
        reading.passes_credentials = options.passes_credentials();
        reading.takes_urgent = options.takes_urgent_inline();
        self.receive_on(ctx, endpoint, dst, how, &mut reading)?;
        let mut incoming = Incoming::bytes(reading.done);
        if reading.has_message {
            incoming.source = other.source();
            if how.wants_control {
                incoming.control = control::to_messages(self, reading.credentials, reading.rights.take());
            }
            if !is_stream && reading.packet_len > reading.done {
                incoming.flags |= MsgFlags::TRUNC;
            }
            if !is_stream && how.flags.contains(MsgFlags::TRUNC) {
                incoming.count = reading.packet_len;
            }
        }
        Ok(incoming)
    }

    fn read_bytes(&self, ctx: &Context, dst: &mut IoDst<'_>, is_nonblocking: bool) -> Result<usize> {
        if self.reads_plainly.load(Relaxed)
            && let Some(endpoint) = self.endpoint()
        {
            let len = dst.avail();
            let timeout = self.common.receive_timeout(is_nonblocking);
            let subject = InTurn(self, IoEvents::READABLE);
            match ctx.wait(&subject, timeout, || endpoint.connection.read(endpoint.side, dst, len)) {
                Ok(Plain::Bytes(count)) => return Ok(count),
                Ok(Plain::Faulted(error)) => return Err(error),
                Ok(Plain::Special) => {}
                Err(error) => return Err(errno_of(error, timeout)),
            }
        }
        self.receive(ctx, dst, Receive::plain(is_nonblocking)).map(|message| message.count)
    }

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
