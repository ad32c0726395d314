// SPDX-License-Identifier: MPL-2.0

//! The bytes of one datagram.

use ostd::mm::{Frame, io::util::HasVmReaderWriter};

use crate::{
    file::{IoDst, IoSrc},
    prelude::*,
    vm::reserve,
};

/// The bytes of a datagram: small ones together, large ones in pages, so that no allocation needs memory in one piece.
pub enum Payload {
    /// At most [`SMALL`] bytes.
    Small(Vec<u8>),
    /// Pages, and how many bytes of them count.
    Pages(Vec<Frame<()>>, usize),
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
        let mut pages = Vec::with_capacity(len.div_ceil(PAGE_SIZE));
        let mut left = len;
        while left > 0 {
            let page = reserve::or_relieve(|| reserve::new_page(false))?;
            let count = left.min(PAGE_SIZE);
            let mut writer = page.writer();
            writer.limit(count);
            if src.read(&mut writer)? < count {
                return Err(EFAULT);
            }
            pages.push(page);
            left -= count;
        }
        Ok(Self::Pages(pages, len))
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
                for page in pages {
                    let mut reader = page.reader();
                    reader.limit(PAGE_SIZE.min(wanted - copied));
                    copied += dst.write(&mut reader)?;
                }
            }
        }
        if copied == wanted { Ok(copied) } else { Err(EFAULT) }
    }
}
