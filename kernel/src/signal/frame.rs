// SPDX-License-Identifier: MPL-2.0

//! The frame of a signal handler on the stack of its program, x86-64 (`struct rt_sigframe`).
//!
//! From low to high addresses: the return address (`SA_RESTORER`), `ucontext_t`, `siginfo_t`, a gap, the floating point state.
//! It lies below the red zone of the interrupted function or on the alternate stack. [`pop`] is `rt_sigreturn(2)`.
//!
//! # Invariants
//! A program may write what it likes into a frame. Nothing from it reaches the CPU unchecked: flags are masked, segments are
//! not taken, an instruction pointer outside user space is a fault of the program, and the floating point state is
//! made such that loading it cannot fault ([`super::fpstate`]).

use ostd::{arch::cpu::context::UserContext, mm::MAX_USERSPACE_VADDR};

use super::{
    Action, ActionFlags, SigInfo, SigSet, Signal, UserSigInfo,
    altstack::{AltStack, UserStack},
    deliver::force_segv,
    fpstate,
};
use crate::prelude::*;

/// Below the stack pointer, a function may use this much without saying so (System V ABI).
const RED_ZONE: usize = 128;

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

const USER_CS: u16 = 0x33;
const USER_SS: u16 = 0x2b;

const FLAG_TRAP: usize = 1 << 8;
const FLAG_DIRECTION: usize = 1 << 10;
const FLAG_RESUME: usize = 1 << 16;
/// The flags that a frame may change: AC, RF, OF, DF, TF, SF, ZF, AF, PF, CF.
const RESTORABLE_FLAGS: usize = 0x50dd5;

/// `struct sigcontext`: `mcontext_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod)]
struct SigContext {
    r8: usize,
    r9: usize,
    r10: usize,
    r11: usize,
    r12: usize,
    r13: usize,
    r14: usize,
    r15: usize,
    rdi: usize,
    rsi: usize,
    rbp: usize,
    rbx: usize,
    rdx: usize,
    rax: usize,
    rcx: usize,
    rsp: usize,
    rip: usize,
    rflags: usize,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error_code: u64,
    vector: u64,
    old_mask: u64,
    fault_address: u64,
    fpstate: usize,
    reserved: [u64; 8],
}

/// `ucontext_t` of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct UContext {
    flags: u64,
    link: usize,
    stack: UserStack,
    context: SigContext,
    mask: SigSet,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct Frame {
    return_address: usize,
    ucontext: UContext,
    info: UserSigInfo,
}

const UCONTEXT_OFFSET: usize = core::mem::offset_of!(Frame, ucontext);
const INFO_OFFSET: usize = core::mem::offset_of!(Frame, info);

// Programs know these numbers.
const _: () = assert!(size_of::<SigContext>() == 256 && size_of::<UContext>() == 304);
const _: () = assert!(size_of::<Frame>() == 440 && INFO_OFFSET == 312);

/// Where the parts of a frame go.
struct Place {
    frame: Vaddr,
    fpstate: Vaddr,
}

impl Place {
    /// # Errors
    /// `EFAULT` if the action has no way back, or the frame would leave the alternate stack.
    fn choose(regs: &UserContext, action: &Action, stack: &AltStack) -> Result<Self> {
        if !action.flags().contains(ActionFlags::RESTORER) || action.handler >= MAX_USERSPACE_VADDR {
            return Err(EFAULT);
        }
        let sp = regs.rsp();
        let new_top = stack.top_for(sp).filter(|_| action.flags().contains(ActionFlags::ONSTACK));
        let top = new_top.unwrap_or(sp.wrapping_sub(RED_ZONE));
        let fpstate = top.checked_sub(fpstate::user_size()).ok_or(EFAULT)? & !63;
        let below = fpstate.checked_sub(size_of::<Frame>()).ok_or(EFAULT)?;
        // As if the handler had been called: the stack is aligned before the return address is pushed.
        let frame = (below & !15).checked_sub(8).ok_or(EFAULT)?;
        let was_on_stack = new_top.is_some() || stack.contains(sp);
        if was_on_stack && stack.top_for(0).is_some() && !stack.contains(frame) {
            return Err(EFAULT);
        }
        Ok(Self { frame, fpstate })
    }
}

/// Writes a frame and sets `regs` to enter the handler. `mask` is what the handler returns to.
///
/// # Errors
/// `EFAULT` if that is impossible; `regs` are then unchanged.
pub(super) fn push(ctx: &Context, regs: &mut UserContext, info: &SigInfo, action: &Action, mask: SigSet) -> Result<()> {
    let (stack, last_fault) = {
        let own = ctx.thread.signals.own.lock();
        (own.alt_stack, own.last_fault)
    };
    let place = Place::choose(regs, action, &stack)?;
    let has_xsave = fpstate::write(ctx, place.fpstate)?;
    let mut context = save(regs);
    context.error_code = last_fault.error_code;
    context.vector = last_fault.vector;
    context.fault_address = last_fault.address;
    context.old_mask = mask.0;
    context.fpstate = place.fpstate;
    let flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | if has_xsave { UC_FP_XSTATE } else { 0 };
    let ucontext = UContext { flags, link: 0, stack: stack.to_user(), context, mask };
    let frame = Frame { return_address: action.restorer, ucontext, info: (*info).into() };
    ctx.write_val(place.frame, &frame)?;
    if stack.disarms_itself() {
        ctx.thread.signals.own.lock().alt_stack = AltStack::default();
    }
    enter(regs, info.signal(), action, place.frame);
    Ok(())
}

fn enter(regs: &mut UserContext, signal: Signal, action: &Action, frame: Vaddr) {
    regs.set_rdi(usize::from(signal.number()));
    regs.set_rsi(frame + INFO_OFFSET);
    regs.set_rdx(frame + UCONTEXT_OFFSET);
    regs.set_rax(0);
    regs.set_rsp(frame);
    regs.set_rip(action.handler);
    regs.set_rflags(regs.rflags() & !(FLAG_DIRECTION | FLAG_TRAP | FLAG_RESUME));
}

fn save(regs: &UserContext) -> SigContext {
    SigContext {
        r8: regs.r8(),
        r9: regs.r9(),
        r10: regs.r10(),
        r11: regs.r11(),
        r12: regs.r12(),
        r13: regs.r13(),
        r14: regs.r14(),
        r15: regs.r15(),
        rdi: regs.rdi(),
        rsi: regs.rsi(),
        rbp: regs.rbp(),
        rbx: regs.rbx(),
        rdx: regs.rdx(),
        rax: regs.rax(),
        rcx: regs.rcx(),
        rsp: regs.rsp(),
        rip: regs.rip(),
        rflags: regs.rflags(),
        cs: USER_CS,
        ss: USER_SS,
        ..SigContext::default()
    }
}

fn restore(regs: &mut UserContext, context: &SigContext) {
    regs.set_r8(context.r8);
    regs.set_r9(context.r9);
    regs.set_r10(context.r10);
    regs.set_r11(context.r11);
    regs.set_r12(context.r12);
    regs.set_r13(context.r13);
    regs.set_r14(context.r14);
    regs.set_r15(context.r15);
    regs.set_rdi(context.rdi);
    regs.set_rsi(context.rsi);
    regs.set_rbp(context.rbp);
    regs.set_rbx(context.rbx);
    regs.set_rdx(context.rdx);
    regs.set_rax(context.rax);
    regs.set_rcx(context.rcx);
    regs.set_rsp(context.rsp);
    regs.set_rip(context.rip);
    let kept = regs.rflags() & !RESTORABLE_FLAGS;
    regs.set_rflags(kept | (context.rflags & RESTORABLE_FLAGS));
}

/// `rt_sigreturn(2)`: returns from a handler to what its frame says. A bad frame is a `SIGSEGV`.
pub fn pop(ctx: &Context, regs: &mut UserContext) {
    if try_pop(ctx, regs).is_err() {
        force_segv(ctx, Signal::ILL);
    }
}

fn try_pop(ctx: &Context, regs: &mut UserContext) -> Result<()> {
    // The handler's `ret` has taken the return address.
    let frame = regs.rsp().checked_sub(UCONTEXT_OFFSET).ok_or(EFAULT)?;
    let ucontext: UContext = ctx.read_val(frame.checked_add(UCONTEXT_OFFSET).ok_or(EFAULT)?)?;
    if ucontext.context.rip >= MAX_USERSPACE_VADDR {
        return Err(EFAULT);
    }
    super::set_mask(ctx, ucontext.mask);
    fpstate::read(ctx, ucontext.context.fpstate)?;
    restore(regs, &ucontext.context);
    // As on Linux, a bad stack in the frame changes nothing and is no error.
    if let Ok(stack) = AltStack::from_user(ucontext.stack) {
        ctx.thread.signals.own.lock().alt_stack = stack;
    }
    Ok(())
}
