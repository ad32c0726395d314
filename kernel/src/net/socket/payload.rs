// SPDX-License-Identifier: MPL-2.0

//! The bytes of one datagram.

use arrayvec::ArrayVec;
use ostd::mm::{Frame, io::util::HasVmReaderWriter};

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
    /// Pages, and how many bytes of them count.
    Pages(Arc<Pages>, usize),
}

/// Pages of the [pool](page_pool).
pub struct Pages(Vec<Frame<()>>);

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
        Ok(Self::Pages(Arc::new(pages), len))
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Pages(_, len) => *len,
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
            Self::Pages(pages, _) => {
                for group in pages.0.chunks(BULK_PAGES) {
                    let mut readers: ArrayVec<_, BULK_PAGES> = ArrayVec::new();
                    let mut planned = copied;
                    for page in group {
                        let mut reader = page.reader();
                        reader.limit(wanted - planned);
                        planned += reader.remain();
                        readers.push(reader);
                    }
                    copied += dst.write_from(&mut readers)?;
                    if copied < planned {
                        break;
                    }
                }
            }
        }
        if copied == wanted { Ok(copied) } else { Err(EFAULT) }
    }
}
