// SPDX-License-Identifier: MPL-2.0

//! Pollux: a framekernel whose heart is I/O notification.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[macro_use]
extern crate ostd_pod;

/// Prefix of this crate's lines in OSTD's log.
macro_rules! __log_prefix {
    () => {
        ""
    };
}

mod boot;
mod cmdline;
mod context;
mod device;
mod error;
mod events;
mod file;
mod fs;
mod futex;
mod log;
mod net;
mod panic;
mod prelude;
mod process;
mod random;
mod sched;
mod signal;
mod stream;
mod sync;
mod syscall;
mod system;
mod time;
mod trace;
mod vm;

/// The entry point of the boot CPU, after OSTD's own initialisation.
#[ostd::main]
fn kernel_main() {
    log::init(cmdline::get().loglevel);
    sched::init();
    time::init();
    vm::init();
    process::init_task_hooks();
    ostd::boot::smp::register_ap_entry(|| sched::run_idle_on_cpu(|| {}));
    sched::run_idle_on_cpu(boot::run)
}
