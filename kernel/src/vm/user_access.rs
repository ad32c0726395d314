// SPDX-License-Identifier: MPL-2.0

//! Faults as OSTD reports them, and atomic access to words of the program.
//!
//! # Concurrency
//! A copy from or to user memory may fault, and the fault may sleep. So the kernel copies without spin locks. What must look
//! at a word under a spin lock, such as a futex, uses [`Context::try_load_u32`], which never faults a page in: on `None` the
//! caller releases its lock, touches the word by [`Context::atomic_load_u32`], and begins again.

use ostd::{
    arch::{
        cpu::context::{CpuException, PageFaultErrorCode, RawPageFaultInfo},
        trap::inject_user_page_fault_handler,
    },
    task::Task,
};

use super::{Access, Fault, reserve};
use crate::{
    prelude::*,
    process::{Thread, local_of, oom, with_current_thread},
};

/// The signal for a program whose access failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FaultSignal {
    /// Its number.
    pub number: u32,
    /// `si_code`
    pub code: i32,
    /// `si_addr`
    pub address: Vaddr,
}

/// Lets faults of kernel code on user memory be handled. Call once, before the first thread runs.
pub fn init() {
    reserve::init();
    super::page_pool::init();
    inject_user_page_fault_handler(handle_kernel_fault);
}

/// Handles a page fault of the calling thread's program, which may have to try again.
///
/// # Errors
/// The signal that it gets instead.
pub fn fault_from_user(ctx: &Context, info: &RawPageFaultInfo) -> core::result::Result<(), FaultSignal> {
    const SIGBUS: u32 = 7;
    const SIGKILL: u32 = 9;
    const SIGSEGV: u32 = 11;
    let fault = match ctx.vm.handle_fault(info.addr, access_of(info.error_code)) {
        Ok(()) => {
            ctx.thread.count_fault();
            return Ok(());
        }
        Err(Fault::OutOfMemory) if oom::relieve(&ctx.thread) => return Ok(()),
        Err(fault) => fault,
    };
    let (number, code) = match fault {
        Fault::NotMapped => (SIGSEGV, 1),
        Fault::NotPermitted => (SIGSEGV, 2),
        Fault::Bus => (SIGBUS, 2),
        Fault::OutOfMemory => (SIGKILL, 0),
    };
    Err(FaultSignal { number, code, address: info.addr })
}

fn access_of(error: PageFaultErrorCode) -> Access {
    if error.contains(PageFaultErrorCode::INSTRUCTION) {
        Access::Execute
    } else if error.contains(PageFaultErrorCode::WRITE) {
        Access::Write
    } else {
        Access::Read
    }
}

/// A fault of kernel code on a user address. `Err` ends the copy.
fn handle_kernel_fault(exception: &CpuException) -> core::result::Result<(), ()> {
    let CpuException::PageFault(info) = exception else {
        return Err(());
    };
    let task = Task::current().ok_or(())?;
    let local = local_of(&task).ok_or(())?;
    if local.are_faults_disabled() {
        return Err(());
    }
    let access = access_of(info.error_code);
    reserve::or_relieve(|| local.vm().handle_fault(info.addr, access).map_err(Errno::from)).map_err(drop)?;
    with_current_thread(Thread::count_fault).ok_or(())
}

impl Context<'_> {
    /// Loads a word of the program in one piece.
    ///
    /// # Errors
    /// `EINVAL` if `address` is not a multiple of four; `EFAULT` if it cannot be read.
    pub fn atomic_load_u32(&self, address: Vaddr) -> Result<u32> {
        check_word(address)?;
        Ok(self.reader(address, size_of::<u32>())?.atomic_load()?)
    }

    /// Loads a word without faulting a page in: allowed under a spin lock. `None` if that would be needed, or if the word
    /// cannot be read at all.
    pub fn try_load_u32(&self, address: Vaddr) -> Option<u32> {
        self.local.with_faults_disabled(|| self.atomic_load_u32(address).ok())
    }

    /// Stores `new` in a word of the program if it holds `old`. The answer is what it held.
    ///
    /// # Errors
    /// `EINVAL` if `address` is not a multiple of four; `EFAULT` if it cannot be written.
    pub fn compare_exchange_u32(&self, address: Vaddr, old: u32, new: u32) -> Result<u32> {
        check_word(address)?;
        let (reader, writer) = self.vm.space().reader_writer(address, size_of::<u32>())?;
        let (held, _) = writer.atomic_compare_exchange(&reader, old, new)?;
        Ok(held)
    }

    /// [`Self::compare_exchange_u32`] without faulting a page in; see [`Self::try_load_u32`].
    pub fn try_compare_exchange_u32(&self, address: Vaddr, old: u32, new: u32) -> Option<u32> {
        self.local.with_faults_disabled(|| self.compare_exchange_u32(address, old, new).ok())
    }
}

fn check_word(address: Vaddr) -> Result<()> {
    if address.is_multiple_of(size_of::<u32>()) { Ok(()) } else { Err(EINVAL) }
}
