// SPDX-License-Identifier: MPL-2.0

//! Signals on readiness: `O_ASYNC` with `F_SETOWN` and `F_SETSIG` (`fcntl(2)`, "Managing signals").
//!
//! # Role
//! A description that was ever given an owner or a signal has a [`SigIo`]. While `O_ASYNC` is set it observes the file.
//!
//! # Concurrency
//! The observer runs wherever the file notifies. It sends through the table of processes, whose lock is one of task context:
//! so only pipes, sockets and inotifies, which notify in task context, have this, and others ignore `O_ASYNC`, as on Linux files
//! without `fasync` do.

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

use readiness::{Claim, IoEvents, Mode, Observer, Pollable, Registration};

use crate::{
    prelude::*,
    process::table,
    signal::{self, SigInfo, Signal},
};

/// Who gets the signal, in the terms of `F_SETOWN_EX`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SigOwner {
    /// A thread (`F_OWNER_TID`).
    Thread(u32),
    /// A process (`F_OWNER_PID`).
    Process(u32),
    /// A process group (`F_OWNER_PGRP`).
    Group(u32),
}

/// The part of a description that is about signals.
pub struct SigIo {
    /// Whom to tell.
    owner: SpinLock<Option<SigOwner>>,
    /// Which signal; 0 for `SIGIO` without any facts. Relaxed, as `fd`: neither orders anything.
    signal: AtomicU32,
    /// The descriptor by which `O_ASYNC` was set, for `si_fd`.
    fd: AtomicI32,
    registration: SpinLock<Option<Registration>>,
}

impl Default for SigIo {
    fn default() -> Self {
        Self {
            owner: SpinLock::new(None),
            signal: AtomicU32::new(0),
            fd: AtomicI32::new(-1),
            registration: SpinLock::new(None),
        }
    }
}

impl SigIo {
    /// The owner.
    pub fn owner(&self) -> Option<SigOwner> {
        *self.owner.lock()
    }

    /// Sets the owner, whom the caller may signal.
    pub fn set_owner(&self, owner: Option<SigOwner>) {
        *self.owner.lock() = owner;
    }

    /// The signal, 0 for the default.
    pub fn signal(&self) -> u32 {
        self.signal.load(Relaxed)
    }

    /// Sets the signal.
    pub fn set_signal(&self, signal: u32) {
        self.signal.store(signal, Relaxed);
    }

    /// Starts observing `file`.
    pub fn arm(self: &Arc<Self>, file: &dyn Pollable, fd: i32) {
        self.fd.store(fd, Relaxed);
        let mut registration = self.registration.lock();
        if registration.is_none() {
            let wanted = IoEvents::READABLE | IoEvents::WRITABLE | IoEvents::PRI;
            *registration = Some(file.pollee().register(self.clone(), wanted, Mode::Shared));
        }
    }

    /// Stops observing `file`.
    pub fn disarm(&self, file: &dyn Pollable) {
        let registration = self.registration.lock().take();
        if let Some(registration) = registration {
            file.pollee().deregister(registration);
        }
    }

    /// The facts of the signal: which descriptor, and what for.
    fn info(&self, events: IoEvents) -> Option<SigInfo> {
        /// `POLL_IN`, `POLL_OUT`, `POLL_ERR`, `POLL_PRI`, `POLL_HUP` of `sigaction(2)`.
        const CODES: [(IoEvents, i32); 5] =
            [(IoEvents::HUP, 6), (IoEvents::ERR, 4), (IoEvents::PRI, 5), (IoEvents::IN, 1), (IoEvents::OUT, 2)];
        let number = self.signal();
        if number == 0 {
            return Some(SigInfo::kernel(Signal::IO));
        }
        let signal = Signal::new(number.cast_signed()).ok()?;
        let (_, code) = CODES.iter().find(|(bit, _)| events.intersects(*bit))?;
        Some(SigInfo::file(signal, *code, u64::from(events.bits()), self.fd.load(Relaxed)))
    }
}

impl Observer for SigIo {
    fn on_ready(&self, events: IoEvents) -> Claim {
        if let (Some(owner), Some(info)) = (self.owner(), self.info(events)) {
            // A full queue loses real-time signals; Linux falls back to `SIGIO` there, and so do we.
            if send(owner, info).is_err() {
                let _ = send(owner, SigInfo::kernel(Signal::IO));
            }
        }
        Claim::NotTaken
    }
}

fn send(owner: SigOwner, info: SigInfo) -> Result<()> {
    match owner {
        SigOwner::Thread(tid) => table::thread(tid).map_or(Ok(()), |thread| signal::send_to_thread(&thread, info)),
        SigOwner::Process(pid) => {
            table::process_of_id(pid).map_or(Ok(()), |process| signal::send_to_process(&process, info))
        }
        SigOwner::Group(group) => {
            signal::send_to_group(group, info);
            Ok(())
        }
    }
}
