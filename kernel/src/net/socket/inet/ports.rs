// SPDX-License-Identifier: MPL-2.0

//! Who is bound to which address and port: one table per protocol.
//!
//! # Role
//! A [`Claim`] is a share in a [`Binding`], which keeps others away from an address and port. A listener, the connections that it
//! accepted and, for a while, what is left of them share one. [`Ports::find`] is what a packet would ask: who receives here?
//!
//! # Invariants
//! - **N1** A binding is in the table while somebody has a claim to it, and after that until its `lingers_until` (`TIME_WAIT`). Bindings
//!   whose time is over are removed by whoever looks at their port next, or the next one to linger.
//! - **N2** Two bindings of one port overlap only if both allow it (`SO_REUSEADDR`, `SO_REUSEPORT`).
//!
//! # Memory
//! Blocks of ports are made when one of them is used, and given back when nothing lingers any more.
//!
//! # Concurrency
//! The list of those that linger has a lock of its own, which is a leaf. The table's lock is a spin lock, and a leaf
//! but for the word that names a binding's receiver. Nothing is dropped under it that has a destructor of its own.

use core::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Relaxed},
    },
};

use super::settings;
use crate::{prelude::*, time::now_monotonic};

/// Ports per block of the table.
const BLOCK: usize = 256;

/// A list of what lingers gives memory back from this size on.
const MUCH_ROOM: usize = 256;

/// The table of one protocol, with receivers of type `R`.
pub struct Ports<R: 'static> {
    blocks: SpinLock<[Option<Box<Block<R>>>; BLOCK]>,
    /// Where the search for a free port goes on.
    next: AtomicU32,
    /// Ports where something lingers, and until when; oldest first. No longer than there are ports: then the oldest
    /// are forgotten, and what lingers there waits for somebody to look.
    lingering: SpinLock<VecDeque<(u64, u16)>>,
    /// Whether a receiver keeps others away although both have `SO_REUSEADDR`: as a TCP listener does.
    receivers_are_alone: bool,
}

/// The bindings of one port; mostly one.
type Port<R> = Vec<Arc<Binding<R>>>;

struct Block<R>([Port<R>; BLOCK]);

/// An address and port that somebody is bound to.
pub struct Binding<R> {
    wish: Wish,
    /// Claims to it.
    users: AtomicU32,
    /// On the monotonic clock, in nanoseconds.
    lingers_until: AtomicU64,
    /// Who receives what is sent here. Changes under the lock of the table.
    receiver: SpinLock<Option<Weak<R>>>,
}

/// What somebody wants to be bound to.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Canonical; port 0 is any.
    pub address: SocketAddr,
    /// Unspecified IPv6, and IPv4 as well (no `IPV6_V6ONLY`).
    pub is_dual: bool,
    /// `SO_REUSEADDR`
    pub reuses_address: bool,
    /// `SO_REUSEPORT`
    pub reuses_port: bool,
    /// Who wants it.
    pub uid: u32,
}

impl Wish {
    fn overlaps(&self, other: &Self) -> bool {
        match (self.address.ip(), other.address.ip()) {
            (IpAddr::V4(_), IpAddr::V6(_)) => other.is_dual,
            (IpAddr::V6(_), IpAddr::V4(_)) => self.is_dual,
            (one, other) => one == other || one.is_unspecified() || other.is_unspecified(),
        }
    }

    /// How well something sent to `ip` is meant for it; `None`: not at all. Mirrors Linux's `compute_score`.
    fn score(&self, ip: IpAddr) -> Option<u32> {
        let own = self.address.ip();
        match ip {
            _ if own == ip => Some(4),
            IpAddr::V4(_) if own.is_ipv4() && own.is_unspecified() => Some(2),
            IpAddr::V6(_) if own.is_ipv6() && own.is_unspecified() => Some(2),
            IpAddr::V4(_) if self.is_dual => Some(1),
            _ => None,
        }
    }
}

impl<R> Binding<R> {
    fn is_over(&self, now: u64) -> bool {
        self.users.load(Relaxed) == 0 && self.lingers_until.load(Relaxed) <= now
    }

    /// Whether somebody holds it still; if not, it only waits for its end.
    fn is_used(&self) -> bool {
        self.users.load(Relaxed) > 0
    }

    fn has_receiver(&self) -> bool {
        self.receiver.lock().is_some()
    }
}

/// What becomes of what lingers at a port that is bound to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leftovers {
    /// It stays, if it is in nobody's way.
    Keep,
    /// The new binding takes its place.
    Replace,
}

/// A share in a binding.
pub struct Claim<R: 'static> {
    binding: Arc<Binding<R>>,
    table: &'static Ports<R>,
}

impl<R> Clone for Claim<R> {
    fn clone(&self) -> Self {
        self.binding.users.fetch_add(1, Relaxed);
        Self { binding: self.binding.clone(), table: self.table }
    }
}

impl<R> Drop for Claim<R> {
    fn drop(&mut self) {
        // AcqRel: whoever finds nobody left sees what they left behind.
        if self.binding.users.fetch_sub(1, AcqRel) == 1 {
            self.table.tidy(self.address().port());
        }
    }
}

impl<R> Claim<R> {
    /// Where it is bound to; canonical.
    pub fn address(&self) -> SocketAddr {
        self.binding.wish.address
    }

    /// Keeps the port from others for `nanos` from now, even without claims.
    pub fn linger(&self, nanos: u64) {
        let now = now_monotonic();
        let until = now.saturating_add(nanos);
        self.binding.lingers_until.fetch_max(until, Relaxed);
        self.table.tidy_lingering(now);
        let mut lingering = self.table.lingering.lock();
        if lingering.len() > usize::from(u16::MAX) {
            lingering.pop_front();
        }
        lingering.push_back((until, self.address().port()));
    }

    /// From now on, `receiver` gets what is sent here; `None`: nobody.
    ///
    /// # Errors
    /// `EADDRINUSE` if somebody else already does, and does not share.
    pub fn set_receiver(&self, receiver: Option<Weak<R>>) -> Result<()> {
        let old;
        {
            let mut blocks = self.table.blocks.lock();
            let own = &self.binding;
            if receiver.is_some() && self.table.receivers_are_alone {
                let port = port_mut(&mut blocks, own.wish.address.port());
                let excludes = |other: &&Arc<Binding<R>>| {
                    !Arc::ptr_eq(other, own) && other.has_receiver() && self.table.conflict(other, &own.wish)
                };
                if port.iter().any(|other| excludes(&other)) {
                    return Err(EADDRINUSE);
                }
            }
            old = core::mem::replace(&mut *own.receiver.lock(), receiver);
        }
        drop(old);
        Ok(())
    }
}

fn port_mut<R>(blocks: &mut [Option<Box<Block<R>>>; BLOCK], port: u16) -> &mut Port<R> {
    let [high, low] = port.to_be_bytes().map(usize::from);
    let block = blocks[high].get_or_insert_with(|| Box::new(Block([const { Vec::new() }; BLOCK])));
    &mut block.0[low]
}

impl<R> Ports<R> {
    /// An empty table.
    pub const fn new(receivers_are_alone: bool) -> Self {
        Self {
            blocks: SpinLock::new([const { None }; BLOCK]),
            next: AtomicU32::new(0),
            lingering: SpinLock::new(VecDeque::new()),
            receivers_are_alone,
        }
    }

    /// Binds to what is wished for; any port stands for one that is free.
    ///
    /// # Errors
    /// `EADDRINUSE` if somebody else is bound there, or there is no free port.
    pub fn bind(&'static self, wish: Wish) -> Result<Claim<R>> {
        let is_free = |port: &Port<R>, wish: &Wish| !port.iter().any(|other| self.conflict(other, wish));
        let claim = match wish.address.port() {
            0 => self.bind_any(wish, Leftovers::Keep, is_free),
            _ => self.try_bind(wish, Leftovers::Keep, is_free),
        };
        claim.ok_or(EADDRINUSE)
    }

    /// Binds to a port that nobody uses: for a connection that is not bound. What lingers there does not keep it away, as
    /// with Linux's `net.ipv4.tcp_tw_reuse` on the loopback.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` if all are in use.
    pub fn bind_for_connection(&'static self, wish: Wish) -> Result<Claim<R>> {
        let is_free = |port: &Port<R>, _: &Wish| !port.iter().any(|other| other.is_used());
        self.bind_any(wish, Leftovers::Replace, is_free).ok_or(EADDRNOTAVAIL)
    }

    fn bind_any(
        &'static self,
        wish: Wish,
        leftovers: Leftovers,
        is_free: impl Fn(&Port<R>, &Wish) -> bool + Copy,
    ) -> Option<Claim<R>> {
        let (first, last) = settings::port_range();
        let count = u32::from(last - first) + 1;
        (0..count).find_map(|_| {
            // Relaxed: any order of numbers will do.
            let offset = self.next.fetch_add(1, Relaxed) % count;
            let address = SocketAddr::new(wish.address.ip(), first + offset as u16);
            self.try_bind(Wish { address, ..wish }, leftovers, is_free)
        })
    }

    fn try_bind(
        &'static self,
        wish: Wish,
        leftovers: Leftovers,
        is_free: impl Fn(&Port<R>, &Wish) -> bool,
    ) -> Option<Claim<R>> {
        let binding =
            Binding { wish, users: AtomicU32::new(1), lingers_until: AtomicU64::new(0), receiver: SpinLock::new(None) };
        let mut blocks = self.blocks.lock();
        let port = port_mut(&mut blocks, wish.address.port());
        if !port.is_empty() {
            let now = now_monotonic();
            port.retain(|binding| !binding.is_over(now));
            if !is_free(port, &wish) {
                return None;
            }
            if leftovers == Leftovers::Replace {
                port.retain(|binding| binding.is_used());
            }
        }
        let binding = Arc::new(binding);
        port.push(binding.clone());
        Some(Claim { binding, table: self })
    }

    /// Whether `other` keeps `wish` away. Mirrors Linux's `inet_csk_bind_conflict` and `inet_rcv_saddr_equal`.
    fn conflict(&self, other: &Binding<R>, wish: &Wish) -> bool {
        let held = &other.wish;
        let shares_address = held.reuses_address && wish.reuses_address;
        let shares_address = shares_address && !(self.receivers_are_alone && other.has_receiver());
        let shares_port = held.reuses_port && wish.reuses_port && held.uid == wish.uid;
        held.overlaps(wish) && !shares_address && !shares_port
    }

    /// Removes what is over at `port`.
    fn tidy(&self, port: u16) {
        let now = now_monotonic();
        let mut blocks = self.blocks.lock();
        // A binding without claims has no receiver: dropping it runs no destructor of others.
        let port = port_mut(&mut blocks, port);
        port.retain(|binding| !binding.is_over(now));
        if port.is_empty() {
            *port = Vec::new();
        }
    }

    /// Removes what has lingered long enough at `now`.
    fn tidy_lingering(&self, now: u64) {
        let due = || self.lingering.lock().pop_front_if(|(until, _)| *until <= now);
        let tidied = core::iter::from_fn(due).map(|(_, port)| self.tidy(port)).count();
        let mut lingering = self.lingering.lock();
        let (len, capacity) = (lingering.len(), lingering.capacity());
        if capacity >= MUCH_ROOM && len < capacity / 4 {
            lingering.shrink_to(capacity / 2);
        }
        drop(lingering);
        if tidied > 0 && len == 0 {
            self.free_blocks();
        }
    }

    /// Gives back blocks of ports where nobody is.
    fn free_blocks(&self) {
        for block in self.blocks.lock().iter_mut() {
            if block.as_ref().is_some_and(|block| block.0.iter().all(Vec::is_empty)) {
                *block = None;
            }
        }
    }

    /// How many bindings only linger (`TIME_WAIT`).
    pub fn count_lingering(&self) -> usize {
        self.tidy_lingering(now_monotonic());
        let blocks = self.blocks.lock();
        let ports = blocks.iter().flatten().flat_map(|block| block.0.iter());
        ports.map(|port| port.iter().filter(|binding| !binding.is_used()).count()).sum()
    }

    /// Who receives what `source` sends to `destination`, both canonical: the best match, of equal ones that share a port one
    /// that the addresses choose. `more` adds to the score of a receiver, or rules it out.
    pub fn find(
        &self,
        destination: SocketAddr,
        source: SocketAddr,
        more: impl Fn(&R) -> Option<u32>,
    ) -> Option<Arc<R>> {
        let mut best: Vec<Arc<R>> = Vec::new();
        let mut losers = Vec::new();
        let mut best_score = 0;
        {
            let mut blocks = self.blocks.lock();
            for binding in port_mut(&mut blocks, destination.port()).iter() {
                let Some(score) = binding.wish.score(destination.ip()) else { continue };
                let Some(receiver) = binding.receiver.lock().as_ref().and_then(Weak::upgrade) else { continue };
                let score = more(&receiver).map(|more| score + more).filter(|score| *score >= best_score);
                match score {
                    Some(score) if score > best_score || !binding.wish.reuses_port => {
                        losers.append(&mut best);
                        best.push(receiver);
                        best_score = score;
                    }
                    Some(_) => best.push(receiver),
                    None => losers.push(receiver),
                }
            }
        }
        // Receivers are dropped here, without the lock.
        drop(losers);
        match best.len() {
            0 => None,
            1 => best.pop(),
            count => Some(best.swap_remove(choose(source, count))),
        }
    }

    /// Calls `visit` for every receiver that something sent to `destination` is meant for.
    pub fn for_each(&self, destination: SocketAddr, mut visit: impl FnMut(Arc<R>)) {
        let receivers: Vec<Arc<R>> = {
            let mut blocks = self.blocks.lock();
            let port = port_mut(&mut blocks, destination.port()).iter();
            let meant = port.filter(|binding| binding.wish.score(destination.ip()).is_some());
            meant.filter_map(|binding| binding.receiver.lock().as_ref().and_then(Weak::upgrade)).collect()
        };
        receivers.into_iter().for_each(&mut visit);
    }
}

/// Spreads sources over `count` receivers: a multiplicative hash of the address and port.
fn choose(source: SocketAddr, count: usize) -> usize {
    let ip = match source.ip() {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    let word = (ip ^ ip >> 64) as u64 ^ u64::from(source.port()) << 32;
    let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 32) as usize % count
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::ktest;

    use super::*;

    static TABLE: Ports<u32> = Ports::new(true);

    fn wish(address: &str) -> Wish {
        let address: SocketAddr = address.parse().expect("an address");
        let is_dual = address.is_ipv6() && address.ip().is_unspecified();
        Wish { address, is_dual, reuses_address: false, reuses_port: false, uid: 0 }
    }

    #[ktest]
    fn bindings_that_overlap_keep_each_other_away() {
        let first = TABLE.bind(wish("127.0.0.1:5000")).expect("nobody is there");
        assert!(TABLE.bind(wish("0.0.0.0:5000")).is_err());
        assert!(TABLE.bind(wish("[::]:5000")).is_err());
        assert!(TABLE.bind(wish("127.0.0.2:5000")).is_ok());
        assert!(TABLE.bind(wish("[::1]:5000")).is_ok());
        assert!(TABLE.bind(Wish { is_dual: false, ..wish("[::]:5000") }).is_ok());
        drop(first);
        assert!(TABLE.bind(wish("0.0.0.0:5000")).is_ok());
    }

    #[ktest]
    fn what_lingers_keeps_others_away() {
        let claim = TABLE.bind(wish("127.0.0.1:5001")).expect("nobody is there");
        claim.linger(u64::MAX);
        drop(claim);
        assert!(TABLE.bind(wish("127.0.0.1:5001")).is_err());
        let claim = TABLE.bind(wish("127.0.0.1:5002")).expect("nobody is there");
        claim.linger(0);
        drop(claim);
        assert!(TABLE.bind(wish("127.0.0.1:5002")).is_ok());
    }

    #[ktest]
    fn the_best_match_receives() {
        let source = "127.0.0.1:9".parse().expect("an address");
        let claims = ["0.0.0.0:5003", "127.0.0.2:5003"].map(|address| {
            let wish = Wish { reuses_address: true, ..wish(address) };
            TABLE.bind(wish).expect("both share")
        });
        let receivers = [Arc::new(1), Arc::new(2)];
        for (claim, receiver) in claims.iter().zip(&receivers) {
            *claim.binding.receiver.lock() = Some(Arc::downgrade(receiver));
        }
        let find = |to: &str| TABLE.find(to.parse().expect("an address"), source, |_| Some(0)).map(|found| *found);
        assert_eq!(find("127.0.0.1:5003"), Some(1));
        assert_eq!(find("127.0.0.2:5003"), Some(2));
        assert_eq!(find("[::1]:5003"), None);
    }
}
