// SPDX-License-Identifier: MPL-2.0

//! The bridge to OSTD's tasks: task data, and what is saved and loaded when a CPU switches tasks.
//!
//! # Concurrency
//! The hooks run with IRQs disabled on the CPU that switches, `save` in the context of the task that leaves and `load` in
//! that of the task that comes. Everything they touch belongs to that task alone, so `Cell`s suffice.

use core::cell::{Cell, RefCell};

use ostd::{
    arch::cpu::context::{FpuContext, FsBase, GsBase},
    irq::{DisabledLocalIrqGuard, disable_local},
    task::{Task, inject_post_schedule_handler, inject_pre_schedule_handler},
};

use super::Thread;
use crate::{prelude::*, vm::AddressSpace};

/// What OSTD keeps as every task's shared data.
pub enum TaskData {
    /// A CPU's idle task.
    Idle,
    /// A thread of a program.
    User(Arc<Thread>),
}

/// State that only the thread itself touches, switched with it.
pub struct ThreadLocal {
    vm: RefCell<Arc<AddressSpace>>,
    fpu: RefCell<FpuContext>,
    fs_base: Cell<FsBase>,
    gs_base: Cell<GsBase>,
}

impl ThreadLocal {
    /// The state of a thread that has not run yet.
    pub fn new(vm: Arc<AddressSpace>, fpu: FpuContext, fs_base: usize, gs_base: usize) -> Self {
        Self {
            vm: RefCell::new(vm),
            fpu: RefCell::new(fpu),
            fs_base: Cell::new(FsBase::new(fs_base)),
            gs_base: Cell::new(GsBase::new(gs_base)),
        }
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
        with_current(|thread, local| {
            thread.cpu_time.switch_in();
            local.load(&disable_local());
        });
    });
}

fn with_current(action: impl FnOnce(&Thread, &ThreadLocal)) {
    let Some(task) = Task::current() else {
        return; // The boot context.
    };
    if let Some(TaskData::User(thread)) = task.data().downcast_ref()
        && let Some(local) = task.local_data().downcast_ref()
    {
        action(thread, local);
    }
}
