// SPDX-License-Identifier: MPL-2.0

//! `AF_UNIX`: sockets between processes of this machine (`unix(7)`).
//!
//! # Role
//! - [`stream`]: stream and seqpacket sockets, which have a [`connection`]; its [`state`] is what readiness depends on. [`mod@write`]
//!   is the way in, [`receive`] has what plain reads do not need.
//! - [`listener`]: the queue between `connect(2)` and `accept(2)`.
//! - [`datagram`]: datagram sockets, each with an [`inbox`].
//! - [`name`]: paths, abstract names, autobind.
//! - [`control`] and [`rights`]: credentials and open files in messages, and the collector of sockets in flight that can
//!   never be received.
//!
//! # Invariants
//! - **U1** A socket has one pollee from its first to its last day; connecting changes what is asked, not whom to ask.
//! - **U2** What a socket is (fresh, listening, connected) is decided once and never changes.

mod connection;
mod control;
mod datagram;
mod inbox;
mod ioctl;
mod listener;
mod name;
mod receive;
mod rights;
mod state;
mod stream;
mod write;

use core::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use spin::Once;

pub use self::inbox::{max_queue, set_max_queue};
use self::{datagram::DatagramSocket, name::Name, stream::StreamSocket};
use super::SocketType;
use crate::{
    file::{Description, StatusFlags},
    net::{SocketAddress, address::UnixAddress, message::UserCredentials},
    prelude::*,
};

/// `socket(2)`
///
/// # Errors
/// `EPROTONOSUPPORT` for a protocol; `ESOCKTNOSUPPORT` for a type that there is not.
pub fn create(ctx: &Context, kind: SocketType, protocol: i32, status: StatusFlags) -> Result<Arc<Description>> {
    match usable(kind, protocol)? {
        SocketType::Datagram => Ok(super::describe(DatagramSocket::new(ctx), status)),
        kind => Ok(super::describe(StreamSocket::new(ctx, kind), status)),
    }
}

/// `socketpair(2)`
///
/// # Errors
/// As [`create`].
pub fn create_pair(
    ctx: &Context,
    kind: SocketType,
    protocol: i32,
    status: StatusFlags,
) -> Result<[Arc<Description>; 2]> {
    match usable(kind, protocol)? {
        SocketType::Datagram => {
            Ok(DatagramSocket::new_pair(ctx).map(|socket| -> Arc<Description> { super::describe(socket, status) }))
        }
        kind => {
            Ok(StreamSocket::new_pair(ctx, kind).map(|socket| -> Arc<Description> { super::describe(socket, status) }))
        }
    }
}

/// The type to make. As on Linux, a raw socket is a datagram socket.
fn usable(kind: SocketType, protocol: i32) -> Result<SocketType> {
    const PF_UNIX: i32 = 1;
    match kind {
        _ if protocol != 0 && protocol != PF_UNIX => Err(EPROTONOSUPPORT),
        SocketType::Raw => Ok(SocketType::Datagram),
        kind => Ok(kind),
    }
}

/// What others see of a socket.
pub struct Identity {
    /// The number of its inode; a socket that was not accepted yet has none.
    number: Once<u64>,
    kind: SocketType,
    name: Once<Name>,
    shown: Once<Shown>,
    /// Whether it was ever in a message. Changed and read with the graph of [`rights`] held.
    has_travelled: AtomicBool,
}

/// How `/proc/net/unix` shows a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// Listening.
    Listening,
    /// Connected.
    Connected,
}

/// All unix sockets, by inode.
static SOCKETS: SpinLock<BTreeMap<u64, Weak<Identity>>> = SpinLock::new(BTreeMap::new());

impl Identity {
    /// The identity of a new socket with this inode.
    fn new(number: u64, kind: SocketType) -> Arc<Self> {
        let identity = Self::embryo(kind);
        identity.register(number);
        identity
    }

    /// The identity of a socket that is not accepted yet.
    fn embryo(kind: SocketType) -> Arc<Self> {
        Arc::new(Self {
            number: Once::new(),
            kind,
            name: Once::new(),
            shown: Once::new(),
            has_travelled: AtomicBool::new(false),
        })
    }

    /// The socket has an inode now, and is listed.
    fn register(self: &Arc<Self>, number: u64) {
        self.number.call_once(|| number);
        SOCKETS.lock().insert(number, Arc::downgrade(self));
    }

    /// The socket is in a message.
    fn travel(&self) {
        self.has_travelled.store(true, Relaxed);
    }

    /// Whether the socket may be in a message, or, before it is accepted, the listener that holds it.
    fn may_travel(&self) -> bool {
        self.has_travelled.load(Relaxed) || self.number.get().is_none()
    }

    /// The name, if it has one.
    fn name(&self) -> Option<&Name> {
        self.name.get()
    }

    /// The address, for `getsockname(2)` and `getpeername(2)`.
    fn address(&self) -> SocketAddress {
        let address = self.name().map_or(UnixAddress::Unnamed, |name| (*name.address).clone());
        SocketAddress::Unix(address)
    }

    /// The address, for a message that was received; `None` if there is none.
    fn source(&self) -> Option<SocketAddress> {
        self.name().map(|name| SocketAddress::Unix((*name.address).clone()))
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        if let Some(number) = self.number.get() {
            SOCKETS.lock().remove(number);
        }
    }
}

/// `/proc/net/unix`
pub fn show_sockets() -> Vec<u8> {
    let known: Vec<Arc<Identity>> = SOCKETS.lock().values().filter_map(Weak::upgrade).collect();
    let mut out = String::from("Num       RefCount Protocol Flags    Type St Inode Path\n");
    let mut bytes = Vec::new();
    for identity in known {
        let (flags, state) = match identity.shown.get() {
            Some(Shown::Listening) => (0x10000, 1),
            Some(Shown::Connected) => (0, 3),
            None => (0, 1),
        };
        let (kind, number) = (identity.kind as u32, identity.number.get().unwrap_or(&0));
        let _ = write!(out, "{:016x}: 00000002 00000000 {flags:08X} {kind:04X} {state:02X} {number:5}", 0);
        bytes.extend(core::mem::take(&mut out).into_bytes());
        match identity.name().map(|name| &*name.address) {
            Some(UnixAddress::Path(path)) => bytes.extend([b" ", path.as_slice()].concat()),
            Some(UnixAddress::Abstract(name)) => {
                bytes.extend(b" @");
                // Zeros show as `@`, as on Linux.
                bytes.extend(name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }));
            }
            _ => {}
        }
        bytes.push(b'\n');
    }
    if bytes.is_empty() { out.into_bytes() } else { bytes }
}

/// Who connected or listened (`SO_PEERCRED`, `SO_PEERGROUPS`).
#[derive(Clone)]
pub struct PeerCredentials {
    /// Process, effective user and group.
    user: UserCredentials,
    /// Supplementary groups.
    groups: Arc<[u32]>,
}

impl PeerCredentials {
    /// The caller.
    fn of_caller(ctx: &Context) -> Self {
        let credentials = ctx.credentials();
        let pid = ctx.process.pid.cast_signed();
        let user = UserCredentials { pid, uid: credentials.euid, gid: credentials.egid };
        Self { user, groups: credentials.groups.clone() }
    }
}
