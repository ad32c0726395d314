// SPDX-License-Identifier: MPL-2.0

//! Sockets of the internet: `AF_INET` and `AF_INET6` (`ip(7)`, `ipv6(7)`, `tcp(7)`, `udp(7)`).
//!
//! # Role
//! This machine has one interface, the loopback. [`tcp`] and [`udp`] reach each other without packets; [`route`] says which
//! addresses are this machine's, [`ports`] who is bound to which, [`settings`] what `/proc/sys/net` sets.
//!
//! # Addresses
//! Inside, an address is canonical: a v4-mapped one is IPv4. What a program sees is in the terms of its socket's family.

pub mod interface;
mod ip;
mod ports;
pub mod report;
pub mod route;
pub mod settings;
mod tcp;
mod udp;
mod values;

use core::net::{IpAddr, SocketAddr};

use super::{Common, Family, SocketType, describe};
use crate::{
    file::{Description, StatusFlags},
    net::SocketAddress,
    prelude::*,
    process::credentials::Capabilities,
};

/// Protocol numbers, of `/etc/protocols`.
pub const IPPROTO_IP: i32 = 0;
const IPPROTO_ICMP: i32 = 1;
/// `tcp(7)`
pub const IPPROTO_TCP: i32 = 6;
/// `udp(7)`
pub const IPPROTO_UDP: i32 = 17;
/// `ipv6(7)`
pub const IPPROTO_IPV6: i32 = 41;

/// `socket(2)` for both families.
///
/// # Errors
/// `EPROTONOSUPPORT` for a protocol that the type does not have; `ESOCKTNOSUPPORT`; `EPERM` for a raw socket without privilege;
/// `EACCES` for a ping socket, which no group may make.
pub fn create(
    ctx: &Context,
    family: Family,
    kind: SocketType,
    protocol: i32,
    status: StatusFlags,
) -> Result<Arc<Description>> {
    match (kind, protocol) {
        (SocketType::Stream, 0 | IPPROTO_TCP) => {
            let mut common = Common::new(ctx, family, kind, IPPROTO_TCP);
            common.options = common.options.with_buffers(tcp::SEND_BUFFER, tcp::RECEIVE_BUFFER);
            Ok(describe(tcp::TcpSocket::new(common), status))
        }
        (SocketType::Datagram, 0 | IPPROTO_UDP) => {
            let common = Common::new(ctx, family, kind, IPPROTO_UDP);
            Ok(describe(udp::UdpSocket::new(common), status))
        }
        (SocketType::Datagram, IPPROTO_ICMP) => Err(EACCES),
        (SocketType::Stream | SocketType::Datagram, _) => Err(EPROTONOSUPPORT),
        (SocketType::Raw, _) if !ctx.credentials().has(Capabilities::NET_RAW) => Err(EPERM),
        (SocketType::Raw, _) => Err(EPROTONOSUPPORT),
        (SocketType::SeqPacket, _) => Err(ESOCKTNOSUPPORT),
    }
}

/// What a program passed as an address, for a socket of `family`: canonical, and with its port.
///
/// # Errors
/// `EAFNOSUPPORT` if it is of another family.
fn decode_address(family: Family, address: &SocketAddress) -> Result<SocketAddr> {
    match (family, address) {
        (Family::Inet, SocketAddress::Inet(SocketAddr::V4(address))) => Ok((*address).into()),
        (Family::Inet6, SocketAddress::Inet(SocketAddr::V6(address))) => {
            Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
        }
        _ => Err(EAFNOSUPPORT),
    }
}

/// How a socket of `family` shows a canonical address.
fn show_address(family: Family, address: SocketAddr) -> SocketAddress {
    match (family, address.ip()) {
        (Family::Inet6, IpAddr::V4(ip)) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()).into(),
        _ => address.into(),
    }
}
