// SPDX-License-Identifier: MPL-2.0

//! The vDSO's image (`vdso(7)`): made of `vdso.c` when the kernel is built, mapped into every program.
//!
//! # Protocol
//! The kernel maps a page of data right before the image: `struct clock_page` of `vdso.c`, whose words are at the offsets of
//! [`clock_page`].

#![no_std]
#![forbid(unsafe_code)]

/// The object, to be mapped from a page boundary on, readable and executable.
pub const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));

/// Offsets in the page of data, each of a word of 64 bits.
pub mod clock_page {
    /// The time-stamp counter's value at boot.
    pub const BASE: usize = 0;
    /// Nanoseconds per cycle of the counter, a fixed-point number with 32 fraction bits.
    pub const FACTOR: usize = 8;
    /// Wall-clock time minus monotonic time, in nanoseconds; signed. The only word that may change.
    pub const REALTIME_OFFSET: usize = 16;
    /// Nanoseconds between two values of the coarse clocks.
    pub const TICK: usize = 24;
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use elf::{ElfBytes, abi, endian::LittleEndian};

    fn image() -> ElfBytes<'static, LittleEndian> {
        ElfBytes::minimal_parse(super::IMAGE).expect("an ELF file")
    }

    #[test]
    fn one_segment_and_nothing_to_write() {
        let segments = image().segments().expect("program headers");
        let loaded: Vec<_> = segments.iter().filter(|segment| segment.p_type == abi::PT_LOAD).collect();
        assert_eq!(loaded.len(), 1);
        assert_eq!((loaded[0].p_offset, loaded[0].p_vaddr), (0, 0));
        assert!(segments.iter().all(|segment| segment.p_flags & abi::PF_W == 0));
    }

    #[test]
    fn libraries_find_the_names_they_look_for() {
        let image = image();
        let found = image.find_common_data().expect("sections");
        let (symbols, names) = (found.dynsyms.expect("symbols"), found.dynsyms_strs.expect("their names"));
        let versions = image.symbol_version_table().expect("well-formed").expect("versions");
        for wanted in ["__vdso_clock_gettime", "__vdso_clock_getres", "__vdso_gettimeofday", "__vdso_time"] {
            let (at, symbol) = symbols
                .iter()
                .enumerate()
                .find(|(_, symbol)| names.get(symbol.st_name as usize).is_ok_and(|name| name == wanted))
                .expect(wanted);
            assert!(symbol.st_value != 0 && symbol.st_symtype() == abi::STT_FUNC, "{wanted} is a function");
            let version = versions.get_definition(at).expect("well-formed").expect("a version");
            assert!(version.names.map(|name| name.expect("a name")).any(|name| name == "LINUX_2.6"), "{wanted}");
        }
    }
}
