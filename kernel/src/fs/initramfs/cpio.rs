// SPDX-License-Identifier: MPL-2.0

//! The "newc" format of cpio archives (`cpio(5)`, "New ASCII Format").
//!
//! An entry is a header of 110 ASCII digits, the name with a zero, and the data; name and data are padded to four bytes. The
//! crates at hand stop silently or panic on damaged archives; a boot needs to say what is wrong, and no more than this.

use super::ImageError;

const HEADER_SIZE: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";

/// Whether an archive starts here. The second magic number is that of the variant with checksums.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

/// One entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) number: u32,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    pub(super) modified: u32,
    pub(super) device_major: u32,
    pub(super) device_minor: u32,
    pub(super) special_major: u32,
    pub(super) special_minor: u32,
    pub(super) name: &'a [u8],
    pub(super) data: &'a [u8],
}

impl Entry<'_> {
    /// What further names of the same file have in common.
    pub(super) fn identity(&self) -> (u32, u32, u32) {
        (self.device_major, self.device_minor, self.number)
    }
}

/// A reader of one archive.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Archive<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes read so far; after the trailer, the length of the archive.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The next entry; `None` at the trailer.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ImageError> {
        let start = self.offset;
        let bad = ImageError::BadHeader { offset: start };
        self.parse()
            .filter(|entry| is_sound(entry))
            .ok_or(bad)
            .map(|entry| if entry.name == TRAILER { None } else { Some(entry) })
    }

    fn parse(&mut self) -> Option<Entry<'a>> {
        let header = self.take(HEADER_SIZE)?;
        if !is_archive(header) {
            return None;
        }
        let mut fields = [0_u32; 13];
        for (field, digits) in fields.iter_mut().zip(header[6..].chunks_exact(8)) {
            *field = u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        let [
            number,
            mode,
            uid,
            gid,
            links,
            modified,
            size,
            device_major,
            device_minor,
            special_major,
            special_minor,
            name_size,
            _check,
        ] = fields;
        let name = self.take(usize::try_from(name_size).ok()?)?;
        self.align()?;
        let data = self.take(usize::try_from(size).ok()?)?;
        self.align()?;
        let name = name.strip_suffix(&[0])?;
        Some(Entry {
            number,
            mode,
            uid,
            gid,
            links,
            modified,
            device_major,
            device_minor,
            special_major,
            special_minor,
            name,
            data,
        })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.offset.checked_add(len)?;
        let bytes = self.bytes.get(self.offset..end)?;
        self.offset = end;
        Some(bytes)
    }

    /// Skips padding. The image may end without the last bytes of it.
    fn align(&mut self) -> Option<()> {
        self.offset = self.offset.checked_next_multiple_of(4)?.min(self.bytes.len());
        Some(())
    }
}

fn is_sound(entry: &Entry<'_>) -> bool {
    !entry.name.is_empty() && !entry.name.contains(&0)
}

#[cfg(ktest)]
mod tests {
    use alloc::{format, vec::Vec};

    use ostd::prelude::*;

    use super::*;

    /// An entry as `cpio -H newc` writes it.
    fn entry(mode: u32, name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{name}\0",
            7,
            1,
            2,
            1,
            99,
            data.len(),
            0,
            0,
            5,
            1,
            name.len() + 1,
            0,
        )
        .into_bytes();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[ktest]
    fn entries_come_in_order_and_end_at_the_trailer() {
        let mut bytes = entry(0o100644, "etc/motd", b"hello");
        bytes.extend(entry(0o040755, "dev", b""));
        bytes.extend(entry(0, "TRAILER!!!", b""));
        let len = bytes.len();
        bytes.extend_from_slice(b"whatever follows");
        let mut archive = Archive::new(&bytes);
        let first = archive.next_entry().unwrap().unwrap();
        assert_eq!((first.name, first.data, first.mode), (&b"etc/motd"[..], &b"hello"[..], 0o100644));
        assert_eq!((first.uid, first.gid, first.modified, first.special_major), (1, 2, 99, 5));
        assert_eq!(archive.next_entry().unwrap().unwrap().name, b"dev");
        assert!(archive.next_entry().unwrap().is_none());
        assert_eq!(archive.offset(), len);
    }

    #[ktest]
    fn every_truncation_is_an_error_and_no_panic() {
        let mut bytes = entry(0o100644, "file", b"some data");
        bytes.extend(entry(0, "TRAILER!!!", b""));
        for len in 0..bytes.len() {
            let mut archive = Archive::new(&bytes[..len]);
            while let Ok(Some(_)) = archive.next_entry() {}
        }
        assert!(Archive::new(&bytes[..60]).next_entry().is_err());
        assert!(Archive::new(&bytes[..118]).next_entry().is_err());
    }

    #[ktest]
    fn hostile_sizes_are_refused() {
        let mut bytes = entry(0o100644, "file", b"data");
        bytes[54..62].copy_from_slice(b"ffffffff");
        assert_eq!(Archive::new(&bytes).next_entry().unwrap_err(), ImageError::BadHeader { offset: 0 });
        let mut bytes = entry(0o100644, "file", b"data");
        bytes[94..102].copy_from_slice(b"00000000");
        assert!(Archive::new(&bytes).next_entry().is_err());
        let mut bytes = entry(0o100644, "file", b"data");
        bytes[14..22].copy_from_slice(b"0000zz00");
        assert!(Archive::new(&bytes).next_entry().is_err());
    }
}
