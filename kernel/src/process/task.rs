// SPDX-License-Identifier: MPL-2.0

//! The bridge to OSTD's tasks: the loop between kernel and program, and what is saved and loaded when a CPU switches tasks.
//!
//! # Protocol
//! [`spawn`] makes a task whose body is [`run`]: enter the program, handle why it came back, see to requested [`Work`],
//! enter again. A system call that must leave this loop (`exit(2)`, `execve(2)`) says so by [`ThreadLocal::set_flow`].
//!
//! # Concurrency
//! The hooks run with IRQs disabled on the CPU that switches, `save` in the context of the task that leaves and `load` in
//! that of the task that comes. Everything they touch belongs to that task alone, so `Cell`s suffice.

use core::cell::{Cell, RefCell};

use ostd::{
    arch::cpu::context::{FpuContext, FsBase, GsBase, UserContext},
    cpu::PinCurrentCpu,
    irq::{DisabledLocalIrqGuard, disable_local},
    task::{
        CurrentTask, Task, TaskOptions, disable_preempt, inject_post_schedule_handler, inject_pre_schedule_handler,
    },
    user::{ReturnReason, UserMode},
};

use super::{Thread, Work, exit};
use crate::{context::Lasting, prelude::*, sched, signal, syscall, time::Deadline, vm::AddressSpace};

/// What OSTD keeps as every task's shared data.
#[derive(Clone)]
pub enum TaskData {
    /// A CPU's idle task.
    Idle,
    /// A thread of the kernel's own.
    Kernel,
    /// A thread of a program.
    User(Arc<Thread>),
}

/// State that only the thread itself touches, switched with it.
pub struct ThreadLocal {
    vm: RefCell<Arc<AddressSpace>>,
    fpu: RefCell<FpuContext>,
    fs_base: Cell<FsBase>,
    gs_base: Cell<GsBase>,
    flow: Cell<Flow>,
    interrupted_call: Cell<Option<usize>>,
    /// Set while a copy must fail rather than fault a page in.
    faults_disabled: Cell<bool>,
    /// Set while it may have pages of the reserve.
    uses_reserve: Cell<bool>,
}

fn with_set<R>(flag: &Cell<bool>, action: impl FnOnce() -> R) -> R {
    let old = flag.replace(true);
    let answer = action();
    flag.set(old);
    answer
}

/// What OSTD keeps as the local data of a program's task: all that the switching hooks want.
struct Own {
    thread: Arc<Thread>,
    local: ThreadLocal,
}

/// Where the thread goes after a system call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// Back to the program.
    Continue,
    /// Back to a program, but in another address space or with another descriptor table: with a new context.
    Renew,
    /// Out, with the code of `exit(2)`.
    Exit(u8),
}

impl ThreadLocal {
    /// The state of a thread that has not run yet.
    pub fn new(vm: Arc<AddressSpace>, fpu: FpuContext, fs_base: usize, gs_base: usize) -> Self {
        Self {
            vm: RefCell::new(vm),
            fpu: RefCell::new(fpu),
            fs_base: Cell::new(FsBase::new(fs_base)),
            gs_base: Cell::new(GsBase::new(gs_base)),
            flow: Cell::new(Flow::Continue),
            interrupted_call: Cell::new(None),
            faults_disabled: Cell::new(false),
            uses_reserve: Cell::new(false),
        }
    }

    /// Remembers that the system call with this number answered one of the restart errors.
    pub fn set_interrupted_call(&self, number: Option<usize>) {
        self.interrupted_call.set(number);
    }

    /// The number of the system call that is to be restarted or to fail with `EINTR`; asked once.
    pub fn take_interrupted_call(&self) -> Option<usize> {
        self.interrupted_call.take()
    }

    /// Says where the thread goes after this system call.
    pub fn set_flow(&self, thread: &Thread, flow: Flow) {
        self.flow.set(flow);
        thread.request_self(Work::FLOW);
    }

    /// Runs `action` with faults on user memory failing at once: for accesses under a spin lock.
    pub fn with_faults_disabled<R>(&self, action: impl FnOnce() -> R) -> R {
        with_set(&self.faults_disabled, action)
    }

    /// Whether faults on user memory fail at once.
    pub fn are_faults_disabled(&self) -> bool {
        self.faults_disabled.get()
    }

    /// Runs `action` with part of the memory that is kept from programs; see [`crate::vm::reserve`].
    pub fn with_reserve<R>(&self, action: impl FnOnce() -> R) -> R {
        with_set(&self.uses_reserve, action)
    }

    /// Whether it may have pages of the reserve.
    pub fn uses_reserve(&self) -> bool {
        self.uses_reserve.get()
    }

    /// The active address space.
    pub fn vm(&self) -> Arc<AddressSpace> {
        self.vm.borrow().clone()
    }

    /// Activates another address space, for `execve(2)`. The old one goes when nobody else uses it.
    pub fn replace_vm(&self, vm: Arc<AddressSpace>) {
        vm.space().activate();
        self.vm.replace(vm);
    }

    /// Copies the CPU's floating point state, for `clone(2)` and signal frames.
    pub fn current_fpu(&self) -> FpuContext {
        let mut fpu = self.fpu.borrow_mut();
        fpu.save();
        fpu.clone()
    }

    /// Lets `look` look at the CPU's floating point state without a copy. `look` must not sleep.
    pub fn with_current_fpu<R>(&self, look: impl FnOnce(&mut FpuContext) -> R) -> R {
        let mut fpu = self.fpu.borrow_mut();
        fpu.save();
        look(&mut fpu)
    }

    /// Lets `fill` write the floating point state in place; it is loaded if `fill` succeeds and forgotten if not. `fill` must
    /// not sleep, and leave a state that can be loaded in either case.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill_current_fpu(&self, fill: impl FnOnce(&mut FpuContext) -> Result<()>) -> Result<()> {
        let mut fpu = self.fpu.borrow_mut();
        let filled = fill(&mut fpu);
        if filled.is_ok() {
            fpu.load();
        } else {
            fpu.save();
        }
        filled
    }

    /// Replaces the CPU's floating point state, for `execve(2)` and `rt_sigreturn(2)`.
    pub fn set_current_fpu(&self, fpu: FpuContext) {
        fpu.load();
        self.fpu.replace(fpu);
    }

    /// The FS base: the thread pointer of programs.
    pub fn fs_base(&self) -> usize {
        let mut base = FsBase::default();
        base.save();
        base.addr()
    }

    /// Sets the FS base.
    pub fn set_fs_base(&self, address: usize) {
        FsBase::new(address).load();
    }

    /// The program's GS base.
    pub fn gs_base(&self) -> usize {
        let mut base = GsBase::default();
        base.save(&disable_local());
        base.addr()
    }

    /// Sets the program's GS base.
    pub fn set_gs_base(&self, address: usize) {
        GsBase::new(address).load(&disable_local());
    }

    fn save(&self, irq_guard: &DisabledLocalIrqGuard) {
        self.fpu.borrow_mut().save();
        let mut fs_base = self.fs_base.get();
        fs_base.save();
        self.fs_base.set(fs_base);
        let mut gs_base = self.gs_base.get();
        gs_base.save(irq_guard);
        self.gs_base.set(gs_base);
    }

    fn load(&self, irq_guard: &DisabledLocalIrqGuard) {
        self.vm.borrow().space().activate();
        self.fpu.borrow().load();
        self.fs_base.get().load();
        self.gs_base.get().load(irq_guard);
    }
}

/// Registers the switching hooks. Call once, before the first thread runs.
pub fn init() {
    inject_pre_schedule_handler(|irq_guard| {
        with_current(|thread, local| {
            local.save(irq_guard);
            thread.cpu_time.switch_out();
        });
    });
    inject_post_schedule_handler(|| {
        let irq_guard = disable_local();
        sched::on_switched(&irq_guard);
        with_current(|thread, local| {
            thread.cpu_time.switch_in();
            local.load(&irq_guard);
        });
    });
}

/// What only the thread that `task` runs touches; `None` if it runs no program's.
pub fn local_of(task: &CurrentTask) -> Option<&ThreadLocal> {
    task.local_data().downcast_ref().map(|own: &Own| &own.local)
}

/// Lets `look` look at the calling thread; `None` if the caller is no program's.
pub fn with_current_thread<R>(look: impl FnOnce(&Thread) -> R) -> Option<R> {
    let task = Task::current()?;
    match task.data().downcast_ref()? {
        TaskData::User(thread) => Some(look(thread)),
        TaskData::Idle | TaskData::Kernel => None,
    }
}

fn with_current(action: impl FnOnce(&Thread, &ThreadLocal)) {
    let Some(task) = Task::current() else {
        return; // The boot context.
    };
    if let Some(Own { thread, local }) = task.local_data().downcast_ref() {
        action(thread, local);
    }
}

/// Makes the task of `thread` and lets it run from `regs`. `start` runs first, on the thread's own stack.
///
/// # Errors
/// `ENOMEM` if there is no memory for a kernel stack.
pub fn spawn(
    thread: Arc<Thread>,
    local: ThreadLocal,
    regs: UserContext,
    start: impl FnOnce(&Context, &mut UserContext) + Send + 'static,
) -> Result<()> {
    let body = {
        let thread = thread.clone();
        move || run(thread, regs, start)
    };
    let own = Own { thread: thread.clone(), local };
    TaskOptions::new(body).data(TaskData::User(thread)).local_data(own).spawn()?;
    Ok(())
}

/// The life of a thread.
fn run(thread: Arc<Thread>, mut regs: UserContext, start: impl FnOnce(&Context, &mut UserContext)) {
    let Some(task) = Task::current() else {
        return;
    };
    let Some(local) = local_of(&task) else {
        return;
    };
    let lasting = Lasting::new(&thread);
    with_context(&thread, local, &lasting, |ctx| start(&ctx, &mut regs));
    let mut user_mode = UserMode::new(regs);
    loop {
        let run_on = |ctx: Context<'_>| match run_program(&ctx, &mut user_mode) {
            Flow::Exit(code) => {
                exit::leave_program(ctx);
                Some(code)
            }
            Flow::Renew | Flow::Continue => None,
        };
        if let Some(code) = with_context(&thread, local, &lasting, run_on) {
            return exit::exit_thread(&thread, local, code);
        }
    }
}

/// Lends a context in the address space that is active now.
fn with_context<R>(
    thread: &Arc<Thread>,
    local: &ThreadLocal,
    lasting: &Lasting,
    action: impl FnOnce(Context<'_>) -> R,
) -> R {
    let vm = local.vm();
    match Context::new(thread, local, &vm, lasting) {
        Ok(ctx) => action(ctx),
        Err(_) => unreachable!("a thread's address space is active while it runs"),
    }
}

/// Goes between program and kernel until the program is over.
fn run_program(ctx: &Context, user_mode: &mut UserMode) -> Flow {
    loop {
        if ctx.thread.has_work()
            && let Some(flow) = see_to_work(ctx, user_mode.context_mut())
        {
            return flow;
        }
        match user_mode.execute(|| ctx.thread.has_work()) {
            ReturnReason::UserSyscall => syscall::handle(ctx, user_mode.context_mut()),
            ReturnReason::UserException => signal::handle_exception(ctx, user_mode.context_mut()),
            ReturnReason::KernelEvent => {}
        }
    }
}

/// Leaves a CPU that is no longer allowed: short sleeps, after which the scheduler places the thread anew. One that is over before the thread has left
/// the CPU changes nothing.
fn leave_forbidden_cpu(ctx: &Context) {
    const NANOS: u64 = 20_000;
    while !ctx.thread.sched.may_run_on(disable_preempt().current_cpu()) {
        ctx.sleep_until(Deadline::after_nanos(NANOS));
    }
}

/// Sees to what was requested of the thread; an answer leaves the program.
fn see_to_work(ctx: &Context, regs: &mut UserContext) -> Option<Flow> {
    if ctx.thread.is_requested(Work::FLOW) {
        ctx.thread.clear_work(Work::FLOW);
        let flow = ctx.local.flow.replace(Flow::Continue);
        if flow != Flow::Continue {
            return Some(flow);
        }
    }
    if ctx.thread.is_requested(Work::EXIT) {
        return Some(Flow::Exit(0));
    }
    if ctx.thread.is_requested(Work::CPU_TIME) {
        ctx.thread.clear_work(Work::CPU_TIME);
        signal::check_cpu_timers(ctx);
    }
    if ctx.thread.is_requested(Work::MOVE) {
        ctx.thread.clear_work(Work::MOVE);
        leave_forbidden_cpu(ctx);
    }
    if ctx.thread.is_requested(Work::SIGNAL) {
        signal::handle_pending(ctx, regs);
    }
    // A signal may have decided the end, or stopped the thread until it was told to leave.
    ctx.thread.is_requested(Work::EXIT).then_some(Flow::Exit(0))
}
