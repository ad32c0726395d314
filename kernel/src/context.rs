// SPDX-License-Identifier: MPL-2.0

//! The context of a system call: who calls, and access to the caller's memory.

use alloc::ffi::CString;
use core::cell::RefCell;

use readiness::{Nothing, Subjects, Timeout, WaitError, Waiter};

use crate::{
    file::{
        Description, IoDst, IoSrc,
        table::{Fd, FileTable},
    },
    fs::FsContext,
    prelude::*,
    process::{Flow, Process, Thread, ThreadLocal, credentials::Credentials},
    syscall::{poll::PollScratch, select::SelectScratch},
    time::{Deadline, ThreadParker},
    vm::{AddressSpace, BULK},
};

/// The calling thread, seen from its own kernel stack.
///
/// It is made when the thread starts, and renewed on the way back to the program ([`Flow::Renew`]) when `execve(2)` gave it
/// another address space, or a call another descriptor table.
pub struct Context<'a> {
    /// The calling thread.
    pub thread: Arc<Thread>,
    /// Its process.
    pub process: Arc<Process>,
    /// What only this thread touches.
    pub local: &'a ThreadLocal,
    /// The address space that is active on this CPU.
    pub vm: Arc<AddressSpace>,
    /// Puts the thread to sleep; its waker is `thread.waker`.
    pub waiter: RefCell<Waiter<ThreadParker>>,
    /// The caller's descriptor table: a copy of `thread.files`, that costs no lock. See [`Self::replace_files`].
    pub own_files: Arc<FileTable>,
    /// What `poll(2)` keeps from call to call.
    pub poll_scratch: RefCell<PollScratch>,
    /// What `select(2)` keeps from call to call.
    pub select_scratch: RefCell<SelectScratch>,
}

impl Context<'_> {
    /// Waits until `check` answers `Some`, time is up, or a signal comes: the wait primitive of every blocking call.
    ///
    /// `check` must not wait itself. What no pollee tells of is waited for with [`readiness::Nothing`]: whoever makes it so calls
    /// [`Thread::wake`].
    ///
    /// # Errors
    /// [`WaitError`]; what it means is the caller's to say.
    #[inline]
    pub fn wait<R>(
        &self,
        subjects: &impl Subjects,
        timeout: Timeout<Deadline>,
        mut check: impl FnMut() -> Option<R>,
    ) -> core::result::Result<R, WaitError> {
        match check() {
            Some(result) => Ok(result),
            None => self.sleep(subjects, timeout, check),
        }
    }

    /// [`Self::wait`] after a first check that was fruitless.
    ///
    /// # Errors
    /// [`WaitError`]
    pub fn sleep<R>(
        &self,
        subjects: &impl Subjects,
        timeout: Timeout<Deadline>,
        check: impl FnMut() -> Option<R>,
    ) -> core::result::Result<R, WaitError> {
        self.waiter.borrow_mut().sleep_until(subjects, timeout.deadline()?, check)
    }

    /// Waits until `check` answers `Some`, and no signal ends that. Whoever makes it so calls [`Thread::wake`].
    pub fn wait_whatever_comes<R>(&self, mut check: impl FnMut() -> Option<R>) -> R {
        loop {
            // Without a deadline, and deaf to signals, it has no reason to fail.
            if let Ok(result) = self.wait_deaf(Timeout::Never, &mut check) {
                return result;
            }
        }
    }

    /// Gives up the CPU until `deadline`, and no signal ends that.
    pub fn sleep_until(&self, deadline: Deadline) {
        let _ = self.wait_deaf(Timeout::At(deadline), || None::<()>);
    }

    fn wait_deaf<R>(
        &self,
        timeout: Timeout<Deadline>,
        check: impl FnMut() -> Option<R>,
    ) -> core::result::Result<R, WaitError> {
        let mut waiter = self.waiter.borrow_mut();
        waiter.parker_mut().set_interruptible(false);
        let outcome = waiter.wait_until(&Nothing, timeout, check);
        waiter.parker_mut().set_interruptible(true);
        outcome
    }

    /// The caller's descriptor table.
    pub fn files(&self) -> Arc<FileTable> {
        self.own_files.clone()
    }

    /// The description behind `fd`.
    ///
    /// # Errors
    /// `EBADF` if there is none.
    pub fn file(&self, fd: Fd) -> Result<Arc<Description>> {
        self.own_files.get(fd)
    }

    /// Gives the caller another descriptor table, from the end of the present call on.
    pub fn replace_files(&self, files: Arc<FileTable>) {
        let old = core::mem::replace(&mut *self.thread.files.lock(), files);
        drop(old);
        self.local.set_flow(&self.thread, Flow::Renew);
    }

    /// The caller's root, working directory and umask.
    pub fn fs(&self) -> Arc<FsContext> {
        self.thread.fs.lock().clone()
    }

    /// Who the caller is.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.thread.credentials.lock().clone()
    }

    /// A reader of `len` bytes of the caller's memory.
    ///
    /// # Errors
    /// `EFAULT` if the range does not lie in user space. Unmapped pages show when they are read.
    pub fn reader(&self, address: Vaddr, len: usize) -> Result<VmReader<'_, Fallible>> {
        Ok(self.vm.space().reader(address, len)?)
    }

    /// A writer of `len` bytes of the caller's memory.
    ///
    /// # Errors
    /// `EFAULT` if the range does not lie in user space. Unmapped pages show when they are written.
    pub fn writer(&self, address: Vaddr, len: usize) -> Result<VmWriter<'_, Fallible>> {
        Ok(self.vm.space().writer(address, len)?)
    }

    /// The buffer of a `write(2)`. Lengths are capped as Linux's `MAX_RW_COUNT` does.
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::reader`].
    pub fn io_src(&self, address: Vaddr, len: usize) -> Result<IoSrc<'_>> {
        self.reader(address, len.min(MAX_RW_COUNT)).map(|reader| IoSrc::new(reader, &self.vm))
    }

    /// The buffer of a `read(2)`. Lengths are capped as Linux's `MAX_RW_COUNT` does.
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::writer`].
    pub fn io_dst(&self, address: Vaddr, len: usize) -> Result<IoDst<'_>> {
        self.writer(address, len.min(MAX_RW_COUNT)).map(|writer| IoDst::new(writer, &self.vm))
    }

    /// Copies a value in.
    ///
    /// # Errors
    /// `EFAULT` if it cannot be read.
    pub fn read_val<T: Pod>(&self, address: Vaddr) -> Result<T> {
        Ok(self.reader(address, size_of::<T>())?.read_val()?)
    }

    /// Copies a value out.
    ///
    /// # Errors
    /// `EFAULT` if it cannot be written.
    pub fn write_val<T: Pod>(&self, address: Vaddr, value: &T) -> Result<()> {
        Ok(self.writer(address, size_of::<T>())?.write_val(value)?)
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// `EFAULT` if not all of them can be read.
    #[inline]
    pub fn read_bytes(&self, address: Vaddr, bytes: &mut [u8]) -> Result<()> {
        let mut reader = self.reader(address, bytes.len())?;
        let mut dst = VmWriter::from(bytes);
        if dst.avail() >= BULK {
            self.vm.copy_in(&mut reader, core::slice::from_mut(&mut dst));
        }
        reader.read_fallible(&mut dst)?;
        Ok(())
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// `EFAULT` if not all of them can be written.
    #[inline]
    pub fn write_bytes(&self, address: Vaddr, bytes: &[u8]) -> Result<()> {
        let mut writer = self.writer(address, bytes.len())?;
        let mut src = VmReader::from(bytes);
        if src.remain() >= BULK {
            self.vm.copy_out(&mut writer, core::slice::from_mut(&mut src));
        }
        writer.write_fallible(&mut src)?;
        Ok(())
    }

    /// Copies a zero-terminated string in.
    ///
    /// # Errors
    /// `EFAULT` if it cannot be read; `ENAMETOOLONG` if no zero is among the first `max` bytes.
    pub fn read_cstring(&self, address: Vaddr, max: usize) -> Result<CString> {
        let mut bytes = Vec::new();
        while bytes.len() < max {
            let at = address.checked_add(bytes.len()).ok_or(EFAULT)?;
            // Never reads past the page of the terminator: the next one may not be mapped.
            let len = (PAGE_SIZE - at % PAGE_SIZE).min(max - bytes.len()).min(256);
            let start = bytes.len();
            bytes.resize(start + len, 0);
            let mut dst = VmWriter::from(&mut bytes[start..]).to_fallible();
            self.reader(at, len)?.read_fallible(&mut dst)?;
            if let Some(end) = bytes[start..].iter().position(|byte| *byte == 0) {
                bytes.truncate(start + end);
                return CString::new(bytes).map_err(|_| EINVAL);
            }
        }
        Err(ENAMETOOLONG)
    }
}

/// The most that one read or write moves: `INT_MAX` rounded down to a page (`read(2)`, NOTES).
pub const MAX_RW_COUNT: usize = i32::MAX as usize & !(PAGE_SIZE - 1);
