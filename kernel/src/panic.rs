// SPDX-License-Identifier: MPL-2.0

//! What happens when the kernel finds itself broken: say so on the first serial port, and leave the virtual machine.
//!
//! The first line starts with `Kernel panic`, which is what the host's tools look for. The machine is powered off with a
//! failure code (QEMU's `isa-debug-exit`), or halted where there is no such device.

use core::{
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering},
};

use ostd::{cpu::PinCurrentCpu, early_println, task::Task, util::id_set::Id};

use crate::process::TaskData;

static IS_PANICKING: AtomicBool = AtomicBool::new(false);

/// The handler of panics outside unit tests.
#[ostd::panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let irq_guard = ostd::irq::disable_local();
    // AcqRel is not needed: the flag only keeps a second report away, of this CPU or another.
    if IS_PANICKING.swap(true, Ordering::Relaxed) {
        ostd::panic::abort();
    }
    early_println!("\nKernel panic: {}", info.message());
    if let Some(location) = info.location() {
        early_println!("  at {}:{}:{}", location.file(), location.line(), location.column());
    }
    let cpu = irq_guard.current_cpu().as_usize();
    let task = Task::current();
    match task.as_ref().and_then(|task| task.data().downcast_ref()) {
        Some(TaskData::User(thread)) => early_println!("  on CPU {} in thread {}", cpu, thread.tid()),
        _ => early_println!("  on CPU {} outside any program", cpu),
    }
    ostd::panic::print_stack_trace();
    ostd::panic::abort()
}
