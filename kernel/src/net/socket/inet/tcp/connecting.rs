// SPDX-License-Identifier: MPL-2.0

//! From one phase to another: `bind(2)`, `listen(2)`, `connect(2)`, `shutdown(2)`.

use core::net::{IpAddr, SocketAddr};

use readiness::{InTurn, IoEvents, Timeout, WaitError};

use super::{
    super::{
        decode_address,
        ports::{Claim, Wish},
        route, settings,
    },
    Idle, Name, PORTS, Phase, TcpSocket,
    connection::{CLIENT, Connection, Endpoint},
    listener::Listener,
    state::Stage,
};
use crate::{
    net::{Family, Shutdown, SocketAddress, address, socket::limit_backlog},
    prelude::*,
    process::credentials::Capabilities,
};

/// What `connect(2)` finds.
enum Begin {
    /// It may begin.
    Fresh,
    /// It has begun before.
    Goes(Endpoint),
    /// It is over.
    Ends(Result<()>),
}

impl TcpSocket {
    fn wish(&self, ctx: &Context, address: SocketAddr) -> Wish {
        let options = &self.common.options;
        let is_dual =
            self.common.family == Family::Inet6 && address.ip() == any(Family::Inet6) && !self.options.only_v6();
        Wish {
            address,
            is_dual,
            reuses_address: options.reuses_address(),
            reuses_port: options.reuses_port(),
            uid: ctx.credentials().euid,
        }
    }

    /// `bind(2)`
    ///
    /// # Errors
    /// `EAFNOSUPPORT`; `EADDRNOTAVAIL` if the address is another machine's; `EACCES` for a privileged port; `EINVAL` if it is bound
    /// already; `EADDRINUSE`.
    pub(super) fn bind_to(&self, ctx: &Context, address: &SocketAddress) -> Result<()> {
        let address = decode_address(self.common.family, address)?;
        if !address.ip().is_unspecified() && !route::is_local(address.ip()) {
            return Err(EADDRNOTAVAIL);
        }
        if self.common.family == Family::Inet6 && address.is_ipv4() && self.options.only_v6() {
            return Err(EINVAL);
        }
        let is_privileged = (1..settings::UNPRIVILEGED_PORT_START.get()).contains(&u32::from(address.port()));
        if is_privileged && !ctx.credentials().has(Capabilities::NET_BIND_SERVICE) {
            return Err(EACCES);
        }
        let mut name = self.name.lock();
        let is_idle = self.phase.read(|phase| matches!(phase, Phase::Idle(_)));
        if name.claim.is_some() || !is_idle {
            return Err(EINVAL);
        }
        *name = Name { claim: Some(PORTS.bind(self.wish(ctx, address))?), is_chosen: true };
        Ok(())
    }

    /// `listen(2)`
    ///
    /// # Errors
    /// `EINVAL` on a connection; `EADDRINUSE` if another socket listens there.
    pub(super) fn start_listening(&self, ctx: &Context, backlog: i32) -> Result<()> {
        let backlog = limit_backlog(backlog);
        let mut name = self.name.lock();
        if let Some(listener) = self.listener() {
            listener.set_backlog(backlog);
            return Ok(());
        }
        if !self.phase.read(|phase| matches!(phase, Phase::Idle(Idle { has_failed: false, .. }))) {
            return Err(EINVAL);
        }
        let claim = match &name.claim {
            Some(claim) => claim.clone(),
            None => {
                let claim = PORTS.bind(self.wish(ctx, address::any_of(self.common.family)))?;
                name.claim = Some(claim.clone());
                claim
            }
        };
        let listener = Listener::new(claim, self.pollee.clone(), backlog, self.options.max_segment());
        listener.claim().set_receiver(Some(Arc::downgrade(&listener)))?;
        self.phase.update(|phase| **phase = Phase::Listening(listener));
        Ok(())
    }

    /// `connect(2)`. Mirrors Linux's `__inet_stream_connect`.
    ///
    /// # Errors
    /// `EAFNOSUPPORT`; `EISCONN`; `EALREADY`; `EINPROGRESS`; `ECONNREFUSED`; `ENETUNREACH`; `EADDRNOTAVAIL` if there is no free port;
    /// `ECONNABORTED` after an error that was asked for by `SO_ERROR`.
    pub(super) fn connect_to(&self, ctx: &Context, address: &SocketAddress, is_nonblocking: bool) -> Result<()> {
        if *address == SocketAddress::Unspecified {
            return self.disconnect();
        }
        let mut name = self.name.lock();
        let (end, in_progress) = match self.begin() {
            Begin::Ends(outcome) => return outcome,
            Begin::Goes(end) => (end, EALREADY),
            Begin::Fresh => {
                let address = decode_address(self.common.family, address)?;
                match self.meet(ctx, &mut name, address) {
                    Err(ECONNREFUSED) => return self.fail(&mut name, is_nonblocking),
                    met => (met?, EINPROGRESS),
                }
            }
        };
        drop(name);
        if is_nonblocking && in_progress == EINPROGRESS {
            return Err(EINPROGRESS);
        }
        self.await_connection(ctx, &end, is_nonblocking, in_progress)
    }

    fn begin(&self) -> Begin {
        self.phase.update(|phase| match &**phase {
            Phase::Idle(Idle { has_failed: true, error, .. }) => {
                let error = error.unwrap_or(ECONNABORTED);
                **phase = Phase::Idle(Idle::default());
                Begin::Ends(Err(error))
            }
            Phase::Idle(_) => Begin::Fresh,
            Phase::Connecting(end) => Begin::Goes(end.clone()),
            Phase::Listening(_) | Phase::Connected(_) => Begin::Ends(Err(EISCONN)),
        })
    }

    /// Makes a connection with whoever listens at `address`, and enters the phase of connecting.
    ///
    /// # Errors
    /// `ECONNREFUSED` if nobody does; `ENETUNREACH`; `EADDRNOTAVAIL`.
    fn meet(&self, ctx: &Context, name: &mut Name, address: SocketAddr) -> Result<Endpoint> {
        let bound = name.claim.as_ref().map(Claim::address);
        let destination = self.check_destination(address, bound)?;
        let claim = match &name.claim {
            Some(claim) => claim.clone(),
            None => {
                let wish =
                    Wish { reuses_port: false, ..self.wish(ctx, SocketAddr::new(route::source(destination.ip()), 0)) };
                let claim = PORTS.bind_for_connection(wish)?;
                name.claim = Some(claim.clone());
                claim
            }
        };
        let local = match claim.address() {
            local if local.ip().is_unspecified() => SocketAddr::new(route::source(destination.ip()), local.port()),
            local => local,
        };
        let connection = if local == destination {
            Connection::looped(self.pollee.clone(), local, claim)
        } else {
            let listener = PORTS.find(destination, local, |_| Some(0)).ok_or(ECONNREFUSED)?;
            let claims = [Some(claim), Some(listener.claim().clone())];
            let connection = Connection::new(self.pollee.clone(), [local, destination], claims);
            self.apply_options_to(&connection, CLIENT);
            connection.limit_segment(self.options.max_segment());
            listener.offer(&connection)?;
            connection
        };
        let end = Endpoint { connection, side: CLIENT };
        self.phase.update(|phase| **phase = Phase::Connecting(end.clone()));
        Ok(end)
    }

    /// Where a connection to `address` leads, from a socket bound to `bound`.
    ///
    /// # Errors
    /// `ENETUNREACH` if it leads to another machine, or out of the socket's version of IP; `EINVAL` from an IPv4 address to an IPv6 one.
    fn check_destination(&self, address: SocketAddr, bound: Option<SocketAddr>) -> Result<SocketAddr> {
        if self.common.family == Family::Inet6 && address.is_ipv4() && self.options.only_v6() {
            return Err(ENETUNREACH);
        }
        let ip = route::destination(address.ip())?;
        match bound {
            Some(bound) if !bound.ip().is_unspecified() && bound.is_ipv4() != ip.is_ipv4() => Err(EINVAL),
            _ => Ok(SocketAddr::new(ip, address.port())),
        }
    }

    /// Nobody listens there. A call that does not block says so later.
    fn fail(&self, name: &mut Name, is_nonblocking: bool) -> Result<()> {
        release(name);
        if !is_nonblocking {
            return Err(ECONNREFUSED);
        }
        self.phase.update(|phase| **phase = Phase::Idle(Idle::failed(ECONNREFUSED)));
        Err(EINPROGRESS)
    }

    /// Waits until the connection is established, or will never be.
    fn await_connection(&self, ctx: &Context, end: &Endpoint, is_nonblocking: bool, in_progress: Errno) -> Result<()> {
        let timeout = self.common.send_timeout(is_nonblocking);
        let subject = InTurn(self, IoEvents::WRITABLE);
        let has_settled = || {
            let state = &end.connection.state;
            state.read(|state| (state.stage != Stage::Waiting).then(|| state.is_over(end.side)))
        };
        match ctx.wait(&subject, timeout, has_settled) {
            Ok(false) => {
                self.replace_connecting(Phase::Connected(end.clone()));
                Ok(())
            }
            Ok(true) => {
                let error = end.connection.take_error(end.side).unwrap_or(ECONNABORTED);
                self.replace_connecting(Phase::Idle(Idle::default()));
                release(&mut self.name.lock());
                Err(error)
            }
            Err(WaitError::TimedOut) => Err(in_progress),
            Err(WaitError::Interrupted) if matches!(timeout, Timeout::At(_)) => Err(EINTR),
            Err(WaitError::Interrupted) => Err(ERESTARTSYS),
        }
    }

    fn replace_connecting(&self, by: Phase) {
        let old = self.phase.update(|phase| {
            let is_connecting = matches!(&**phase, Phase::Connecting(_));
            is_connecting.then(|| core::mem::replace(&mut **phase, by))
        });
        drop(old);
    }

    /// `connect(2)` with `AF_UNSPEC`, and what `shutdown(2)` does to a listener: the socket is as good as new.
    pub(super) fn disconnect(&self) -> Result<()> {
        let mut name = self.name.lock();
        let old = self.phase.update(|phase| {
            let error = match &**phase {
                Phase::Connecting(end) | Phase::Connected(end) => {
                    let is_over = end.connection.state.read(|state| state.is_over(end.side));
                    (!is_over).then_some(ECONNRESET)
                }
                _ => None,
            };
            core::mem::replace(&mut **phase, Phase::Idle(Idle { error, ..Idle::default() }))
        });
        match old {
            Phase::Idle(_) => {}
            Phase::Listening(listener) => listener.close(),
            Phase::Connecting(end) | Phase::Connected(end) => end.connection.close(end.side, true),
        }
        release(&mut name);
        Ok(())
    }

    /// `shutdown(2)`. Mirrors Linux's `inet_shutdown`.
    ///
    /// # Errors
    /// `ENOTCONN` if there is no connection; what is shut stays shut all the same.
    pub(super) fn shut_down(&self, how: Shutdown) -> Result<()> {
        enum Then {
            Nothing,
            Disconnect,
            ShutDown(Endpoint),
            NotConnected,
        }
        let then = self.phase.update(|phase| match &mut **phase {
            Phase::Idle(idle) => {
                idle.is_read_shut |= how.ends_reading();
                idle.is_write_shut |= how.ends_writing();
                Then::NotConnected
            }
            Phase::Listening(_) if how.ends_reading() => Then::Disconnect,
            Phase::Listening(_) => Then::Nothing,
            Phase::Connecting(end) | Phase::Connected(end) => {
                let (stage, is_over) = end.connection.state.read(|state| (state.stage, state.is_over(end.side)));
                match stage {
                    Stage::Waiting => Then::Disconnect,
                    _ if is_over => Then::NotConnected,
                    _ => Then::ShutDown(end.clone()),
                }
            }
        });
        match then {
            Then::Nothing => Ok(()),
            Then::Disconnect => self.disconnect(),
            Then::NotConnected => Err(ENOTCONN),
            Then::ShutDown(end) => {
                end.connection.shut_down(end.side, how);
                Ok(())
            }
        }
    }
}

/// Gives an address back that the program did not choose.
fn release(name: &mut Name) {
    if !name.is_chosen {
        name.claim = None;
    }
}

fn any(family: Family) -> IpAddr {
    address::any_of(family).ip()
}
