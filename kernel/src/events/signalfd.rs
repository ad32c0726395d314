// SPDX-License-Identifier: MPL-2.0

//! Signals as files (`signalfd(2)`).
//!
//! # Protocol
//! What can be read depends on who reads: the signals that are pending for the calling thread and for its process, as far as
//! the file's mask has them. So readiness is computed for the calling thread, and never cached; and the state that it
//! depends on, the queues of signals, is not the file's, so there is nothing to track here.
//!
//! Who waits observes the file's own pollee. The file in turn observes the arrivals of signals at each process that ever
//! asked for its pollee, and passes them on. As on Linux that is the process that called `epoll_ctl(2)`, not the one that
//! calls `epoll_wait(2)`: a child that inherits an epoll is not woken by its own signals.
//!
//! # Concurrency
//! Signals arrive in any context; passing on takes no lock of the file. `homes` is a lock of task context.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use readiness::{Claim, IoEvents, Mode, Observer, Pollable, Pollee, Registration, Timeout, Together, WaitError};

use crate::{
    file::{AccessMode, Description, File, IoDst, StatusFlags},
    fs::{AnonInode, Inode},
    prelude::*,
    process::{Process, Thread, with_current_thread},
    signal::{self, InfoLayout, SigInfo, SigSet},
};

/// A file from which signals are read.
pub struct SignalFile {
    relay: Arc<Relay>,
    homes: SpinLock<Vec<Home>>,
}

/// What the processes' pollees refer to.
struct Relay {
    pollee: Pollee,
    /// The signals that can be read. Relaxed: the bump of the pollee orders a change.
    mask: AtomicU64,
}

/// A process whose signals are passed on.
struct Home {
    process: Weak<Process>,
    registration: Registration,
}

impl Observer for Relay {
    fn on_ready(&self, events: IoEvents) -> Claim {
        self.pollee.notify(events)
    }
}

/// `struct signalfd_siginfo`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod)]
struct RawInfo {
    signo: u32,
    errno: i32,
    code: i32,
    pid: u32,
    uid: u32,
    fd: i32,
    timer_id: u32,
    band: u32,
    overrun: u32,
    trap: u32,
    status: i32,
    int: i32,
    pointer: u64,
    user_time: u64,
    system_time: u64,
    address: u64,
    address_lsb: u16,
    padding: u16,
    syscall: i32,
    call_address: u64,
    arch: u32,
    rest: [u32; 7],
}

const _: () = assert!(size_of::<RawInfo>() == 128);

impl From<SigInfo> for RawInfo {
    /// Which members of `siginfo_t` are copied where. Mirrors `signalfd_copyinfo`.
    fn from(info: SigInfo) -> Self {
        let [first, second, third, fourth] = info.fields;
        let (low, high) = (first as u32, (first >> 32) as u32);
        let signo = u32::from(info.signal().number());
        let raw = Self { signo, errno: info.errno, code: info.code, ..Self::default() };
        let int = (second as u32).cast_signed();
        match info.layout() {
            InfoLayout::Kill => Self { pid: low, uid: high, ..raw },
            InfoLayout::Queue => Self { pid: low, uid: high, pointer: second, int, ..raw },
            InfoLayout::Timer => Self { timer_id: low, overrun: high, pointer: second, int, ..raw },
            InfoLayout::Poll => Self { band: low, fd: int, ..raw },
            InfoLayout::Fault => Self { address: first, address_lsb: second as u16, ..raw },
            InfoLayout::Child => {
                Self { pid: low, uid: high, status: int, user_time: third, system_time: fourth, ..raw }
            }
            InfoLayout::Syscall => Self { call_address: first, syscall: int, arch: (second >> 32) as u32, ..raw },
        }
    }
}

impl SignalFile {
    /// The description that `signalfd4(2)` makes.
    pub fn open(mask: SigSet, status: StatusFlags) -> Arc<Description> {
        let relay = Arc::new(Relay { pollee: Pollee::new(), mask: AtomicU64::new(mask.0) });
        let file = Self { relay, homes: SpinLock::new(Vec::new()) };
        Description::new(file, AccessMode::READ | AccessMode::WRITE, status)
    }

    fn mask(&self) -> SigSet {
        SigSet(self.relay.mask.load(Relaxed))
    }

    /// Replaces the mask. Whoever waits looks again.
    pub fn set_mask(&self, mask: SigSet) {
        self.relay.mask.store(mask.0, Relaxed);
        let _ = self.relay.pollee.notify(IoEvents::IN);
    }

    /// Passes on what arrives at the process of `thread`, from now on.
    fn observe(&self, thread: &Thread) {
        let process = &thread.process;
        let mut homes = self.homes.lock();
        if homes.iter().any(|home| core::ptr::eq(home.process.as_ptr(), Arc::as_ptr(process))) {
            return;
        }
        homes.retain(|home| home.process.strong_count() > 0);
        let registration = process.signals.arrivals.register(self.relay.clone(), IoEvents::IN, Mode::Shared);
        homes.push(Home { process: Arc::downgrade(process), registration });
    }
}

impl Drop for SignalFile {
    fn drop(&mut self) {
        let homes = core::mem::take(&mut *self.homes.lock());
        for home in homes {
            if let Some(process) = home.process.upgrade() {
                process.signals.arrivals.deregister(home.registration);
            }
        }
    }
}

impl Pollable for SignalFile {
    fn pollee(&self) -> &Pollee {
        with_current_thread(|thread| self.observe(thread));
        &self.relay.pollee
    }

    fn readiness(&self) -> IoEvents {
        let pending = with_current_thread(signal::pending_for).unwrap_or(SigSet::EMPTY);
        if (pending & self.mask()).is_empty() { IoEvents::empty() } else { IoEvents::IN }
    }

    /// Never from the cache: another caller gets another answer.
    fn poll(&self) -> IoEvents {
        self.readiness()
    }

    fn cached(&self) -> Option<IoEvents> {
        None
    }
}

impl File for SignalFile {
    /// Takes as many signals as there is room for, and waits for the first.
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        if dst.avail() < size_of::<RawInfo>() {
            return Err(EINVAL);
        }
        let is_nonblocking = status.contains(StatusFlags::NONBLOCK);
        let timeout = if is_nonblocking { Timeout::Now } else { Timeout::Never };
        // A signal for one thread is of no use to others, so none is woken in another's place.
        let subjects = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| register(self.pollee(), IoEvents::IN));
        let waited = ctx.wait(&subjects, timeout, || signal::take(ctx, self.mask()));
        let mut next = waited.map(Some).map_err(|error| match error {
            WaitError::TimedOut => EAGAIN,
            WaitError::Interrupted => ERESTARTSYS,
        })?;
        let mut count = 0;
        while let Some(info) = next {
            // As on Linux, what was taken is lost if it cannot be copied out.
            match dst.write_val(&RawInfo::from(info)) {
                Ok(()) => count += size_of::<RawInfo>(),
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
            let has_room = dst.avail() >= size_of::<RawInfo>();
            next = if has_room { signal::take(ctx, self.mask()) } else { None };
        }
        Ok(count)
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        AnonInode::shared()
    }

    fn name(&self) -> Vec<u8> {
        b"anon_inode:[signalfd]".to_vec()
    }

    fn ignores_lseek(&self) -> bool {
        true
    }

    fn fdinfo(&self, out: &mut String) {
        *out += &alloc::format!("sigmask:\t{:016x}\n", self.mask().0);
    }
}
