// SPDX-License-Identifier: MPL-2.0

//! The epoll instance as a file, on [`readiness::epoll`].
//!
//! # Role
//! The core keeps entries and finds events; here are the quota of each user, the parameters of busy polling, and what
//! `/proc/PID/fdinfo` shows. The calls are in [`crate::syscall::epoll`].

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use readiness::{
    Pollable, Pollee,
    epoll::{Epoll, Target, Topology, WatchQuota},
};

use crate::{
    file::{AccessMode, Description, File, StatusFlags},
    fs::{AnonInode, Inode},
    prelude::*,
    process::credentials::Capabilities,
};

/// All epolls that may be nested into each other.
static TOPOLOGY: Topology = Topology::new();

/// What each user may still watch.
static QUOTAS: SpinLock<BTreeMap<u32, Arc<WatchQuota>>> = SpinLock::new(BTreeMap::new());

/// `/proc/sys/fs/epoll/max_user_watches`; [`UNSET`] until it is set.
static MAX_USER_WATCHES: AtomicUsize = AtomicUsize::new(UNSET);

const UNSET: usize = usize::MAX;

/// Bytes of memory that an entry costs, roughly.
const ENTRY_COST: usize = 192;

/// How many files each user may watch with all epolls together.
pub fn max_user_watches() -> usize {
    match MAX_USER_WATCHES.load(Relaxed) {
        UNSET => default_max_user_watches(),
        max => max,
    }
}

/// Sets `/proc/sys/fs/epoll/max_user_watches`. Entries beyond it stay.
///
/// # Errors
/// `EINVAL` if it is negative.
pub fn set_max_user_watches(max: i64) -> Result<()> {
    let max = usize::try_from(max).map_err(|_| EINVAL)?;
    MAX_USER_WATCHES.store(max, Relaxed);
    QUOTAS.lock().values().for_each(|quota| quota.set_limit(max));
    Ok(())
}

/// As on Linux: entries may take four per cent of memory.
fn default_max_user_watches() -> usize {
    let regions = ostd::boot::boot_info().memory_regions.iter();
    let usable = regions.filter(|region| region.typ() == ostd::boot::memory_region::MemoryRegionType::Usable);
    usable.map(|region| region.len()).sum::<usize>() / 25 / ENTRY_COST
}

fn quota_of(uid: u32) -> Arc<WatchQuota> {
    let max = max_user_watches();
    QUOTAS.lock().entry(uid).or_insert_with(|| Arc::new(WatchQuota::new(max))).clone()
}

/// An epoll instance.
pub struct EpollFile {
    epoll: Epoll<Description>,
    /// [`BusyPoll`], packed. Nothing here polls devices, so it is only kept.
    busy_poll: AtomicU64,
}

/// `struct epoll_params`: how to poll network devices busily (`ioctl_eventpoll(2)`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod)]
struct BusyPoll {
    microseconds: u32,
    budget: u16,
    is_preferred: u8,
    padding: u8,
}

impl EpollFile {
    /// The description that `epoll_create1(2)` makes.
    pub fn open(ctx: &Context) -> Arc<Description> {
        let epoll = Epoll::new(&TOPOLOGY, quota_of(ctx.credentials().uid));
        let file = Self { epoll, busy_poll: AtomicU64::new(0) };
        Description::new(file, AccessMode::READ | AccessMode::WRITE, StatusFlags::empty())
    }

    /// The epoll itself.
    pub fn epoll(&self) -> &Epoll<Description> {
        &self.epoll
    }

    /// `EPIOCSPARAMS`.
    ///
    /// # Errors
    /// `EINVAL` for values out of range; `EPERM` for a budget beyond 64 without privilege.
    fn set_busy_poll(&self, ctx: &Context, params: BusyPoll) -> Result<isize> {
        const USUAL_BUDGET: u16 = 64;
        if params.padding != 0 || params.microseconds > i32::MAX.cast_unsigned() || params.is_preferred > 1 {
            return Err(EINVAL);
        }
        if params.budget > USUAL_BUDGET && !ctx.credentials().has(Capabilities::NET_ADMIN) {
            return Err(EPERM);
        }
        let low = u64::from(params.microseconds);
        let high = u64::from(params.budget) | u64::from(params.is_preferred) << 16;
        self.busy_poll.store(low | high << 32, Relaxed);
        Ok(0)
    }

    /// `EPIOCGPARAMS`.
    fn busy_poll(&self) -> BusyPoll {
        let [a, b, c, d, e, f, g, _] = self.busy_poll.load(Relaxed).to_le_bytes();
        let microseconds = u32::from_le_bytes([a, b, c, d]);
        BusyPoll { microseconds, budget: u16::from_le_bytes([e, f]), is_preferred: g, padding: 0 }
    }
}

impl File for EpollFile {
    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(&self.epoll)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        AnonInode::shared()
    }

    fn name(&self) -> Vec<u8> {
        b"anon_inode:[eventpoll]".to_vec()
    }

    fn ignores_lseek(&self) -> bool {
        true
    }

    fn as_epoll(&self) -> Option<&EpollFile> {
        Some(self)
    }

    /// One line per entry, ordered by description and number as in Linux's tree.
    fn fdinfo(&self, out: &mut String) {
        let mut lines = Vec::new();
        self.epoll.for_each_entry(|entry| {
            let (base, position) = (entry.file.inode().base(), *entry.file.position().lock());
            let device = base.device();
            let line = alloc::format!(
                "tfd: {:8} events: {:8x} data: {:16x}  pos:{} ino:{:x} sdev:{:x}\n",
                entry.fd,
                entry.event.events,
                entry.event.data,
                position,
                base.number(),
                // As the kernel numbers devices inside.
                u64::from(device.major) << 20 | u64::from(device.minor),
            );
            lines.push((entry.file.id(), entry.fd, line));
        });
        lines.sort_unstable_by_key(|(id, fd, _)| (*id, *fd));
        out.extend(lines.iter().map(|(_, _, line)| line.as_str()));
    }

    fn ioctl(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        const EPIOCSPARAMS: u32 = 0x4008_8a01;
        const EPIOCGPARAMS: u32 = 0x8008_8a02;
        match command {
            EPIOCSPARAMS => self.set_busy_poll(ctx, ctx.read_val(argument)?),
            EPIOCGPARAMS => ctx.write_val(argument, &self.busy_poll()).map(|()| 0),
            _ => Err(EINVAL),
        }
    }
}

/// Epoll asks a description through its file. Only files that can be polled get this far: `epoll_ctl(2)` checks.
impl Pollable for Description {
    fn pollee(&self) -> &Pollee {
        static NOBODY: spin::Once<Pollee> = spin::Once::new();
        match self.file().pollable() {
            Some(pollable) => pollable.pollee(),
            None => NOBODY.call_once(Pollee::new),
        }
    }

    fn readiness(&self) -> readiness::IoEvents {
        self.poll()
    }

    #[inline]
    fn poll(&self) -> readiness::IoEvents {
        self.poll()
    }

    fn cached(&self) -> Option<readiness::IoEvents> {
        self.cached()
    }

    fn shared_pollee(&self) -> Option<&Arc<Pollee>> {
        self.shared_pollee()
    }
}

impl Target for Description {
    fn as_epoll(&self) -> Option<&Epoll<Self>> {
        self.file().as_epoll().map(EpollFile::epoll)
    }
}
