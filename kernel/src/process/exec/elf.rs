// SPDX-License-Identifier: MPL-2.0

//! Reading ELF headers: what of `elf(5)` a program loader needs, checked.

use elf::{
    abi,
    endian::LittleEndian,
    file::{Class, FileHeader, parse_ident},
    segment::{ProgramHeader, SegmentTable},
};

use super::Executable;
use crate::prelude::*;

/// Program headers beyond this many bytes are refused, as on Linux.
const MAX_HEADERS: usize = 65536;
const HEADER_SIZE: usize = 64;
const PROGRAM_HEADER_SIZE: usize = 56;

/// The headers of an executable or interpreter.
pub struct Elf {
    /// Whether it may be loaded anywhere (`ET_DYN`).
    pub is_relocatable: bool,
    /// The entry point's address, before relocation.
    pub entry: Vaddr,
    /// Offset of the program headers in the file.
    pub headers_offset: u64,
    /// Number of program headers.
    pub header_count: usize,
    /// The segments to map, in the file's order.
    pub segments: Vec<Segment>,
    /// The interpreter's path and its length in the file.
    pub interpreter: Option<(u64, usize)>,
    /// Whether `PT_GNU_STACK` asks for an executable stack.
    pub wants_executable_stack: bool,
    /// Address of the program headers if a `PT_PHDR` says, before relocation.
    pub headers_address: Option<Vaddr>,
}

/// A `PT_LOAD`.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// First address, before relocation; not aligned.
    pub address: Vaddr,
    /// Offset in the file, congruent to `address` modulo the page size.
    pub offset: u64,
    /// Bytes in the file.
    pub file_size: usize,
    /// Bytes in memory; what lies behind `file_size` is zero.
    pub memory_size: usize,
    /// Alignment asked for; at least a page.
    pub alignment: usize,
    /// `PF_R`, `PF_W`, `PF_X`.
    pub flags: u32,
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// `ENOEXEC` if it is no ELF file for x86-64 that makes sense.
    pub fn read(executable: &Executable) -> Result<Self> {
        let mut bytes = [0; HEADER_SIZE];
        executable.read_exact(0, &mut bytes)?;
        let header = parse_header(&bytes).ok_or(ENOEXEC)?;
        let table_size = usize::from(header.e_phnum) * PROGRAM_HEADER_SIZE;
        let is_sane = header.e_machine == abi::EM_X86_64
            && matches!(header.e_type, abi::ET_EXEC | abi::ET_DYN)
            && usize::from(header.e_phentsize) == PROGRAM_HEADER_SIZE
            && (1..=MAX_HEADERS).contains(&table_size);
        if !is_sane {
            return Err(ENOEXEC);
        }
        let mut table = alloc::vec![0; table_size];
        executable.read_exact(header.e_phoff, &mut table)?;
        let mut elf = Self {
            is_relocatable: header.e_type == abi::ET_DYN,
            entry: to_address(header.e_entry)?,
            headers_offset: header.e_phoff,
            header_count: usize::from(header.e_phnum),
            segments: Vec::new(),
            interpreter: None,
            wants_executable_stack: false,
            headers_address: None,
        };
        for header in SegmentTable::new(LittleEndian, Class::ELF64, &table) {
            elf.take_header(&header)?;
        }
        if elf.segments.is_empty() { Err(ENOEXEC) } else { Ok(elf) }
    }

    fn take_header(&mut self, header: &ProgramHeader) -> Result<()> {
        match header.p_type {
            abi::PT_LOAD if header.p_memsz > 0 => self.segments.push(Segment::new(header)?),
            abi::PT_INTERP if self.interpreter.is_none() => {
                let size = usize::try_from(header.p_filesz).map_err(|_| ENOEXEC)?;
                if !(2..=4096).contains(&size) {
                    return Err(ENOEXEC);
                }
                self.interpreter = Some((header.p_offset, size));
            }
            abi::PT_PHDR => self.headers_address = Some(to_address(header.p_vaddr)?),
            abi::PT_GNU_STACK => self.wants_executable_stack = header.p_flags & abi::PF_X != 0,
            _ => {}
        }
        Ok(())
    }

    /// The addresses that the segments span, page aligned, before relocation.
    ///
    /// # Errors
    /// `ENOEXEC` if the segments are not in ascending order.
    pub fn span(&self) -> Result<core::ops::Range<Vaddr>> {
        let is_ordered = self.segments.is_sorted_by_key(|segment| segment.address);
        let (Some(first), Some(last)) = (self.segments.first(), self.segments.last()) else {
            return Err(ENOEXEC);
        };
        if !is_ordered {
            return Err(ENOEXEC);
        }
        let start = first.address / PAGE_SIZE * PAGE_SIZE;
        Ok(start..(last.address + last.memory_size).next_multiple_of(PAGE_SIZE))
    }

    /// The largest alignment that a segment asks for.
    pub fn alignment(&self) -> usize {
        self.segments.iter().map(|segment| segment.alignment).max().unwrap_or(PAGE_SIZE)
    }

    /// The address of the program headers, before relocation, as `AT_PHDR` reports it.
    pub fn program_headers(&self) -> Vaddr {
        let holds_headers = |segment: &&Segment| {
            let end = segment.offset + segment.file_size as u64;
            (segment.offset..end).contains(&self.headers_offset)
        };
        let in_segment = || {
            let segment = self.segments.iter().find(holds_headers)?;
            Some(segment.address + (self.headers_offset - segment.offset) as usize)
        };
        self.headers_address.or_else(in_segment).unwrap_or(0)
    }
}

fn parse_header(bytes: &[u8; HEADER_SIZE]) -> Option<FileHeader<LittleEndian>> {
    let ident = parse_ident::<LittleEndian>(&bytes[..abi::EI_NIDENT]).ok()?;
    let is_elf64 = ident.1 == Class::ELF64;
    let header = FileHeader::parse_tail(ident, &bytes[abi::EI_NIDENT..]).ok()?;
    is_elf64.then_some(header)
}

fn to_address(value: u64) -> Result<Vaddr> {
    let address = usize::try_from(value).map_err(|_| ENOEXEC)?;
    if address < ostd::mm::MAX_USERSPACE_VADDR { Ok(address) } else { Err(ENOEXEC) }
}

impl Segment {
    fn new(header: &ProgramHeader) -> Result<Self> {
        let segment = Self {
            address: to_address(header.p_vaddr)?,
            offset: header.p_offset,
            file_size: to_address(header.p_filesz)?,
            memory_size: to_address(header.p_memsz)?,
            alignment: usize::try_from(header.p_align).map_err(|_| ENOEXEC)?.max(PAGE_SIZE),
            flags: header.p_flags,
        };
        let is_congruent = segment.address % PAGE_SIZE == (segment.offset % PAGE_SIZE as u64) as usize;
        let is_sane = is_congruent
            && segment.file_size <= segment.memory_size
            && segment.alignment.is_power_of_two()
            && segment.offset.checked_add(header.p_filesz).is_some_and(|end| end < i64::MAX as u64)
            && to_address(header.p_vaddr.saturating_add(header.p_memsz)).is_ok();
        if is_sane { Ok(segment) } else { Err(ENOEXEC) }
    }
}
