// SPDX-License-Identifier: MPL-2.0

//! The vDSO (`vdso(7)`): a small shared object in every program that reads the clocks without a system call.
//!
//! # Role
//! The object is that of the `vdso` library. In memory it follows a page of data, `[vvar]`, in which the
//! kernel leaves what [`clock`](super::clock) computes with; programs read that page, and only the kernel writes it.
//!
//! # Invariants
//! 1. Both compute the same time from the same numbers, so a program may mix readings of both kinds.
//! 2. All words of the page but the offset are written before the first program runs; the offset by one store, so no reader
//!    sees a mixture.
//!
//! # Concurrency
//! Whoever changes the offset holds the lock of the clock's setting: the page and the clock change together.

use ostd::mm::{UFrame, VmIoOnce};
use spin::Once;
use vdso::{IMAGE, clock_page};

use crate::{
    cmdline,
    file::IoSrc,
    prelude::*,
    vm::{AddressSpace, PageCache, Protection, SpecialRequest},
};

/// Pages of the object.
const IMAGE_PAGES: usize = IMAGE.len().div_ceil(PAGE_SIZE);

/// Page 0 is the data, the others are the object.
struct Vdso {
    pages: Arc<PageCache>,
    data: UFrame,
}

static VDSO: Once<Vdso> = Once::new();

/// What the clock computes with.
pub(super) struct Parameters {
    /// The TSC's value at boot.
    pub base: u64,
    /// Nanoseconds per cycle, a fixed-point number with 32 fraction bits.
    pub factor: u64,
    /// Wall-clock time minus monotonic time, in nanoseconds.
    pub realtime_offset: i64,
}

/// Makes the object ready to be mapped. Without memory for it, or with `vdso=0` on the command line, programs do without.
pub(super) fn init(parameters: &Parameters) {
    if cmdline::get().without_vdso {
        return;
    }
    match Vdso::new(parameters) {
        Ok(vdso) => drop(VDSO.call_once(|| vdso)),
        Err(error) => ostd::error!("no vDSO: {}", error.description()),
    }
}

/// Lets programs know that the wall clock was set.
pub(super) fn set_realtime_offset(offset: i64) {
    if let Some(vdso) = VDSO.get() {
        vdso.put(clock_page::REALTIME_OFFSET, offset.cast_unsigned());
    }
}

/// Maps the object into the memory of a new program. The answer is its address, for `AT_SYSINFO_EHDR`; `None` if there is no
/// object.
///
/// # Errors
/// `ENOMEM` if there is no room.
pub fn map(vm: &AddressSpace) -> Result<Option<Vaddr>> {
    let Some(Vdso { pages, .. }) = VDSO.get() else { return Ok(None) };
    let data = vm.find_room((1 + IMAGE_PAGES) * PAGE_SIZE)?;
    let image = data + PAGE_SIZE;
    let code = Protection::READ | Protection::EXEC;
    vm.map_special(SpecialRequest {
        name: "[vvar]",
        address: data,
        protection: Protection::READ,
        max_protection: Protection::READ,
        pages,
        range: 0..1,
    })?;
    vm.map_special(SpecialRequest {
        name: "[vdso]",
        address: image,
        protection: code,
        // A debugger may set breakpoints, in a copy of its own.
        max_protection: Protection::all(),
        pages,
        range: 1..1 + IMAGE_PAGES,
    })?;
    // The C library reads it before anything else.
    let _ = vm.populate(image..image + PAGE_SIZE, false);
    Ok(Some(image))
}

impl Vdso {
    /// # Errors
    /// `ENOMEM`.
    fn new(parameters: &Parameters) -> Result<Self> {
        let pages = PageCache::new(((1 + IMAGE_PAGES) * PAGE_SIZE) as u64);
        pages.write(PAGE_SIZE as u64, &mut IoSrc::from_slice(IMAGE))?;
        let vdso = Self { data: pages.page(0)?, pages };
        vdso.put(clock_page::BASE, parameters.base);
        vdso.put(clock_page::FACTOR, parameters.factor);
        vdso.put(clock_page::REALTIME_OFFSET, parameters.realtime_offset.cast_unsigned());
        vdso.put(clock_page::TICK, super::TICK_NANOS);
        Ok(vdso)
    }

    /// Writes a word of the page of data.
    fn put(&self, offset: usize, value: u64) {
        let written = self.data.write_once(offset, &value);
        debug_assert!(written.is_ok());
    }
}
