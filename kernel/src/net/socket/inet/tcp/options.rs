// SPDX-License-Identifier: MPL-2.0

//! What `setsockopt(2)` and `ioctl(2)` set and show (`tcp(7)`).
//!
//! Without packets many options have nothing to act upon: bytes are there as soon as they are sent (`TCP_NODELAY`,
//! `TCP_CORK`, `TCP_QUICKACK`), and a peer of this machine is never lost (`TCP_KEEPIDLE` and its like). They are kept and shown.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use readiness::IoEvents;

use super::{
    super::{
        IPPROTO_IPV6, IPPROTO_TCP,
        ip::{self, IpOptions},
        values::{Known, Values},
    },
    TcpSocket,
    connection::Connection,
    info,
    state::Stage,
};
use crate::{
    net::{
        Socket,
        options::{SOL_SOCKET, decode_int, name as so},
    },
    prelude::*,
};

const TCP_MAXSEG: i32 = 2;
const TCP_INFO: i32 = 11;
const TCP_CONGESTION: i32 = 13;
const TCP_REPAIR: i32 = 19;
const TCP_ULP: i32 = 31;
const TCP_INQ: i32 = 36;

/// The names that `TCP_CONGESTION` knows; the first is the default.
const CONGESTION: [&str; 2] = ["cubic", "reno"];
/// Room for one of them (`TCP_CA_NAME_MAX`).
const CONGESTION_LEN: usize = 16;

const COUNT: usize = 24;

static TABLE: [Known; COUNT] = [
    Known::flag(IPPROTO_TCP, 1, 0), // TCP_NODELAY
    Known::number(IPPROTO_TCP, TCP_MAXSEG, 0, 0, 32767),
    Known::flag(IPPROTO_TCP, 3, 0),                        // TCP_CORK
    Known::number(IPPROTO_TCP, 4, 7200, 1, 32767),         // TCP_KEEPIDLE
    Known::number(IPPROTO_TCP, 5, 75, 1, 32767),           // TCP_KEEPINTVL
    Known::number(IPPROTO_TCP, 6, 9, 1, 127),              // TCP_KEEPCNT
    Known::number(IPPROTO_TCP, 7, 6, 1, 127),              // TCP_SYNCNT
    Known::number(IPPROTO_TCP, 8, 60, -1, i32::MAX),       // TCP_LINGER2
    Known::number(IPPROTO_TCP, 9, 0, 0, i32::MAX),         // TCP_DEFER_ACCEPT
    Known::number(IPPROTO_TCP, 10, 0, 0, i32::MAX),        // TCP_WINDOW_CLAMP
    Known::flag(IPPROTO_TCP, 12, 1),                       // TCP_QUICKACK
    Known::number(IPPROTO_TCP, 16, 0, 0, 1),               // TCP_THIN_LINEAR_TIMEOUTS
    Known::number(IPPROTO_TCP, 17, 0, 0, 1),               // TCP_THIN_DUPACK
    Known::number(IPPROTO_TCP, 18, 0, 0, i32::MAX),        // TCP_USER_TIMEOUT
    Known::number(IPPROTO_TCP, 23, 0, 0, i32::MAX),        // TCP_FASTOPEN
    Known::number(IPPROTO_TCP, 24, 0, i32::MIN, i32::MAX), // TCP_TIMESTAMP
    Known::number(IPPROTO_TCP, 25, 0, i32::MIN, i32::MAX), // TCP_NOTSENT_LOWAT
    Known::number(IPPROTO_TCP, 27, 0, 0, 2),               // TCP_SAVE_SYN
    Known::number(IPPROTO_TCP, 30, 0, 0, 1),               // TCP_FASTOPEN_CONNECT
    Known::number(IPPROTO_TCP, 34, 0, 0, 1),               // TCP_FASTOPEN_NO_COOKIE
    Known::number(IPPROTO_TCP, TCP_INQ, 0, 0, 1),
    Known::number(IPPROTO_TCP, 37, 0, 0, i32::MAX), // TCP_TX_DELAY
    Known::number(IPPROTO_TCP, 29, 0, 0, 0),        // TCP_REPAIR_WINDOW: only what changes nothing
    Known::flag(IPPROTO_TCP, 15, 0),                // TCP_COOKIE_TRANSACTIONS, long gone
];

/// `ioctl(2)` requests.
const FIONREAD: u32 = 0x541b;
const SIOCOUTQ: u32 = 0x5411;
const SIOCOUTQNSD: u32 = 0x894b;
const SIOCATMARK: u32 = 0x8905;

/// The options of one socket beside those of level `SOL_SOCKET`.
pub(super) struct TcpOptions {
    ip: IpOptions,
    values: Values<COUNT>,
    /// Whether it uses the second of [`CONGESTION`]. Relaxed, as the next two.
    is_reno: AtomicBool,
    /// `SO_SNDBUF` was set, so the sender's share is what it says.
    limits_send: AtomicBool,
    /// `SO_RCVBUF` was set.
    limits_receive: AtomicBool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            ip: IpOptions::default(),
            values: Values::new(&TABLE),
            is_reno: AtomicBool::new(false),
            limits_send: AtomicBool::new(false),
            limits_receive: AtomicBool::new(false),
        }
    }
}

impl Clone for TcpOptions {
    fn clone(&self) -> Self {
        let copy = |flag: &AtomicBool| AtomicBool::new(flag.load(Relaxed));
        Self {
            ip: self.ip.clone(),
            values: self.values.clone(),
            is_reno: copy(&self.is_reno),
            limits_send: copy(&self.limits_send),
            limits_receive: copy(&self.limits_receive),
        }
    }
}

impl TcpOptions {
    /// `IPV6_V6ONLY`
    pub fn only_v6(&self) -> bool {
        self.ip.is_set(IPPROTO_IPV6, ip::name::IPV6_V6ONLY)
    }

    /// `TCP_MAXSEG`, 0 if it was not set.
    pub fn max_segment(&self) -> u32 {
        self.values.get(IPPROTO_TCP, TCP_MAXSEG).map_or(0, i32::cast_unsigned)
    }

    /// The name of the algorithm against congestion.
    fn congestion(&self) -> &'static str {
        CONGESTION[usize::from(self.is_reno.load(Relaxed))]
    }

    /// # Errors
    /// `ENOENT` for an algorithm that there is not; `EINVAL` without a name.
    fn set_congestion(&self, value: &[u8]) -> Result<()> {
        let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
        if value.is_empty() {
            return Err(EINVAL);
        }
        let index = CONGESTION.iter().position(|known| known.as_bytes() == name).ok_or(ENOENT)?;
        self.is_reno.store(index == 1, Relaxed);
        Ok(())
    }
}

impl TcpSocket {
    /// `setsockopt(2)`
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an unknown option; `EINVAL` for a value out of range; see [`crate::net::Options::set`].
    pub(super) fn set(&self, ctx: &Context, level: i32, name: i32, value: &[u8]) -> Result<()> {
        let options = &self.options;
        if level == IPPROTO_TCP {
            return match name {
                TCP_CONGESTION => options.set_congestion(value),
                TCP_REPAIR => Err(EPERM),
                TCP_ULP => Err(ENOENT),
                TCP_MAXSEG => self.set_max_segment(decode_int(value)?),
                _ => options.values.set(level, name, decode_int(value)?).unwrap_or(Err(ENOPROTOOPT)),
            };
        }
        let is_bound = || self.name.lock().claim.is_some() || self.endpoint().is_some();
        if let Some(outcome) = options.ip.set(ctx, self.common.family, is_bound(), level, name, value) {
            return outcome;
        }
        self.common.options.set(ctx, level, name, value)?;
        match (level, name) {
            (SOL_SOCKET, so::SNDBUF | so::SNDBUFFORCE) => options.limits_send.store(true, Relaxed),
            (SOL_SOCKET, so::RCVBUF | so::RCVBUFFORCE) => options.limits_receive.store(true, Relaxed),
            (SOL_SOCKET, so::RCVLOWAT | so::OOBINLINE) => {}
            _ => return Ok(()),
        }
        self.apply_options();
        Ok(())
    }

    /// `getsockopt(2)`
    ///
    /// # Errors
    /// `ENOPROTOOPT` for an unknown option.
    pub(super) fn get(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        let int = |value: i32| Ok(value.to_ne_bytes().to_vec());
        if level == IPPROTO_TCP {
            return match name {
                TCP_INFO => Ok(self.info()),
                TCP_CONGESTION => {
                    let mut bytes = self.options.congestion().as_bytes().to_vec();
                    bytes.resize(CONGESTION_LEN, 0);
                    Ok(bytes)
                }
                TCP_REPAIR => int(0),
                TCP_ULP => Ok(Vec::new()),
                TCP_MAXSEG => int(self.segment()),
                _ => self.options.values.get(level, name).map_or(Err(ENOPROTOOPT), int),
            };
        }
        // Both ends have addresses of one version.
        let peer = self.endpoint().map(|end| end.connection.addresses[end.side].ip());
        match self.options.ip.get(self.common.family, peer, level, name) {
            Some(outcome) => outcome,
            None => self.common.options.get(&self.common, level, name),
        }
    }

    /// `TCP_MAXSEG`: what fits into a packet, when connected.
    fn segment(&self) -> i32 {
        match (self.endpoint(), self.options.max_segment()) {
            (Some(end), _) => end.connection.segment().cast_signed(),
            (None, 0) => info::DEFAULT_SEGMENT,
            (None, set) => set.cast_signed(),
        }
    }

    /// `TCP_MAXSEG` of connections to come.
    ///
    /// # Errors
    /// `EINVAL` out of range; 0 takes it back.
    fn set_max_segment(&self, bytes: i32) -> Result<()> {
        const LEAST: i32 = 88;
        if bytes != 0 && bytes < LEAST {
            return Err(EINVAL);
        }
        self.options.values.set(IPPROTO_TCP, TCP_MAXSEG, bytes).unwrap_or(Err(ENOPROTOOPT))?;
        if let Some(listener) = self.listener() {
            listener.set_max_segment(self.options.max_segment());
        }
        Ok(())
    }

    /// Tells the connection of what it acts upon.
    pub(super) fn apply_options(&self) {
        if let Some(end) = self.endpoint() {
            self.apply_options_to(&end.connection, end.side);
        }
    }

    /// Tells a connection, of which this is or will be `side`, of what it acts upon.
    pub(super) fn apply_options_to(&self, connection: &Connection, side: usize) {
        let options = &self.common.options;
        let limit = |is_set: &AtomicBool, bytes: u32| is_set.load(Relaxed).then_some(bytes as usize / 2);
        let send = limit(&self.options.limits_send, options.send_buffer());
        let receive = limit(&self.options.limits_receive, options.receive_buffer());
        connection.state.update(|state| {
            let peer = state.peer_of(side);
            state.ends[side].low_water = usize::try_from(options.receive_low_water()).unwrap_or(1);
            state.ends[side].takes_urgent_inline = options.takes_urgent_inline();
            // What there is may be enough now (Linux's `tcp_set_rcvlowat`).
            if state.is_readable(side) || state.has_fin(side) {
                state.notify(side, IoEvents::READABLE);
            } else {
                state.notify_nothing();
            }
            for (flow, share, bytes) in [(side, 0, send), (peer, 1, receive)] {
                let Some(bytes) = bytes else { continue };
                if core::mem::replace(&mut state.flows[flow].shares[share], bytes) != bytes {
                    // Room for the one means that less is enough for the other.
                    let receiver = state.peer_of(flow);
                    state.notify(flow, IoEvents::WRITABLE);
                    state.notify(receiver, IoEvents::READABLE);
                }
            }
        });
    }

    /// `ioctl(2)`
    ///
    /// # Errors
    /// `EINVAL` on a listening socket; `ENOTTY` for an unknown request.
    pub(super) fn do_control(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        if !matches!(command, FIONREAD | SIOCOUTQ | SIOCOUTQNSD | SIOCATMARK) {
            return super::super::interface::control(ctx, command, argument);
        }
        if self.is_listening() {
            return Err(EINVAL);
        }
        let value = self.endpoint().map_or(0, |end| {
            end.connection.state.read(|state| match command {
                FIONREAD => {
                    // As Linux's `tcp_inq` counts: up to urgent data, unless it is part of the stream.
                    let flow = state.incoming(end.side);
                    match state.ends[end.side].takes_urgent_inline {
                        true => flow.queued,
                        false if flow.is_at_mark() => 0,
                        false => flow.bytes_before_mark(),
                    }
                }
                SIOCATMARK => usize::from(state.incoming(end.side).is_at_mark()),
                _ if state.stage == Stage::Over => 0,
                _ => state.flows[end.side].unacknowledged(),
            })
        });
        ctx.write_val(argument, &i32::try_from(value).unwrap_or(i32::MAX))?;
        Ok(0)
    }
}
