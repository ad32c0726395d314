// SPDX-License-Identifier: MPL-2.0

//! Requests about network interfaces (`netdevice(7)`). There is one: the loopback, which is up and stays so.

use super::route::{LOOPBACK_INDEX, LOOPBACK_MTU, LOOPBACK_NAME};
use crate::prelude::*;

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;
/// The requests that change an interface, or name one that is to be changed.
const SETTERS: [u32; 7] = [0x8914, 0x8916, 0x891a, 0x891c, 0x8922, 0x8923, 0x8924];

/// Bytes of a name, its terminator included.
const NAME_LEN: usize = 16;
/// Bytes of `struct ifreq`.
const REQUEST_LEN: usize = 40;
/// Bytes of what an `ifreq` holds beside the name.
const VALUE_LEN: usize = REQUEST_LEN - NAME_LEN;

/// `IFF_UP | IFF_LOOPBACK | IFF_RUNNING`
const FLAGS: i16 = 0x1 | 0x8 | 0x40;
const ARPHRD_LOOPBACK: u16 = 772;
const AF_INET: u16 = 2;
/// `lo` queues up to so many packets, says Linux.
const QUEUE_LEN: i32 = 1000;

/// `struct ifconf`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct IfConf {
    len: i32,
    padding: u32,
    requests: usize,
}

/// `ioctl(2)` of an internet socket, for what is no business of its protocol.
///
/// # Errors
/// `ENODEV` for another interface; `EPERM` for what would change one; `ENOTTY` for an unknown request; `EFAULT`.
pub fn control(ctx: &Context, command: u32, argument: usize) -> Result<isize> {
    match command {
        SIOCGIFCONF => return list(ctx, argument),
        SIOCGIFNAME => return name_of(ctx, argument),
        _ if SETTERS.contains(&command) => return Err(EPERM),
        _ => {}
    }
    let Some(value) = value_of(command) else { return Err(ENOTTY) };
    let name: [u8; NAME_LEN] = ctx.read_val(argument)?;
    let name = name.split(|byte| matches!(byte, 0 | b':')).next().unwrap_or_default();
    if name != LOOPBACK_NAME.as_bytes() {
        return Err(ENODEV);
    }
    ctx.write_bytes(argument.checked_add(NAME_LEN).ok_or(EFAULT)?, &value)?;
    Ok(0)
}

/// What `lo` has to say to a request.
fn value_of(command: u32) -> Option<[u8; VALUE_LEN]> {
    let mut value = [0; VALUE_LEN];
    let mut put = |bytes: &[u8]| value[..bytes.len()].copy_from_slice(bytes);
    match command {
        SIOCGIFFLAGS => put(&FLAGS.to_ne_bytes()),
        SIOCGIFADDR => put(&inet_address([127, 0, 0, 1])),
        SIOCGIFBRDADDR => put(&inet_address([0; 4])),
        SIOCGIFNETMASK => put(&inet_address([255, 0, 0, 0])),
        SIOCGIFMETRIC => put(&0i32.to_ne_bytes()),
        SIOCGIFMTU => put(&LOOPBACK_MTU.to_ne_bytes()),
        SIOCGIFHWADDR => put(&ARPHRD_LOOPBACK.to_ne_bytes()),
        SIOCGIFINDEX => put(&LOOPBACK_INDEX.to_ne_bytes()),
        SIOCGIFTXQLEN => put(&QUEUE_LEN.to_ne_bytes()),
        _ => return None,
    }
    Some(value)
}

/// A `struct sockaddr_in` without a port.
fn inet_address(ip: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
    bytes[4..8].copy_from_slice(&ip);
    bytes
}

/// A `struct ifreq` of `lo`, with nothing but its name.
fn named() -> [u8; REQUEST_LEN] {
    let mut request = [0; REQUEST_LEN];
    request[..LOOPBACK_NAME.len()].copy_from_slice(LOOPBACK_NAME.as_bytes());
    request
}

/// `SIOCGIFCONF`: all interfaces with an address, or without a buffer the room that they need.
fn list(ctx: &Context, argument: usize) -> Result<isize> {
    let mut conf: IfConf = ctx.read_val(argument)?;
    let room = usize::try_from(conf.len).map_err(|_| EINVAL)?;
    if conf.requests == 0 {
        conf.len = REQUEST_LEN as i32;
    } else if room < REQUEST_LEN {
        conf.len = 0;
    } else {
        let mut request = named();
        request[NAME_LEN..NAME_LEN + 16].copy_from_slice(&inet_address([127, 0, 0, 1]));
        ctx.write_bytes(conf.requests, &request)?;
        conf.len = REQUEST_LEN as i32;
    }
    ctx.write_val(argument, &conf)?;
    Ok(0)
}

/// `SIOCGIFNAME`: the name of the interface with an index.
fn name_of(ctx: &Context, argument: usize) -> Result<isize> {
    let index: u32 = ctx.read_val(argument.checked_add(NAME_LEN).ok_or(EFAULT)?)?;
    if index != LOOPBACK_INDEX {
        return Err(ENODEV);
    }
    ctx.write_bytes(argument, &named()[..NAME_LEN])?;
    Ok(0)
}
