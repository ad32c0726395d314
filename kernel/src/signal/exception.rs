// SPDX-License-Identifier: MPL-2.0

//! CPU exceptions of programs: page faults are resolved or become signals, the others become signals.
//!
//! Codes and addresses are those of Linux's `arch/x86/kernel/traps.c` and `fault.c`, seen from a handler.

use ostd::{
    arch::cpu::context::{CpuException, RawPageFaultInfo, UserContext},
    user::UserContextApi,
};

use super::{SigInfo, Signal, force, state::LastFault};
use crate::{prelude::*, vm::fault_from_user};

const FPE_INTDIV: i32 = 1;
const FPE_FLTDIV: i32 = 3;
const FPE_FLTOVF: i32 = 4;
const FPE_FLTUND: i32 = 5;
const FPE_FLTRES: i32 = 6;
const FPE_FLTINV: i32 = 7;
const ILL_ILLOPN: i32 = 2;
const BUS_ADRALN: i32 = 1;
const TRAP_TRACE: i32 = 2;

/// Sees to the exception that brought the thread into the kernel.
pub fn handle_exception(ctx: &Context, regs: &mut UserContext) {
    let Some(exception) = regs.take_exception() else {
        return;
    };
    let info = match exception {
        CpuException::PageFault(fault) => match resolve(ctx, &fault) {
            None => return,
            Some(info) => info,
        },
        _ => to_signal(ctx, regs, exception),
    };
    let address = match exception {
        CpuException::PageFault(fault) => Some(fault.addr as u64),
        _ => None,
    };
    remember(ctx, regs, address);
    force(ctx, info);
}

/// Brings the page in, or says what signal the program gets.
fn resolve(ctx: &Context, fault: &RawPageFaultInfo) -> Option<SigInfo> {
    let refused = fault_from_user(ctx, fault).err()?;
    let signal = Signal::new(i32::try_from(refused.number).unwrap_or(0)).unwrap_or(Signal::SEGV);
    Some(SigInfo::fault(signal, refused.code, refused.address))
}

fn to_signal(ctx: &Context, regs: &UserContext, exception: CpuException) -> SigInfo {
    let here = regs.rip();
    match exception {
        CpuException::DivisionError => SigInfo::fault(Signal::FPE, FPE_INTDIV, here),
        CpuException::Debug => SigInfo::fault(Signal::TRAP, TRAP_TRACE, here),
        CpuException::BreakPoint => SigInfo::kernel(Signal::TRAP),
        CpuException::InvalidOpcode => SigInfo::fault(Signal::ILL, ILL_ILLOPN, here),
        CpuException::X87FloatingPointException => SigInfo::fault(Signal::FPE, x87_code(ctx), here),
        CpuException::SIMDFloatingPointException => SigInfo::fault(Signal::FPE, simd_code(ctx), here),
        CpuException::AlignmentCheck => SigInfo::fault(Signal::BUS, BUS_ADRALN, 0),
        CpuException::SegmentNotPresent(_) | CpuException::StackSegmentFault(_) => SigInfo::kernel(Signal::BUS),
        _ => SigInfo::kernel(Signal::SEGV),
    }
}

fn remember(ctx: &Context, regs: &UserContext, address: Option<u64>) {
    let mut own = ctx.thread.signals.own.lock();
    own.last_fault = LastFault {
        vector: regs.trap_number() as u64,
        error_code: regs.trap_error_code() as u64,
        address: address.unwrap_or(own.last_fault.address),
    };
}

/// `si_code` for an unmasked exception: bits as in the x87 status word and in `MXCSR`.
fn fpe_code(raised: u32) -> i32 {
    const INVALID: u32 = 1;
    const DENORMAL: u32 = 2;
    const ZERO_DIVIDE: u32 = 4;
    const OVERFLOW: u32 = 8;
    const UNDERFLOW: u32 = 16;
    const PRECISION: u32 = 32;
    let has = |bits: u32| raised & bits != 0;
    if has(INVALID) {
        FPE_FLTINV
    } else if has(ZERO_DIVIDE) {
        FPE_FLTDIV
    } else if has(OVERFLOW) {
        FPE_FLTOVF
    } else if has(UNDERFLOW | DENORMAL) {
        FPE_FLTUND
    } else if has(PRECISION) {
        FPE_FLTRES
    } else {
        0
    }
}

fn x87_code(ctx: &Context) -> i32 {
    let word = |image: &[u8], at: usize| image.get(at..at + 2).map_or(0, u16::from_bytes);
    let raised = ctx.local.with_current_fpu(|state| {
        let (control, status) = (word(state.as_bytes(), 0), word(state.as_bytes(), 2));
        status & !control
    });
    fpe_code(u32::from(raised))
}

fn simd_code(ctx: &Context) -> i32 {
    let mxcsr = ctx.local.with_current_fpu(|state| state.as_bytes().get(24..28).map_or(0, u32::from_bytes));
    fpe_code(mxcsr & !(mxcsr >> 7))
}
