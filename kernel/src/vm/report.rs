// SPDX-License-Identifier: MPL-2.0

//! What `/proc/PID` says about memory.

use core::{fmt::Write, sync::atomic::Ordering::Relaxed};

use ostd::mm::PageFlags;

use super::{
    AddressSpace, State,
    layout::STACK_TOP,
    lock::locked_pages,
    mapping::{Backing, Mapping, OWN_PAGE, Protection},
};
use crate::{fs::Path, prelude::*};

/// Figures of `/proc/PID/status` and `statm`, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// `VmSize`: all mappings.
    pub total: usize,
    /// `VmRSS`: pages in the page table, the page of zeros included.
    pub resident: usize,
    /// `VmHWM`: the most that `resident` ever was.
    pub peak_resident: usize,
    /// `RssFile` and `RssShmem`: those of them that belong to files and shared memory.
    pub shared: usize,
    /// `VmLck`
    pub locked: usize,
    /// `VmData`: private, writable, no stack.
    pub data: usize,
    /// `VmStk`
    pub stack: usize,
    /// `VmExe`: executable mappings of the program; `VmLib` is not told apart.
    pub text: usize,
}

impl AddressSpace {
    /// Pages in memory.
    pub fn resident(&self) -> usize {
        self.resident.load(Relaxed)
    }

    /// The most pages that were ever in memory.
    pub fn peak_resident(&self) -> usize {
        self.peak_resident.load(Relaxed).max(self.resident.load(Relaxed))
    }

    /// The present figures. Counting the pages of files walks the page table.
    pub fn usage(&self) -> Usage {
        let state = self.state.read();
        let sum = |select: fn(&Mapping) -> bool| {
            state.mappings.iter().filter(|mapping| select(mapping)).map(Mapping::pages).sum()
        };
        let resident = self.resident.load(Relaxed);
        Usage {
            total: state.mappings.total_pages(),
            resident,
            peak_resident: self.peak_resident(),
            shared: self.count_file_pages(&state),
            locked: locked_pages(&state.mappings),
            data: sum(Mapping::is_data),
            stack: sum(Mapping::grows_down),
            text: sum(|mapping| mapping.protection.contains(Protection::EXEC)),
        }
    }

    fn count_file_pages(&self, state: &State) -> usize {
        let mut count = 0;
        for mapping in state.mappings.iter() {
            if matches!(mapping.backing, Backing::Pages { .. }) && mapping.has_pages() {
                self.visit_pages(&mapping.range(), |page| {
                    count += usize::from(!page.flags.contains(OWN_PAGE));
                });
            }
        }
        count
    }

    /// The lines of `/proc/PID/maps`; paths are shown as seen from `root`.
    pub fn format_maps(&self, root: &Path) -> Vec<u8> {
        let state = self.state.read();
        let mut out = Vec::new();
        for mapping in state.mappings.iter() {
            format_line(&mut out, &state, mapping, root);
        }
        out
    }

    /// The lines of `/proc/PID/smaps`.
    pub fn format_smaps(&self, root: &Path) -> Vec<u8> {
        let state = self.state.read();
        let mut out = Vec::new();
        for mapping in state.mappings.iter() {
            format_line(&mut out, &state, mapping, root);
            out.extend_from_slice(self.format_details(mapping).as_bytes());
        }
        out
    }

    fn format_details(&self, mapping: &Mapping) -> String {
        let (mut pages, mut shares, mut own, mut dirty) = (0u64, 0u64, 0u64, 0u64);
        if mapping.has_pages() {
            self.visit_pages(&mapping.range(), |page| {
                pages += 1;
                shares += PAGE_SIZE as u64 / sharers(page.frame.reference_count());
                own += u64::from(page.flags.contains(OWN_PAGE));
                dirty += u64::from(page.flags.contains(PageFlags::DIRTY));
            });
        }
        const KIB: u64 = PAGE_SIZE as u64 / 1024;
        let mut text = String::new();
        let mut line = |name: &str, kib: u64| {
            let _ = writeln!(text, "{name:<16}{kib:>8} kB");
        };
        line("Size:", mapping.pages() as u64 * KIB);
        line("KernelPageSize:", KIB);
        line("MMUPageSize:", KIB);
        line("Rss:", pages * KIB);
        line("Pss:", shares / 1024);
        line("Private_Dirty:", dirty * KIB);
        line("Referenced:", pages * KIB);
        line("Anonymous:", own * KIB);
        line("Locked:", if mapping.is_locked() { pages * KIB } else { 0 });
        text
    }
}

/// How many share a frame; the visitor's own reference does not count.
fn sharers(references: u64) -> u64 {
    references.saturating_sub(1).max(1)
}

/// Width of a line up to the name, on a 64-bit Linux.
const NAME_COLUMN: usize = 73;

/// One line (`show_map_vma` on Linux).
fn format_line(out: &mut Vec<u8>, state: &State, mapping: &Mapping, root: &Path) {
    let allows = |right, letter| if mapping.protection.contains(right) { letter } else { '-' };
    let (offset, major, minor, inode) = identity(mapping);
    let mut text = String::new();
    let _ = write!(
        text,
        "{:08x}-{:08x} {}{}{}{} {offset:08x} {major:02x}:{minor:02x} {inode} ",
        mapping.start,
        mapping.end,
        allows(Protection::READ, 'r'),
        allows(Protection::WRITE, 'w'),
        allows(Protection::EXEC, 'x'),
        if mapping.is_shared() { 's' } else { 'p' },
    );
    let name = name(state, mapping, root);
    if !name.is_empty() {
        while text.len() < NAME_COLUMN {
            text.push(' ');
        }
    }
    out.extend_from_slice(text.as_bytes());
    // As on Linux only a line break is escaped.
    for byte in name {
        if byte == b'\n' { out.extend_from_slice(b"\\012") } else { out.push(byte) }
    }
    out.push(b'\n');
}

/// Offset in the file, device and inode.
fn identity(mapping: &Mapping) -> (u64, u32, u32, u64) {
    match &mapping.backing {
        Backing::Pages { cache, first, path } if mapping.special.is_none() => {
            let offset = *first as u64 * PAGE_SIZE as u64;
            match path {
                Some(path) => {
                    let metadata = path.inode().metadata();
                    let device = metadata.device;
                    (offset, device.major, device.minor, metadata.number)
                }
                None => (offset, 0, 1, cache.id()),
            }
        }
        _ => (0, 0, 0, 0),
    }
}

fn name(state: &State, mapping: &Mapping, root: &Path) -> Vec<u8> {
    match (&mapping.backing, mapping.special) {
        (_, Some(name)) => name.into(),
        (Backing::Pages { path: Some(path), .. }, _) => path.display(root),
        (Backing::Pages { path: None, .. }, _) => b"/dev/zero (deleted)".into(),
        (Backing::Anonymous, _) if mapping.end == STACK_TOP => b"[stack]".into(),
        (Backing::Anonymous, _) if mapping.start < state.heap_end && mapping.end > state.heap_start => b"[heap]".into(),
        (Backing::Anonymous, _) => Vec::new(),
    }
}
