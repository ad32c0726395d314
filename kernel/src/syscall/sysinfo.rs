// SPDX-License-Identifier: MPL-2.0

//! The system as a whole: `uname`, `sysinfo`, names, `syslog`, `reboot`, `getcpu`.

use ostd::{cpu::PinCurrentCpu, task::disable_preempt, util::id_set::Id};
use readiness::{IoEvents, Pollee, Timeout, Together};

use crate::{
    log,
    prelude::*,
    process::credentials::Capabilities,
    system::{self, Shutdown},
    time::{NANOS_PER_SEC, now_monotonic},
};

/// Bytes of each field of `struct utsname`.
const FIELD: usize = 65;

/// `uname(2)`.
///
/// # Errors
/// `EFAULT`.
pub fn sys_uname(ctx: &Context, address: Vaddr) -> Result<isize> {
    let names = system::names();
    let fields: [&[u8]; 6] = [
        system::SYSTEM_NAME.as_bytes(),
        &names.host,
        system::RELEASE.as_bytes(),
        system::VERSION.as_bytes(),
        system::MACHINE.as_bytes(),
        &names.domain,
    ];
    let mut bytes = [0; FIELD * 6];
    for (slot, field) in bytes.chunks_mut(FIELD).zip(fields) {
        let len = field.len().min(FIELD - 1);
        slot[..len].copy_from_slice(&field[..len]);
    }
    ctx.write_bytes(address, &bytes)?;
    Ok(0)
}

/// `sethostname(2)`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` if too long; `EFAULT`.
pub fn sys_sethostname(ctx: &Context, address: Vaddr, len: i32) -> Result<isize> {
    let name = read_name(ctx, address, len)?;
    system::set_names(|names| names.host = name);
    Ok(0)
}

/// `setdomainname(2)`.
///
/// # Errors
/// As [`sys_sethostname`].
pub fn sys_setdomainname(ctx: &Context, address: Vaddr, len: i32) -> Result<isize> {
    let name = read_name(ctx, address, len)?;
    system::set_names(|names| names.domain = name);
    Ok(0)
}

fn read_name(ctx: &Context, address: Vaddr, len: i32) -> Result<Vec<u8>> {
    if !ctx.credentials().has(Capabilities::SYS_ADMIN) {
        return Err(EPERM);
    }
    let len = usize::try_from(len).map_err(|_| EINVAL)?;
    if len > system::NAME_MAX {
        return Err(EINVAL);
    }
    let mut name = alloc::vec![0; len];
    ctx.read_bytes(address, &mut name)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(len);
    name.truncate(end);
    Ok(name)
}

/// `struct sysinfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct SysInfo {
    uptime: i64,
    loads: [u64; 3],
    total_ram: u64,
    free_ram: u64,
    shared_ram: u64,
    buffer_ram: u64,
    total_swap: u64,
    free_swap: u64,
    processes: u16,
    pad: [u16; 3],
    total_high: u64,
    free_high: u64,
    unit: u32,
    tail: u32,
}

/// `sysinfo(2)`.
///
/// # Errors
/// `EFAULT`.
pub fn sys_sysinfo(ctx: &Context, address: Vaddr) -> Result<isize> {
    let memory = system::memory();
    let info = SysInfo {
        // Rounded up, as Linux does.
        uptime: now_monotonic().div_ceil(NANOS_PER_SEC) as i64,
        loads: system::load(),
        total_ram: memory.total as u64,
        free_ram: memory.free as u64,
        shared_ram: (crate::vm::PageCache::total_pages() * PAGE_SIZE) as u64,
        buffer_ram: 0,
        total_swap: 0,
        free_swap: 0,
        processes: u16::try_from(system::threads()).unwrap_or(u16::MAX),
        pad: [0; 3],
        total_high: 0,
        free_high: 0,
        unit: 1,
        tail: 0,
    };
    ctx.write_val(address, &info)?;
    Ok(0)
}

/// `getcpu(2)`: the CPU, and node 0.
///
/// # Errors
/// `EFAULT`.
pub fn sys_getcpu(ctx: &Context, cpu: Vaddr, node: Vaddr) -> Result<isize> {
    let current = disable_preempt().current_cpu().as_usize() as u32;
    if cpu != 0 {
        ctx.write_val(cpu, &current)?;
    }
    if node != 0 {
        ctx.write_val(node, &0_u32)?;
    }
    Ok(0)
}

/// `reboot(2)`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_BOOT`; `EINVAL` for wrong magic numbers or an unknown command.
pub fn sys_reboot(ctx: &Context, magic1: u32, magic2: u32, command: u32) -> Result<isize> {
    const MAGIC1: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    if !ctx.credentials().has(Capabilities::SYS_BOOT) {
        return Err(EPERM);
    }
    if magic1 != MAGIC1 || !MAGIC2.contains(&magic2) {
        return Err(EINVAL);
    }
    match command {
        0x4321_fedc => system::shut_down(Shutdown::PowerOff),
        0x0123_4567 | 0xa1b2_c3d4 => system::shut_down(Shutdown::Restart),
        0xcdef_0123 => system::shut_down(Shutdown::Halt),
        // CAD_ON and CAD_OFF: there is no keyboard.
        0x89ab_cdef | 0 => Ok(0),
        _ => Err(EINVAL),
    }
}

/// Where `SYSLOG_ACTION_READ` goes on, and where `SYSLOG_ACTION_CLEAR` was.
struct SyslogPosition {
    next: u64,
    cleared: u64,
}

static POSITION: SpinLock<SyslogPosition> = SpinLock::new(SyslogPosition { next: 0, cleared: 0 });

/// `syslog(2)`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` for all but reading; `EINVAL` for an unknown action or bad arguments; `EFAULT`;
/// `ERESTARTSYS` if a signal ended the wait of `SYSLOG_ACTION_READ`.
pub fn sys_syslog(ctx: &Context, action: i32, address: Vaddr, len: i32) -> Result<isize> {
    const READ_ALL: i32 = 3;
    const SIZE_BUFFER: i32 = 10;
    let is_open = action == READ_ALL || action == SIZE_BUFFER;
    if !is_open && !ctx.credentials().has(Capabilities::SYS_ADMIN) {
        return Err(EPERM);
    }
    if (2..=4).contains(&action) && (address == 0 || len < 0) {
        return Err(EINVAL);
    }
    let len = usize::try_from(len).unwrap_or(0);
    match action {
        0 | 1 => Ok(0),
        2 => read_next(ctx, address, len),
        READ_ALL => read_all(ctx, address, len),
        4 => {
            let count = read_all(ctx, address, len)?;
            POSITION.lock().cleared = log::next_sequence();
            Ok(count)
        }
        5 => {
            POSITION.lock().cleared = log::next_sequence();
            Ok(0)
        }
        6 | 7 => {
            log::set_console_enabled(action == 7);
            Ok(0)
        }
        8 => {
            let level = u8::try_from(len).ok().filter(|level| (1..=8).contains(level)).ok_or(EINVAL)?;
            log::set_console_level(level);
            Ok(0)
        }
        9 => Ok(lines_from(POSITION.lock().next).iter().map(Vec::len).sum::<usize>() as isize),
        SIZE_BUFFER => Ok(log::RING_SIZE as isize),
        _ => Err(EINVAL),
    }
}

/// The records from `sequence` on, as text.
fn lines_from(mut sequence: u64) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    while let Some(entry) = log::entry_from(sequence) {
        sequence = entry.sequence + 1;
        lines.push(entry.to_syslog());
    }
    lines
}

/// The newest records that fit, in order.
fn read_all(ctx: &Context, address: Vaddr, len: usize) -> Result<isize> {
    let cleared = POSITION.lock().cleared;
    let lines = lines_from(cleared);
    let mut size = 0;
    let fits = |line: &&Vec<u8>| {
        size += line.len();
        size <= len
    };
    let count = lines.iter().rev().take_while(fits).count();
    let text = lines[lines.len() - count..].concat();
    ctx.write_bytes(address, &text)?;
    Ok(text.len() as isize)
}

/// Waits for records, and takes as many as fit.
fn read_next(ctx: &Context, address: Vaddr, len: usize) -> Result<isize> {
    if len == 0 {
        return Ok(0);
    }
    let subject = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| register(log::pollee(), IoEvents::IN));
    let has_record = || (POSITION.lock().next < log::next_sequence()).then_some(());
    ctx.waiter.borrow_mut().wait_until(&subject, Timeout::Never, has_record).map_err(|_| ERESTARTSYS)?;
    let mut text = Vec::new();
    loop {
        let next = POSITION.lock().next;
        let Some(entry) = log::entry_from(next) else {
            break;
        };
        let line = entry.to_syslog();
        if text.len() + line.len() > len {
            // One that alone is too long is cut: it could never be read otherwise.
            if text.is_empty() {
                text.extend(&line[..len]);
                POSITION.lock().next = entry.sequence + 1;
            }
            break;
        }
        text.extend(line);
        POSITION.lock().next = entry.sequence + 1;
    }
    ctx.write_bytes(address, &text)?;
    Ok(text.len() as isize)
}
