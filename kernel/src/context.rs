// SPDX-License-Identifier: MPL-2.0

//! The context of a system call: who calls, and access to the caller's memory.

use alloc::ffi::CString;
use core::cell::RefCell;

use ostd::mm::MAX_USERSPACE_VADDR;
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
/// It is made when the thread starts, and made anew on the way back to the program ([`Flow::Renew`]) when `execve(2)` gave it
/// another address space, or a call another descriptor table.
pub struct Context<'a> {
    /// The calling thread.
    pub thread: Arc<Thread>,
    /// Its process.
    pub process: Arc<Process>,
    /// What only this thread touches.
    pub local: &'a ThreadLocal,
    /// The address space that is active on this CPU.
    pub vm: &'a Arc<AddressSpace>,
    /// All of its memory.
    memory: UserMemory<'a>,
    /// Puts the thread to sleep; its waker is `thread.waker`.
    pub waiter: &'a RefCell<Waiter<ThreadParker>>,
    /// The caller's descriptor table: a copy of `thread.files`, that costs no lock. See [`Self::replace_files`].
    pub own_files: Arc<FileTable>,
    /// What `poll(2)` keeps from call to call.
    pub poll_scratch: &'a RefCell<PollScratch>,
    /// What `select(2)` keeps from call to call.
    pub select_scratch: &'a RefCell<SelectScratch>,
}

/// The memory of a program, opened for as long as a context lives: to open a part of it by itself costs each time what it takes to
/// see that its page table is the CPU's.
struct UserMemory<'a> {
    reader: VmReader<'a, Fallible>,
    writer: RefCell<VmWriter<'a, Fallible>>,
}

/// What outlives a thread's contexts.
pub struct Lasting {
    waiter: RefCell<Waiter<ThreadParker>>,
    poll_scratch: RefCell<PollScratch>,
    select_scratch: RefCell<SelectScratch>,
}

impl Lasting {
    /// That of `thread`, which must be the current one. Call once per thread, as [`ThreadParker::new`].
    pub fn new(thread: &Arc<Thread>) -> Self {
        Self {
            waiter: RefCell::new(Waiter::new(ThreadParker::new(thread.clone()))),
            poll_scratch: RefCell::default(),
            select_scratch: RefCell::default(),
        }
    }
}

impl<'a> Context<'a> {
    /// A context of the calling thread. `vm` is active.
    ///
    /// # Errors
    /// `EFAULT` if it is not.
    pub fn new(
        thread: &Arc<Thread>,
        local: &'a ThreadLocal,
        vm: &'a Arc<AddressSpace>,
        lasting: &'a Lasting,
    ) -> Result<Self> {
        let (reader, writer) = vm.space().reader_writer(0, MAX_USERSPACE_VADDR)?;
        let own_files = thread.files.lock().clone();
        Ok(Self {
            thread: thread.clone(),
            process: thread.process.clone(),
            local,
            vm,
            memory: UserMemory { reader, writer: RefCell::new(writer) },
            waiter: &lasting.waiter,
            own_files,
            poll_scratch: &lasting.poll_scratch,
            select_scratch: &lasting.select_scratch,
        })
    }
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
    #[inline]
    pub fn reader(&self, address: Vaddr, len: usize) -> Result<VmReader<'_, Fallible>> {
        let mut reader = self.reader_from(address)?;
        if len > reader.remain() {
            return Err(EFAULT);
        }
        reader.limit(len);
        Ok(reader)
    }

    /// A reader of the caller's memory from `address` to its end.
    #[inline]
    fn reader_from(&self, address: Vaddr) -> Result<VmReader<'_, Fallible>> {
        let mut reader = self.memory.reader.clone();
        if address > reader.remain() {
            return Err(EFAULT);
        }
        reader.skip(address);
        Ok(reader)
    }

    /// A writer of `len` bytes of the caller's memory.
    ///
    /// # Errors
    /// `EFAULT` if the range does not lie in user space. Unmapped pages show when they are written.
    pub fn writer(&self, address: Vaddr, len: usize) -> Result<VmWriter<'_, Fallible>> {
        Ok(self.vm.space().writer(address, len)?)
    }

    /// Lends `write` a writer of `len` bytes of the caller's memory: for a copy that is all there is to do with it.
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::writer`].
    #[inline]
    pub fn with_writer<R>(
        &self,
        address: Vaddr,
        len: usize,
        write: impl FnOnce(&mut VmWriter<'_, Fallible>) -> R,
    ) -> Result<R> {
        self.with_writer_from(address, len, |writer| write(writer.limit(len)))
    }

    /// Lends `write` a writer of the caller's memory from `address` to its end, which is `len` bytes away at least.
    #[inline]
    fn with_writer_from<R>(
        &self,
        address: Vaddr,
        len: usize,
        write: impl FnOnce(&mut VmWriter<'_, Fallible>) -> R,
    ) -> Result<R> {
        let mut whole = self.memory.writer.borrow_mut();
        let mut writer = whole.clone_exclusive();
        if address > writer.avail() || len > writer.skip(address).avail() {
            return Err(EFAULT);
        }
        Ok(write(&mut writer))
    }

    /// The buffer of a `write(2)`. Lengths are [`capped`].
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::reader`].
    pub fn io_src(&self, address: Vaddr, len: usize) -> Result<IoSrc<'_>> {
        self.reader(address, capped(len)?).map(|reader| IoSrc::new(reader, self.vm))
    }

    /// The buffer of a `read(2)`. Lengths are [`capped`].
    ///
    /// # Errors
    /// `EFAULT` as for [`Self::writer`].
    pub fn io_dst(&self, address: Vaddr, len: usize) -> Result<IoDst<'_>> {
        self.writer(address, capped(len)?).map(|writer| IoDst::new(writer, self.vm))
    }

    /// Copies a value in.
    ///
    /// # Errors
    /// `EFAULT` if it cannot be read.
    pub fn read_val<T: Pod>(&self, address: Vaddr) -> Result<T> {
        let mut reader = self.reader_from(address)?;
        if size_of::<T>() > reader.remain() {
            return Err(EFAULT);
        }
        Ok(reader.read_val()?)
    }

    /// Copies a value out.
    ///
    /// # Errors
    /// `EFAULT` if it cannot be written.
    pub fn write_val<T: Pod>(&self, address: Vaddr, value: &T) -> Result<()> {
        Ok(self.with_writer_from(address, size_of::<T>(), |writer| writer.write_val(value))??)
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
        let mut src = VmReader::from(bytes);
        self.with_writer(address, bytes.len(), |writer| {
            if src.remain() >= BULK {
                self.vm.copy_out(writer, core::slice::from_mut(&mut src));
            }
            writer.write_fallible(&mut src)
        })??;
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

/// The length of a read or write, as much as may be.
///
/// # Errors
/// `EFAULT` if it is no `ssize_t`, as which it is answered: such a buffer does not lie in user space either.
#[inline]
fn capped(len: usize) -> Result<usize> {
    if len <= MAX_RW_COUNT { Ok(len) } else { cap(len) }
}

#[cold]
fn cap(len: usize) -> Result<usize> {
    if isize::try_from(len).is_ok() { Ok(MAX_RW_COUNT) } else { Err(EFAULT) }
}

/// The most that one read or write moves: `INT_MAX` rounded down to a page (`read(2)`, NOTES).
pub const MAX_RW_COUNT: usize = i32::MAX as usize & !(PAGE_SIZE - 1);
