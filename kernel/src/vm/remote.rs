// SPDX-License-Identifier: MPL-2.0

//! Reading and writing memory of an address space that need not be active: programs being built, `/proc/PID/mem`, command
//! lines, `process_vm_readv(2)`.
//!
//! As for a debugger protections do not count, except that nothing is written to a file or shared memory that the program
//! itself may not write to: then the access ends there. `process_vm_readv(2)` and `process_vm_writev(2)` may only what the program may.

use ostd::mm::{UFrame, io::util::HasVmReaderWriter};

use super::{AddressSpace, Fault, mapping::Protection};
use crate::prelude::*;

/// What an access may do.
#[derive(Clone, Copy, PartialEq)]
enum Rights {
    /// What a debugger may.
    Debugger,
    /// What the program itself may.
    Owner,
}

impl AddressSpace {
    /// Fills `bytes` from `address` on, as far as that is possible. The answer is how far.
    pub fn read_remote_part(&self, address: Vaddr, bytes: &mut [u8]) -> usize {
        self.read_remote_as(address, bytes, Rights::Debugger)
    }

    /// [`Self::read_remote_part`] of what the program itself may read.
    pub fn read_as_owner(&self, address: Vaddr, bytes: &mut [u8]) -> usize {
        self.read_remote_as(address, bytes, Rights::Owner)
    }

    fn read_remote_as(&self, address: Vaddr, bytes: &mut [u8], rights: Rights) -> usize {
        self.access_remote(address, bytes.len(), false, rights, |frame, offset, done, len| {
            let mut reader = frame.reader();
            reader.skip(offset).limit(len);
            reader.read(&mut VmWriter::from(&mut bytes[done..done + len]));
        })
    }

    /// Stores `bytes` at `address` on.
    ///
    /// # Errors
    /// `EFAULT` if not all of it can be written.
    pub fn write_remote(&self, address: Vaddr, bytes: &[u8]) -> Result<()> {
        if self.write_remote_part(address, bytes) < bytes.len() { Err(EFAULT) } else { Ok(()) }
    }

    /// Stores `bytes` at `address` on, as far as that is possible. The answer is how far.
    pub fn write_remote_part(&self, address: Vaddr, bytes: &[u8]) -> usize {
        self.write_remote_as(address, bytes, Rights::Debugger)
    }

    /// [`Self::write_remote_part`] of what the program itself may write to.
    pub fn write_as_owner(&self, address: Vaddr, bytes: &[u8]) -> usize {
        self.write_remote_as(address, bytes, Rights::Owner)
    }

    fn write_remote_as(&self, address: Vaddr, bytes: &[u8], rights: Rights) -> usize {
        self.access_remote(address, bytes.len(), true, rights, |frame, offset, done, len| {
            let mut writer = frame.writer();
            writer.skip(offset).limit(len);
            writer.write(&mut VmReader::from(&bytes[done..done + len]));
        })
    }

    /// Calls `copy` for each page: its frame, the offset in it, the bytes done before, and those to do.
    fn access_remote(
        &self,
        address: Vaddr,
        len: usize,
        write: bool,
        rights: Rights,
        mut copy: impl FnMut(&UFrame, usize, usize, usize),
    ) -> usize {
        let mut done = 0;
        while done < len {
            let Some(at) = address.checked_add(done) else {
                break;
            };
            let offset = at % PAGE_SIZE;
            let part = (PAGE_SIZE - offset).min(len - done);
            if self.access_page(at, write, rights, |frame| copy(frame, offset, done, part)).is_err() {
                break;
            }
            done += part;
        }
        done
    }

    /// Calls `action` with the frame at `address`, which is the program's own if `write`. The mapping and, against a
    /// `fork(2)`, the page's owner cannot change meanwhile.
    fn access_page(
        &self,
        address: Vaddr,
        write: bool,
        rights: Rights,
        action: impl FnOnce(&UFrame),
    ) -> core::result::Result<(), Fault> {
        self.with_mapping(address, |mapping, page| {
            let wanted = if write { Protection::WRITE } else { Protection::READ };
            let is_bound = rights == Rights::Owner || (write && mapping.is_shared());
            if is_bound && !mapping.protection.contains(wanted) {
                return Err(Fault::NotPermitted);
            }
            loop {
                self.fault_in(mapping, page, write)?;
                // Another thread may have thrown the page away again (`MADV_DONTNEED`).
                if let Some(frame) = self.frame_at(page) {
                    action(&frame);
                    return Ok(());
                }
            }
        })
    }
}
