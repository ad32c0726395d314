// SPDX-License-Identifier: MPL-2.0

//! Devices: terminals, serial ports, and the devices that are only an idea (`null` and its kin).

pub mod kmsg;
pub mod mem;
pub mod serial;
pub mod tty;
