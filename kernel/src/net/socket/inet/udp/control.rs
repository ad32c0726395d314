// SPDX-License-Identifier: MPL-2.0

//! Control messages of datagrams: where they were sent to, when, and how (`ip(7)`, `ipv6(7)`, `socket(7)`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    super::{
        IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP,
        ip::{IpOptions, name},
        route,
    },
    UDP_GRO, UDP_SEGMENT,
    mailbox::Datagram,
};
use crate::{
    net::{
        ControlMessage, Options, SocketAddress,
        options::{SOL_SOCKET, name as so},
    },
    prelude::*,
};

const NANOS: u64 = 1_000_000_000;

/// `struct in_pktinfo`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct PacketInfo {
    interface: u32,
    /// The local address that it came to, or is to come from.
    local: [u8; 4],
    /// The address in its header.
    destination: [u8; 4],
}

/// `struct in6_pktinfo`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct PacketInfo6 {
    address: [u8; 16],
    interface: u32,
}

/// What the options of a socket tell its reader about `datagram`; `is_many`: that it is several.
pub fn describe(options: &Options, ip: &IpOptions, datagram: &Datagram, is_many: bool) -> Vec<ControlMessage> {
    let mut messages = Vec::new();
    let mut put = |level, kind, data: &[u8]| messages.push(ControlMessage::Other { level, kind, data: data.to_vec() });
    let stamp = [datagram.time / NANOS, datagram.time % NANOS];
    match options.timestamps().kind() {
        Some(kind @ (so::TIMESTAMPNS | so::TIMESTAMPNS_NEW)) => put(SOL_SOCKET, kind, stamp.as_bytes()),
        Some(kind) => put(SOL_SOCKET, kind, [stamp[0], stamp[1] / 1000].as_bytes()),
        None => {}
    }
    if let Some(kind) = options.timestamps().timestamping() {
        // Taken in software; a place that is no longer used; by hardware.
        put(SOL_SOCKET, kind, [stamp, [0; 2], [0; 2]].as_flattened().as_bytes());
    }
    if options.reports_drops() && datagram.drops > 0 {
        put(SOL_SOCKET, so::RXQ_OVFL, &datagram.drops.to_ne_bytes());
    }
    if is_many {
        put(IPPROTO_UDP, UDP_GRO, &i32::from(datagram.segment).to_ne_bytes());
    }
    let (ttl, tos) = datagram.hops;
    if let IpAddr::V4(destination) = datagram.destination.ip() {
        if ip.is_set(IPPROTO_IP, name::IP_PKTINFO) {
            let info = PacketInfo {
                interface: route::LOOPBACK_INDEX,
                local: local_address(destination).octets(),
                destination: destination.octets(),
            };
            put(IPPROTO_IP, name::IP_PKTINFO, info.as_bytes());
        }
        if ip.is_set(IPPROTO_IP, name::IP_RECVTTL) {
            put(IPPROTO_IP, name::IP_TTL, &i32::from(ttl).to_ne_bytes());
        }
        if ip.is_set(IPPROTO_IP, name::IP_RECVTOS) {
            put(IPPROTO_IP, name::IP_TOS, &[tos]);
        }
        if ip.is_set(IPPROTO_IP, name::IP_ORIGDSTADDR) {
            put(IPPROTO_IP, name::IP_ORIGDSTADDR, &SocketAddress::from(datagram.destination).encode());
        }
    } else if ip.is_set(IPPROTO_IPV6, name::IPV6_ORIGDSTADDR) {
        put(IPPROTO_IPV6, name::IPV6_ORIGDSTADDR, &SocketAddress::from(datagram.destination).encode());
    }
    if ip.is_set(IPPROTO_IPV6, name::IPV6_RECVPKTINFO) {
        let address = to_v6(datagram.destination.ip()).octets();
        put(IPPROTO_IPV6, name::IPV6_PKTINFO, PacketInfo6 { address, interface: route::LOOPBACK_INDEX }.as_bytes());
    }
    if ip.is_set(IPPROTO_IPV6, name::IPV6_RECVHOPLIMIT) {
        put(IPPROTO_IPV6, name::IPV6_HOPLIMIT, &i32::from(ttl).to_ne_bytes());
    }
    if ip.is_set(IPPROTO_IPV6, name::IPV6_RECVTCLASS) {
        put(IPPROTO_IPV6, name::IPV6_TCLASS, &i32::from(tos).to_ne_bytes());
    }
    messages
}

fn local_address(destination: Ipv4Addr) -> Ipv4Addr {
    if destination.is_loopback() { destination } else { Ipv4Addr::LOCALHOST }
}

fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// What the control messages of a send ask for.
#[derive(Default)]
pub struct Wishes {
    /// The address that it is to come from.
    pub source: Option<IpAddr>,
    /// Time to live.
    pub ttl: Option<u8>,
    /// Type of service.
    pub tos: Option<u8>,
    /// Bytes of each of several datagrams.
    pub segment: Option<u16>,
}

impl Wishes {
    /// Reads the control messages of `sendmsg(2)`.
    ///
    /// # Errors
    /// `EINVAL` for what is unknown, malformed, or not an address of this machine.
    pub fn decode(messages: &[ControlMessage]) -> Result<Self> {
        let mut wishes = Self::default();
        for message in messages {
            match message {
                ControlMessage::Other { level, kind, data } => wishes.add(*level, *kind, data)?,
                // As Linux does for sockets that are not of the unix family.
                ControlMessage::Rights(_) | ControlMessage::Credentials(_) => {}
            }
        }
        Ok(wishes)
    }

    fn add(&mut self, level: i32, kind: i32, data: &[u8]) -> Result<()> {
        let byte = || data.first().copied().ok_or(EINVAL);
        match (level, kind) {
            (IPPROTO_IP, name::IP_PKTINFO) => {
                let info: PacketInfo = read(data)?;
                self.set_source(Ipv4Addr::from(info.local).into(), info.interface)
            }
            (IPPROTO_IPV6, name::IPV6_PKTINFO) => {
                let info: PacketInfo6 = read(data)?;
                self.set_source(Ipv6Addr::from(info.address).to_canonical(), info.interface)
            }
            (IPPROTO_IP, name::IP_TTL) | (IPPROTO_IPV6, name::IPV6_HOPLIMIT) => {
                self.ttl = Some(byte()?);
                Ok(())
            }
            (IPPROTO_IP, name::IP_TOS) | (IPPROTO_IPV6, name::IPV6_TCLASS) => {
                self.tos = Some(byte()?);
                Ok(())
            }
            (IPPROTO_UDP, UDP_SEGMENT) => {
                self.segment = Some(read(data)?);
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }

    fn set_source(&mut self, ip: IpAddr, interface: u32) -> Result<()> {
        if interface > route::LOOPBACK_INDEX || !ip.is_unspecified() && !route::is_local(ip) {
            return Err(EINVAL);
        }
        self.source = Some(ip).filter(|ip| !ip.is_unspecified());
        Ok(())
    }
}

fn read<T: Pod>(data: &[u8]) -> Result<T> {
    if data.len() != size_of::<T>() {
        return Err(EINVAL);
    }
    VmReader::from(data).read_val().map_err(|_| EINVAL)
}
