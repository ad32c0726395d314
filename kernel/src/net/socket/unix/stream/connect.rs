// SPDX-License-Identifier: MPL-2.0

//! How a socket gets a name and a connection.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use readiness::Pollee;
use spin::Once;

use super::{
    super::{
        Identity, PeerCredentials, Shown,
        connection::{Connection, Endpoint, Party},
        listener::{Embryo, Listener},
        name::Binding,
        state::Side,
    },
    Phase, SHUT_READ, SHUT_WRITE, StreamSocket,
};
use crate::{
    net::{Common, Family, Shutdown, SocketType, address::UnixAddress, socket::inet::settings},
    prelude::*,
};

impl StreamSocket {
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
    pub(super) fn accepted(&self, ctx: &Context, embryo: Embryo) -> Self {
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

    pub(super) fn party(&self, credentials: PeerCredentials) -> Party {
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
    pub(super) fn shut_before(&self) -> Option<Shutdown> {
        const BOTH: u8 = SHUT_READ | SHUT_WRITE;
        match self.shut_before.load(Relaxed) {
            SHUT_READ => Some(Shutdown::Read),
            SHUT_WRITE => Some(Shutdown::Write),
            BOTH => Some(Shutdown::Both),
            _ => None,
        }
    }

    pub(super) fn become_connected(&self, endpoint: Endpoint) {
        self.identity.shown.call_once(|| Shown::Connected);
        self.phase.call_once(|| Phase::Connected(endpoint));
    }

    /// Gives the socket a name of the kernel's choice, unless it has one.
    pub(super) fn autobind(&self, ctx: &Context) -> Result<()> {
        let mut binding = self.binding.lock();
        if binding.is_none() && self.identity.name().is_none() {
            *binding = Some(self.bind_to(ctx, &UnixAddress::Unnamed)?);
        }
        Ok(())
    }

    pub(super) fn bind_to(&self, ctx: &Context, address: &UnixAddress) -> Result<Arc<Binding>> {
        let mode = self.common.inode.base().attributes().permissions;
        let binding = Binding::new(ctx, address, self.common.kind, mode)?;
        self.identity.name.call_once(|| binding.name.clone());
        Ok(binding)
    }

    /// Tries to connect to `listener`. `None`: its queue is full.
    pub(super) fn try_connect(&self, ctx: &Context, listener: &Listener) -> Option<Result<()>> {
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
}
