// SPDX-License-Identifier: MPL-2.0

//! Multicast groups on the loopback: which the sockets of this machine are in.
//!
//! Linux finds no route for a group on a machine that has nothing but a loopback; here the loopback carries them all.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    super::{
        IPPROTO_IP, IPPROTO_IPV6,
        ip::name,
        route::{self, LOOPBACK_INDEX},
    },
    UdpSocket,
};
use crate::{net::options::decode_int, prelude::*};

/// The most groups of one socket (`net.ipv4.igmp_max_memberships`).
const MAX_GROUPS: usize = 20;

/// How many sockets are in each group.
static GROUPS: SpinLock<BTreeMap<IpAddr, u32>> = SpinLock::new(BTreeMap::new());

/// Whether some socket is in a group.
pub fn is_joined(group: IpAddr) -> bool {
    GROUPS.lock().contains_key(&group)
}

/// One member less.
pub fn leave(group: IpAddr) {
    let mut groups = GROUPS.lock();
    if let Some(members) = groups.get_mut(&group) {
        *members -= 1;
        if *members == 0 {
            groups.remove(&group);
        }
    }
}

impl UdpSocket {
    /// `setsockopt(2)` for what concerns groups. `None`: it is another option.
    ///
    /// # Errors
    /// `EINVAL` for what is no group; `ENODEV` for another interface; `EADDRINUSE` if the socket is in it; `EADDRNOTAVAIL` if it is not;
    /// `ENOBUFS` for too many.
    pub(super) fn set_group(&self, level: i32, name: i32, value: &[u8]) -> Option<Result<()>> {
        let outcome = match (level, name) {
            (IPPROTO_IP, name::IP_ADD_MEMBERSHIP) => decode_request(value).and_then(|group| self.join(group)),
            (IPPROTO_IP, name::IP_DROP_MEMBERSHIP) => decode_request(value).and_then(|group| self.quit(group)),
            (IPPROTO_IPV6, name::IPV6_ADD_MEMBERSHIP) => decode_request6(value).and_then(|group| self.join(group)),
            (IPPROTO_IPV6, name::IPV6_DROP_MEMBERSHIP) => decode_request6(value).and_then(|group| self.quit(group)),
            (IPPROTO_IP, name::IP_MULTICAST_IF) => decode_interface(value),
            (IPPROTO_IPV6, name::IPV6_MULTICAST_IF) => {
                decode_int(value).and_then(|index| check_interface(index.cast_unsigned()))
            }
            _ => return None,
        };
        Some(outcome)
    }

    /// `getsockopt(2)` for what concerns groups. `None`: it is another option.
    pub(super) fn group_option(&self, level: i32, name: i32) -> Option<Vec<u8>> {
        match (level, name) {
            // No interface was ever chosen but the only one.
            (IPPROTO_IP, name::IP_MULTICAST_IF) | (IPPROTO_IPV6, name::IPV6_MULTICAST_IF) => Some(alloc::vec![0; 4]),
            _ => None,
        }
    }

    fn join(&self, group: IpAddr) -> Result<()> {
        self.core.mailbox.update(|mailbox| -> Result<()> {
            if mailbox.groups.contains(&group) {
                return Err(EADDRINUSE);
            }
            if mailbox.groups.len() >= MAX_GROUPS {
                return Err(ENOBUFS);
            }
            mailbox.groups.push(group);
            mailbox.notify_nothing();
            Ok(())
        })?;
        *GROUPS.lock().entry(group).or_insert(0) += 1;
        Ok(())
    }

    fn quit(&self, group: IpAddr) -> Result<()> {
        self.core.mailbox.update(|mailbox| -> Result<()> {
            let index = mailbox.groups.iter().position(|known| *known == group).ok_or(EADDRNOTAVAIL)?;
            mailbox.groups.swap_remove(index);
            mailbox.notify_nothing();
            Ok(())
        })?;
        leave(group);
        Ok(())
    }
}

/// `struct ip_mreq` or `struct ip_mreqn`: the group.
fn decode_request(value: &[u8]) -> Result<IpAddr> {
    let (group, rest) = value.split_first_chunk::<4>().ok_or(EINVAL)?;
    let group = Ipv4Addr::from(*group);
    if !group.is_multicast() {
        return Err(EINVAL);
    }
    decode_interface(rest)?;
    Ok(group.into())
}

/// The interface of a `struct ip_mreq` or `struct ip_mreqn`, or a bare address, which names one.
fn decode_interface(value: &[u8]) -> Result<()> {
    // `struct ip_mreqn` as a whole begins with the group.
    let value = if value.len() >= 12 { &value[4..] } else { value };
    let (address, rest) = value.split_first_chunk::<4>().ok_or(EINVAL)?;
    let index = rest.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    if index != 0 {
        return check_interface(index);
    }
    let address = Ipv4Addr::from(*address);
    if address.is_unspecified() || route::is_local(address.into()) { Ok(()) } else { Err(EADDRNOTAVAIL) }
}

/// `struct ipv6_mreq`: the group.
fn decode_request6(value: &[u8]) -> Result<IpAddr> {
    let (group, rest) = value.split_first_chunk::<16>().ok_or(EINVAL)?;
    let index = rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(EINVAL)?;
    let group = Ipv6Addr::from(*group);
    if !group.is_multicast() {
        return Err(EINVAL);
    }
    check_interface(index)?;
    Ok(group.into())
}

fn check_interface(index: u32) -> Result<()> {
    if index <= LOOPBACK_INDEX { Ok(()) } else { Err(ENODEV) }
}
