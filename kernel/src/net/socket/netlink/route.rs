// SPDX-License-Identifier: MPL-2.0

//! The kernel's answers on `NETLINK_ROUTE` (`rtnetlink(7)`): which interfaces, addresses and routes there are.
//!
//! There is one interface, the loopback, and nothing of it can be changed.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{Flags, NLMSG_ERROR, NLMSG_MIN_TYPE, Packet, Request, find_attribute};
use crate::{
    net::{
        Family,
        socket::inet::route::{LOOPBACK_INDEX, LOOPBACK_MTU, LOOPBACK_NAME, destination, source},
    },
    prelude::*,
};

/// Types of messages; which of the four kinds of a subject it is stands in the two low bits.
mod kind {
    pub const NEWLINK: u16 = 16;
    pub const GETLINK: u16 = 18;
    pub const NEWADDR: u16 = 20;
    pub const GETADDR: u16 = 22;
    pub const NEWROUTE: u16 = 24;
    pub const GETROUTE: u16 = 26;
    /// The largest.
    pub const MAX: u16 = 123;
    /// Those that ask.
    pub const GET: u16 = 2;
}

/// `IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP`
const LINK_FLAGS: u32 = 0x1 | 0x8 | 0x40 | 0x10000;
const ARPHRD_LOOPBACK: u16 = 772;
/// Packets that may wait to be sent, says Linux; none ever does.
const QUEUE_LEN: u32 = 1000;
const ADDRESS_IS_PERMANENT: u8 = 0x80;
const SCOPE_HOST: u8 = 254;
const SCOPE_LINK: u8 = 253;
const FOREVER: u32 = u32::MAX;

/// `struct ifinfomsg`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct LinkInfo {
    family: u8,
    padding: u8,
    kind: u16,
    index: u32,
    flags: u32,
    change: u32,
}

/// `struct ifaddrmsg`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct AddressInfo {
    family: u8,
    prefix_len: u8,
    flags: u8,
    scope: u8,
    index: u32,
}

/// `struct rtmsg`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct RouteInfo {
    family: u8,
    destination_len: u8,
    source_len: u8,
    tos: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

/// What the kernel has to say to a request.
pub enum Answer {
    /// Nothing but whether it went well.
    Done,
    /// One packet.
    Packet(Packet),
    /// Packets that end with `NLMSG_DONE`.
    Dump(Packet),
}

/// Answers one request of a socket with the number `port`. `is_privileged`: it might change something.
///
/// # Errors
/// `EOPNOTSUPP` for what cannot be asked or changed here; `EPERM` without privilege; `ENODEV` for another interface;
/// `EINVAL`; `ENETUNREACH`.
pub fn answer(request: &Request<'_>, port: u32, is_privileged: bool) -> Result<Answer> {
    let (kind, flags) = (request.header.kind, request.header.flags());
    if !flags.contains(Flags::REQUEST) || kind < NLMSG_MIN_TYPE {
        return Ok(Answer::Done);
    }
    if kind > kind::MAX {
        return Err(EOPNOTSUPP);
    }
    let Some(family) = request.body.first() else { return Ok(Answer::Done) };
    if kind & 3 != kind::GET {
        return Err(if is_privileged { EOPNOTSUPP } else { EPERM });
    }
    let mut packet = Packet::answering(&request.header, port);
    let family = Family::from_number(u16::from(*family));
    if flags.intersects(Flags::DUMP) {
        match kind {
            kind::GETLINK => put_link(&mut packet, Flags::MULTI),
            kind::GETADDR => put_addresses(&mut packet, family),
            kind::GETROUTE => put_routes(&mut packet, family),
            _ => return Err(EOPNOTSUPP),
        }
        return Ok(Answer::Dump(packet));
    }
    match kind {
        kind::GETLINK => find_link(request.body)?,
        kind::GETROUTE => return find_route(packet, family, request.body).map(Answer::Packet),
        _ => return Err(EOPNOTSUPP),
    }
    put_link(&mut packet, Flags::empty());
    Ok(Answer::Packet(packet))
}

/// What says how a request went: a packet that quotes it, as a whole if it failed and `is_capped` does not forbid that.
pub fn acknowledge(request: &Request<'_>, port: u32, outcome: Result<()>, is_capped: bool) -> Packet {
    let error = outcome.err().map_or(0, |error| -(error as i32));
    let mut body = error.to_ne_bytes().to_vec();
    let quotes_all = error != 0 && !is_capped;
    body.extend_from_slice(if quotes_all { request.whole } else { &request.whole[..super::wire::HEADER_LEN] });
    let mut packet = Packet::answering(&request.header, port);
    packet.message(NLMSG_ERROR, if quotes_all { Flags::empty() } else { Flags::CAPPED }, &body, |_| {});
    packet
}

/// Whether the interface that a request names is the loopback.
///
/// # Errors
/// `EINVAL` if it names none; `ENODEV` if it is another one.
fn find_link(body: &[u8]) -> Result<()> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_ALT_IFNAME: u16 = 53;
    let word = body.get(4..8).and_then(|bytes| bytes.first_chunk()).ok_or(EINVAL)?;
    let index = i32::from_ne_bytes(*word);
    let attributes = body.get(size_of::<LinkInfo>()..).unwrap_or_default();
    let name = find_attribute(attributes, IFLA_IFNAME).or_else(|| find_attribute(attributes, IFLA_ALT_IFNAME));
    let is_loopback = match name {
        _ if index > 0 => index.cast_unsigned() == LOOPBACK_INDEX,
        Some(name) => name.split(|byte| *byte == 0).next() == Some(LOOPBACK_NAME.as_bytes()),
        None => return Err(EINVAL),
    };
    if is_loopback { Ok(()) } else { Err(ENODEV) }
}

/// The loopback interface. Nothing passes it as a packet, so its counters stand still.
fn put_link(packet: &mut Packet, flags: Flags) {
    const HARDWARE_ADDRESS: [u8; 6] = [0; 6];
    /// Bytes of `struct rtnl_link_stats64` and of its older brother.
    const STATS64_LEN: usize = 200;
    const STATS_LEN: usize = 100;
    let (kind, index) = (ARPHRD_LOOPBACK, LOOPBACK_INDEX);
    let fixed = LinkInfo { family: 0, padding: 0, kind, index, flags: LINK_FLAGS, change: 0 };
    packet.message(kind::NEWLINK, flags, fixed.as_bytes(), |attributes| {
        attributes.put_str(3, LOOPBACK_NAME);
        attributes.put_u32(13, QUEUE_LEN);
        // The state of operation (unknown), and the mode of the link.
        attributes.put(16, &[0]);
        attributes.put(17, &[0]);
        attributes.put_u32(4, LOOPBACK_MTU);
        // The least and the largest MTU (unlimited), group, promiscuity.
        [50, 51, 27, 30].into_iter().for_each(|kind| attributes.put_u32(kind, 0));
        // One queue each way.
        [31, 32].into_iter().for_each(|kind| attributes.put_u32(kind, 1));
        // There is a carrier, and there always was.
        attributes.put(33, &[1]);
        attributes.put_str(6, "noqueue");
        attributes.put_u32(35, 0);
        attributes.put(1, &HARDWARE_ADDRESS);
        attributes.put(2, &HARDWARE_ADDRESS);
        attributes.put(23, &[0; STATS64_LEN]);
        attributes.put(7, &[0; STATS_LEN]);
    });
}

/// The bytes of an address.
fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family_of(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::Inet } else { Family::Inet6 }
}

/// `AF_INET` and the like as the first byte of a message has it.
fn family_byte(ip: IpAddr) -> u8 {
    family_of(ip).number() as u8
}

/// Whether something of the family of `ip` was asked for: of any family, unless it is one that has its own.
fn is_wanted(ip: IpAddr, wanted: Option<Family>) -> bool {
    !matches!(wanted, Some(Family::Inet | Family::Inet6)) || wanted == Some(family_of(ip))
}

fn put_addresses(packet: &mut Packet, wanted: Option<Family>) {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    const IFA_LABEL: u16 = 3;
    const IFA_CACHEINFO: u16 = 6;
    const IFA_FLAGS: u16 = 8;
    /// Until when it is preferred and valid; when it was made and changed.
    const LIFETIME: [u32; 4] = [FOREVER, FOREVER, 0, 0];
    let addresses: [(IpAddr, u8); 2] = [(Ipv4Addr::LOCALHOST.into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
    for (ip, prefix_len) in addresses.into_iter().filter(|(ip, _)| is_wanted(*ip, wanted)) {
        let (family, flags, index) = (family_byte(ip), ADDRESS_IS_PERMANENT, LOOPBACK_INDEX);
        let fixed = AddressInfo { family, prefix_len, flags, scope: SCOPE_HOST, index };
        packet.message(kind::NEWADDR, Flags::MULTI, fixed.as_bytes(), |attributes| {
            attributes.put(IFA_ADDRESS, &octets(ip));
            if ip.is_ipv4() {
                attributes.put(IFA_LOCAL, &octets(ip));
                attributes.put_str(IFA_LABEL, LOOPBACK_NAME);
            }
            attributes.put_u32(IFA_FLAGS, u32::from(ADDRESS_IS_PERMANENT));
            attributes.put(IFA_CACHEINFO, LIFETIME.as_bytes());
        });
    }
}

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const TABLE_MAIN: u8 = 254;
const TABLE_LOCAL: u8 = 255;
/// The kernel made it.
const PROTOCOL_KERNEL: u8 = 2;
const ROUTE_UNICAST: u8 = 1;
const ROUTE_LOCAL: u8 = 2;
const ROUTE_BROADCAST: u8 = 3;

/// The routes that Linux has for the loopback.
fn put_routes(packet: &mut Packet, wanted: Option<Family>) {
    let v4 = |octets: [u8; 4]| IpAddr::from(octets);
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let routes = [
        (v4([127, 0, 0, 0]), 8, ROUTE_LOCAL, SCOPE_HOST),
        (v4([127, 0, 0, 1]), 32, ROUTE_LOCAL, SCOPE_HOST),
        (v4([127, 255, 255, 255]), 32, ROUTE_BROADCAST, SCOPE_LINK),
        (v6, 128, ROUTE_UNICAST, 0),
        (v6, 128, ROUTE_LOCAL, 0),
    ];
    for (ip, destination_len, kind, scope) in routes.into_iter().filter(|(ip, ..)| is_wanted(*ip, wanted)) {
        let table = if kind == ROUTE_UNICAST { TABLE_MAIN } else { TABLE_LOCAL };
        let (family, protocol) = (family_byte(ip), PROTOCOL_KERNEL);
        let fixed =
            RouteInfo { family, destination_len, source_len: 0, tos: 0, table, protocol, scope, kind, flags: 0 };
        packet.message(kind::NEWROUTE, Flags::MULTI, fixed.as_bytes(), |attributes| {
            attributes.put_u32(RTA_TABLE, u32::from(table));
            attributes.put(RTA_DST, &octets(ip));
            if ip.is_ipv4() {
                attributes.put(RTA_PREFSRC, &octets(source(ip)));
            } else {
                // What Linux gives to the routes that it makes for IPv6, but for those of its own addresses.
                attributes.put_u32(RTA_PRIORITY, if kind == ROUTE_LOCAL { 0 } else { 256 });
            }
            attributes.put_u32(RTA_OIF, LOOPBACK_INDEX);
        });
    }
}

/// Where something to the address in `body` goes.
///
/// # Errors
/// `EINVAL` without an address; `ENETUNREACH`.
fn find_route(mut packet: Packet, family: Option<Family>, body: &[u8]) -> Result<Packet> {
    const CLONED: u32 = 0x200;
    let attributes = body.get(size_of::<RouteInfo>()..).ok_or(EINVAL)?;
    let wanted = find_attribute(attributes, RTA_DST).unwrap_or_default();
    let ip = match family {
        Some(Family::Inet) => IpAddr::from(*wanted.first_chunk::<4>().ok_or(EINVAL)?),
        Some(Family::Inet6) => IpAddr::from(*wanted.first_chunk::<16>().ok_or(EINVAL)?),
        _ => return Err(EOPNOTSUPP),
    };
    let target = destination(ip)?;
    let fixed = RouteInfo {
        family: family_byte(target),
        destination_len: if target.is_ipv4() { 32 } else { 128 },
        source_len: 0,
        tos: 0,
        table: TABLE_LOCAL,
        protocol: 0,
        scope: 0,
        kind: ROUTE_LOCAL,
        flags: CLONED,
    };
    packet.message(kind::NEWROUTE, Flags::empty(), fixed.as_bytes(), |attributes| {
        attributes.put_u32(RTA_TABLE, u32::from(TABLE_LOCAL));
        attributes.put(RTA_DST, &octets(target));
        attributes.put_u32(RTA_OIF, LOOPBACK_INDEX);
        attributes.put(RTA_PREFSRC, &octets(source(target)));
    });
    Ok(packet)
}
