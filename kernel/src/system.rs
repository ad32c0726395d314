// SPDX-License-Identifier: MPL-2.0

//! The system as a whole: its names (`uname(2)`), its memory, its load, and its end.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostd::{boot::memory_region::MemoryRegionType, cpu::num_cpus, power::ExitCode};
use spin::Once;

use crate::{
    prelude::*,
    process::table,
    time::{Deadline, NANOS_PER_SEC, Timer},
    vm::{frames, page_pool},
};

/// `uname(2)` `sysname`: programs look for it.
pub const SYSTEM_NAME: &str = "Linux";
/// The version of Linux whose behaviour programs may rely on, and who provides it.
pub const RELEASE: &str = "6.12.0-pollux";
/// `uname(2)` `version`.
pub const VERSION: &str = concat!("#1 SMP Pollux ", env!("CARGO_PKG_VERSION"));
/// `uname(2)` `machine`.
pub const MACHINE: &str = "x86_64";
/// Longest host or domain name.
pub const NAME_MAX: usize = 64;

/// Host and domain name.
#[derive(Clone, Debug)]
pub struct Names {
    /// `gethostname(2)`
    pub host: Vec<u8>,
    /// `getdomainname(2)`
    pub domain: Vec<u8>,
}

static NAMES: SpinLock<Option<Names>> = SpinLock::new(None);

/// The present names.
pub fn names() -> Names {
    let names = NAMES.lock().clone();
    names.unwrap_or_else(|| Names { host: b"pollux".to_vec(), domain: b"(none)".to_vec() })
}

/// Changes the names.
pub fn set_names(change: impl FnOnce(&mut Names)) {
    let mut new = names();
    change(&mut new);
    *NAMES.lock() = Some(new);
}

/// Physical memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What the frame allocator was given.
    pub total: usize,
    /// What it has left, and what is in the pool.
    pub free: usize,
}

/// Physical memory as the frame allocator sees it.
pub fn memory() -> Memory {
    static TOTAL: Once<usize> = Once::new();
    let total = *TOTAL.call_once(|| {
        let regions = ostd::boot::boot_info().memory_regions.iter();
        regions.filter(|region| region.typ() == MemoryRegionType::Usable).map(|region| region.len()).sum()
    });
    let free = frames::free_size() + page_pool::size();
    Memory { total, free: free.min(total) }
}

/// Fraction bits of load averages, as in `sysinfo(2)`.
pub const LOAD_SHIFT: u32 = 16;

/// Averages over 1, 5 and 15 minutes, with [`LOAD_SHIFT`] fraction bits.
static LOAD: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// The load averages over 1, 5 and 15 minutes, with [`LOAD_SHIFT`] fraction bits.
pub fn load() -> [u64; 3] {
    LOAD.each_ref().map(|average| average.load(Relaxed))
}

/// Starts measuring the load: every five seconds, as Linux does (`kernel/sched/loadavg.c` explains the averages). Call once.
pub fn start_load_average() {
    const INTERVAL: u64 = 5 * NANOS_PER_SEC;
    static TIMER: Once<SpinLock<Timer>> = Once::new();
    let timer = TIMER.call_once(|| {
        SpinLock::new(Timer::new(|| {
            count_load(crate::sched::runnable());
            Some(Deadline::after_nanos(INTERVAL))
        }))
    });
    timer.lock().arm(Deadline::after_nanos(INTERVAL));
}

/// Moves each average towards `runnable` by 1 - exp(-5 s / period).
fn count_load(runnable: usize) {
    // exp(-5/60), exp(-5/300) and exp(-5/900) with 16 fraction bits.
    const DECAY: [u64; 3] = [60_296, 64_453, 65_173];
    let active = (runnable as u64) << LOAD_SHIFT;
    for (average, decay) in LOAD.iter().zip(DECAY) {
        let one = 1 << LOAD_SHIFT;
        let next = (average.load(Relaxed) * decay + active * (one - decay)) >> LOAD_SHIFT;
        average.store(next, Relaxed);
    }
}

/// Number of CPUs.
pub fn cpus() -> usize {
    num_cpus()
}

/// Number of threads.
pub fn threads() -> usize {
    table::thread_count()
}

/// How the machine is left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shutdown {
    /// Off.
    PowerOff,
    /// Once more.
    Restart,
    /// The CPUs stop.
    Halt,
}

/// Leaves the machine. In QEMU all of these end the virtual machine: it has no other way to say that it is done.
pub fn shut_down(how: Shutdown) -> ! {
    ostd::notice!("shutting down: {how:?}");
    ostd::power::poweroff(ExitCode::Success)
}
