// SPDX-License-Identifier: MPL-2.0

//! The texts in `/proc/PID`.

use alloc::format;
use core::{fmt::Write, ops::Range};

use ostd::util::id_set::Id;

use super::{
    super::{FileSystem, Mount, Path, namespace, pseudo::text},
    process::Subject,
    system::NANOS_PER_TICK,
};
use crate::{
    device::tty::job,
    prelude::*,
    process::{
        Resource,
        credentials::Capabilities,
        limits::{INFINITY, Limit},
        oom,
    },
    signal,
    vm::AddressSpace,
};

/// Longest command line or environment that is shown at once.
const STRINGS_MAX: usize = 1 << 20;
const KIB_PER_PAGE: usize = PAGE_SIZE / 1024;

fn vm(subject: &Subject) -> Option<Arc<AddressSpace>> {
    subject.process.vm.lock().clone()
}

pub(super) fn comm(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let mut name = name(subject);
    name.push(b'\n');
    Ok(name)
}

pub(super) fn set_comm(subject: &Subject, ctx: &Context, bytes: &[u8]) -> Result<()> {
    if !Arc::ptr_eq(&subject.process, &ctx.process) {
        return Err(EINVAL);
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let len = text.iter().position(|byte| *byte == 0).unwrap_or(text.len()).min(15);
    let mut name = [0; 16];
    name[..len].copy_from_slice(&text[..len]);
    *subject.thread()?.name.lock() = name;
    Ok(())
}

/// The thread's name; of a zombie the one that the process had.
fn name(subject: &Subject) -> Vec<u8> {
    let name = match &subject.thread {
        Some(thread) => *thread.name.lock(),
        None => *subject.process.last_name.lock(),
    };
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name[..len].to_vec()
}

fn strings(subject: &Subject, range: Range<Vaddr>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; range.len().min(STRINGS_MAX)];
    let count = vm(subject).map_or(0, |vm| vm.read_remote_part(range.start, &mut bytes));
    bytes.truncate(count);
    bytes
}

pub(super) fn cmdline(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let range = subject.process.program.lock().arguments.clone();
    Ok(strings(subject, range))
}

pub(super) fn environ(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let range = subject.process.program.lock().environment.clone();
    Ok(strings(subject, range))
}

pub(super) fn auxv(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let pairs = subject.process.program.lock().auxv.clone();
    Ok(pairs.iter().flatten().flat_map(|word| word.to_le_bytes()).collect())
}

pub(super) fn maps(subject: &Subject, ctx: &Context) -> Result<Vec<u8>> {
    Ok(vm(subject).map_or(Vec::new(), |vm| vm.format_maps(&ctx.fs().root())))
}

pub(super) fn smaps(subject: &Subject, ctx: &Context) -> Result<Vec<u8>> {
    Ok(vm(subject).map_or(Vec::new(), |vm| vm.format_smaps(&ctx.fs().root())))
}

pub(super) fn cgroup(_subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("0::/\n"))
}

pub(super) fn loginuid(_subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("{}", u32::MAX))
}

pub(super) fn personality(_subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("00000000\n"))
}

pub(super) fn oom_score(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("{}\n", oom::score(&subject.process)))
}

pub(super) fn oom_score_adj(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    text(format_args!("{}\n", subject.process.oom_score_adj.load(core::sync::atomic::Ordering::Relaxed)))
}

pub(super) fn set_oom_score_adj(subject: &Subject, ctx: &Context, bytes: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(bytes).map_err(|_| EINVAL)?.trim();
    let value: i32 = text.parse().map_err(|_| EINVAL)?;
    if !(-1000..=1000).contains(&value) {
        return Err(EINVAL);
    }
    let setting = &subject.process.oom_score_adj;
    let old = setting.load(core::sync::atomic::Ordering::Relaxed);
    if value < old && !ctx.credentials().has(Capabilities::SYS_RESOURCE) {
        return Err(EACCES);
    }
    setting.store(value, core::sync::atomic::Ordering::Relaxed);
    Ok(())
}

/// As Linux's `proc_pid_limits`.
pub(super) fn limits(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    const ROWS: [(Resource, &str, &str); 16] = [
        (Resource::Cpu, "Max cpu time", "seconds"),
        (Resource::Fsize, "Max file size", "bytes"),
        (Resource::Data, "Max data size", "bytes"),
        (Resource::Stack, "Max stack size", "bytes"),
        (Resource::Core, "Max core file size", "bytes"),
        (Resource::Rss, "Max resident set", "bytes"),
        (Resource::Nproc, "Max processes", "processes"),
        (Resource::Nofile, "Max open files", "files"),
        (Resource::Memlock, "Max locked memory", "bytes"),
        (Resource::As, "Max address space", "bytes"),
        (Resource::Locks, "Max file locks", "locks"),
        (Resource::Sigpending, "Max pending signals", "signals"),
        (Resource::Msgqueue, "Max msgqueue size", "bytes"),
        (Resource::Nice, "Max nice priority", ""),
        (Resource::Rtprio, "Max realtime priority", ""),
        (Resource::Rttime, "Max realtime timeout", "us"),
    ];
    let show = |value: u64| if value == INFINITY { "unlimited".to_string() } else { value.to_string() };
    let mut out = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (resource, name, unit) in ROWS {
        let Limit { soft, hard } = subject.process.limits.get(resource);
        let _ = writeln!(out, "{name:<25} {:<20} {:<20} {unit:<10}", show(soft), show(hard));
    }
    Ok(out.into_bytes())
}

/// `R`, `S`, `T` or `Z`, and its meaning.
fn state(subject: &Subject) -> (char, &'static str) {
    let is_runnable = subject.thread.as_ref().is_some_and(|thread| thread.sched.is_runnable());
    match () {
        () if subject.process.is_zombie() || subject.thread.is_none() => ('Z', "zombie"),
        () if subject.process.stopped_by().is_some() => ('T', "stopped"),
        () if is_runnable => ('R', "running"),
        () => ('S', "sleeping"),
    }
}

pub(super) fn statm(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let usage = vm(subject).map(|vm| vm.usage()).unwrap_or_default();
    let data = usage.data + usage.stack;
    text(format_args!("{} {} {} {} 0 {data} 0\n", usage.total, usage.resident, usage.shared, usage.text))
}

/// As Linux's `do_task_stat`.
pub(super) fn stat(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let process = &subject.process;
    let usage = vm(subject).map(|vm| vm.usage()).unwrap_or_default();
    let used = match (&subject.thread, subject.is_task) {
        (Some(thread), true) => thread.resource_usage(),
        _ => process.resource_usage(),
    };
    let children = process.children_resource_usage();
    let terminal = job::controlling(process);
    let number = terminal.as_ref().map_or(0, |tty| tty.number().encode());
    let foreground = terminal.as_ref().and_then(|tty| tty.foreground()).map_or(-1, i64::from);
    let signals = subject.thread.as_ref().map(|thread| signal::sets(thread)).unwrap_or_default();
    let program = process.program.lock().clone();
    let cpu = subject.thread.as_ref().and_then(|thread| thread.sched.last_cpu()).map_or(0, |cpu| cpu.as_usize());
    let limit = process.limits.soft(Resource::Rss);
    let exit_code = process.ending().filter(|_| process.is_zombie()).map_or(0, |status| status.to_wait_status());
    let mut out = format!("{} (", subject.id).into_bytes();
    out.extend(name(subject));
    let tail = format!(
        ") {} {} {} {} {number} {foreground} 4194304 {} {} 0 0 {} {} {} {} 20 0 {} 0 {} {} {} {limit} \
         0 0 0 0 0 {} {} {} {} 0 0 0 {} {cpu} 0 0 0 0 0 0 0 0 {} {} {} {} {exit_code}\n",
        state(subject).0,
        process.parent_pid(),
        process.group(),
        process.session(),
        used.faults,
        children.faults,
        used.cpu.user / NANOS_PER_TICK,
        used.cpu.system / NANOS_PER_TICK,
        children.cpu.user / NANOS_PER_TICK,
        children.cpu.system / NANOS_PER_TICK,
        process.threads().len(),
        process.start_time / NANOS_PER_TICK,
        usage.total * PAGE_SIZE,
        usage.resident,
        signals.pending & 0x7fff_ffff,
        signals.blocked & 0x7fff_ffff,
        signals.ignored & 0x7fff_ffff,
        signals.caught & 0x7fff_ffff,
        process.exit_signal(),
        program.arguments.start,
        program.arguments.end,
        program.environment.start,
        program.environment.end,
    );
    out.extend(tail.into_bytes());
    Ok(out)
}

/// As Linux's `proc_pid_status`, without the lines of features that do not exist here.
pub(super) fn status(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let process = &subject.process;
    let mut out = format!("Name:\t{}\n", String::from_utf8_lossy(&name(subject)));
    let mut line = |name: &str, value: &dyn core::fmt::Display| {
        let _ = writeln!(out, "{name}:\t{value}");
    };
    let fs = subject.thread.as_ref().map(|thread| thread.fs.lock().clone());
    if let Some(fs) = &fs {
        line("Umask", &format_args!("{:04o}", fs.umask()));
    }
    let (letter, meaning) = state(subject);
    line("State", &format_args!("{letter} ({meaning})"));
    line("Tgid", &process.pid);
    line("Ngid", &0);
    line("Pid", &subject.id);
    line("PPid", &process.parent_pid());
    line("TracerPid", &0);
    if let Some(thread) = &subject.thread {
        let c = thread.credentials.lock().clone();
        line("Uid", &format_args!("{}\t{}\t{}\t{}", c.uid, c.euid, c.suid, c.fsuid));
        line("Gid", &format_args!("{}\t{}\t{}\t{}", c.gid, c.egid, c.sgid, c.fsgid));
        let files = thread.files.lock().clone();
        line("FDSize", &files.capacity());
        let groups: String = c.groups.iter().map(|group| format!("{group} ")).collect();
        line("Groups", &groups);
    }
    line("NStgid", &process.pid);
    line("NSpid", &subject.id);
    line("NSpgid", &process.group());
    line("NSsid", &process.session());
    line("Kthread", &0);
    status_of_memory(subject, &mut out);
    status_of_signals(subject, &mut out);
    status_of_thread(subject, &mut out);
    Ok(out.into_bytes())
}

fn status_of_memory(subject: &Subject, out: &mut String) {
    let Some(vm) = vm(subject) else {
        return;
    };
    let usage = vm.usage();
    let anonymous = usage.resident.saturating_sub(usage.shared);
    let rows = [
        ("VmPeak", usage.total),
        ("VmSize", usage.total),
        ("VmLck", usage.locked),
        ("VmPin", 0),
        ("VmHWM", usage.peak_resident),
        ("VmRSS", usage.resident),
        ("RssAnon", anonymous),
        ("RssFile", usage.shared),
        ("RssShmem", 0),
        ("VmData", usage.data),
        ("VmStk", usage.stack),
        ("VmExe", usage.text),
        ("VmLib", 0),
        ("VmSwap", 0),
    ];
    for (name, pages) in rows {
        let _ = writeln!(out, "{name}:\t{:>8} kB", pages * KIB_PER_PAGE);
    }
}

fn status_of_signals(subject: &Subject, out: &mut String) {
    let threads = subject.process.threads().len();
    let _ = writeln!(out, "Threads:\t{threads}");
    let Some(thread) = &subject.thread else {
        return;
    };
    let sets = signal::sets(thread);
    let limit = subject.process.limits.soft(Resource::Sigpending);
    let _ = writeln!(out, "SigQ:\t{}/{limit}", sets.queued);
    let rows = [
        ("SigPnd", sets.pending),
        ("ShdPnd", sets.shared_pending),
        ("SigBlk", sets.blocked),
        ("SigIgn", sets.ignored),
        ("SigCgt", sets.caught),
    ];
    for (name, set) in rows {
        let _ = writeln!(out, "{name}:\t{set:016x}");
    }
}

fn status_of_thread(subject: &Subject, out: &mut String) {
    let Some(thread) = &subject.thread else {
        return;
    };
    let credentials = thread.credentials.lock().clone();
    let rows = [
        ("CapInh", credentials.inheritable),
        ("CapPrm", credentials.permitted),
        ("CapEff", credentials.effective),
        ("CapBnd", credentials.bounding),
        ("CapAmb", Capabilities::empty()),
    ];
    for (name, set) in rows {
        let _ = writeln!(out, "{name}:\t{:016x}", set.bits());
    }
    let no_new = subject.process.has_no_new_privileges.load(core::sync::atomic::Ordering::Relaxed);
    let cpus = crate::system::cpus();
    let all = if cpus >= 64 { u64::MAX } else { (1 << cpus) - 1 };
    let affinity = thread.sched.affinity() & all;
    let _ = write!(
        out,
        "NoNewPrivs:\t{}\nSeccomp:\t0\nSeccomp_filters:\t0\nCpus_allowed:\t{affinity:x}\nCpus_allowed_list:\t{}\n\
         Mems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        u8::from(no_new),
        format_set(affinity),
        thread.sched.voluntary_switches(),
        thread.sched.involuntary_switches(),
    );
}

/// The bits of `set` as ranges: `0-2,5`.
fn format_set(set: u64) -> String {
    let is_set = |bit: u32| bit < 64 && set >> bit & 1 == 1;
    let mut out = String::new();
    let mut bit = 0;
    while bit < 64 {
        if !is_set(bit) {
            bit += 1;
            continue;
        }
        let first = bit;
        while is_set(bit) {
            bit += 1;
        }
        let comma = if out.is_empty() { "" } else { "," };
        let _ = match bit - 1 {
            last if last == first => write!(out, "{comma}{first}"),
            last => write!(out, "{comma}{first}-{last}"),
        };
    }
    out
}

/// Mounts that can be seen from `root`, with the place where each is.
fn visible_mounts(root: &Path) -> Vec<(Arc<Mount>, Vec<u8>)> {
    let mounts = namespace().mounts().into_iter();
    mounts.map(|mount| (mount.clone(), escape(&mount.root_path().display(root)))).collect()
}

/// Spaces and their like as `getmntent(3)` wants them.
fn escape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in text {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => out.extend(format!("\\{byte:03o}").into_bytes()),
            _ => out.push(*byte),
        }
    }
    out
}

pub(super) fn mounts(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let root = subject.thread()?.fs.lock().clone().root();
    let mut out = Vec::new();
    for (mount, place) in visible_mounts(&root) {
        let fs: &dyn FileSystem = &**mount.super_block().file_system();
        out.extend(escape(mount.source().as_bytes()));
        out.push(b' ');
        out.extend(place);
        out.extend(format!(" {} {}{} 0 0\n", fs.kind_name(), mount.flags().options(), fs.options()).into_bytes());
    }
    Ok(out)
}

/// As Linux's `show_mountinfo`.
pub(super) fn mountinfo(subject: &Subject, _ctx: &Context) -> Result<Vec<u8>> {
    let root = subject.thread()?.fs.lock().clone().root();
    let mut out = Vec::new();
    for (mount, place) in visible_mounts(&root) {
        let fs: &dyn FileSystem = &**mount.super_block().file_system();
        let parent = mount.place().map_or(mount.id(), |place| place.mount().id());
        let device = fs.device();
        out.extend(format!("{} {parent} {}:{} ", mount.id(), device.major, device.minor).into_bytes());
        out.extend(escape(&mount.root_text()));
        out.push(b' ');
        out.extend(place);
        let options = mount.flags().options();
        let access = &options[..2];
        out.extend(
            format!(" {options} - {} {} {access}{}\n", fs.kind_name(), mount.source(), fs.options()).into_bytes(),
        );
    }
    Ok(out)
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn sets_are_shown_as_ranges() {
        assert_eq!(format_set(0b1), "0");
        assert_eq!(format_set(0b10_0111), "0-2,5");
        assert_eq!(format_set(u64::MAX), "0-63");
        assert_eq!(format_set(0), "");
    }

    #[ktest]
    fn places_are_escaped() {
        assert_eq!(escape(b"/a b\\"), b"/a\\040b\\134");
    }
}
