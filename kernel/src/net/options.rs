// SPDX-License-Identifier: MPL-2.0

//! The options of level `SOL_SOCKET` that mean the same for every family (`socket(7)`).
//!
//! What a type acts upon (`SO_RCVLOWAT`, `SO_SNDBUF`, `SO_PEERCRED`) it handles itself, in [`super::Socket::set_option`].

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::{
    Common,
    socket::inet::{route::LOOPBACK_NAME, settings},
};
use crate::{prelude::*, process::credentials::Capabilities};

/// The level of these options.
pub const SOL_SOCKET: i32 = 1;

/// The names of the options, with their numbers on x86-64.
pub mod name {
    #![allow(missing_docs, reason = "each is what socket(7) says of SO_ and the name")]
    pub const DEBUG: i32 = 1;
    pub const REUSEADDR: i32 = 2;
    pub const TYPE: i32 = 3;
    pub const ERROR: i32 = 4;
    pub const DONTROUTE: i32 = 5;
    pub const BROADCAST: i32 = 6;
    pub const SNDBUF: i32 = 7;
    pub const RCVBUF: i32 = 8;
    pub const KEEPALIVE: i32 = 9;
    pub const OOBINLINE: i32 = 10;
    pub const PRIORITY: i32 = 12;
    pub const LINGER: i32 = 13;
    pub const REUSEPORT: i32 = 15;
    pub const PASSCRED: i32 = 16;
    pub const PEERCRED: i32 = 17;
    pub const RCVLOWAT: i32 = 18;
    pub const SNDLOWAT: i32 = 19;
    pub const RCVTIMEO: i32 = 20;
    pub const SNDTIMEO: i32 = 21;
    pub const BINDTODEVICE: i32 = 25;
    pub const TIMESTAMP: i32 = 29;
    pub const ACCEPTCONN: i32 = 30;
    pub const SNDBUFFORCE: i32 = 32;
    pub const RCVBUFFORCE: i32 = 33;
    pub const TIMESTAMPNS: i32 = 35;
    pub const MARK: i32 = 36;
    pub const TIMESTAMPING: i32 = 37;
    pub const PROTOCOL: i32 = 38;
    pub const DOMAIN: i32 = 39;
    pub const RXQ_OVFL: i32 = 40;
    pub const SELECT_ERR_QUEUE: i32 = 45;
    pub const INCOMING_CPU: i32 = 49;
    pub const COOKIE: i32 = 57;
    pub const PEERGROUPS: i32 = 59;
    pub const TXTIME: i32 = 61;
    pub const TIMESTAMP_NEW: i32 = 63;
    pub const TIMESTAMPNS_NEW: i32 = 64;
    pub const TIMESTAMPING_NEW: i32 = 65;
}

/// The values. Relaxed: an option orders nothing else.
pub struct Options {
    /// Timeouts in nanoseconds, 0 for none.
    receive_timeout: AtomicU64,
    send_timeout: AtomicU64,
    /// Bytes, as `getsockopt(2)` shows them: twice what was asked for.
    send_buffer: AtomicU32,
    receive_buffer: AtomicU32,
    receive_low_water: AtomicI32,
    reuses_address: AtomicBool,
    reuses_port: AtomicBool,
    keeps_alive: AtomicBool,
    broadcasts: AtomicBool,
    takes_urgent_inline: AtomicBool,
    passes_credentials: AtomicBool,
    timestamps: Timestamps,
    reports_drops: AtomicBool,
    selects_errors: AtomicBool,
    /// `SO_TXTIME`: whether it is set, the flags, and the clock.
    txtime: AtomicU64,
    does_not_route: AtomicBool,
    is_debugged: AtomicBool,
    /// Whether it is bound to the loopback interface: there is no other.
    is_bound_to_device: AtomicBool,
    /// Seconds; negative for off.
    linger: AtomicI32,
    priority: AtomicI32,
    mark: AtomicU32,
}

/// The least that Linux sets (`SOCK_MIN_SNDBUF`, `SOCK_MIN_RCVBUF`).
pub const MIN_SEND_BUFFER: u32 = 4608;
const MIN_RECEIVE_BUFFER: u32 = 2304;

/// `struct timeval` of 64 bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct TimeVal {
    seconds: i64,
    micros: i64,
}

/// `struct linger`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct Linger {
    is_on: i32,
    seconds: i32,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            receive_timeout: AtomicU64::new(0),
            send_timeout: AtomicU64::new(0),
            send_buffer: AtomicU32::new(settings::SEND_DEFAULT.get()),
            receive_buffer: AtomicU32::new(settings::RECEIVE_DEFAULT.get()),
            receive_low_water: AtomicI32::new(1),
            reuses_address: AtomicBool::new(false),
            reuses_port: AtomicBool::new(false),
            keeps_alive: AtomicBool::new(false),
            broadcasts: AtomicBool::new(false),
            takes_urgent_inline: AtomicBool::new(false),
            passes_credentials: AtomicBool::new(false),
            timestamps: Timestamps::default(),
            reports_drops: AtomicBool::new(false),
            selects_errors: AtomicBool::new(false),
            txtime: AtomicU64::new(0),
            does_not_route: AtomicBool::new(false),
            is_debugged: AtomicBool::new(false),
            is_bound_to_device: AtomicBool::new(false),
            linger: AtomicI32::new(-1),
            priority: AtomicI32::new(0),
            mark: AtomicU32::new(0),
        }
    }

    /// Sets `SO_SNDBUF` and `SO_RCVBUF` of a new socket, in bytes as `getsockopt(2)` shows them.
    pub fn with_buffers(self, send: u32, receive: u32) -> Self {
        self.send_buffer.store(send, Relaxed);
        self.receive_buffer.store(receive, Relaxed);
        self
    }

    /// `SO_RCVTIMEO` in nanoseconds.
    pub fn receive_timeout(&self) -> Option<u64> {
        Some(self.receive_timeout.load(Relaxed)).filter(|nanos| *nanos > 0)
    }

    /// `SO_SNDTIMEO` in nanoseconds.
    pub fn send_timeout(&self) -> Option<u64> {
        Some(self.send_timeout.load(Relaxed)).filter(|nanos| *nanos > 0)
    }

    /// `SO_SNDBUF` in bytes, as `getsockopt(2)` shows it.
    pub fn send_buffer(&self) -> u32 {
        self.send_buffer.load(Relaxed)
    }

    /// `SO_RCVBUF` in bytes, as `getsockopt(2)` shows it.
    pub fn receive_buffer(&self) -> u32 {
        self.receive_buffer.load(Relaxed)
    }

    /// `SO_RCVLOWAT` in bytes.
    pub fn receive_low_water(&self) -> i32 {
        self.receive_low_water.load(Relaxed)
    }

    /// `SO_REUSEADDR`
    pub fn reuses_address(&self) -> bool {
        self.reuses_address.load(Relaxed)
    }

    /// `SO_REUSEPORT`
    pub fn reuses_port(&self) -> bool {
        self.reuses_port.load(Relaxed)
    }

    /// `SO_BROADCAST`
    pub fn broadcasts(&self) -> bool {
        self.broadcasts.load(Relaxed)
    }

    /// `SO_KEEPALIVE`
    pub fn keeps_alive(&self) -> bool {
        self.keeps_alive.load(Relaxed)
    }

    /// `SO_OOBINLINE`
    pub fn takes_urgent_inline(&self) -> bool {
        self.takes_urgent_inline.load(Relaxed)
    }

    /// `SO_PASSCRED`
    pub fn passes_credentials(&self) -> bool {
        self.passes_credentials.load(Relaxed)
    }

    /// Sets `SO_PASSCRED`.
    pub fn set_passes_credentials(&self, passes: bool) {
        self.passes_credentials.store(passes, Relaxed);
    }

    /// The options about time stamps.
    pub fn timestamps(&self) -> &Timestamps {
        &self.timestamps
    }

    /// `SO_RXQ_OVFL`
    pub fn reports_drops(&self) -> bool {
        self.reports_drops.load(Relaxed)
    }

    /// `SO_SELECT_ERR_QUEUE`
    pub fn selects_errors(&self) -> bool {
        self.selects_errors.load(Relaxed)
    }

    /// Whether `SO_TXTIME` is set.
    pub fn has_txtime(&self) -> bool {
        self.txtime.load(Relaxed) & TXTIME_SET != 0
    }

    /// `SO_LINGER`: seconds, if on.
    pub fn linger(&self) -> Option<u32> {
        u32::try_from(self.linger.load(Relaxed)).ok()
    }

    /// What an accepted socket takes over from its listener.
    pub fn inherit(&self, from: &Self) {
        self.receive_timeout.store(from.receive_timeout.load(Relaxed), Relaxed);
        self.send_timeout.store(from.send_timeout.load(Relaxed), Relaxed);
        self.send_buffer.store(from.send_buffer(), Relaxed);
        self.receive_buffer.store(from.receive_buffer(), Relaxed);
        self.receive_low_water.store(from.receive_low_water(), Relaxed);
        self.reuses_address.store(from.reuses_address(), Relaxed);
        self.reuses_port.store(from.reuses_port(), Relaxed);
        self.keeps_alive.store(from.keeps_alive(), Relaxed);
        self.takes_urgent_inline.store(from.takes_urgent_inline(), Relaxed);
        self.passes_credentials.store(from.passes_credentials(), Relaxed);
        self.linger.store(from.linger.load(Relaxed), Relaxed);
        self.priority.store(from.priority.load(Relaxed), Relaxed);
        self.mark.store(from.mark.load(Relaxed), Relaxed);
    }

    /// `setsockopt(2)`
    ///
    /// # Errors
    /// `ENOPROTOOPT` for what is no option of this level or may not be set; `EINVAL` for a value that is too short; `EDOM` for a
    /// timeout out of range; `EPERM` without privilege.
    pub fn set(&self, ctx: &Context, level: i32, name: i32, value: &[u8]) -> Result<()> {
        if level != SOL_SOCKET {
            return Err(ENOPROTOOPT);
        }
        let is_allowed = || if ctx.credentials().has(Capabilities::NET_ADMIN) { Ok(()) } else { Err(EPERM) };
        if name == name::BINDTODEVICE {
            return self.bind_to_device(ctx, value);
        }
        // As on Linux, every value but those of a device and of a filter holds an int at least.
        let number = decode_int(value)?;
        let is_on = number != 0;
        match name {
            name::DEBUG if is_on && is_allowed().is_err() => return Err(EACCES),
            name::DEBUG => self.is_debugged.store(is_on, Relaxed),
            name::REUSEADDR => self.reuses_address.store(is_on, Relaxed),
            name::REUSEPORT => self.reuses_port.store(is_on, Relaxed),
            name::DONTROUTE => self.does_not_route.store(is_on, Relaxed),
            name::BROADCAST => self.broadcasts.store(is_on, Relaxed),
            name::KEEPALIVE => self.keeps_alive.store(is_on, Relaxed),
            name::OOBINLINE => self.takes_urgent_inline.store(is_on, Relaxed),
            name::PASSCRED => self.passes_credentials.store(is_on, Relaxed),
            name::TIMESTAMP | name::TIMESTAMPNS | name::TIMESTAMP_NEW | name::TIMESTAMPNS_NEW => {
                self.timestamps.set_kind(name, is_on)
            }
            name::TIMESTAMPING | name::TIMESTAMPING_NEW => self.timestamps.set_flags(name, number.cast_unsigned())?,
            name::RXQ_OVFL => self.reports_drops.store(is_on, Relaxed),
            name::SELECT_ERR_QUEUE => self.selects_errors.store(is_on, Relaxed),
            name::TXTIME => self.set_txtime(ctx, value)?,
            name::SNDBUF => self.send_buffer.store(doubled(number, settings::SEND_MAX.get(), MIN_SEND_BUFFER), Relaxed),
            name::RCVBUF => {
                self.receive_buffer.store(doubled(number, settings::RECEIVE_MAX.get(), MIN_RECEIVE_BUFFER), Relaxed)
            }
            name::SNDBUFFORCE => {
                is_allowed()?;
                self.send_buffer.store(doubled(number, i32::MAX as u32 / 2, MIN_SEND_BUFFER), Relaxed);
            }
            name::RCVBUFFORCE => {
                is_allowed()?;
                self.receive_buffer.store(doubled(number, i32::MAX as u32 / 2, MIN_RECEIVE_BUFFER), Relaxed);
            }
            name::RCVLOWAT => {
                let bytes = if number < 0 { i32::MAX } else { number.max(1) };
                self.receive_low_water.store(bytes, Relaxed);
            }
            name::RCVTIMEO => self.receive_timeout.store(decode_timeout(value)?, Relaxed),
            name::SNDTIMEO => self.send_timeout.store(decode_timeout(value)?, Relaxed),
            name::LINGER => {
                let linger = Linger::read_from_bytes_prefix(value)?;
                let seconds = if linger.is_on != 0 { linger.seconds.max(0) } else { -1 };
                self.linger.store(seconds, Relaxed);
            }
            name::PRIORITY if (0..=6).contains(&number) || is_allowed().is_ok() => self.priority.store(number, Relaxed),
            name::PRIORITY => return Err(EPERM),
            name::MARK => {
                is_allowed()?;
                self.mark.store(number.cast_unsigned(), Relaxed);
            }
            _ => return Err(ENOPROTOOPT),
        }
        Ok(())
    }

    /// `SO_TXTIME`: that messages will say when they are to be sent. It is kept, and those times are accepted: the loopback has no queue that
    /// would heed them, on Linux either.
    ///
    /// # Errors
    /// `EINVAL` for an unknown clock or flag; `EPERM` for another clock than the monotonic one, without privilege.
    fn set_txtime(&self, ctx: &Context, value: &[u8]) -> Result<()> {
        const CLOCK_MONOTONIC: i32 = 1;
        const CLOCKS: i32 = 16;
        const KNOWN_FLAGS: i32 = 3;
        let (clock, flags) = (decode_int(value)?, decode_int(value.get(4..).ok_or(EINVAL)?)?);
        if value.len() != 8 || flags & !KNOWN_FLAGS != 0 || !(0..CLOCKS).contains(&clock) {
            return Err(EINVAL);
        }
        if clock != CLOCK_MONOTONIC && !ctx.credentials().has(Capabilities::NET_ADMIN) {
            return Err(EPERM);
        }
        self.txtime
            .store(TXTIME_SET | u64::from(flags.cast_unsigned()) << 32 | u64::from(clock.cast_unsigned()), Relaxed);
        Ok(())
    }

    /// `SO_BINDTODEVICE`: an interface's name, or nothing.
    ///
    /// # Errors
    /// `ENODEV` for another interface than the loopback; `EPERM` to change what is set, without privilege.
    fn bind_to_device(&self, ctx: &Context, value: &[u8]) -> Result<()> {
        let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
        if self.is_bound_to_device.load(Relaxed) && !ctx.credentials().has(Capabilities::NET_RAW) {
            return Err(EPERM);
        }
        if !name.is_empty() && name != LOOPBACK_NAME.as_bytes() {
            return Err(ENODEV);
        }
        self.is_bound_to_device.store(!name.is_empty(), Relaxed);
        Ok(())
    }

    /// `getsockopt(2)`, for the socket of `common`.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for what is no option of this level.
    pub fn get(&self, common: &Common, level: i32, name: i32) -> Result<Vec<u8>> {
        if level != SOL_SOCKET {
            return Err(ENOPROTOOPT);
        }
        let flag = |value: &AtomicBool| i32::from(value.load(Relaxed));
        let number = match name {
            name::DEBUG => flag(&self.is_debugged),
            name::REUSEADDR => flag(&self.reuses_address),
            name::REUSEPORT => flag(&self.reuses_port),
            name::DONTROUTE => flag(&self.does_not_route),
            name::BROADCAST => flag(&self.broadcasts),
            name::KEEPALIVE => flag(&self.keeps_alive),
            name::OOBINLINE => flag(&self.takes_urgent_inline),
            name::PASSCRED => flag(&self.passes_credentials),
            name::TIMESTAMP | name::TIMESTAMPNS | name::TIMESTAMP_NEW | name::TIMESTAMPNS_NEW => {
                i32::from(self.timestamps.shows(name))
            }
            name::TIMESTAMPING | name::TIMESTAMPING_NEW => {
                // With the number of a hardware clock, which there is none of.
                return Ok(u64::from(self.timestamps.flags()).to_ne_bytes().to_vec());
            }
            name::RXQ_OVFL => flag(&self.reports_drops),
            name::SELECT_ERR_QUEUE => flag(&self.selects_errors),
            name::TXTIME => return Ok((self.txtime.load(Relaxed) & !TXTIME_SET).to_ne_bytes().to_vec()),
            name::SNDBUF => self.send_buffer().cast_signed(),
            name::RCVBUF => self.receive_buffer().cast_signed(),
            name::RCVLOWAT => self.receive_low_water(),
            name::SNDLOWAT => 1,
            name::PRIORITY => self.priority.load(Relaxed),
            name::MARK => self.mark.load(Relaxed).cast_signed(),
            name::TYPE => common.kind as i32,
            name::DOMAIN => i32::from(common.family.number()),
            name::PROTOCOL => common.protocol,
            name::INCOMING_CPU => 0,
            name::RCVTIMEO => return Ok(encode_timeout(self.receive_timeout()).as_bytes().to_vec()),
            name::SNDTIMEO => return Ok(encode_timeout(self.send_timeout()).as_bytes().to_vec()),
            name::COOKIE => return Ok(common.inode.number().to_ne_bytes().to_vec()),
            name::BINDTODEVICE => {
                let is_bound = self.is_bound_to_device.load(Relaxed);
                return Ok(if is_bound { alloc::format!("{LOOPBACK_NAME}\0").into_bytes() } else { Vec::new() });
            }
            name::LINGER => {
                let seconds = self.linger.load(Relaxed);
                let linger = Linger { is_on: i32::from(seconds >= 0), seconds: seconds.max(0) };
                return Ok(linger.as_bytes().to_vec());
            }
            _ => return Err(ENOPROTOOPT),
        };
        Ok(number.to_ne_bytes().to_vec())
    }
}

/// The bit of [`Options::txtime`] that says that there is a time.
const TXTIME_SET: u64 = 1 << 63;

/// What a socket tells of when datagrams came: by one of four control messages, or by a fifth (Linux's `timestamping.rst`).
#[derive(Default)]
pub struct Timestamps {
    /// The option that was set last, or 0.
    kind: AtomicI32,
    /// `SO_TIMESTAMPING`
    flags: AtomicU32,
    /// By which of its two names it was set.
    flags_name: AtomicI32,
}

impl Timestamps {
    /// Stamps are taken in software when something arrives.
    const RX_SOFTWARE: u32 = 1 << 3;
    /// Those are told of.
    const SOFTWARE: u32 = 1 << 4;
    /// Stamps by hardware, which there are none of, and telling of them.
    const HARDWARE: u32 = 1 | 1 << 2 | 1 << 5 | 1 << 6;

    fn set_kind(&self, name: i32, is_on: bool) {
        self.kind.store(if is_on { name } else { 0 }, Relaxed);
    }

    /// # Errors
    /// `EINVAL` for what is unknown, and for stamps of what is sent.
    fn set_flags(&self, name: i32, flags: u32) -> Result<()> {
        if flags & !(Self::RX_SOFTWARE | Self::SOFTWARE | Self::HARDWARE) != 0 {
            return Err(EINVAL);
        }
        self.flags.store(flags, Relaxed);
        self.flags_name.store(name, Relaxed);
        Ok(())
    }

    fn flags(&self) -> u32 {
        self.flags.load(Relaxed)
    }

    /// Which of `SO_TIMESTAMP`, `SO_TIMESTAMPNS` and their later likes is set; the control message has the same number.
    pub fn kind(&self) -> Option<i32> {
        Some(self.kind.load(Relaxed)).filter(|kind| *kind != 0)
    }

    /// What `getsockopt(2)` shows of these four. As on Linux, the last of them shows as the one before it, too.
    fn shows(&self, name: i32) -> bool {
        let kind = self.kind();
        kind == Some(name) || name == name::TIMESTAMP_NEW && kind == Some(name::TIMESTAMPNS_NEW)
    }

    /// The name of `SO_TIMESTAMPING` if it tells of stamps.
    pub fn timestamping(&self) -> Option<i32> {
        let is_taken = self.flags() & Self::RX_SOFTWARE != 0 || self.kind().is_some();
        (is_taken && self.flags() & Self::SOFTWARE != 0).then(|| self.flags_name.load(Relaxed))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Linger {
    fn read_from_bytes_prefix(value: &[u8]) -> Result<Self> {
        let is_on = decode_int(value)?;
        let seconds = decode_int(value.get(4..).ok_or(EINVAL)?)?;
        Ok(Self { is_on, seconds })
    }
}

/// The `int` that a value begins with.
///
/// # Errors
/// `EINVAL` if it is shorter.
pub fn decode_int(value: &[u8]) -> Result<i32> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or(EINVAL)
}

/// Buffers count their bookkeeping too, so Linux doubles what is asked for.
fn doubled(wanted: i32, max: u32, min: u32) -> u32 {
    // A negative size is a very large one, as there.
    (wanted.cast_unsigned().min(max) * 2).max(min)
}

/// A `struct timeval` in nanoseconds; 0 for none.
fn decode_timeout(value: &[u8]) -> Result<u64> {
    let word = |at: usize| -> Result<i64> {
        let bytes = value.get(at..).and_then(|rest| rest.first_chunk()).ok_or(EINVAL)?;
        Ok(i64::from_ne_bytes(*bytes))
    };
    let (seconds, micros) = (word(0)?, word(8)?);
    if !(0..1_000_000).contains(&micros) {
        return Err(EDOM);
    }
    // Negative seconds mean no time at all.
    let Ok(seconds) = u64::try_from(seconds) else { return Ok(1) };
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(micros.cast_unsigned() * 1000))
}

fn encode_timeout(nanos: Option<u64>) -> TimeVal {
    let nanos = nanos.unwrap_or(0);
    TimeVal { seconds: (nanos / 1_000_000_000) as i64, micros: (nanos % 1_000_000_000 / 1000) as i64 }
}
