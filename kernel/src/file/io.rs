// SPDX-License-Identifier: MPL-2.0

//! Sources and destinations of bytes: one user buffer, an `iovec` array, or memory of the kernel.
//!
//! A file sees one logical buffer, so that `writev(2)` to a pipe is one atomic write and `readv(2)` of an eventfd one read.
//! The common single buffer costs no allocation.
//!
//! OSTD copies byte by byte where memory may fault, and word by word where it cannot. So few bytes are copied the first way, and many as the
//! memory allows: that of the kernel, and of a program whose pages are there ([`AddressSpace::copy_in`]), the second way.

use ostd::mm::{Infallible, UFrame, io::util::HasVmReaderWriter};

use crate::{
    prelude::*,
    vm::{AddressSpace, BULK},
};

/// Where `write(2)` and its kin take bytes from.
pub struct IoSrc<'a> {
    current: VmReader<'a, Fallible>,
    /// Further segments, last one first, so that taking the next is a `pop`.
    rest: Vec<VmReader<'a, Fallible>>,
    memory: Memory<'a>,
}

/// Where the segments of an [`IoSrc`] are.
#[derive(Clone, Copy)]
enum Memory<'a> {
    /// In a program.
    User(&'a AddressSpace),
    /// In the kernel: the only segment is in these bytes.
    Bytes(&'a [u8]),
    /// In the kernel: each segment is in one of these pages, the last segment in the last.
    Pages(&'a [UFrame]),
}

impl<'a> IoSrc<'a> {
    /// A source of one segment of the caller's memory.
    pub fn new(reader: VmReader<'a, Fallible>, user: &'a AddressSpace) -> Self {
        Self { current: reader, rest: Vec::new(), memory: Memory::User(user) }
    }

    /// A source of kernel memory.
    pub fn from_slice(bytes: &'a [u8]) -> Self {
        Self { current: VmReader::from(bytes).to_fallible(), rest: Vec::new(), memory: Memory::Bytes(bytes) }
    }

    /// A source of several segments of the caller's memory, in order.
    pub fn from_segments(segments: Vec<VmReader<'a, Fallible>>, user: &'a AddressSpace) -> Self {
        Self::in_order(segments, Memory::User(user))
    }

    /// A source of the pages of a file, in order.
    pub fn from_pages(pages: &'a [UFrame]) -> Self {
        Self::in_order(pages.iter().map(|page| page.reader().to_fallible()).collect(), Memory::Pages(pages))
    }

    fn in_order(mut segments: Vec<VmReader<'a, Fallible>>, memory: Memory<'a>) -> Self {
        segments.reverse();
        let current = segments.pop().unwrap_or_else(|| VmReader::from(&[][..]).to_fallible());
        Self { current, rest: segments, memory }
    }

    /// Bytes left.
    pub fn remain(&self) -> usize {
        let here = self.current.remain();
        if self.rest.is_empty() { here } else { here + self.rest.iter().map(VmReader::remain).sum::<usize>() }
    }

    /// Drops all but the first `len` bytes.
    pub fn limit(&mut self, len: usize) {
        let mut left = len.saturating_sub(self.current.limit(len).remain());
        for segment in self.rest.iter_mut().rev() {
            left = left.saturating_sub(segment.limit(left).remain());
        }
    }

    /// Drops the first `len` bytes, which the present segment has.
    pub fn skip_in_segment(&mut self, len: usize) {
        self.current.skip(len.min(self.current.remain()));
    }

    /// Bytes left in the present segment, or in the next one that has any.
    pub fn segment_len(&mut self) -> usize {
        self.advance();
        self.current.remain()
    }

    /// Fills `dst` as far as both last.
    ///
    /// # Errors
    /// `EFAULT` if user memory faults before the first byte; a fault later ends the copy short.
    pub fn read(&mut self, dst: &mut VmWriter<'_, Infallible>) -> Result<usize> {
        if dst.avail() >= BULK {
            let count = self.read_long(dst.clone_exclusive())?;
            dst.skip(count);
            return Ok(count);
        }
        let mut total = 0;
        while dst.has_avail() && self.advance() {
            match self.current.read_fallible(dst) {
                Ok(count) => total += count,
                Err((_, count)) if total + count > 0 => return Ok(total + count),
                Err((error, _)) => return Err(error.into()),
            }
        }
        Ok(total)
    }

    /// [`Self::read`] apart, so that short reads keep what they handle in registers.
    #[inline(never)]
    fn read_long(&mut self, mut dst: VmWriter<'_, Infallible>) -> Result<usize> {
        self.read_into(core::slice::from_mut(&mut dst))
    }

    /// Fills one place after the other as far as all last: of long reads the fastest.
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::read`].
    pub fn read_into(&mut self, dst: &mut [VmWriter<'_, Infallible>]) -> Result<usize> {
        let mut total = 0;
        while self.advance() {
            total += self.copy_in(dst);
            let Some(place) = dst.iter_mut().find(|place| place.has_avail()) else { break };
            match self.current.read_fallible(place) {
                Ok(count) => total += count,
                Err((_, count)) if total + count > 0 => return Ok(total + count),
                Err((error, _)) => return Err(error.into()),
            }
        }
        Ok(total)
    }

    /// Copies many bytes of the present segment at once. What is left over of it is at its end, or may fault.
    fn copy_in(&mut self, dst: &mut [VmWriter<'_, Infallible>]) -> usize {
        let whole = match self.memory {
            Memory::User(space) => return space.copy_in(&mut self.current, dst),
            Memory::Bytes(bytes) => Some(VmReader::from(bytes)),
            Memory::Pages(pages) => pages.iter().nth_back(self.rest.len()).map(|page| page.reader()),
        };
        let Some(mut segment) = whole else {
            return 0;
        };
        let done = self.current.cursor().addr() - segment.cursor().addr();
        segment.skip(done).limit(self.current.remain());
        let copied = dst.iter_mut().map(|place| segment.read(place)).sum();
        self.current.skip(copied);
        copied
    }

    /// Fills a slice of kernel memory, see [`Self::read`].
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::read`].
    pub fn read_slice(&mut self, dst: &mut [u8]) -> Result<usize> {
        self.read(&mut VmWriter::from(dst))
    }

    /// Takes one value.
    ///
    /// # Errors
    /// `EINVAL` if fewer bytes are left, `EFAULT` if they cannot be read.
    pub fn read_val<T: Pod>(&mut self) -> Result<T> {
        if self.current.remain() >= size_of::<T>() {
            return Ok(self.current.read_val()?);
        }
        if self.remain() < size_of::<T>() {
            return Err(EINVAL);
        }
        let mut value = T::new_zeroed();
        if self.read_slice(value.as_mut_bytes())? < size_of::<T>() {
            return Err(EFAULT);
        }
        Ok(value)
    }

    /// Moves to the next segment that has bytes; `false` at the end.
    fn advance(&mut self) -> bool {
        while !self.current.has_remain() {
            let Some(next) = self.rest.pop() else {
                return false;
            };
            self.current = next;
        }
        true
    }
}

/// Where `read(2)` and its kin put bytes.
pub struct IoDst<'a> {
    current: VmWriter<'a, Fallible>,
    /// Further segments, last one first.
    rest: Vec<VmWriter<'a, Fallible>>,
    memory: Target<'a>,
}

/// The memory of an [`IoDst`].
enum Target<'a> {
    /// That of a program, which has the segments.
    User(&'a AddressSpace),
    /// That of the kernel, and no segment.
    Kernel(VmWriter<'a, Infallible>),
}

impl<'a> IoDst<'a> {
    /// A destination of one segment of the caller's memory.
    pub fn new(writer: VmWriter<'a, Fallible>, user: &'a AddressSpace) -> Self {
        Self { current: writer, rest: Vec::new(), memory: Target::User(user) }
    }

    /// A destination in kernel memory.
    pub fn from_slice(bytes: &'a mut [u8]) -> Self {
        let none = VmWriter::from(&mut [][..]).to_fallible();
        Self { current: none, rest: Vec::new(), memory: Target::Kernel(VmWriter::from(bytes)) }
    }

    /// A destination of several segments, in order, of the caller's memory.
    pub fn from_segments(mut segments: Vec<VmWriter<'a, Fallible>>, user: &'a AddressSpace) -> Self {
        segments.reverse();
        let current = segments.pop().unwrap_or_else(|| VmWriter::from(&mut [][..]).to_fallible());
        Self { current, rest: segments, memory: Target::User(user) }
    }

    /// Bytes of room left.
    pub fn avail(&self) -> usize {
        let here = self.current.avail();
        if here > 0 && self.rest.is_empty() { here } else { self.avail_in_all() }
    }

    #[inline(never)]
    fn avail_in_all(&self) -> usize {
        match &self.memory {
            Target::User(_) => self.current.avail() + self.rest.iter().map(VmWriter::avail).sum::<usize>(),
            Target::Kernel(writer) => writer.avail(),
        }
    }

    /// Takes from `src` as far as both last.
    ///
    /// # Errors
    /// `EFAULT` if user memory faults before the first byte; a fault later ends the copy short.
    pub fn write(&mut self, src: &mut VmReader<'_, Infallible>) -> Result<usize> {
        // Memory of the kernel has no segment.
        if src.remain() >= BULK || !self.current.has_avail() {
            let count = self.write_long(src.clone())?;
            src.skip(count);
            return Ok(count);
        }
        let mut total = 0;
        while src.has_remain() && self.advance() {
            match self.current.write_fallible(src) {
                Ok(count) => total += count,
                Err((_, count)) if total + count > 0 => return Ok(total + count),
                Err((error, _)) => return Err(error.into()),
            }
        }
        Ok(total)
    }

    /// [`Self::write`] apart, so that short writes keep what they handle in registers.
    #[inline(never)]
    fn write_long(&mut self, mut src: VmReader<'_, Infallible>) -> Result<usize> {
        self.write_from(core::slice::from_mut(&mut src))
    }

    /// Takes from one place after the other as far as all last: of long writes the fastest.
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::write`].
    pub fn write_from(&mut self, src: &mut [VmReader<'_, Infallible>]) -> Result<usize> {
        let user = match &mut self.memory {
            Target::User(user) => *user,
            Target::Kernel(writer) => return Ok(src.iter_mut().map(|place| writer.write(place)).sum()),
        };
        let mut total = 0;
        while self.advance() {
            total += user.copy_out(&mut self.current, src);
            let Some(place) = src.iter_mut().find(|place| place.has_remain()) else { break };
            match self.current.write_fallible(place) {
                Ok(count) => total += count,
                Err((_, count)) if total + count > 0 => return Ok(total + count),
                Err((error, _)) => return Err(error.into()),
            }
        }
        Ok(total)
    }

    /// Takes from a slice of kernel memory, see [`Self::write`].
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::write`].
    pub fn write_slice(&mut self, src: &[u8]) -> Result<usize> {
        self.write(&mut VmReader::from(src))
    }

    /// Puts one value.
    ///
    /// # Errors
    /// `EINVAL` if there is less room, `EFAULT` if it cannot be written.
    pub fn write_val<T: Pod>(&mut self, value: &T) -> Result<()> {
        if self.current.avail() >= size_of::<T>() {
            return Ok(self.current.write_val(value)?);
        }
        if self.avail() < size_of::<T>() {
            return Err(EINVAL);
        }
        if self.write_slice(value.as_bytes())? < size_of::<T>() {
            return Err(EFAULT);
        }
        Ok(())
    }

    /// Puts up to `len` zero bytes.
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::write`].
    pub fn fill_zeros(&mut self, len: usize) -> Result<usize> {
        if let Target::Kernel(writer) = &mut self.memory {
            return Ok(writer.fill_zeros(len));
        }
        let mut total = 0;
        while total < len && self.advance() {
            match self.current.fill_zeros(len - total) {
                Ok(count) => total += count,
                Err((_, count)) if total + count > 0 => return Ok(total + count),
                Err((error, _)) => return Err(error.into()),
            }
        }
        Ok(total)
    }

    /// Moves to the next segment that has room; `false` at the end.
    fn advance(&mut self) -> bool {
        while !self.current.has_avail() {
            let Some(next) = self.rest.pop() else {
                return false;
            };
            self.current = next;
        }
        true
    }
}
