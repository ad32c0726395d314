// SPDX-License-Identifier: MPL-2.0

//! `execve(2)`: giving a process another program.
//!
//! Everything that can fail happens first, in an address space of its own: reading arguments, resolving scripts, mapping
//! executable and interpreter, filling the stack. Then the other threads are told to leave, and only then the old program
//! is gone.

mod elf;
mod executable;
mod stack;

use alloc::ffi::CString;
use core::sync::atomic::Ordering;

use ostd::arch::cpu::context::{FpuContext, UserContext};

use self::elf::{Elf, Segment};
pub use self::executable::Executable;
use super::{Flow, Program, Resource, Work, clone, exit, table};
use crate::{
    fs::{MountFlags, Path, Start, Walk, WalkFlags},
    prelude::*,
    process::credentials::Credentials,
    time::vdso,
    vm::{AddressSpace, Protection, SegmentRequest},
};

/// The most interpreters of scripts in a row (`execve(2)`).
const MAX_SCRIPT_DEPTH: usize = 4;
/// The bytes of a script's first line that count (`execve(2)`, since Linux 5.1).
const SCRIPT_LINE: usize = 256;
/// Where a relocatable executable goes, as on Linux without address space randomisation.
const RELOCATABLE_BASE: Vaddr = 0x5555_5555_4000;
/// The longest argument or environment string, terminator included (`MAX_ARG_STRLEN`).
pub const MAX_STRING: usize = 32 * PAGE_SIZE;
/// The most that arguments and environment may take whatever the stack limit says (three quarters of 8 MiB).
pub const MAX_ARGUMENTS: usize = 6 << 20;

/// What a caller of `execve(2)` wants.
pub struct Request {
    /// The program or script.
    pub executable: Executable,
    /// Its name as given.
    pub name: CString,
    /// The arguments.
    pub argv: Vec<CString>,
    /// The environment.
    pub envp: Vec<CString>,
}

/// A program in memory, ready to run.
struct Image {
    vm: Arc<AddressSpace>,
    entry: Vaddr,
    stack_pointer: Vaddr,
    program: Program,
    command: [u8; 16],
    credentials: Credentials,
}

/// Replaces the calling thread's program.
///
/// # Errors
/// As `execve(2)`; the caller's program is untouched by all of them.
pub fn execute(ctx: &Context, regs: &mut UserContext, request: Request) -> Result<()> {
    check_size(ctx, &request)?;
    let request = resolve_script(ctx, request)?;
    let image = load(ctx, &request)?;
    become_only_thread(ctx)?;
    *regs = UserContext::default();
    regs.set_rip(image.entry);
    regs.set_rsp(image.stack_pointer);
    switch_to(ctx, image);
    ctx.process.end_exec();
    ctx.local.set_flow(&ctx.thread, Flow::Renew);
    Ok(())
}

/// Makes the calling thread, the first there is, run the first of `candidates` that can be executed.
///
/// # Panics
/// If none can: there is nothing to do for a kernel without a program.
pub fn execute_first(
    ctx: &Context,
    regs: &mut UserContext,
    candidates: Vec<String>,
    argv: Vec<CString>,
    envp: Vec<CString>,
) {
    for candidate in &candidates {
        let mut attempt = || {
            let name = CString::new(candidate.as_str()).map_err(|_| EINVAL)?;
            let executable = Executable::new(ctx, resolve(ctx, candidate.as_bytes())?)?;
            let argv = [name.clone()].into_iter().chain(argv.iter().cloned()).collect();
            execute(ctx, regs, Request { executable, name, argv, envp: envp.clone() })
        };
        match attempt() {
            Ok(()) => return,
            Err(error) => ostd::warn!("cannot execute {candidate}: {}", error.description()),
        }
    }
    panic!("No working init found. Tried {candidates:?}: pass an initramfs that has one, or init=PATH.");
}

/// # Errors
/// `E2BIG` if arguments and environment take more than a quarter of the stack limit, within 128 KiB to 6 MiB.
fn check_size(ctx: &Context, request: &Request) -> Result<()> {
    let strings = request.argv.iter().chain(&request.envp);
    let size: usize = strings.map(|string| string.as_bytes_with_nul().len() + 8).sum();
    let stack = usize::try_from(ctx.process.limits.soft(Resource::Stack)).unwrap_or(usize::MAX);
    let limit = (stack / 4).clamp(32 * PAGE_SIZE, MAX_ARGUMENTS);
    if size > limit { Err(E2BIG) } else { Ok(()) }
}

/// Follows `#!` lines to the program that runs the script.
fn resolve_script(ctx: &Context, mut request: Request) -> Result<Request> {
    let mut script = request.name.clone();
    for _ in 0..=MAX_SCRIPT_DEPTH {
        let mut line = [0; SCRIPT_LINE];
        let count = request.executable.read_at(0, &mut line)?;
        let Some(line) = line[..count].strip_prefix(b"#!") else {
            return Ok(request);
        };
        let (interpreter, option) = parse_script_line(line).ok_or(ENOEXEC)?;
        let path = resolve(ctx, interpreter.as_bytes())?;
        let mut argv = alloc::vec![interpreter.clone()];
        argv.extend(option);
        argv.push(core::mem::replace(&mut script, interpreter));
        argv.extend(request.argv.drain(..).skip(1));
        request = Request { executable: Executable::new(ctx, path)?, name: request.name, argv, envp: request.envp };
        check_size(ctx, &request)?;
    }
    Err(ELOOP)
}

fn resolve(ctx: &Context, path: &[u8]) -> Result<Path> {
    Walk::new(ctx, WalkFlags::empty()).resolve(Start::Cwd, path)
}

/// Interpreter and the one optional argument of a script's first line, which may hold blanks.
fn parse_script_line(line: &[u8]) -> Option<(CString, Option<CString>)> {
    let end = line.iter().position(|byte| *byte == b'\n' || *byte == 0);
    let text = line[..end.unwrap_or(line.len())].trim_ascii();
    let split = text.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    // Without an end of line the interpreter's name may be cut off: refused, as on Linux.
    if text.is_empty() || (end.is_none() && split.is_none() && line.len() == SCRIPT_LINE - 2) {
        return None;
    }
    let (interpreter, option) = text.split_at(split.unwrap_or(text.len()));
    let option = option.trim_ascii();
    let option = if option.is_empty() { None } else { Some(CString::new(option).ok()?) };
    Some((CString::new(interpreter).ok()?, option))
}

/// Builds the program's memory.
fn load(ctx: &Context, request: &Request) -> Result<Image> {
    let elf = Elf::read(&request.executable)?;
    let interpreter = load_interpreter(ctx, &request.executable, &elf)?;
    let vm = AddressSpace::new();
    let bias = map_executable(&vm, &request.executable, &elf)?;
    let entry = elf.entry.wrapping_add(bias);
    let (start, base) = match interpreter {
        Some((executable, elf)) => {
            let base = map_interpreter(&vm, &executable, &elf)?;
            (elf.entry.wrapping_add(base), base)
        }
        None => (entry, 0),
    };
    let vdso = vdso::map(&vm)?;
    let credentials = credentials_after(ctx, &request.executable);
    let limit = usize::try_from(ctx.process.limits.soft(Resource::Stack)).unwrap_or(usize::MAX);
    let top = vm.map_stack(limit, elf.wants_executable_stack)?;
    let contents = stack::StackContents {
        argv: &request.argv,
        envp: &request.envp,
        name: &request.name,
        auxv: auxv(&credentials, &elf, bias, entry, base, vdso),
    };
    let layout = stack::build(&vm, top, contents)?;
    Ok(Image {
        vm,
        entry: start,
        stack_pointer: layout.pointer,
        program: Program {
            executable: Some(request.executable.clone()),
            arguments: layout.arguments,
            environment: layout.environment,
            auxv: layout.auxv,
        },
        command: command_name(&request.name),
        credentials,
    })
}

/// Who the program runs as: set-user-ID and set-group-ID bits count unless the mount or the process forbids it.
fn credentials_after(ctx: &Context, executable: &Executable) -> Credentials {
    const SET_UID: u16 = 0o4000;
    const SET_GID_AND_EXECUTABLE: u16 = 0o2010;
    let attributes = executable.inode().base().attributes();
    let is_ignored = ctx.process.has_no_new_privileges.load(Ordering::Relaxed)
        || executable.path.mount().flags().contains(MountFlags::NO_SUID);
    let has = |bits| !is_ignored && attributes.permissions & bits == bits;
    let set_uid = has(SET_UID).then_some(attributes.uid);
    let set_gid = has(SET_GID_AND_EXECUTABLE).then_some(attributes.gid);
    ctx.credentials().after_exec(set_uid, set_gid)
}

/// The last component of `name`, cut to 15 bytes.
fn command_name(name: &CString) -> [u8; 16] {
    let last = name.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut command = [0; 16];
    let len = last.len().min(15);
    command[..len].copy_from_slice(&last[..len]);
    command
}

fn load_interpreter(ctx: &Context, executable: &Executable, elf: &Elf) -> Result<Option<(Executable, Elf)>> {
    let Some((offset, size)) = elf.interpreter else {
        return Ok(None);
    };
    let mut name = alloc::vec![0; size];
    executable.read_exact(offset, &mut name)?;
    if name.pop() != Some(0) || name.contains(&0) {
        return Err(ENOEXEC);
    }
    let interpreter = Executable::new(ctx, resolve(ctx, &name)?)?;
    let elf = Elf::read(&interpreter).map_err(|_| ELIBBAD)?;
    Ok(Some((interpreter, elf)))
}

/// Maps the executable; the answer is added to all its addresses.
fn map_executable(vm: &AddressSpace, executable: &Executable, elf: &Elf) -> Result<usize> {
    let span = elf.span()?;
    let bias = if elf.is_relocatable { RELOCATABLE_BASE.next_multiple_of(elf.alignment()) - span.start } else { 0 };
    map_segments(vm, executable, elf, bias)?;
    vm.set_brk_start(span.end.wrapping_add(bias));
    Ok(bias)
}

/// Maps the interpreter where there is room; the answer is added to all its addresses.
fn map_interpreter(vm: &AddressSpace, executable: &Executable, elf: &Elf) -> Result<usize> {
    let span = elf.span()?;
    let bias = if elf.is_relocatable {
        let room = vm.find_room(span.len() + elf.alignment() - PAGE_SIZE)?;
        room.next_multiple_of(elf.alignment()).wrapping_sub(span.start)
    } else {
        0
    };
    map_segments(vm, executable, elf, bias)?;
    Ok(bias)
}

fn map_segments(vm: &AddressSpace, executable: &Executable, elf: &Elf, bias: usize) -> Result<()> {
    let cache = executable.inode().page_cache().ok_or(ENOEXEC)?;
    for segment in &elf.segments {
        let address = segment.address.wrapping_add(bias);
        vm.map_segment(&SegmentRequest {
            address,
            protection: protection(segment),
            path: &executable.path,
            cache,
            offset: segment.offset,
            file_size: segment.file_size,
            memory_size: segment.memory_size,
        })?;
    }
    Ok(())
}

fn protection(segment: &Segment) -> Protection {
    use ::elf::abi::{PF_R, PF_W, PF_X};
    let mut protection = Protection::empty();
    protection.set(Protection::READ, segment.flags & PF_R != 0);
    protection.set(Protection::WRITE, segment.flags & PF_W != 0);
    protection.set(Protection::EXEC, segment.flags & PF_X != 0);
    protection
}

/// The auxiliary vector of `getauxval(3)`, without what points into the stack.
fn auxv(
    credentials: &Credentials,
    elf: &Elf,
    bias: usize,
    entry: Vaddr,
    base: Vaddr,
    vdso: Option<Vaddr>,
) -> Vec<[usize; 2]> {
    const AT_PHDR: usize = 3;
    const AT_PHENT: usize = 4;
    const AT_PHNUM: usize = 5;
    const AT_PAGESZ: usize = 6;
    const AT_BASE: usize = 7;
    const AT_FLAGS: usize = 8;
    const AT_ENTRY: usize = 9;
    const AT_UID: usize = 11;
    const AT_EUID: usize = 12;
    const AT_GID: usize = 13;
    const AT_EGID: usize = 14;
    const AT_HWCAP: usize = 16;
    const AT_CLKTCK: usize = 17;
    const AT_SECURE: usize = 23;
    const AT_SYSINFO_EHDR: usize = 33;
    const AT_MINSIGSTKSZ: usize = 51;
    /// `CPUID` leaf 1, register EDX: what x86 calls its hardware capabilities.
    const FEATURES: u32 = 1;
    let is_secure = credentials.uid != credentials.euid || credentials.gid != credentials.egid;
    let features = ostd::arch::cpu::cpuid::cpuid(FEATURES, 0).map_or(0, |result| result.edx);
    let mut auxv: Vec<_> = vdso.map(|address| [AT_SYSINFO_EHDR, address]).into_iter().collect();
    auxv.extend([
        [AT_HWCAP, features as usize],
        [AT_PAGESZ, PAGE_SIZE],
        [AT_CLKTCK, 100],
        [AT_PHDR, elf.program_headers().wrapping_add(bias)],
        [AT_PHENT, 56],
        [AT_PHNUM, elf.header_count],
        [AT_BASE, base],
        [AT_FLAGS, 0],
        [AT_ENTRY, entry],
        [AT_UID, credentials.uid as usize],
        [AT_EUID, credentials.euid as usize],
        [AT_GID, credentials.gid as usize],
        [AT_EGID, credentials.egid as usize],
        [AT_SECURE, usize::from(is_secure)],
        [AT_MINSIGSTKSZ, crate::signal::MIN_STACK_SIZE],
    ]);
    auxv
}

/// Tells the other threads to leave and waits until they have; takes over the process's number.
fn become_only_thread(ctx: &Context) -> Result<()> {
    if !ctx.process.begin_exec(&ctx.thread) {
        return Err(EAGAIN);
    }
    let is_alone = ctx.wait_whatever_comes(|| match ctx.process.threads().len() {
        ..=1 => Some(true),
        _ if ctx.thread.is_requested(Work::EXIT) => Some(false),
        _ => None,
    });
    if !is_alone {
        ctx.process.end_exec();
        return Err(EINTR);
    }
    if ctx.thread.tid() != ctx.process.pid {
        let mut table = table::lock();
        table.remove_thread(ctx.thread.tid());
        ctx.thread.become_leader();
        table.insert_thread(ctx.thread.clone());
    }
    Ok(())
}

/// The point of no return.
fn switch_to(ctx: &Context, image: Image) {
    let (thread, process) = (&ctx.thread, &ctx.process);
    // What others may wait for in memory that is shared with them (Linux's `exec_mm_release`).
    crate::futex::exit_robust_list(ctx);
    exit::clear_child_tid(ctx);
    ctx.local.replace_vm(image.vm.clone());
    let old = process.vm.lock().replace(image.vm);
    process.keep_peak(old.as_deref());
    drop(old);
    clone::release_vfork_parent(thread);
    let old = core::mem::replace(&mut *process.program.lock(), image.program);
    drop(old);
    *thread.name.lock() = image.command;
    *thread.credentials.lock() = Arc::new(image.credentials);
    process.has_executed.store(true, Ordering::Relaxed);
    unshare_files(ctx);
    crate::signal::on_exec(ctx);
    ctx.local.set_current_fpu(FpuContext::new());
    ctx.local.set_fs_base(0);
    ctx.local.set_gs_base(0);
}

/// Descriptors are no longer shared after `execve(2)`, and those marked close, as by `close(2)`.
fn unshare_files(ctx: &Context) {
    let mut files = ctx.files();
    // One is this one, two are the thread's own.
    if Arc::strong_count(&files) > 3 {
        files = Arc::new(files.duplicate());
        ctx.replace_files(files.clone());
    }
    for description in files.remove_where(0..=usize::MAX, |_, close_on_exec| close_on_exec) {
        crate::fs::locks::release_on_close(&files, &description);
    }
}
