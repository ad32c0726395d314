// SPDX-License-Identifier: MPL-2.0

//! The table from descriptor numbers to open file descriptions, shared by threads (`CLONE_FILES`).
//!
//! # Invariants
//! 1. A new descriptor takes the lowest free number at or above the wanted minimum (POSIX 2.6).
//! 2. Descriptions leave the table under its lock but are dropped outside: closing may sleep.

use ostd::sync::{PreemptDisabled, SpinLockGuard};

use crate::prelude::*;

/// A file descriptor's number.
pub type Fd = i32;

/// The hard bound of the table, like `/proc/sys/fs/nr_open`.
pub const NR_OPEN: usize = 1 << 20;

/// Descriptor numbers of one or more threads.
pub struct FileTable {
    slots: SpinLock<Slots>,
}

#[derive(Clone, Default)]
struct Slots {
    entries: Vec<Option<Slot>>,
    /// No number below this one is free.
    first_free: usize,
}

#[derive(Clone)]
struct Slot {
    description: Arc<super::Description>,
    close_on_exec: bool,
}

impl FileTable {
    /// An empty table.
    pub fn new() -> Self {
        Self { slots: SpinLock::new(Slots::default()) }
    }

    /// A copy for `fork(2)`: same numbers, same descriptions.
    pub fn duplicate(&self) -> Self {
        Self { slots: SpinLock::new(self.slots.lock().clone()) }
    }

    /// The description behind `fd`.
    ///
    /// # Errors
    /// `EBADF` if there is none.
    pub fn get(&self, fd: Fd) -> Result<Arc<super::Description>> {
        let slots = self.slots.lock();
        slots.slot(fd).map(|slot| slot.description.clone())
    }

    /// The table under its lock, to look up many descriptors at once.
    pub fn view(&self) -> View<'_> {
        View(self.slots.lock())
    }

    /// How many numbers Linux's table would have room for: `select(2)` ignores those beyond.
    pub fn room(&self) -> usize {
        const STEP: usize = 128;
        match self.slots.lock().entries.len() {
            0..=64 => 64,
            len => len.div_ceil(STEP).next_power_of_two() * STEP,
        }
    }

    /// Whether `fd` closes on `execve(2)`.
    ///
    /// # Errors
    /// `EBADF` if there is no such descriptor.
    pub fn close_on_exec(&self, fd: Fd) -> Result<bool> {
        self.slots.lock().slot(fd).map(|slot| slot.close_on_exec)
    }

    /// Sets whether `fd` closes on `execve(2)`.
    ///
    /// # Errors
    /// `EBADF` if there is no such descriptor.
    pub fn set_close_on_exec(&self, fd: Fd, close_on_exec: bool) -> Result<()> {
        self.slots.lock().slot_mut(fd)?.close_on_exec = close_on_exec;
        Ok(())
    }

    /// Whether another descriptor below `limit` is free: `open(2)` asks before it makes a file.
    ///
    /// # Errors
    /// `EMFILE` if there is none.
    pub fn check_room(&self, limit: usize) -> Result<()> {
        if self.slots.lock().lowest_free(0) < limit.min(NR_OPEN) { Ok(()) } else { Err(EMFILE) }
    }

    /// Gives `description` the lowest free number at or above `minimum` and below `limit` (`RLIMIT_NOFILE`).
    ///
    /// # Errors
    /// `EMFILE` if there is none; `ENOMEM`.
    pub fn insert(
        &self,
        description: Arc<super::Description>,
        minimum: usize,
        limit: usize,
        close_on_exec: bool,
    ) -> Result<Fd> {
        crate::vm::reserve::check()?;
        let mut slots = self.slots.lock();
        let number = slots.lowest_free(minimum);
        if number >= limit.min(NR_OPEN) {
            return Err(EMFILE);
        }
        slots.put(number, Slot { description, close_on_exec });
        Ok(number as Fd)
    }

    /// Puts `description` at `fd`, and returns what was there: the caller drops it outside the lock (`dup2(2)`).
    ///
    /// # Errors
    /// `EBADF` if `fd` is negative or not below `limit`.
    pub fn replace(
        &self,
        fd: Fd,
        description: Arc<super::Description>,
        limit: usize,
        close_on_exec: bool,
    ) -> Result<Option<Arc<super::Description>>> {
        let number = usize::try_from(fd).map_err(|_| EBADF)?;
        if number >= limit.min(NR_OPEN) {
            return Err(EBADF);
        }
        let mut slots = self.slots.lock();
        let previous = slots.put(number, Slot { description, close_on_exec });
        Ok(previous.map(|slot| slot.description))
    }

    /// Takes `fd` out of the table; the description closes when the result is dropped.
    ///
    /// # Errors
    /// `EBADF` if there is no such descriptor.
    pub fn remove(&self, fd: Fd) -> Result<Arc<super::Description>> {
        let mut slots = self.slots.lock();
        slots.slot(fd)?;
        slots.take(fd as usize).map(|slot| slot.description).ok_or(EBADF)
    }

    /// Takes out all descriptors in `range` that `predicate` (number, close-on-exec) picks.
    pub fn remove_where(
        &self,
        range: core::ops::RangeInclusive<usize>,
        predicate: impl Fn(Fd, bool) -> bool,
    ) -> Vec<Arc<super::Description>> {
        let mut slots = self.slots.lock();
        let end = slots.entries.len().min(range.end().saturating_add(1));
        let numbers = *range.start()..end;
        let is_picked = |slots: &Slots, number: usize| {
            let slot = slots.entries[number].as_ref();
            slot.is_some_and(|slot| predicate(number as Fd, slot.close_on_exec))
        };
        let picked: Vec<_> = numbers.filter(|number| is_picked(&slots, *number)).collect();
        let taken = picked.into_iter().filter_map(|number| slots.take(number));
        taken.map(|slot| slot.description).collect()
    }

    /// Marks all descriptors in `range` to close on `execve(2)`.
    pub fn mark_close_on_exec(&self, range: core::ops::RangeInclusive<usize>) {
        let mut slots = self.slots.lock();
        let end = slots.entries.len().min(range.end().saturating_add(1));
        let start = (*range.start()).min(end);
        for slot in slots.entries[start..end].iter_mut().flatten() {
            slot.close_on_exec = true;
        }
    }

    /// Numbers that fit without growing, as `FDSize` in `/proc/PID/status` shows it.
    pub fn capacity(&self) -> usize {
        self.slots.lock().entries.len().next_power_of_two().max(64)
    }

    /// The open descriptors in ascending order, as `/proc/PID/fd` lists them.
    pub fn snapshot(&self) -> Vec<(Fd, Arc<super::Description>)> {
        let slots = self.slots.lock();
        let numbered = slots.entries.iter().enumerate();
        let open =
            numbered.filter_map(|(number, slot)| slot.as_ref().map(|slot| (number as Fd, slot.description.clone())));
        open.collect()
    }
}

/// A table that nobody changes meanwhile.
pub struct View<'a>(SpinLockGuard<'a, Slots, PreemptDisabled>);

impl View<'_> {
    /// The description behind `fd`.
    #[inline]
    pub fn get(&self, fd: Fd) -> Option<&Arc<super::Description>> {
        let slot = self.0.entries.get(number_of(fd));
        slot.and_then(Option::as_ref).map(|slot| &slot.description)
    }
}

impl Default for FileTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Slots {
    fn slot(&self, fd: Fd) -> Result<&Slot> {
        let slot = self.entries.get(number_of(fd));
        slot.and_then(Option::as_ref).ok_or(EBADF)
    }

    fn slot_mut(&mut self, fd: Fd) -> Result<&mut Slot> {
        let slot = self.entries.get_mut(number_of(fd));
        slot.and_then(Option::as_mut).ok_or(EBADF)
    }

    fn lowest_free(&self, minimum: usize) -> usize {
        let start = minimum.max(self.first_free);
        let used = self.entries.iter().skip(start);
        start + used.take_while(|slot| slot.is_some()).count()
    }

    fn put(&mut self, number: usize, slot: Slot) -> Option<Slot> {
        if number >= self.entries.len() {
            self.entries.resize(number + 1, None);
        }
        let previous = self.entries[number].replace(slot);
        if number == self.first_free {
            self.first_free = self.lowest_free(number);
        }
        previous
    }

    fn take(&mut self, number: usize) -> Option<Slot> {
        self.first_free = self.first_free.min(number);
        self.entries.get_mut(number).and_then(Option::take)
    }
}

impl Drop for FileTable {
    /// The last thread that used it ended: its record locks go with it.
    fn drop(&mut self) {
        crate::fs::locks::release_table(core::ptr::from_ref(self).addr());
    }
}

/// The number in a table. What is negative lies beyond all of them.
fn number_of(fd: Fd) -> usize {
    const { assert!(NR_OPEN <= i32::MAX as usize) };
    fd.cast_unsigned() as usize
}
