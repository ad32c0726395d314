// SPDX-License-Identifier: MPL-2.0

//! What `/proc/sys/net` sets. Relaxed throughout: a setting orders nothing else.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::prelude::*;

/// A number that can be set, within limits.
pub struct Setting {
    value: AtomicU32,
    min: u32,
    max: u32,
}

impl Setting {
    const fn new(value: u32, min: u32, max: u32) -> Self {
        Self { value: AtomicU32::new(value), min, max }
    }

    /// The value.
    pub fn get(&self) -> u32 {
        self.value.load(Relaxed)
    }

    /// Sets it.
    ///
    /// # Errors
    /// `EINVAL` out of range.
    pub fn set(&self, value: u32) -> Result<()> {
        if !(self.min..=self.max).contains(&value) {
            return Err(EINVAL);
        }
        self.value.store(value, Relaxed);
        Ok(())
    }
}

const INT_MAX: u32 = i32::MAX as u32;

/// `net.core.somaxconn`: the largest backlog.
pub static SOMAXCONN: Setting = Setting::new(4096, 0, INT_MAX);
/// `net.core.rmem_default`: `SO_RCVBUF` of a new datagram socket.
pub static RECEIVE_DEFAULT: Setting = Setting::new(212_992, 2304, INT_MAX);
/// `net.core.wmem_default`
pub static SEND_DEFAULT: Setting = Setting::new(212_992, 4608, INT_MAX);
/// `net.core.rmem_max`: the most that `SO_RCVBUF` may ask for.
pub static RECEIVE_MAX: Setting = Setting::new(212_992, 2304, INT_MAX / 2);
/// `net.core.wmem_max`
pub static SEND_MAX: Setting = Setting::new(212_992, 4608, INT_MAX / 2);
/// `net.ipv4.ip_unprivileged_port_start`: the first port that anybody may bind to.
pub static UNPRIVILEGED_PORT_START: Setting = Setting::new(1024, 0, 65535);

/// `net.ipv4.ip_local_port_range`: both ends in one word, so that a reader sees a pair that was set.
static PORT_RANGE: AtomicU32 = AtomicU32::new(32768 << 16 | 60999);

/// The first and the last port that is given out unasked.
pub fn port_range() -> (u16, u16) {
    let both = PORT_RANGE.load(Relaxed);
    ((both >> 16) as u16, both as u16)
}

/// Sets the ports that are given out.
///
/// # Errors
/// `EINVAL` if there are none between them.
pub fn set_port_range(first: u16, last: u16) -> Result<()> {
    if first == 0 || last < first {
        return Err(EINVAL);
    }
    PORT_RANGE.store(u32::from(first) << 16 | u32::from(last), Relaxed);
    Ok(())
}
