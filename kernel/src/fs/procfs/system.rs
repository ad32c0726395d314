// SPDX-License-Identifier: MPL-2.0

//! Files about the system: `/proc/meminfo` and its neighbours.

use alloc::format;
use core::fmt::Write;

use ostd::arch::{cpu::cpuid::cpuid, tsc_freq};

use super::super::{
    Inode,
    locks::{self, Lock, Owner},
    mount,
    pseudo::text,
};
use crate::{
    cmdline,
    prelude::*,
    process::table,
    sched, system,
    time::{NANOS_PER_SEC, TICK_NANOS, cpu_time, now_monotonic, now_realtime},
};

/// Nanoseconds per `USER_HZ` tick, the unit of CPU times in `/proc`.
pub const NANOS_PER_TICK: u64 = NANOS_PER_SEC / 100;

pub(super) fn cmdline(_ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("{}\n", cmdline::get().raw))
}

pub(super) fn version(_ctx: &Context) -> Result<Vec<u8>> {
    let (name, release, version) = (system::SYSTEM_NAME, system::RELEASE, system::VERSION);
    text(format_args!("{name} version {release} (pollux@localhost) (rustc) {version}\n"))
}

pub(super) fn uptime(_ctx: &Context) -> Result<Vec<u8>> {
    let idle: u64 = (0..system::cpus()).map(|cpu| cpu_ticks(cpu).idle).sum();
    let up = now_monotonic() / NANOS_PER_TICK;
    text(format_args!("{}.{:02} {}.{:02}\n", up / 100, up % 100, idle / 100, idle % 100))
}

/// Every lock, and below it who waits for it.
pub(super) fn locks(_ctx: &Context) -> Result<Vec<u8>> {
    let mut out = String::new();
    for (index, (inode, held, waiting)) in locks::all().iter().enumerate() {
        show_lock(&mut out, index + 1, "", inode, held);
        waiting.iter().for_each(|lock| show_lock(&mut out, index + 1, "-> ", inode, lock));
    }
    Ok(out.into_bytes())
}

fn show_lock(out: &mut String, index: usize, arrow: &str, inode: &Arc<dyn Inode>, lock: &Lock) {
    let family = match lock.owner {
        Owner::Process(_) => "POSIX ",
        Owner::Description(_) => "OFDLCK",
        Owner::Flock(_) => "FLOCK ",
    };
    let kind = if lock.is_exclusive { "WRITE" } else { "READ" };
    let pid = lock.pid.map_or(-1, i64::from);
    let (device, number) = (inode.base().device(), inode.base().number());
    let _ = write!(
        out,
        "{index}: {arrow}{family} ADVISORY  {kind} {pid} {:02x}:{:02x}:{number} {} ",
        device.major, device.minor, lock.start
    );
    let _ = match lock.end {
        u64::MAX => writeln!(out, "EOF"),
        end => writeln!(out, "{end}"),
    };
}

pub(super) fn loadavg(_ctx: &Context) -> Result<Vec<u8>> {
    let mut out = String::new();
    for load in system::load() {
        // Rounded to hundredths, as Linux does.
        let load = load + (1 << system::LOAD_SHIFT) / 200;
        let fraction = ((load & ((1 << system::LOAD_SHIFT) - 1)) * 100) >> system::LOAD_SHIFT;
        let _ = write!(out, "{}.{fraction:02} ", load >> system::LOAD_SHIFT);
    }
    let last = table::processes().last().map_or(0, |process| process.pid);
    let _ = writeln!(out, "{}/{} {last}", sched::runnable(), system::threads());
    Ok(out.into_bytes())
}

pub(super) fn meminfo(_ctx: &Context) -> Result<Vec<u8>> {
    let memory = system::memory();
    let cached = crate::vm::PageCache::total_pages() * PAGE_SIZE;
    let mut out = String::new();
    let mut line = |name: &str, bytes: usize| {
        let _ = writeln!(out, "{name:<15} {:>8} kB", bytes / 1024);
    };
    line("MemTotal:", memory.total);
    line("MemFree:", memory.free);
    // Files live in memory only: their pages cannot be given back.
    line("MemAvailable:", memory.free.saturating_sub(crate::vm::reserve::size()));
    line("Buffers:", 0);
    line("Cached:", cached);
    line("SwapCached:", 0);
    line("SwapTotal:", 0);
    line("SwapFree:", 0);
    line("Dirty:", 0);
    line("Writeback:", 0);
    line("Shmem:", cached);
    line("CommitLimit:", memory.total);
    line("HugePages_Total:", 0);
    Ok(out.replace("HugePages_Total:        0 kB", "HugePages_Total:       0\nHugePages_Free:        0").into_bytes())
}

/// CPU time of one CPU in `USER_HZ` ticks.
struct Ticks {
    user: u64,
    system: u64,
    idle: u64,
}

fn cpu_ticks(cpu: usize) -> Ticks {
    // The kernel counts milliseconds.
    let [user, system, idle] = cpu_time::cpu_ticks(cpu).map(|ticks| ticks * TICK_NANOS / NANOS_PER_TICK);
    Ticks { user, system, idle }
}

pub(super) fn stat(_ctx: &Context) -> Result<Vec<u8>> {
    let per_cpu: Vec<Ticks> = (0..system::cpus()).map(cpu_ticks).collect();
    let sum = |part: fn(&Ticks) -> u64| per_cpu.iter().map(part).sum::<u64>();
    let line = |name: &str, user, system, idle| format!("{name} {user} 0 {system} {idle} 0 0 0 0 0 0\n");
    let mut out = line("cpu ", sum(|ticks| ticks.user), sum(|ticks| ticks.system), sum(|ticks| ticks.idle));
    for (cpu, ticks) in per_cpu.iter().enumerate() {
        out.push_str(&line(&format!("cpu{cpu}"), ticks.user, ticks.system, ticks.idle));
    }
    let boot = now_realtime().saturating_sub(now_monotonic()) / NANOS_PER_SEC;
    let timer: u64 = (0..system::cpus()).map(timer_interrupts).sum();
    let serial: u64 = crate::device::serial::ports().iter().map(|port| port.interrupts()).sum();
    let _ = write!(
        out,
        "intr {}\nctxt {}\nbtime {boot}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\n",
        timer + serial,
        sched::switches(),
        table::created_threads(),
        sched::runnable(),
    );
    Ok(out.into_bytes())
}

fn timer_interrupts(cpu: usize) -> u64 {
    cpu_time::cpu_ticks(cpu).iter().sum()
}

pub(super) fn interrupts(_ctx: &Context) -> Result<Vec<u8>> {
    let cpus = 0..system::cpus();
    let mut out = String::from("           ");
    cpus.clone().for_each(|cpu| _ = write!(out, "CPU{cpu:<8}"));
    out.push('\n');
    for port in crate::device::serial::ports() {
        // The interrupt controller sends them all to the first CPU.
        let _ = write!(out, "{:>3}:", port.irq());
        cpus.clone().for_each(|cpu| _ = write!(out, " {:>10}", if cpu == 0 { port.interrupts() } else { 0 }));
        let _ = writeln!(out, "  IO-APIC {:>3}-edge      ttyS{}", port.irq(), port.index());
    }
    out.push_str("LOC:");
    cpus.for_each(|cpu| _ = write!(out, " {:>10}", timer_interrupts(cpu)));
    out.push_str("   Local timer interrupts\n");
    Ok(out.into_bytes())
}

pub(super) fn filesystems(_ctx: &Context) -> Result<Vec<u8>> {
    let mut out = String::new();
    for kind in mount::types() {
        let _ = writeln!(out, "{}\t{}", if kind.is_virtual() { "nodev" } else { "" }, kind.name());
    }
    Ok(out.into_bytes())
}

pub(super) fn devices(_ctx: &Context) -> Result<Vec<u8>> {
    let chars = "  1 mem\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n";
    text(format_args!("Character devices:\n{chars}\nBlock devices:\n"))
}

pub(super) fn consoles(_ctx: &Context) -> Result<Vec<u8>> {
    let console = crate::device::tty::nodes::console();
    let Some(tty) = console else {
        return Ok(Vec::new());
    };
    let number = tty.number();
    text(format_args!("{:<20} -W- (EC   p a)  {:>3}:{}\n", tty.name(), number.major, number.minor))
}

pub(super) fn cgroups(_ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"))
}

pub(super) fn partitions(_ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("major minor  #blocks  name\n\n"))
}

pub(super) fn swaps(_ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"))
}

pub(super) fn vmstat(_ctx: &Context) -> Result<Vec<u8>> {
    let free = system::memory().free / PAGE_SIZE;
    let cached = crate::vm::PageCache::total_pages();
    text(format_args!("nr_free_pages {free}\nnr_file_pages {cached}\nnr_shmem {cached}\n"))
}

pub(super) fn cpuinfo(_ctx: &Context) -> Result<Vec<u8>> {
    let cpus = system::cpus();
    let mut out = String::new();
    for cpu in 0..cpus {
        format_cpu(&mut out, cpu, cpus);
    }
    Ok(out.into_bytes())
}

/// One CPU as Linux's `show_cpuinfo` prints it; all are alike.
fn format_cpu(out: &mut String, cpu: usize, cpus: usize) {
    let leaf = |number| cpuid(number, 0).unwrap_or(core::arch::x86_64::CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 });
    let (zero, one) = (leaf(0), leaf(1));
    let vendor = words_to_text(&[zero.ebx, zero.edx, zero.ecx]);
    let brand: Vec<u32> = (0x8000_0002..=0x8000_0004_u32)
        .flat_map(|number| {
            let part = leaf(number);
            [part.eax, part.ebx, part.ecx, part.edx]
        })
        .collect();
    let (base_family, base_model) = (one.eax >> 8 & 15, one.eax >> 4 & 15);
    let family = if base_family == 15 { 15 + (one.eax >> 20 & 255) } else { base_family };
    let model = if base_family >= 6 { (one.eax >> 12 & 0xf0) | base_model } else { base_model };
    let khz = tsc_freq() / 1000;
    let sizes = leaf(0x8000_0008).eax;
    let line = (one.ebx >> 8 & 255) * 8;
    let _ = write!(
        out,
        "processor\t: {cpu}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n\
         model name\t: {}\nstepping\t: {}\ncpu MHz\t\t: {}.{:03}\nphysical id\t: 0\nsiblings\t: {cpus}\n\
         core id\t\t: {cpu}\ncpu cores\t: {cpus}\napicid\t\t: {cpu}\ninitial apicid\t: {cpu}\nfpu\t\t: yes\n\
         fpu_exception\t: yes\ncpuid level\t: {}\nwp\t\t: yes\nflags\t\t:{}\nbugs\t\t:\nbogomips\t: {}.{:02}\n\
         clflush size\t: {line}\ncache_alignment\t: {line}\naddress sizes\t: {} bits physical, {} bits virtual\n\
         power management:\n\n",
        words_to_text(&brand).trim(),
        one.eax & 15,
        khz / 1000,
        khz % 1000,
        zero.eax,
        cpu_flags(&one, &leaf(7), &leaf(0x8000_0001)),
        khz / 500,
        khz % 500 / 5,
        sizes & 255,
        sizes >> 8 & 255,
    );
}

fn words_to_text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

type Leaf = core::arch::x86_64::CpuidResult;

/// Linux's names of feature bits (`arch/x86/include/asm/cpufeatures.h`), in its order.
fn cpu_flags(one: &Leaf, seven: &Leaf, extended: &Leaf) -> String {
    let words: [(u32, &[(u32, &str)]); 6] = [
        (one.edx, FLAGS_1_EDX),
        (extended.edx, FLAGS_EXT_EDX),
        (one.ecx, FLAGS_1_ECX),
        (extended.ecx, FLAGS_EXT_ECX),
        (seven.ebx, FLAGS_7_EBX),
        (seven.ecx, FLAGS_7_ECX),
    ];
    let mut out = String::new();
    for (bits, names) in words {
        for (bit, name) in names.iter().filter(|(bit, _)| bits >> bit & 1 == 1) {
            let _ = bit;
            out.push(' ');
            out.push_str(name);
        }
    }
    out
}

const FLAGS_1_EDX: &[(u32, &str)] = &[
    (0, "fpu"),
    (1, "vme"),
    (2, "de"),
    (3, "pse"),
    (4, "tsc"),
    (5, "msr"),
    (6, "pae"),
    (7, "mce"),
    (8, "cx8"),
    (9, "apic"),
    (11, "sep"),
    (12, "mtrr"),
    (13, "pge"),
    (14, "mca"),
    (15, "cmov"),
    (16, "pat"),
    (17, "pse36"),
    (19, "clflush"),
    (23, "mmx"),
    (24, "fxsr"),
    (25, "sse"),
    (26, "sse2"),
    (27, "ss"),
    (28, "ht"),
];
const FLAGS_EXT_EDX: &[(u32, &str)] = &[
    (11, "syscall"),
    (20, "nx"),
    (22, "mmxext"),
    (25, "fxsr_opt"),
    (26, "pdpe1gb"),
    (27, "rdtscp"),
    (29, "lm"),
    (30, "3dnowext"),
    (31, "3dnow"),
];
const FLAGS_1_ECX: &[(u32, &str)] = &[
    (0, "pni"),
    (1, "pclmulqdq"),
    (3, "monitor"),
    (9, "ssse3"),
    (12, "fma"),
    (13, "cx16"),
    (17, "pcid"),
    (19, "sse4_1"),
    (20, "sse4_2"),
    (21, "x2apic"),
    (22, "movbe"),
    (23, "popcnt"),
    (24, "tsc_deadline_timer"),
    (25, "aes"),
    (26, "xsave"),
    (28, "avx"),
    (29, "f16c"),
    (30, "rdrand"),
    (31, "hypervisor"),
];
const FLAGS_EXT_ECX: &[(u32, &str)] = &[
    (0, "lahf_lm"),
    (2, "svm"),
    (4, "cr8_legacy"),
    (5, "abm"),
    (6, "sse4a"),
    (7, "misalignsse"),
    (8, "3dnowprefetch"),
];
const FLAGS_7_EBX: &[(u32, &str)] = &[
    (0, "fsgsbase"),
    (3, "bmi1"),
    (5, "avx2"),
    (7, "smep"),
    (8, "bmi2"),
    (9, "erms"),
    (10, "invpcid"),
    (16, "avx512f"),
    (18, "rdseed"),
    (19, "adx"),
    (20, "smap"),
    (23, "clflushopt"),
    (24, "clwb"),
    (29, "sha_ni"),
];
const FLAGS_7_ECX: &[(u32, &str)] =
    &[(2, "umip"), (3, "pku"), (4, "ospke"), (9, "vaes"), (10, "vpclmulqdq"), (16, "la57"), (22, "rdpid")];
