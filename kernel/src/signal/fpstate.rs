// SPDX-License-Identifier: MPL-2.0

//! Floating point state in signal frames: the image of `XSAVE` with Linux's marks for programs that read it.
//!
//! The 48 bytes at offset 464 of the legacy area, which the CPU leaves to software, tell how much follows
//! (`struct _fpx_sw_bytes`); behind the image stands a second mark. Facts: `arch/x86/include/uapi/asm/sigcontext.h`.
//!
//! # Invariants
//! `XRSTOR` faults on reserved bits of `MXCSR` and of the header. [`sanitise`] clears them, so that a program cannot make the
//! kernel fault by what it writes into its frame.

use ostd::arch::cpu::context::FpuContext;
use spin::Once;

use crate::prelude::*;

const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
/// Length of the legacy area, the image of `FXSAVE`.
const LEGACY_LEN: usize = 512;
/// Length of the legacy area and the header behind it.
const HEADER_END: usize = LEGACY_LEN + 64;
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
const SOFTWARE_BYTES: usize = 464;
/// The bits of `MXCSR` that exist if the CPU does not say.
const DEFAULT_MXCSR_MASK: u32 = 0xFFBF;
/// x87 and SSE: what the legacy area holds.
const LEGACY_FEATURES: u64 = 3;

/// `struct _fpx_sw_bytes`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod)]
struct SoftwareBytes {
    magic1: u32,
    /// With the second mark.
    extended_size: u32,
    features: u64,
    /// Without it.
    size: u32,
    padding: [u32; 7],
}

/// What this CPU saves.
struct Layout {
    size: usize,
    features: u64,
}

fn layout() -> &'static Layout {
    static LAYOUT: Once<Layout> = Once::new();
    LAYOUT.call_once(|| {
        let fresh = FpuContext::new();
        let image = fresh.as_bytes();
        // A fresh image has every feature in use.
        let features = if has_header(image.len()) { get_u64(image, LEGACY_LEN) } else { 0 };
        Layout { size: image.len(), features }
    })
}

fn has_header(size: usize) -> bool {
    size >= HEADER_END
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, u32::from_bytes)
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, u64::from_bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Bytes that the state takes in a frame.
pub(super) fn user_size() -> usize {
    let size = layout().size;
    if has_header(size) { size + size_of_val(&MAGIC2) } else { LEGACY_LEN }
}

/// Writes the CPU's state to `address`. Returns whether it has more than the legacy area.
///
/// # Errors
/// `EFAULT` if it cannot be written.
pub(super) fn write(ctx: &Context, address: Vaddr) -> Result<bool> {
    let in_place = ctx.local.with_current_fpu(|state| {
        stamp(state);
        ctx.local.with_faults_disabled(|| ctx.write_bytes(address, state.as_bytes()))
    });
    if in_place.is_err() {
        // A page has to be faulted in, which may sleep: by way of a copy.
        let mut copy = ctx.local.current_fpu();
        stamp(&mut copy);
        ctx.write_bytes(address, copy.as_bytes())?;
    }
    let layout = layout();
    if has_header(layout.size) {
        ctx.write_val(address.checked_add(layout.size).ok_or(EFAULT)?, &MAGIC2)?;
    }
    Ok(has_header(layout.size))
}

/// Puts Linux's mark into the bytes that the CPU leaves alone.
fn stamp(state: &mut FpuContext) {
    let layout = layout();
    if has_header(layout.size) {
        let software = SoftwareBytes {
            magic1: MAGIC1,
            extended_size: user_size() as u32,
            features: layout.features,
            size: layout.size as u32,
            padding: [0; 7],
        };
        put(state.as_bytes_mut(), SOFTWARE_BYTES, software.as_bytes());
    }
}

/// Loads the CPU's state from `address`; 0 means the initial state.
///
/// # Errors
/// `EFAULT` if it cannot be read.
pub(super) fn read(ctx: &Context, address: Vaddr) -> Result<()> {
    if address == 0 {
        ctx.local.set_current_fpu(FpuContext::new());
        return Ok(());
    }
    let is_extended = is_extended(ctx, address)?;
    let in_place = ctx
        .local
        .fill_current_fpu(|state| ctx.local.with_faults_disabled(|| copy_in(ctx, address, state, is_extended)));
    if in_place.is_err() {
        // As in `write`.
        let mut state = FpuContext::new();
        copy_in(ctx, address, &mut state, is_extended)?;
        ctx.local.set_current_fpu(state);
    }
    Ok(())
}

/// Copies a state in and makes it loadable, also if only a part could be read.
fn copy_in(ctx: &Context, address: Vaddr, state: &mut FpuContext, is_extended: bool) -> Result<()> {
    let image = state.as_bytes_mut();
    let len = if is_extended { image.len() } else { LEGACY_LEN.min(image.len()) };
    let mut dst = VmWriter::from(&mut image[..len]).to_fallible();
    let copied = ctx.reader(address, len).and_then(|mut reader| {
        reader.read_fallible(&mut dst)?;
        Ok(())
    });
    sanitise(image, is_extended);
    copied
}

/// Whether both marks are there and the sizes fit: if not, only the legacy area counts.
fn is_extended(ctx: &Context, address: Vaddr) -> Result<bool> {
    let layout = layout();
    let software: SoftwareBytes = ctx.read_val(address.checked_add(SOFTWARE_BYTES).ok_or(EFAULT)?)?;
    let fits = software.magic1 == MAGIC1
        && software.size as usize == layout.size
        && software.extended_size as usize >= layout.size
        && has_header(layout.size);
    if !fits {
        return Ok(false);
    }
    let mark: u32 = ctx.read_val(address.checked_add(layout.size).ok_or(EFAULT)?)?;
    Ok(mark == MAGIC2)
}

/// Clears whatever would make `XRSTOR` or `FXRSTOR` fault.
fn sanitise(image: &mut [u8], is_extended: bool) {
    let mxcsr = get_u32(image, MXCSR) & mxcsr_mask();
    put(image, MXCSR, &mxcsr.to_le_bytes());
    if has_header(image.len()) {
        let wanted = if is_extended { get_u64(image, LEGACY_LEN) } else { LEGACY_FEATURES };
        put(image, LEGACY_LEN, &(wanted & layout().features).to_le_bytes());
        put(image, LEGACY_LEN + 8, &[0; 56]);
    }
}

/// The bits of `MXCSR` that this CPU has.
fn mxcsr_mask() -> u32 {
    static MASK: Once<u32> = Once::new();
    *MASK.call_once(|| {
        let mut probe = FpuContext::new();
        probe.save();
        match get_u32(probe.as_bytes(), MXCSR_MASK) {
            0 => DEFAULT_MXCSR_MASK,
            mask => mask,
        }
    })
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn hostile_images_load() {
        let mut state = FpuContext::new();
        state.as_bytes_mut().fill(0xFF);
        sanitise(state.as_bytes_mut(), true);
        state.load();
        FpuContext::new().load();
    }
}
