// SPDX-License-Identifier: MPL-2.0

//! Stream sockets of the internet (`tcp(7)`), between programs of this machine.
//!
//! # Role
//! A [`TcpSocket`] is in one of four phases: idle, listening, connecting, connected. [`connecting`] leads from one to another,
//! [`listener`] and [`connection`] are what it has in them, [`transfer`] moves bytes, [`options`] is what a program sets.
//!
//! Two sockets of this machine share a [`connection::Connection`] and need no packets. Connections to other machines will be
//! another kind of [`Phase`] behind the same socket.
//!
//! # Protocol
//! The phase is tracked with the socket's pollee, which its connection and listener share: whichever of them changes, the
//! cached answer of the socket is old.
//!
//! # Concurrency
//! Lock order: name (sleeps), phase, the state of a connection or listener. A call takes what it needs out of the phase and
//! works on that, so a connection may be used while its socket is being changed.

mod connecting;
mod connection;
mod info;
mod listener;
mod options;
mod state;
mod transfer;

use readiness::{InTurn, IoEvents, Pollable, Pollee, Readiness, Tracked};

pub use self::info::TcpState;
use self::{
    connection::{CLIENT, Endpoint, SERVER},
    listener::Listener,
    options::TcpOptions,
    transfer::{Reading, Sending},
};
use super::{
    ports::{Claim, Ports},
    show_address,
};
use crate::{
    file::{Description, IoDst, IoSrc, StatusFlags},
    net::{
        Common, Incoming, MsgFlags, Outgoing, Shutdown, Socket, SocketAddress, address,
        message::Receive,
        socket::{describe, errno_of, report_broken_pipe},
    },
    prelude::*,
};

/// `SO_SNDBUF` and `SO_RCVBUF` of a new socket (`net.ipv4.tcp_wmem`, `net.ipv4.tcp_rmem`). As long as a program does not set
/// them they say nothing of a connection, which begins with more.
pub const SEND_BUFFER: u32 = 16384;
/// See [`SEND_BUFFER`].
pub const RECEIVE_BUFFER: u32 = 131_072;

/// Who listens where.
static PORTS: Ports<Listener> = Ports::new(true);

/// How many addresses are kept by connections that are over.
pub fn count_time_waits() -> usize {
    PORTS.count_lingering()
}

/// A stream socket.
pub struct TcpSocket {
    common: Common,
    options: TcpOptions,
    phase: Tracked<Phase, 1, Arc<Pollee>>,
    pollee: Arc<Pollee>,
    /// What it is bound to. Held while it binds, listens or begins to connect, so that these come one after the other.
    name: Mutex<Name>,
}

/// What a socket is bound to.
#[derive(Default)]
struct Name {
    claim: Option<Claim<Listener>>,
    /// The program chose it by `bind(2)`: it stays when a connection is dissolved.
    is_chosen: bool,
}

/// What a socket is doing.
enum Phase {
    /// Neither connected nor listening (`CLOSE`).
    Idle(Idle),
    /// It waits for connections.
    Listening(Arc<Listener>),
    /// `connect(2)` has begun, and no call has reported its success yet.
    Connecting(Endpoint),
    /// It has a connection, which may be over.
    Connected(Endpoint),
}

/// What is left to say of an idle socket.
#[derive(Clone, Copy, Debug, Default)]
struct Idle {
    /// A connection failed, and `connect(2)` has not said so yet.
    has_failed: bool,
    is_read_shut: bool,
    is_write_shut: bool,
    error: Option<Errno>,
}

impl Idle {
    /// After a connection that failed.
    fn failed(error: Errno) -> Self {
        Self { has_failed: true, is_read_shut: true, is_write_shut: true, error: Some(error) }
    }
}

impl Readiness for Phase {
    /// Mirrors Linux's `tcp_poll`.
    fn readiness(&self, _side: usize) -> IoEvents {
        match self {
            Self::Idle(idle) => {
                let mut events = IoEvents::HUP | IoEvents::WRITABLE;
                events.set(IoEvents::READABLE | IoEvents::RDHUP, idle.is_read_shut);
                events.set(IoEvents::ERR, idle.error.is_some());
                events
            }
            Self::Listening(listener) => listener.readiness(),
            Self::Connecting(end) | Self::Connected(end) => end.connection.state.readiness(end.side),
        }
    }
}

impl TcpSocket {
    /// A socket that is neither bound nor connected.
    pub fn new(common: Common) -> Self {
        Self::build(
            common,
            TcpOptions::default(),
            Phase::Idle(Idle::default()),
            Arc::new(Pollee::new()),
            Name::default(),
        )
    }

    fn build(common: Common, options: TcpOptions, phase: Phase, pollee: Arc<Pollee>, name: Name) -> Self {
        let phase = Tracked::with_pollees(phase, [pollee.clone()]);
        Self { common, options, phase, pollee, name: Mutex::new(name) }
    }

    /// Its end of a connection, if it has one.
    fn endpoint(&self) -> Option<Endpoint> {
        self.phase.read(|phase| match phase {
            Phase::Connecting(end) | Phase::Connected(end) => Some(end.clone()),
            _ => None,
        })
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.phase.read(|phase| match phase {
            Phase::Listening(listener) => Some(listener.clone()),
            _ => None,
        })
    }

    /// What sending to nobody means.
    fn send_unconnected(&self, ctx: &Context, flags: MsgFlags) -> Errno {
        let error = self.take_idle_error().unwrap_or(EPIPE);
        if error == EPIPE {
            report_broken_pipe(ctx, flags);
        }
        error
    }

    /// What receiving from nobody means.
    ///
    /// # Errors
    /// The pending error; `ENOTCONN`.
    fn receive_unconnected(&self) -> Result<Incoming> {
        let is_shut = self.phase.read(|phase| matches!(phase, Phase::Idle(Idle { is_read_shut: true, .. })));
        match self.take_idle_error() {
            Some(error) => Err(error),
            None if is_shut => Ok(Incoming::bytes(0)),
            None => Err(ENOTCONN),
        }
    }

    fn take_idle_error(&self) -> Option<Errno> {
        self.phase.update(|phase| {
            if !matches!(**phase, Phase::Idle(Idle { error: Some(_), .. })) {
                return None;
            }
            phase.notify_nothing();
            if let Phase::Idle(idle) = &mut **phase { idle.error.take() } else { None }
        })
    }

    /// `MSG_OOB` of `send(2)`: the last byte is urgent, those before it are not.
    fn send_urgent(
        &self,
        ctx: &Context,
        end: &Endpoint,
        src: &mut IoSrc<'_>,
        sending: &mut Sending,
        message: &Outgoing,
    ) -> Result<()> {
        let timeout = self.common.send_timeout(message.is_nonblocking);
        let subject = InTurn(self, IoEvents::WRITABLE);
        let wait_error = |error| Err(errno_of(error, timeout));
        let Some(before) = src.remain().checked_sub(1) else { return Ok(()) };
        if before > 0 {
            let mut bytes = alloc::vec![0; before.min(PAGE_SIZE)];
            let mut left = before;
            while left > 0 {
                let want = left.min(bytes.len());
                let got = src.read_slice(&mut bytes[..want])?;
                let (mut chunk, mut part) = (IoSrc::from_slice(&bytes[..got]), Sending::new(got));
                let sent = ctx.wait(&subject, timeout, || end.connection.send(end.side, &mut chunk, &mut part));
                sending.done += part.done;
                sent.unwrap_or_else(wait_error)?;
                left -= got;
            }
        }
        let byte: u8 = src.read_val()?;
        ctx.wait(&subject, timeout, || end.connection.send_urgent(end.side, byte)).unwrap_or_else(wait_error)?;
        sending.done += 1;
        Ok(())
    }

    fn receive_urgent(&self, end: &Endpoint, dst: &mut IoDst<'_>, flags: MsgFlags) -> Result<Incoming> {
        let byte = end.connection.receive_urgent(end.side, flags.contains(MsgFlags::PEEK))?;
        let mut incoming = Incoming::bytes(0);
        let Some(byte) = byte else { return Ok(incoming) };
        incoming.flags |= MsgFlags::OOB;
        if dst.avail() == 0 {
            incoming.flags |= MsgFlags::TRUNC;
            return Ok(incoming);
        }
        dst.write_val(&byte)?;
        incoming.count = 1;
        Ok(incoming)
    }
}

impl Pollable for TcpSocket {
    fn pollee(&self) -> &Pollee {
        &self.pollee
    }

    fn readiness(&self) -> IoEvents {
        self.phase.readiness(0)
    }

    fn shared_pollee(&self) -> Option<&Arc<Pollee>> {
        Some(&self.pollee)
    }
}

impl Socket for TcpSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, ctx: &Context, address: &SocketAddress) -> Result<()> {
        self.bind_to(ctx, address)
    }

    fn connect(&self, ctx: &Context, address: &SocketAddress, is_nonblocking: bool) -> Result<()> {
        self.connect_to(ctx, address, is_nonblocking)
    }

    fn listen(&self, ctx: &Context, backlog: i32) -> Result<()> {
        self.start_listening(ctx, backlog)
    }

    fn accept(
        &self,
        ctx: &Context,
        is_nonblocking: bool,
        status: StatusFlags,
    ) -> Result<(Arc<Description>, SocketAddress)> {
        let listener = self.listener().ok_or(EINVAL)?;
        let timeout = self.common.receive_timeout(is_nonblocking);
        let subject = InTurn(self, IoEvents::READABLE);
        let taken = ctx.wait(&subject, timeout, || listener.take());
        let connection = taken.unwrap_or_else(|error| Err(errno_of(error, timeout)))?;
        let common = Common::new(ctx, self.common.family, self.common.kind, self.common.protocol);
        common.options.inherit(&self.common.options);
        let pollee = connection.pollee_of(SERVER).clone();
        let peer = show_address(common.family, connection.addresses[CLIENT]);
        let phase = Phase::Connected(Endpoint { connection, side: SERVER });
        let socket = Self::build(common, self.options.clone(), phase, pollee, Name::default());
        socket.apply_options();
        Ok((describe(socket, status), peer))
    }

    fn send(&self, ctx: &Context, src: &mut IoSrc<'_>, message: Outgoing) -> Result<usize> {
        let Some(end) = self.endpoint() else {
            return Err(self.send_unconnected(ctx, message.flags));
        };
        let mut sending = Sending::new(src.remain());
        let result = if message.flags.contains(MsgFlags::OOB) {
            self.send_urgent(ctx, &end, src, &mut sending, &message)
        } else {
            let timeout = self.common.send_timeout(message.is_nonblocking);
            let subject = InTurn(self, IoEvents::WRITABLE);
            let sent = ctx.wait(&subject, timeout, || end.connection.send(end.side, src, &mut sending));
            sent.unwrap_or_else(|error| Err(errno_of(error, timeout)))
        };
        match result {
            Err(_) if sending.done > 0 => Ok(sending.done),
            Err(error) => {
                if error == EPIPE {
                    report_broken_pipe(ctx, message.flags);
                }
                Err(error)
            }
            Ok(()) => Ok(sending.done),
        }
    }

    fn receive(&self, ctx: &Context, dst: &mut IoDst<'_>, how: Receive) -> Result<Incoming> {
        if how.flags.contains(MsgFlags::ERRQUEUE) {
            return Err(EAGAIN);
        }
        let Some(end) = self.endpoint() else {
            return self.receive_unconnected();
        };
        if how.flags.contains(MsgFlags::OOB) {
            return self.receive_urgent(&end, dst, how.flags);
        }
        let low_water = usize::try_from(self.common.options.receive_low_water()).unwrap_or(1);
        let mut reading = Reading::new(dst.avail(), low_water, how.flags);
        let timeout = self.common.receive_timeout(how.is_nonblocking);
        let subject = InTurn(self, IoEvents::READABLE);
        let received = ctx.wait(&subject, timeout, || end.connection.receive(end.side, dst, &mut reading));
        match received.unwrap_or_else(|error| Err(errno_of(error, timeout))) {
            Err(error) if reading.done == 0 => Err(error),
            _ => Ok(Incoming::bytes(reading.done)),
        }
    }

    fn shutdown(&self, _ctx: &Context, how: Shutdown) -> Result<()> {
        self.shut_down(how)
    }

    fn local_address(&self) -> Result<SocketAddress> {
        let family = self.common.family;
        if let Some(end) = self.endpoint() {
            return Ok(show_address(family, end.connection.addresses[end.side]));
        }
        let bound = self.name.lock().claim.as_ref().map(Claim::address);
        Ok(show_address(family, bound.unwrap_or_else(|| address::any_of(family))))
    }

    fn peer_address(&self) -> Result<SocketAddress> {
        let end = self.endpoint().ok_or(ENOTCONN)?;
        let state = end.connection.state.read(|state| (state.peer_of(end.side), state.is_talking(end.side)));
        let (peer, true) = state else { return Err(ENOTCONN) };
        Ok(show_address(self.common.family, end.connection.addresses[peer]))
    }

    fn set_option(&self, ctx: &Context, level: i32, name: i32, value: &[u8]) -> Result<()> {
        self.set(ctx, level, name, value)
    }

    fn option(&self, _ctx: &Context, level: i32, name: i32) -> Result<Vec<u8>> {
        self.get(level, name)
    }

    fn take_error(&self) -> Option<Errno> {
        match self.endpoint() {
            Some(end) => end.connection.take_error(end.side),
            None => self.take_idle_error(),
        }
    }

    fn set_error(&self, error: Errno) {
        if let Some(end) = self.endpoint() {
            end.connection.set_error(end.side, error);
        }
    }

    fn is_listening(&self) -> bool {
        self.listener().is_some()
    }

    fn control(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        self.do_control(ctx, command, argument)
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        let idle = Phase::Idle(Idle::default());
        let phase = self.phase.update(|phase| {
            phase.notify_nothing();
            core::mem::replace(&mut **phase, idle)
        });
        match phase {
            Phase::Idle(_) => {}
            Phase::Listening(listener) => listener.close(),
            Phase::Connecting(end) | Phase::Connected(end) => {
                end.connection.close(end.side, self.common.options.linger() == Some(0));
            }
        }
    }
}
