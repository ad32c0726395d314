// SPDX-License-Identifier: MPL-2.0

//! `membarrier(2)`: a memory barrier on all CPUs, so that threads that often run need none of their own.
//!
//! # Concurrency
//! The caller's own barriers are in the atomic operations around the calls to the other CPUs, of which it waits for each. A thread that is not running
//! then had one when it was taken off its CPU: the lock of the queue of those that are ready.

use core::sync::atomic::{AtomicUsize, Ordering};

use ostd::{
    cpu::{CpuSet, PinCurrentCpu, num_cpus},
    smp::inter_processor_call,
    task::disable_preempt,
};

use crate::{prelude::*, vm::Barriers};

bitflags::bitflags! {
    /// The commands, and what `MEMBARRIER_CMD_QUERY` answers.
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Command: u32 {
        const GLOBAL = 1;
        const GLOBAL_EXPEDITED = 2;
        const REGISTER_GLOBAL_EXPEDITED = 4;
        const PRIVATE_EXPEDITED = 8;
        const REGISTER_PRIVATE_EXPEDITED = 0x10;
        const PRIVATE_EXPEDITED_SYNC_CORE = 0x20;
        const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 0x40;
        const GET_REGISTRATIONS = 0x200;
    }
}

/// `membarrier(2)`, without the commands for restartable sequences, which there are none of.
///
/// # Errors
/// `EINVAL` for an unknown command, or flags; `EPERM` for one that the process has not registered for.
pub fn sys_membarrier(ctx: &Context, command: u32, flags: u32) -> Result<isize> {
    if flags != 0 {
        return Err(EINVAL);
    }
    let command = Command::from_bits(command).ok_or(EINVAL)?;
    let barriers = |wanted| if ctx.vm.barriers().contains(wanted) { Ok(()) } else { Err(EPERM) };
    match command {
        command if command.is_empty() => return Ok(Command::all().bits() as isize),
        Command::GLOBAL | Command::GLOBAL_EXPEDITED => everywhere(),
        Command::REGISTER_GLOBAL_EXPEDITED => ctx.vm.register(Barriers::GLOBAL),
        Command::PRIVATE_EXPEDITED => {
            barriers(Barriers::PRIVATE)?;
            everywhere();
        }
        Command::REGISTER_PRIVATE_EXPEDITED => ctx.vm.register(Barriers::PRIVATE),
        Command::PRIVATE_EXPEDITED_SYNC_CORE => {
            barriers(Barriers::SYNC_CORE)?;
            everywhere();
        }
        Command::REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => ctx.vm.register(Barriers::SYNC_CORE),
        Command::GET_REGISTRATIONS => return Ok(registrations(ctx.vm.barriers()).bits() as isize),
        _ => return Err(EINVAL),
    }
    Ok(0)
}

/// As Linux answers, whose registration for the one kind of private barrier shows as both.
fn registrations(barriers: Barriers) -> Command {
    let mut commands = Command::empty();
    commands.set(Command::REGISTER_GLOBAL_EXPEDITED, barriers.contains(Barriers::GLOBAL));
    commands.set(Command::REGISTER_PRIVATE_EXPEDITED, barriers.intersects(Barriers::PRIVATE | Barriers::SYNC_CORE));
    commands.set(Command::REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, barriers.contains(Barriers::SYNC_CORE));
    commands
}

/// Has every CPU pass a barrier, which is a serializing instruction as well: the return from the interrupt.
fn everywhere() {
    static TURN: Mutex<()> = Mutex::new(());
    static MISSING: AtomicUsize = AtomicUsize::new(0);

    let _turn = TURN.lock();
    let guard = disable_preempt();
    let mut others = CpuSet::new_full();
    others.remove(guard.current_cpu());
    MISSING.store(num_cpus() - 1, Ordering::SeqCst);
    inter_processor_call(&others, || {
        MISSING.fetch_sub(1, Ordering::SeqCst);
    });
    while MISSING.load(Ordering::SeqCst) > 0 {
        core::hint::spin_loop();
    }
}
