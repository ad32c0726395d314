// SPDX-License-Identifier: MPL-2.0

//! Socket addresses: `struct sockaddr` and its kinds (`sockaddr(3type)`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use arrayvec::ArrayVec;

use super::Family;
use crate::prelude::*;

/// Bytes of `struct sockaddr_storage`: no address is longer.
pub const MAX_LEN: usize = 128;
/// Bytes of `sun_path`.
const UNIX_PATH_LEN: usize = 108;
/// Bytes of `sa_family_t`.
const FAMILY_LEN: usize = 2;
const INET_LEN: usize = 16;
/// `struct sockaddr_in6` without its last member, as RFC 2133 had it: still accepted, as by Linux.
const INET6_MIN_LEN: usize = 24;
const NETLINK_LEN: usize = 12;

/// An address as the kernel handles it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SocketAddress {
    /// `AF_UNSPEC`: dissolves an association (`connect(2)`).
    Unspecified,
    /// `AF_UNIX`
    Unix(UnixAddress),
    /// `AF_INET` and `AF_INET6`
    Inet(SocketAddr),
    /// `AF_NETLINK`
    Netlink {
        /// The port; 0 is the kernel's.
        port: u32,
        /// Multicast groups, a bit each.
        groups: u32,
    },
    /// Of a family that no socket here has.
    Other(u16),
}

/// The three kinds of `unix(7)`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum UnixAddress {
    /// No name: an unbound socket; in `bind(2)` the wish for any abstract name.
    Unnamed,
    /// A name in the file system, without its terminator.
    Path(Vec<u8>),
    /// A name of the abstract namespace, without its leading zero.
    Abstract(Vec<u8>),
}

impl SocketAddress {
    /// Decodes what a program passed.
    ///
    /// # Errors
    /// `EINVAL` if it is too short for its family, or too long.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (family, rest) = bytes.split_first_chunk::<FAMILY_LEN>().ok_or(EINVAL)?;
        let family = u16::from_ne_bytes(*family);
        match Family::from_number(family) {
            _ if family == 0 => Ok(Self::Unspecified),
            Some(Family::Unix) => UnixAddress::decode(rest).map(Self::Unix),
            Some(Family::Inet) => decode_inet(bytes),
            Some(Family::Inet6) => decode_inet6(bytes),
            Some(Family::Netlink) => {
                let port = u32::from_ne_bytes(field(bytes, 4)?);
                Ok(Self::Netlink { port, groups: u32::from_ne_bytes(field(bytes, 8)?) })
            }
            None => Ok(Self::Other(family)),
        }
    }

    /// The bytes for a program.
    pub fn encode(&self) -> ArrayVec<u8, MAX_LEN> {
        let mut bytes = ArrayVec::new();
        let mut put = |part: &[u8]| bytes.extend(part.iter().copied().take(MAX_LEN));
        match self {
            Self::Unspecified => put(&0u16.to_ne_bytes()),
            Self::Other(family) => put(&family.to_ne_bytes()),
            Self::Unix(address) => {
                put(&Family::Unix.number().to_ne_bytes());
                match address {
                    UnixAddress::Unnamed => {}
                    UnixAddress::Path(path) => [path.as_slice(), &[0]].map(&mut put).into_iter().collect(),
                    UnixAddress::Abstract(name) => [&[0], name.as_slice()].map(&mut put).into_iter().collect(),
                }
            }
            Self::Inet(SocketAddr::V4(address)) => {
                put(&Family::Inet.number().to_ne_bytes());
                put(&address.port().to_be_bytes());
                put(&address.ip().octets());
                put(&[0; 8]);
            }
            Self::Inet(SocketAddr::V6(address)) => {
                put(&Family::Inet6.number().to_ne_bytes());
                put(&address.port().to_be_bytes());
                put(&address.flowinfo().to_be_bytes());
                put(&address.ip().octets());
                put(&address.scope_id().to_ne_bytes());
            }
            Self::Netlink { port, groups } => {
                put(&u32::from(Family::Netlink.number()).to_ne_bytes());
                put(&port.to_ne_bytes());
                put(&groups.to_ne_bytes());
            }
        }
        bytes
    }

    /// Reads an address of `len` bytes at `address`.
    ///
    /// # Errors
    /// `EINVAL` for a length out of range, or as [`Self::decode`]; `EFAULT`.
    pub fn read(ctx: &Context, address: Vaddr, len: i32) -> Result<Self> {
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX_LEN).ok_or(EINVAL)?;
        let mut bytes = [0; MAX_LEN];
        let bytes = &mut bytes[..len];
        ctx.read_bytes(address, bytes)?;
        Self::decode(bytes)
    }

    /// Writes as much of the address as there is room for, and its full length to `len_address`, where the room stands.
    ///
    /// # Errors
    /// `EINVAL` if the room is negative; `EFAULT`.
    pub fn write(&self, ctx: &Context, address: Vaddr, len_address: Vaddr) -> Result<()> {
        let bytes = self.encode();
        let room: i32 = ctx.read_val(len_address)?;
        let room = usize::try_from(room).map_err(|_| EINVAL)?;
        ctx.write_bytes(address, &bytes[..bytes.len().min(room)])?;
        ctx.write_val(len_address, &(bytes.len() as u32))
    }
}

impl UnixAddress {
    /// Decodes what follows the family.
    ///
    /// # Errors
    /// `EINVAL` if it is longer than `sun_path`.
    fn decode(name: &[u8]) -> Result<Self> {
        match name {
            _ if name.len() > UNIX_PATH_LEN => Err(EINVAL),
            [] => Ok(Self::Unnamed),
            [0, name @ ..] => Ok(Self::Abstract(name.to_vec())),
            path => Ok(Self::Path(path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())),
        }
    }
}

fn decode_inet(bytes: &[u8]) -> Result<SocketAddress> {
    if bytes.len() < INET_LEN {
        return Err(EINVAL);
    }
    let port = u16::from_be_bytes(field(bytes, 2)?);
    let ip = Ipv4Addr::from(field::<4>(bytes, 4)?);
    Ok(SocketAddress::Inet(SocketAddrV4::new(ip, port).into()))
}

fn decode_inet6(bytes: &[u8]) -> Result<SocketAddress> {
    let port = u16::from_be_bytes(field(bytes, 2)?);
    let flow = u32::from_be_bytes(field(bytes, 4)?);
    let ip = Ipv6Addr::from(field::<16>(bytes, 8)?);
    let scope = field(bytes, INET6_MIN_LEN).map_or(0, u32::from_ne_bytes);
    Ok(SocketAddress::Inet(SocketAddrV6::new(ip, port, flow, scope).into()))
}

/// `N` bytes at `offset`.
///
/// # Errors
/// `EINVAL` if there are not as many.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N]> {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().ok_or(EINVAL)
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl From<UnixAddress> for SocketAddress {
    fn from(address: UnixAddress) -> Self {
        Self::Unix(address)
    }
}

/// The address without a port that stands for every local one, in `family`.
pub fn any_of(family: Family) -> SocketAddr {
    let ip = match family {
        Family::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

const _: () = assert!(NETLINK_LEN <= MAX_LEN && INET6_MIN_LEN < MAX_LEN);
