// SPDX-License-Identifier: MPL-2.0

//! Which addresses are this machine's: those of the loopback interface, 127.0.0.0/8 and ::1.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prelude::*;

/// The index of the loopback interface, the only one.
pub const LOOPBACK_INDEX: u32 = 1;
/// Its name.
pub const LOOPBACK_NAME: &str = "lo";
/// Its largest packet.
pub const LOOPBACK_MTU: u32 = 65536;

/// The largest packet to `ip`: of IPv4 none is larger than its field for the length allows.
pub fn mtu(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { LOOPBACK_MTU.min(0xffff) } else { LOOPBACK_MTU }
}

/// Whether `ip` is an address of this machine.
pub fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback()
}

/// Where something sent to `ip` arrives: the unspecified address means this machine.
///
/// # Errors
/// `ENETUNREACH` if it is another machine's.
pub fn destination(ip: IpAddr) -> Result<IpAddr> {
    match ip {
        _ if ip.is_unspecified() => Ok(source(ip)),
        _ if is_local(ip) => Ok(ip),
        _ => Err(ENETUNREACH),
    }
}

/// The address that what is sent to `destination` comes from, unless the socket is bound to one.
pub fn source(destination: IpAddr) -> IpAddr {
    match destination {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}
