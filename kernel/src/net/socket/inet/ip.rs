// SPDX-License-Identifier: MPL-2.0

//! The options of `ip(7)` and `ipv6(7)` that TCP and UDP share.
//!
//! Between programs of one machine most of them change nothing: there are no routers, and no packets to be cut. They are kept, and
//! shown as they were set.

use core::net::IpAddr;

use super::{
    IPPROTO_IP, IPPROTO_IPV6, route,
    values::{Known, Values},
};
use crate::{
    net::{Family, options::decode_int},
    prelude::*,
    process::credentials::Capabilities,
};

/// The numbers of the options that somebody asks for by name.
pub mod name {
    #![allow(missing_docs, reason = "each is what ip(7) or ipv6(7) says of it")]
    pub const IP_OPTIONS: i32 = 4;
    pub const IP_PKTINFO: i32 = 8;
    pub const IP_RECVERR: i32 = 11;
    pub const IP_RECVTTL: i32 = 12;
    pub const IP_RECVTOS: i32 = 13;
    pub const IP_MTU: i32 = 14;
    pub const IP_TRANSPARENT: i32 = 19;
    pub const IP_ORIGDSTADDR: i32 = 20;
    pub const IP_MULTICAST_IF: i32 = 32;
    pub const IP_MULTICAST_TTL: i32 = 33;
    pub const IP_MULTICAST_LOOP: i32 = 34;
    pub const IP_ADD_MEMBERSHIP: i32 = 35;
    pub const IP_DROP_MEMBERSHIP: i32 = 36;
    pub const IPV6_ADDRFORM: i32 = 1;
    pub const IPV6_MULTICAST_IF: i32 = 17;
    pub const IPV6_MULTICAST_HOPS: i32 = 18;
    pub const IPV6_MULTICAST_LOOP: i32 = 19;
    pub const IPV6_ADD_MEMBERSHIP: i32 = 20;
    pub const IPV6_DROP_MEMBERSHIP: i32 = 21;
    pub const IPV6_MTU: i32 = 24;
    pub const IPV6_RECVERR: i32 = 25;
    pub const IPV6_V6ONLY: i32 = 26;
    pub const IPV6_RECVPKTINFO: i32 = 49;
    pub const IPV6_PKTINFO: i32 = 50;
    pub const IPV6_RECVHOPLIMIT: i32 = 51;
    pub const IPV6_HOPLIMIT: i32 = 52;
    pub const IPV6_RECVTCLASS: i32 = 66;
    pub const IPV6_TCLASS: i32 = 67;
    pub const IPV6_ORIGDSTADDR: i32 = 74;
    pub const IP_TOS: i32 = 1;
    pub const IP_TTL: i32 = 2;
    pub const IPV6_UNICAST_HOPS: i32 = 16;
}

const COUNT: usize = 40;

static TABLE: [Known; COUNT] = [
    Known::number(IPPROTO_IP, name::IP_TOS, 0, 0, 255),
    Known::number(IPPROTO_IP, name::IP_TTL, 64, -1, 255),
    Known::flag(IPPROTO_IP, 6, 0), // IP_RECVOPTS
    Known::flag(IPPROTO_IP, 7, 0), // IP_RETOPTS
    Known::flag(IPPROTO_IP, name::IP_PKTINFO, 0),
    Known::number(IPPROTO_IP, 10, 1, 0, 5), // IP_MTU_DISCOVER
    Known::flag(IPPROTO_IP, name::IP_RECVERR, 0),
    Known::flag(IPPROTO_IP, name::IP_RECVTTL, 0),
    Known::flag(IPPROTO_IP, name::IP_RECVTOS, 0),
    Known::flag(IPPROTO_IP, 15, 0), // IP_FREEBIND
    Known::flag(IPPROTO_IP, name::IP_TRANSPARENT, 0),
    Known::flag(IPPROTO_IP, name::IP_ORIGDSTADDR, 0),
    Known::number(IPPROTO_IP, 21, 0, 0, 255), // IP_MINTTL
    Known::flag(IPPROTO_IP, 24, 0),           // IP_BIND_ADDRESS_NO_PORT
    Known::number(IPPROTO_IP, name::IP_MULTICAST_TTL, 1, -1, 255),
    Known::flag(IPPROTO_IP, name::IP_MULTICAST_LOOP, 1),
    Known::flag(IPPROTO_IP, 49, 1),   // IP_MULTICAST_ALL
    Known::flag(IPPROTO_IP, 26, 0),   // IP_RECVERR_RFC4884
    Known::flag(IPPROTO_IPV6, 31, 0), // IPV6_RECVERR_RFC4884
    Known::number(IPPROTO_IPV6, name::IPV6_UNICAST_HOPS, -1, -1, 255),
    Known::number(IPPROTO_IPV6, name::IPV6_MULTICAST_HOPS, 1, -1, 255),
    Known::number(IPPROTO_IPV6, name::IPV6_MULTICAST_LOOP, 1, 0, 1),
    Known::number(IPPROTO_IPV6, 23, 1, 0, 5), // IPV6_MTU_DISCOVER
    Known::flag(IPPROTO_IPV6, name::IPV6_RECVERR, 0),
    Known::flag(IPPROTO_IPV6, name::IPV6_V6ONLY, 0),
    Known::flag(IPPROTO_IPV6, 29, 1), // IPV6_MULTICAST_ALL
    Known::flag(IPPROTO_IPV6, 33, 0), // IPV6_FLOWINFO_SEND
    Known::flag(IPPROTO_IPV6, name::IPV6_RECVPKTINFO, 0),
    Known::flag(IPPROTO_IPV6, name::IPV6_RECVHOPLIMIT, 0),
    Known::flag(IPPROTO_IPV6, 53, 0), // IPV6_RECVHOPOPTS
    Known::flag(IPPROTO_IPV6, 56, 0), // IPV6_RECVRTHDR
    Known::flag(IPPROTO_IPV6, 58, 0), // IPV6_RECVDSTOPTS
    Known::flag(IPPROTO_IPV6, 60, 0), // IPV6_RECVPATHMTU
    Known::flag(IPPROTO_IPV6, 62, 0), // IPV6_DONTFRAG
    Known::flag(IPPROTO_IPV6, name::IPV6_RECVTCLASS, 0),
    Known::number(IPPROTO_IPV6, name::IPV6_TCLASS, 0, -1, 255),
    Known::flag(IPPROTO_IPV6, 70, 1), // IPV6_AUTOFLOWLABEL
    Known::flag(IPPROTO_IPV6, name::IPV6_ORIGDSTADDR, 0),
    Known::flag(IPPROTO_IPV6, 76, 0), // IPV6_TRANSPARENT
    Known::flag(IPPROTO_IPV6, 78, 0), // IPV6_FREEBIND
];

/// What `IP_TTL` and `IPV6_UNICAST_HOPS` of -1 stand for (`net.ipv4.ip_default_ttl`).
const DEFAULT_TTL: i32 = 64;

/// The options of one socket.
#[derive(Clone)]
pub struct IpOptions {
    values: Values<COUNT>,
}

impl Default for IpOptions {
    fn default() -> Self {
        Self { values: Values::new(&TABLE) }
    }
}

impl IpOptions {
    /// Whether an option is set.
    pub fn is_set(&self, level: i32, name: i32) -> bool {
        self.values.is_set(level, name)
    }

    /// The number of an option.
    pub fn number(&self, level: i32, name: i32) -> i32 {
        self.values.get(level, name).unwrap_or(0)
    }

    /// Sets an option of a socket of `family`, which is bound or not. `None`: it is none of these levels.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an unknown option; `EINVAL` for a value out of range, or `IPV6_V6ONLY` when bound; `EPERM` for
    /// `IP_TRANSPARENT` without privilege.
    pub fn set(
        &self,
        ctx: &Context,
        family: Family,
        is_bound: bool,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> Option<Result<()>> {
        if !has_level(family, level) {
            return matches!(level, IPPROTO_IP | IPPROTO_IPV6).then_some(Err(ENOPROTOOPT));
        }
        Some(self.do_set(ctx, is_bound, level, name, value))
    }

    fn do_set(&self, ctx: &Context, is_bound: bool, level: i32, name: i32, value: &[u8]) -> Result<()> {
        if (level, name) == (IPPROTO_IP, name::IP_OPTIONS) {
            // There are no packets that could carry any.
            return if value.is_empty() { Ok(()) } else { Err(EINVAL) };
        }
        let number = match (level, value) {
            // A byte will do, as on Linux.
            (IPPROTO_IP, [byte] | [byte, _] | [byte, _, _]) => i32::from(*byte),
            _ => decode_int(value)?,
        };
        match (level, name) {
            (IPPROTO_IPV6, name::IPV6_V6ONLY) if is_bound => return Err(EINVAL),
            (IPPROTO_IP, name::IP_TRANSPARENT) if number != 0 && !ctx.credentials().has(Capabilities::NET_ADMIN) => {
                return Err(EPERM);
            }
            (IPPROTO_IP, name::IP_TTL) if number == 0 => return Err(EINVAL),
            _ => {}
        }
        self.values.set(level, name, number).unwrap_or(Err(ENOPROTOOPT))
    }

    /// The value of an option. `None`: it is none of these levels.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an unknown option; `ENOTCONN` for the MTU without a peer.
    pub fn get(&self, family: Family, peer: Option<IpAddr>, level: i32, name: i32) -> Option<Result<Vec<u8>>> {
        if !has_level(family, level) {
            return matches!(level, IPPROTO_IP | IPPROTO_IPV6).then_some(Err(ENOPROTOOPT));
        }
        let int = |value: i32| Ok(value.to_ne_bytes().to_vec());
        Some(match (level, name) {
            (IPPROTO_IP, name::IP_OPTIONS) => Ok(Vec::new()),
            (IPPROTO_IP, name::IP_MTU) | (IPPROTO_IPV6, name::IPV6_MTU) => {
                peer.ok_or(ENOTCONN).and_then(|peer| int(route::mtu(peer).cast_signed()))
            }
            (IPPROTO_IPV6, name::IPV6_ADDRFORM) => int(i32::from(family.number())),
            _ => match self.values.get(level, name) {
                Some(-1) if matches!(name, name::IP_TTL | name::IPV6_UNICAST_HOPS) => int(DEFAULT_TTL),
                Some(value) => int(value),
                None => Err(ENOPROTOOPT),
            },
        })
    }
}

/// Whether sockets of `family` know the options of `level`.
fn has_level(family: Family, level: i32) -> bool {
    level == IPPROTO_IP || level == IPPROTO_IPV6 && family == Family::Inet6
}
