// SPDX-License-Identifier: MPL-2.0

//! The bytes of one datagram.

use core::ops::Range;

use arrayvec::ArrayVec;
use ostd::mm::{Frame, Infallible, io::util::HasVmReaderWriter};

use crate::{
    file::{IoDst, IoSrc},
    prelude::*,
    vm::{BULK_PAGES, page_pool},
};

/// The bytes of a datagram: small ones together, large ones in pages, so that no allocation needs memory in one piece.
#[derive(Clone)]
pub enum Payload {
    /// At most [`SMALL`] bytes.
    Small(Vec<u8>),
    /// Pages, and which bytes of them count.
    Pages(Arc<Pages>, Range<usize>),
}

/// Pages of the [pool](page_pool).
pub struct Pages(Vec<Frame<()>>);

impl Pages {
    /// The first bytes of `range`, as far as one copy goes.
    fn readers(&self, range: &Range<usize>) -> ArrayVec<VmReader<'_, Infallible>, BULK_PAGES> {
        let (first, mut within, mut left) = (range.start / PAGE_SIZE, range.start % PAGE_SIZE, range.len());
        let mut readers = ArrayVec::new();
        for page in self.0.iter().skip(first).take(BULK_PAGES.min((within + left).div_ceil(PAGE_SIZE))) {
            let mut reader = page.reader();
            reader.skip(within).limit(left);
            (within, left) = (0, left - reader.remain());
            readers.push(reader);
        }
        readers
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        page_pool::give(self.0.drain(..));
    }
}

/// The most bytes that are kept together.
const SMALL: usize = 2048;

impl Payload {
    /// Copies `len` bytes in.
    ///
    /// # Errors
    /// `EFAULT` if not all could be copied; `ENOMEM`.
    pub fn copy_from(src: &mut IoSrc<'_>, len: usize) -> Result<Self> {
        if len <= SMALL {
            let mut bytes = alloc::vec![0; len];
            let copied = src.read_slice(&mut bytes)?;
            return if copied == len { Ok(Self::Small(bytes)) } else { Err(EFAULT) };
        }
        let mut pages = Pages(Vec::with_capacity(len.div_ceil(PAGE_SIZE)));
        let mut left = len;
        while left > 0 {
            let mut group: ArrayVec<_, BULK_PAGES> = ArrayVec::new();
            page_pool::take(left.div_ceil(PAGE_SIZE).min(BULK_PAGES), &mut group)?;
            let count = left.min(group.len() * PAGE_SIZE);
            let mut writers: ArrayVec<_, BULK_PAGES> = group.iter().map(Frame::writer).collect();
            if let Some(last) = writers.last_mut() {
                last.limit((count - 1) % PAGE_SIZE + 1);
            }
            let copied = src.read_into(&mut writers)?;
            drop(writers);
            pages.0.extend(group);
            if copied < count {
                return Err(EFAULT);
            }
            left -= count;
        }
        Ok(Self::Pages(Arc::new(pages), 0..len))
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Pages(_, range) => range.len(),
        }
    }

    /// A part of it, as if it had been copied in by itself.
    pub fn part(&self, part: Range<usize>) -> Self {
        let part = part.start.min(self.len())..part.end.min(self.len());
        match self {
            Self::Small(bytes) => Self::Small(bytes[part].to_vec()),
            Self::Pages(pages, range) => {
                let range = range.start + part.start..range.start + part.end;
                if range.len() > SMALL {
                    return Self::Pages(pages.clone(), range);
                }
                // So few bytes must not keep all the pages.
                let mut bytes = alloc::vec![0; range.len()];
                let mut writer = VmWriter::from(bytes.as_mut_slice());
                for reader in &mut pages.readers(&range) {
                    writer.write(reader);
                }
                Self::Small(bytes)
            }
        }
    }

    /// Copies as many bytes out as there is room for, and says how many.
    ///
    /// # Errors
    /// `EFAULT` if not all of those could be copied.
    pub fn copy_to(&self, dst: &mut IoDst<'_>) -> Result<usize> {
        let wanted = self.len().min(dst.avail());
        let mut copied = 0;
        match self {
            Self::Small(bytes) => copied = dst.write_slice(&bytes[..wanted])?,
            Self::Pages(pages, range) => {
                while copied < wanted {
                    let mut readers = pages.readers(&(range.start + copied..range.start + wanted));
                    let planned: usize = readers.iter().map(VmReader::remain).sum();
                    let count = dst.write_from(&mut readers)?;
                    copied += count;
                    if count < planned {
                        break;
                    }
                }
            }
        }
        if copied == wanted { Ok(copied) } else { Err(EFAULT) }
    }
}
