// SPDX-License-Identifier: MPL-2.0

//! Descriptors of processes (`pidfd_open(2)`, and `CLONE_PIDFD` of `clone(2)`).
//!
//! # Protocol
//! The pollee is the process's own, [`Process::exits`]: all descriptors of one process share it, as they share the event. It is
//! notified once, when nothing but the status is left, and the answer never changes back: a descriptor outlives its
//! process, and keeps what remains of it, but never gets to mean another process with the same number.

use readiness::{IoEvents, Pollable, Pollee};

use crate::{
    file::{AccessMode, Description, File, StatusFlags},
    fs::{AnonInode, Inode},
    prelude::*,
    process::{Process, table},
};

/// A descriptor of a process.
pub struct PidFile {
    process: Arc<Process>,
}

impl PidFile {
    /// A description of `process`.
    pub fn open(process: Arc<Process>, status: StatusFlags) -> Arc<Description> {
        Description::new(Self { process }, AccessMode::READ | AccessMode::WRITE, status)
    }

    /// The process.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }
}

impl Pollable for PidFile {
    fn pollee(&self) -> &Pollee {
        &self.process.exits
    }

    /// As Linux's `pidfd_poll` had it up to 6.8; since then a process that was waited for is in `HUP`, too.
    fn readiness(&self) -> IoEvents {
        if self.process.is_zombie() { IoEvents::READABLE } else { IoEvents::empty() }
    }
}

impl File for PidFile {
    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        AnonInode::shared()
    }

    fn name(&self) -> Vec<u8> {
        b"anon_inode:[pidfd]".to_vec()
    }

    /// The number, or -1 when the process was waited for. There is one namespace, so both lines say the same.
    fn fdinfo(&self, out: &mut String) {
        let number = if table::contains(&self.process) { i64::from(self.process.pid) } else { -1 };
        *out += &alloc::format!("Pid:\t{number}\nNSpid:\t{number}\n");
    }
}
