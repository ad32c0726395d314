// SPDX-License-Identifier: MPL-2.0

//! Copies of many bytes from and to the caller's memory.
//!
//! # Role
//! OSTD copies from and to user addresses byte by byte, for any byte may fault; between kernel addresses there are better ways.
//! So a long copy goes through the pages' frames, if the program has used the pages so before. Where it comes to one that it has not, it touches
//! all that follow by copies of one byte, which fault the page in and mark it as the program's own access would. What that leaves over is
//! copied the first way, which tells of errors.
//!
//! # Concurrency
//! Frames are used under the lock of their page table node: meanwhile no page can be unmapped, lose rights, or be shared with
//! a child by `fork(2)`. Preemption is off for the copy of 64 KiB at most, into or out of kernel memory, which cannot fault.

use ostd::{
    mm::{Infallible, PageFlags, UFrame, io::util::HasVmReaderWriter, vm_space::VmQueriedItem},
    task::disable_preempt,
};

use super::AddressSpace;
use crate::prelude::*;

/// The fewest bytes that make the way through frames worth it.
pub const BULK: usize = 1024;
/// The most pages that are copied at once.
pub const BULK_PAGES: usize = 16;
/// The most bytes that are copied at once.
const STEP: usize = BULK_PAGES * PAGE_SIZE;

/// What a page is that a program has read.
const READ: PageFlags = PageFlags::R.union(PageFlags::ACCESSED);
/// What a page is that a program has written.
const WRITTEN: PageFlags = PageFlags::W.union(super::cursor::WRITTEN);

/// Which pages of a buffer are touched before it is copied.
#[derive(Clone, Copy, PartialEq)]
enum Touched {
    First,
    All,
}

impl Touched {
    /// Where in a buffer of `len` bytes at `address` they begin.
    fn offsets(self, address: Vaddr, len: usize) -> impl Iterator<Item = usize> {
        let second = PAGE_SIZE - address % PAGE_SIZE;
        let end = if self == Self::First { 0 } else { len };
        core::iter::once(0).chain((second..end).step_by(PAGE_SIZE))
    }
}

impl AddressSpace {
    /// Copies from the caller's memory, to which `src` refers, to one place after the other, until either ends or a page cannot
    /// be had. The address space must be the active one. The answer is the number of bytes; a few last ones may be left over
    /// although they could be read.
    #[inline(never)]
    pub fn copy_in(&self, src: &mut VmReader<'_, Fallible>, dst: &mut [VmWriter<'_, Infallible>]) -> usize {
        let (mut total, mut pages) = (0, Touched::First);
        loop {
            let room = dst.iter().map(VmWriter::avail).sum();
            let (address, step) = (src.cursor().addr(), src.remain().min(room).min(STEP));
            let touch = |at| src.clone().skip(at).read_val::<u8>().is_ok();
            if step < BULK || !pages.offsets(address, step).all(touch) {
                return total;
            }
            let mut places = dst.iter_mut();
            let mut place = places.next();
            let copied = self.copy_frames(address, step, READ, |frame, within, len| {
                let mut part = frame.reader();
                part.skip(within).limit(len);
                while part.has_remain()
                    && let Some(writer) = &mut place
                {
                    copy_blocks(&mut part, writer);
                    if !writer.has_avail() {
                        place = places.next();
                    }
                }
            });
            src.skip(copied);
            total += copied;
            if copied == step {
                pages = Touched::First;
            } else if pages == Touched::All {
                return total;
            } else {
                pages = Touched::All;
            }
        }
    }

    /// Copies to the caller's memory, to which `dst` refers, from one place after the other, until either ends or a page cannot
    /// be had. The address space must be the active one. The answer is the number of bytes; a few last ones may be left over
    /// although they could be written.
    #[inline(never)]
    pub fn copy_out(&self, dst: &mut VmWriter<'_, Fallible>, src: &mut [VmReader<'_, Infallible>]) -> usize {
        let (mut total, mut pages) = (0, Touched::First);
        loop {
            let left = src.iter().map(VmReader::remain).sum();
            let (address, step) = (dst.cursor().addr(), dst.avail().min(left).min(STEP));
            // What is written so early is what will be there in the end.
            let mut bytes = Bytes { places: src, before: 0 };
            let mut touch = |at| {
                let byte = bytes.find(at);
                byte.is_some_and(|mut byte| dst.clone_exclusive().skip(at).write_fallible(&mut byte).is_ok())
            };
            if step < BULK || !pages.offsets(address, step).all(&mut touch) {
                return total;
            }
            let mut places = src.iter_mut();
            let mut place = places.next();
            let copied = self.copy_frames(address, step, WRITTEN, |frame, within, len| {
                let mut part = frame.writer();
                part.skip(within).limit(len);
                while part.has_avail()
                    && let Some(reader) = &mut place
                {
                    copy_blocks(reader, &mut part);
                    if !reader.has_remain() {
                        place = places.next();
                    }
                }
            });
            dst.skip(copied);
            total += copied;
            if copied == step {
                pages = Touched::First;
            } else if pages == Touched::All {
                return total;
            } else {
                pages = Touched::All;
            }
        }
    }

    /// Calls `copy` with the frame of each page of `address..address + len`, the offset in it and the bytes to copy there, as far
    /// as the page table has them with `flags`. The answer is for how many bytes that was. The first page must have been touched:
    /// looking makes page table nodes where nothing is mapped.
    fn copy_frames(
        &self,
        address: Vaddr,
        len: usize,
        flags: PageFlags,
        mut copy: impl FnMut(&UFrame, usize, usize),
    ) -> usize {
        let first = address - address % PAGE_SIZE;
        let range = first..(address + len).next_multiple_of(PAGE_SIZE);
        let guard = disable_preempt();
        let Ok(mut cursor) = self.space().cursor(&guard, &range) else {
            return 0;
        };
        let mut done = 0;
        while done < len {
            let within = (address + done) % PAGE_SIZE;
            if done > 0 && cursor.jump(address + done).is_err() {
                break;
            }
            match cursor.query() {
                Ok((_, Some(VmQueriedItem::MappedRam { frame, prop }))) if prop.flags.contains(flags) => {
                    let part = (PAGE_SIZE - within).min(len - done);
                    copy(&frame, within, part);
                    done += part;
                }
                _ => break,
            }
        }
        done
    }
}

/// What the compiler moves through four registers.
#[repr(C)]
#[derive(Clone, Copy, Pod)]
struct Block(u128, u128);

/// So many bytes are moved without a branch.
const CHUNK: usize = 4 * size_of::<Block>();

/// Copies as far as both go, by plain moves: in QEMU's emulator a `rep movs` takes longer for each of its words.
fn copy_blocks(src: &mut VmReader<'_, Infallible>, dst: &mut VmWriter<'_, Infallible>) {
    let len = src.remain().min(dst.avail());
    let (mut from, mut to) = (src.clone(), dst.clone_exclusive());
    from.limit(len);
    to.limit(len);
    while from.remain() > CHUNK && to.avail() > CHUNK {
        // Of parts of one length the compiler needs to ask only here whether they have ended.
        let (mut src, mut dst) = (from.clone(), to.clone_exclusive());
        src.limit(CHUNK);
        dst.limit(CHUNK);
        while let Ok(block) = src.read_val::<Block>() {
            let _ = dst.write_val(&block);
        }
        from.skip(CHUNK);
        to.skip(CHUNK);
    }
    while let Ok(block) = from.read_val::<Block>() {
        let _ = to.write_val(&block);
    }
    let _ = from.read(&mut to);
    src.skip(len);
    dst.skip(len);
}

/// Finds bytes of one place after the other, from the first to the last.
struct Bytes<'s, 'a> {
    /// Those that were not left behind, which had so many bytes.
    places: &'s [VmReader<'a, Infallible>],
    before: usize,
}

impl<'a> Bytes<'_, 'a> {
    /// The byte after the first `at` ones, which must not be before the one that was found last.
    fn find(&mut self, at: usize) -> Option<VmReader<'a, Infallible>> {
        while let Some((place, rest)) = self.places.split_first() {
            let within = at - self.before;
            if within < place.remain() {
                let mut byte = place.clone();
                byte.skip(within).limit(1);
                return Some(byte);
            }
            self.before += place.remain();
            self.places = rest;
        }
        None
    }
}
