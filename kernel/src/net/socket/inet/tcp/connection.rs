// SPDX-License-Identifier: MPL-2.0

//! A connection of two sockets of this machine: two flows of bytes, without packets.
//!
//! # Protocol
//! A [`Connection`] is made by `connect(2)`, which keeps one [`Endpoint`] of it; the other one comes out of the listener's queue. All that
//! readiness depends on is its [`State`], tracked with a side for each end; the sides are the sockets' own pollees, which
//! exist before and after. [`super::transfer`] moves the bytes.
//!
//! # Concurrency
//! See [`crate::stream`]: the bytes of a flow are copied under its producer or consumer, never under the lock of the state.

use core::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use readiness::{IoEvents, Pollee, Tracked};

use super::{
    super::ports::Claim,
    info,
    listener::Listener,
    state::{Stage, State},
};
use crate::{net::Shutdown, prelude::*, stream::Ends};

/// How long an address stays taken by a connection that is over (`TCP_TIMEWAIT_LEN`).
const TIME_WAIT_NANOS: u64 = 60_000_000_000;

/// The side that called `connect(2)`.
pub const CLIENT: usize = 0;
/// The side that comes out of `accept(2)`.
pub const SERVER: usize = 1;

/// A connection.
pub struct Connection {
    /// All that readiness depends on.
    pub state: Tracked<State, 2, Arc<Pollee>>,
    /// `ends[side]` holds the bytes that `side` sends.
    pub ends: [Ends; 2],
    /// The pollees of the sides.
    pollees: [Arc<Pollee>; 2],
    /// The addresses of the sides, canonical.
    pub addresses: [SocketAddr; 2],
    /// Bytes of a packet, see [`Self::limit_segment`]. Relaxed: it is shown and nothing else.
    segment: AtomicU32,
    /// What keeps these addresses from others, while they are in use.
    claims: SpinLock<[Option<Claim<Listener>>; 2]>,
}

/// One side of a connection.
#[derive(Clone)]
pub struct Endpoint {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Which side of it.
    pub side: usize,
}

impl Connection {
    /// A connection from the holder of `claims[CLIENT]`, whose pollee is `pollee`.
    pub fn new(pollee: Arc<Pollee>, addresses: [SocketAddr; 2], claims: [Option<Claim<Listener>>; 2]) -> Arc<Self> {
        let pollees = [pollee, Arc::new(Pollee::new())];
        Self::build(State::new(false), pollees, addresses, claims)
    }

    /// A connection of a socket with itself.
    pub fn looped(pollee: Arc<Pollee>, address: SocketAddr, claim: Claim<Listener>) -> Arc<Self> {
        Self::build(State::new(true), [pollee, Arc::new(Pollee::new())], [address; 2], [Some(claim), None])
    }

    fn build(
        state: State,
        pollees: [Arc<Pollee>; 2],
        addresses: [SocketAddr; 2],
        claims: [Option<Claim<Listener>>; 2],
    ) -> Arc<Self> {
        let state = Tracked::with_pollees(state, pollees.clone());
        let ends = [Ends::new(0), Ends::new(0)];
        let segment = AtomicU32::new(info::SEGMENT);
        Arc::new(Self { state, ends, pollees, addresses, segment, claims: SpinLock::new(claims) })
    }

    /// One side wants no larger packets than of `bytes` (`TCP_MAXSEG`), in which the time stamps have to find room, too; 0 for any size.
    pub fn limit_segment(&self, bytes: u32) {
        const TIMESTAMPS: u32 = 12;
        if bytes > 0 {
            self.segment.fetch_min(bytes.saturating_sub(TIMESTAMPS), Relaxed);
        }
    }

    /// Bytes that a packet would hold at most.
    pub fn segment(&self) -> u32 {
        self.segment.load(Relaxed)
    }

    /// The pollee of `side`, which is its socket's.
    pub fn pollee_of(&self, side: usize) -> &Arc<Pollee> {
        &self.pollees[side]
    }

    /// There is room for it in the backlog now. Says whether the client is still there.
    pub fn establish(&self) -> bool {
        self.state.update(|state| {
            if state.stage != Stage::Waiting {
                return false;
            }
            state.stage = Stage::Established;
            state.notify(CLIENT, IoEvents::all());
            true
        })
    }

    /// It waits for room in the backlog. Nobody has seen it yet.
    pub fn wait_for_room(&self) {
        self.state.update(|state| {
            state.stage = Stage::Waiting;
            state.notify_nothing();
        });
    }

    /// Ends it with `error` for the client: nobody listens any more.
    pub fn refuse(&self, error: Errno) {
        self.state.update(|state| {
            if !state.is_over(CLIENT) {
                state.ends[CLIENT].error = Some(error);
            }
            state.ends[SERVER].is_closed = true;
            state.stage = Stage::Over;
            state.notify(CLIENT, IoEvents::all());
        });
        self.release_claims();
    }

    /// `shutdown(2)` by `side`.
    pub fn shut_down(&self, side: usize, how: Shutdown) {
        let is_over = self.state.update(|state| {
            let peer = state.peer_of(side);
            let had_fin = state.has_fin(peer);
            let is_over = state.shut_down(side, how);
            state.notify(side, IoEvents::all());
            if !had_fin && how.ends_writing() {
                state.notify(peer, IoEvents::all());
            }
            is_over
        });
        if is_over {
            self.linger();
        }
    }

    /// The socket of `side` goes. Unread bytes, or `is_abrupt`, break the connection off.
    pub fn close(&self, side: usize, is_abrupt: bool) {
        let is_over = self.state.update(|state| {
            let peer = state.peer_of(side);
            let (was_over, had_fin) = (state.is_over(side), state.has_fin(peer));
            let breaks = is_abrupt || state.incoming(side).queued > 0 || state.stage == Stage::Waiting;
            let is_over = if breaks || was_over {
                state.reset(side);
                false
            } else {
                state.shut_down(side, Shutdown::Both)
            };
            state.ends[side].is_closed = true;
            // Who has heard of the end hears no more of it.
            if was_over || had_fin && !breaks {
                state.notify_nothing()
            } else {
                state.notify(peer, IoEvents::all())
            }
            is_over
        });
        if is_over {
            self.linger();
        }
        if self.state.read(|state| state.is_over(side)) {
            self.release_claims();
        }
    }

    /// Who said goodbye first keeps its address for a while.
    fn linger(&self) {
        let first = self.state.read(|state| state.first_fin);
        if let Some(first) = first
            && let Some(claim) = &self.claims.lock()[first]
        {
            claim.linger(TIME_WAIT_NANOS);
        }
    }

    /// Gives the addresses back.
    fn release_claims(&self) {
        let claims = core::mem::take(&mut *self.claims.lock());
        drop(claims);
    }
}
