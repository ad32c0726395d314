// SPDX-License-Identifier: MPL-2.0

//! Making threads and processes: `fork(2)`, `vfork(2)`, `clone(2)`, `clone3(2)`, and the first process.

use alloc::ffi::CString;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use ostd::arch::cpu::context::{FpuContext, UserContext};

use super::{
    Life, Limits, Pid, Process, Program, Resource, Thread, ThreadLocal, Used,
    credentials::{Capabilities, Credentials},
    exec, table, task,
    thread::ThreadParts,
};
use readiness::Pollee;

use crate::{
    events::PidFile,
    file::{
        StatusFlags,
        table::{Fd, FileTable},
    },
    fs::FsContext,
    prelude::*,
    signal::{self, ThreadSignals},
    time::now_monotonic,
    vm::AddressSpace,
};

bitflags::bitflags! {
    /// The flags of `clone(2)`, exit signal excluded.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    #[allow(missing_docs, reason = "the names are those of clone(2)")]
    pub struct CloneFlags: u64 {
        const VM = 0x100;
        const FS = 0x200;
        const FILES = 0x400;
        const SIGHAND = 0x800;
        const PIDFD = 0x1000;
        const PTRACE = 0x2000;
        const VFORK = 0x4000;
        const PARENT = 0x8000;
        const THREAD = 0x1_0000;
        const NEWNS = 0x2_0000;
        const SYSVSEM = 0x4_0000;
        const SETTLS = 0x8_0000;
        const PARENT_SETTID = 0x10_0000;
        const CHILD_CLEARTID = 0x20_0000;
        const DETACHED = 0x40_0000;
        const UNTRACED = 0x80_0000;
        const CHILD_SETTID = 0x100_0000;
        const NEWCGROUP = 0x200_0000;
        const NEWUTS = 0x400_0000;
        const NEWIPC = 0x800_0000;
        const NEWUSER = 0x1000_0000;
        const NEWPID = 0x2000_0000;
        const NEWNET = 0x4000_0000;
        const IO = 0x8000_0000;
        const CLEAR_SIGHAND = 0x1_0000_0000;
        const INTO_CGROUP = 0x2_0000_0000;
        const NEWTIME = 0x80;
    }
}

impl CloneFlags {
    /// Namespaces that Pollux does not have.
    pub const NAMESPACES: Self = Self::NEWNS
        .union(Self::NEWCGROUP)
        .union(Self::NEWUTS)
        .union(Self::NEWIPC)
        .union(Self::NEWUSER)
        .union(Self::NEWPID)
        .union(Self::NEWNET)
        .union(Self::NEWTIME);
}

/// The arguments of a clone, however they were passed.
#[derive(Clone, Copy, Debug)]
pub struct CloneArgs {
    /// What is shared and what else happens.
    pub flags: CloneFlags,
    /// Signal for the parent when the child ends; 0 for none.
    pub exit_signal: u32,
    /// The child's stack pointer; 0 to keep the parent's.
    pub stack: Vaddr,
    /// Where the parent gets the child's number.
    pub parent_tid: Vaddr,
    /// Where the child gets its number, and where it is cleared at its end.
    pub child_tid: Vaddr,
    /// Where the parent gets a descriptor of the child.
    pub pidfd: Vaddr,
    /// The child's thread pointer.
    pub tls: Vaddr,
}

/// A parent that sleeps until its `vfork(2)` child no longer uses its memory.
pub struct VforkParent {
    thread: Arc<Thread>,
    is_released: Arc<AtomicBool>,
}

impl CloneArgs {
    /// A plain `fork(2)`.
    pub fn fork() -> Self {
        Self {
            flags: CloneFlags::empty(),
            exit_signal: signal::SIGCHLD,
            stack: 0,
            parent_tid: 0,
            child_tid: 0,
            pidfd: 0,
            tls: 0,
        }
    }

    /// # Errors
    /// `EINVAL` for combinations that `clone(2)` forbids and for namespaces, which do not exist here.
    fn validate(&self) -> Result<()> {
        let has = |flags| self.flags.contains(flags);
        let needs_vm = has(CloneFlags::SIGHAND) && !has(CloneFlags::VM);
        let needs_sighand = has(CloneFlags::THREAD) && !has(CloneFlags::SIGHAND);
        let clears_shared = has(CloneFlags::CLEAR_SIGHAND) && has(CloneFlags::SIGHAND);
        let is_orphan_of_init = has(CloneFlags::PARENT) && self.exit_signal != 0 && has(CloneFlags::THREAD);
        if needs_vm || needs_sighand || clears_shared || is_orphan_of_init || self.exit_signal > 64 {
            return Err(EINVAL);
        }
        let shares_address = has(CloneFlags::PARENT_SETTID) && self.pidfd == self.parent_tid;
        let is_no_process = self.flags.intersects(CloneFlags::DETACHED | CloneFlags::THREAD);
        if has(CloneFlags::PIDFD) && (shares_address || is_no_process) {
            return Err(EINVAL);
        }
        if self.flags.intersects(CloneFlags::NAMESPACES | CloneFlags::INTO_CGROUP) {
            return Err(EINVAL);
        }
        Ok(())
    }
}

/// Makes a thread or process as `args` say; the answer is its number, as the parent sees it.
///
/// # Errors
/// `EINVAL` for forbidden flags, `EAGAIN` beyond `RLIMIT_NPROC` or while the process ends, `ENOMEM`, `EFAULT` if the
/// number cannot be stored, `EMFILE` if there is no room for the descriptor.
pub fn clone(ctx: &Context, regs: &UserContext, args: CloneArgs) -> Result<Pid> {
    args.validate()?;
    check_limits(ctx)?;
    let is_thread = args.flags.contains(CloneFlags::THREAD);
    let id = table::allocate_id();
    let vm = if args.flags.contains(CloneFlags::VM) { ctx.vm.clone() } else { ctx.vm.fork()? };
    let process = if is_thread { ctx.process.clone() } else { ctx.process.fork(id, vm.clone(), &args) };
    signal::watch_cpu_limit(&process);
    let thread = Arc::new(Thread::new(id, ThreadParts::inherit(ctx, process.clone(), args.flags)));
    if args.flags.contains(CloneFlags::CHILD_CLEARTID) {
        thread.clear_child_tid.store(args.child_tid, Ordering::Relaxed);
    }
    if args.flags.contains(CloneFlags::PARENT_SETTID) {
        ctx.write_val(args.parent_tid, &id)?;
    }
    let vfork = args.flags.contains(CloneFlags::VFORK).then(|| sleep_until_released(ctx, &thread));
    let local = ThreadLocal::inherit(ctx, vm, &args);
    // The child, whose descriptors are copied by now, does not get it.
    let pidfd = args.flags.contains(CloneFlags::PIDFD).then(|| open_pidfd(ctx, &process, args.pidfd)).transpose()?;
    // A new process is complete before anybody can find it.
    let entered = enter(&process, &thread, is_thread);
    if let Err(error) = entered.and_then(|()| start(&thread, local, regs, &args)) {
        let unwanted = pidfd.map(|fd| ctx.files().remove(fd));
        drop(unwanted);
        return Err(error);
    }
    if let Some(is_released) = vfork {
        ctx.wait_whatever_comes(|| is_released.load(Ordering::Acquire).then_some(()));
    }
    Ok(id)
}

/// Gives the caller a descriptor of its child, whose number it finds at `address`.
fn open_pidfd(ctx: &Context, child: &Arc<Process>, address: Vaddr) -> Result<Fd> {
    let file = PidFile::open(child.clone(), StatusFlags::empty());
    let fd = ctx.files().insert(file, 0, ctx.process.limits.max_files(), true)?;
    if let Err(error) = ctx.write_val(address, &fd) {
        drop(ctx.files().remove(fd));
        return Err(error);
    }
    Ok(fd)
}

/// Lets the child run.
fn start(thread: &Arc<Thread>, local: ThreadLocal, regs: &UserContext, args: &CloneArgs) -> Result<()> {
    let child_tid = args.flags.contains(CloneFlags::CHILD_SETTID).then_some(args.child_tid);
    let started = task::spawn(thread.clone(), local, child_regs(regs, args), move |child, _| {
        // The child's own memory, so the child stores it. A bad address is its own fault, as on Linux.
        let _ = child_tid.map(|address| child.write_val(address, &child.thread.tid()));
    });
    started.inspect_err(|_| super::exit::undo(thread))
}

/// Whether the caller may have another thread, or another process, which has one.
///
/// # Errors
/// `EAGAIN` beyond `RLIMIT_NPROC`, which counts the threads of the real user and does not bind root and the privileged, or
/// `/proc/sys/kernel/threads-max`; `ENOMEM`.
fn check_limits(ctx: &Context) -> Result<()> {
    crate::vm::reserve::check()?;
    let credentials = ctx.credentials();
    let is_bound = credentials.uid != 0
        && !credentials.has(Capabilities::SYS_RESOURCE)
        && !credentials.has(Capabilities::SYS_ADMIN);
    let limit = ctx.process.limits.soft(Resource::Nproc);
    let is_over = table::thread_count() >= table::max_threads()
        || is_bound && table::threads_of_user(credentials.uid) as u64 >= limit;
    if is_over { Err(EAGAIN) } else { Ok(()) }
}

/// Makes the relations: from here on others can find the child.
fn enter(process: &Arc<Process>, thread: &Arc<Thread>, is_thread: bool) -> Result<()> {
    let mut table = table::lock();
    if !process.add_thread(thread.clone()) {
        return Err(EAGAIN);
    }
    table.insert_thread(thread.clone());
    if !is_thread {
        if let Some(parent) = process.parent() {
            parent.children.lock().push(process.clone());
        }
        table.insert_process(process.clone());
    }
    Ok(())
}

fn child_regs(regs: &UserContext, args: &CloneArgs) -> UserContext {
    let mut regs = regs.clone();
    regs.set_rax(0);
    if args.stack != 0 {
        regs.set_rsp(args.stack);
    }
    regs
}

fn sleep_until_released(ctx: &Context, child: &Thread) -> Arc<AtomicBool> {
    let is_released = Arc::new(AtomicBool::new(false));
    let parent = VforkParent { thread: ctx.thread.clone(), is_released: is_released.clone() };
    *child.vfork_parent.lock() = Some(parent);
    is_released
}

/// Lets the parent of a `vfork(2)` go on: the child executes another program, or ends.
pub(super) fn release_vfork_parent(thread: &Thread) {
    let parent = thread.vfork_parent.lock().take();
    if let Some(parent) = parent {
        // Release pairs with the Acquire in `clone`: the parent sees all that the child wrote to the shared memory.
        parent.is_released.store(true, Ordering::Release);
        parent.thread.wake();
    }
}

/// Starts the first process: it executes the first of `candidates` that can be.
///
/// # Errors
/// `ENOMEM`, and what [`FsContext::of_init`] says.
pub fn start_init(candidates: Vec<String>, argv: Vec<CString>, envp: Vec<CString>) -> Result<()> {
    let id = table::allocate_id();
    let vm = AddressSpace::new();
    let process = Process::first(id);
    *process.vm.lock() = Some(vm.clone());
    let parts = ThreadParts {
        process: process.clone(),
        affinity: u64::MAX,
        signals: ThreadSignals::new(),
        files: Arc::new(FileTable::new()),
        fs: Arc::new(FsContext::of_init()?),
        credentials: Credentials::root(),
        name: *b"init\0\0\0\0\0\0\0\0\0\0\0\0",
    };
    let thread = Arc::new(Thread::new(id, parts));
    let mut table = table::lock();
    process.add_thread(thread.clone());
    table.insert_thread(thread.clone());
    table.insert_process(process);
    drop(table);
    let local = ThreadLocal::new(vm, FpuContext::new(), 0, 0);
    task::spawn(thread, local, UserContext::default(), move |ctx, regs| {
        crate::boot::open_console(ctx);
        exec::execute_first(ctx, regs, candidates, argv, envp);
    })
}

impl ThreadParts {
    fn inherit(ctx: &Context, process: Arc<Process>, flags: CloneFlags) -> Self {
        let files = ctx.files();
        let fs = ctx.thread.fs.lock().clone();
        Self {
            process,
            affinity: ctx.thread.sched.affinity(),
            signals: ctx.thread.signals.inherit(flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::VFORK)),
            files: if flags.contains(CloneFlags::FILES) { files } else { Arc::new(files.duplicate()) },
            fs: if flags.contains(CloneFlags::FS) { fs } else { Arc::new(fs.duplicate()) },
            credentials: ctx.credentials(),
            name: *ctx.thread.name.lock(),
        }
    }
}

impl ThreadLocal {
    fn inherit(ctx: &Context, vm: Arc<AddressSpace>, args: &CloneArgs) -> Self {
        let has_tls = args.flags.contains(CloneFlags::SETTLS);
        let fs_base = if has_tls { args.tls } else { ctx.local.fs_base() };
        Self::new(vm, ctx.local.current_fpu(), fs_base, ctx.local.gs_base())
    }
}

impl Process {
    /// A child of this process, or of its parent with `CLONE_PARENT`; not yet to be found by anybody.
    fn fork(self: &Arc<Self>, pid: Pid, vm: Arc<AddressSpace>, args: &CloneArgs) -> Arc<Self> {
        let is_sibling = args.flags.contains(CloneFlags::PARENT);
        let parent = if is_sibling { self.parent() } else { None };
        let exit_signal = if is_sibling { self.exit_signal() } else { args.exit_signal };
        let parent = parent.unwrap_or_else(|| self.clone());
        let shares_actions = args.flags.contains(CloneFlags::SIGHAND);
        let signals = self.signals.inherit(shares_actions);
        if args.flags.contains(CloneFlags::CLEAR_SIGHAND) {
            signals.reset_handlers();
        }
        Arc::new(Self {
            pid,
            vm: SpinLock::new(Some(vm)),
            program: SpinLock::new(self.program.lock().clone()),
            signals,
            nice: AtomicI32::new(self.nice.load(Ordering::Relaxed)),
            limits: self.limits.duplicate(),
            child_events: Pollee::new(),
            exits: Pollee::new(),
            start_time: now_monotonic(),
            used: SpinLock::new(Used::default()),
            uid: AtomicU32::new(0),
            has_executed: AtomicBool::new(false),
            is_subreaper: AtomicBool::new(false),
            is_dumpable: AtomicBool::new(self.is_dumpable.load(Ordering::Relaxed)),
            has_no_new_privileges: AtomicBool::new(self.has_no_new_privileges.load(Ordering::Relaxed)),
            last_name: SpinLock::new([0; 16]),
            oom_score_adj: AtomicI32::new(self.oom_score_adj.load(Ordering::Relaxed)),
            is_oom_victim: AtomicBool::new(false),
            threads: SpinLock::new(Vec::new()),
            life: SpinLock::new(Life::default()),
            parent_pid: AtomicU32::new(parent.pid),
            parent: SpinLock::new(Arc::downgrade(&parent)),
            children: SpinLock::new(Vec::new()),
            group: AtomicU32::new(self.group()),
            session: AtomicU32::new(self.session()),
            exit_signal: AtomicU32::new(exit_signal),
        })
    }

    /// The first process, without memory.
    fn first(pid: Pid) -> Arc<Self> {
        Arc::new(Self {
            pid,
            vm: SpinLock::new(None),
            program: SpinLock::new(Program::default()),
            signals: signal::ProcessSignals::new(),
            nice: AtomicI32::new(0),
            limits: Limits::initial(),
            child_events: Pollee::new(),
            exits: Pollee::new(),
            start_time: now_monotonic(),
            used: SpinLock::new(Used::default()),
            uid: AtomicU32::new(0),
            has_executed: AtomicBool::new(false),
            is_subreaper: AtomicBool::new(false),
            is_dumpable: AtomicBool::new(true),
            has_no_new_privileges: AtomicBool::new(false),
            last_name: SpinLock::new([0; 16]),
            oom_score_adj: AtomicI32::new(0),
            is_oom_victim: AtomicBool::new(false),
            threads: SpinLock::new(Vec::new()),
            life: SpinLock::new(Life::default()),
            parent_pid: AtomicU32::new(0),
            parent: SpinLock::new(Weak::new()),
            children: SpinLock::new(Vec::new()),
            // As on Linux it belongs to no group and session until it calls `setsid(2)`.
            group: AtomicU32::new(0),
            session: AtomicU32::new(0),
            exit_signal: AtomicU32::new(0),
        })
    }
}
