// SPDX-License-Identifier: MPL-2.0

//! Devices: terminals, serial ports, and the devices that are only an idea (`null` and its kin).
//!
//! [`init`] finds the hardware and registers what serves each device number; [`nodes`] is the list from which
//! [`crate::fs::devfs`] makes `/dev`.

pub mod kmsg;
pub mod mem;
pub mod serial;
pub mod tty;

use self::{kmsg::KmsgDevice, mem::MemDevice, tty::nodes::TtyDevice};
use crate::{
    fs::{Device, DeviceNumber, InodeKind, device::register},
    prelude::*,
};

/// A node below `/dev`.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The device.
    pub number: DeviceNumber,
    /// The permissions.
    pub permissions: u16,
}

/// Finds the serial ports and registers all devices. Call once, after the scheduler and the clocks.
pub fn init() {
    serial::init();
    let add = |major, minor, device: Arc<dyn Device>| {
        register(InodeKind::CharDevice, DeviceNumber::new(major, minor), device);
    };
    add(1, 3, Arc::new(MemDevice::Null));
    add(1, 5, Arc::new(MemDevice::Zero));
    add(1, 7, Arc::new(MemDevice::Full));
    add(1, 8, Arc::new(MemDevice::Random));
    add(1, 9, Arc::new(MemDevice::Urandom));
    add(1, 11, Arc::new(KmsgDevice));
    add(5, 0, Arc::new(TtyDevice::Controlling));
    add(5, 1, Arc::new(TtyDevice::Console));
    add(5, 2, Arc::new(TtyDevice::Multiplexer));
    for tty in serial::ports().iter().filter_map(|port| port.tty()) {
        add(tty.number().major, tty.number().minor, Arc::new(TtyDevice::Terminal(tty.clone())));
    }
}

/// The nodes of all devices, with Linux's names, numbers and permissions.
pub fn nodes() -> Vec<Node> {
    let fixed = [
        ("null", 1, 3, 0o666),
        ("zero", 1, 5, 0o666),
        ("full", 1, 7, 0o666),
        ("random", 1, 8, 0o666),
        ("urandom", 1, 9, 0o666),
        ("kmsg", 1, 11, 0o644),
        ("tty", 5, 0, 0o666),
        ("console", 5, 1, 0o600),
        ("ptmx", 5, 2, 0o666),
    ];
    let fixed = fixed.map(|(name, major, minor, permissions)| Node {
        name: name.to_string(),
        number: DeviceNumber::new(major, minor),
        permissions,
    });
    let serial = serial::ports().iter().filter_map(|port| port.tty()).map(|tty| Node {
        name: tty.name().to_string(),
        number: tty.number(),
        permissions: 0o660,
    });
    fixed.into_iter().chain(serial).collect()
}
