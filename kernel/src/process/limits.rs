// SPDX-License-Identifier: MPL-2.0

//! Resource limits, `getrlimit(2)`.

use crate::prelude::*;

/// A soft and a hard limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
pub struct Limit {
    /// What is enforced.
    pub soft: u64,
    /// How far an unprivileged process may raise `soft`.
    pub hard: u64,
}

/// No limit.
pub const INFINITY: u64 = u64::MAX;

/// The resources of `getrlimit(2)`, with Linux's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(usize)]
#[allow(missing_docs, reason = "the names are those of getrlimit(2)")]
pub enum Resource {
    Cpu,
    Fsize,
    Data,
    Stack,
    Core,
    Rss,
    Nproc,
    Nofile,
    Memlock,
    As,
    Locks,
    Sigpending,
    Msgqueue,
    Nice,
    Rtprio,
    Rttime,
}

/// Number of resources.
pub const COUNT: usize = 16;

/// The limits of a process. `fork(2)` copies them, `execve(2)` keeps them.
pub struct Limits(SpinLock<[Limit; COUNT]>);

impl Limits {
    /// What the first process starts with: the defaults of Linux, with 1024 (soft) descriptors and 8 MiB of stack.
    pub fn initial() -> Self {
        let mut limits = [Limit { soft: INFINITY, hard: INFINITY }; COUNT];
        let mut set = |resource: Resource, soft, hard| limits[resource as usize] = Limit { soft, hard };
        set(Resource::Stack, 8 << 20, INFINITY);
        set(Resource::Core, 0, INFINITY);
        set(Resource::Nproc, 15_000, 15_000);
        set(Resource::Nofile, 1024, 1 << 20);
        set(Resource::Memlock, 8 << 20, 8 << 20);
        set(Resource::Sigpending, 15_000, 15_000);
        set(Resource::Msgqueue, 819_200, 819_200);
        set(Resource::Nice, 0, 0);
        set(Resource::Rtprio, 0, 0);
        Self(SpinLock::new(limits))
    }

    /// A copy for a child process.
    pub fn duplicate(&self) -> Self {
        Self(SpinLock::new(*self.0.lock()))
    }

    /// The limit of `resource`.
    pub fn get(&self, resource: Resource) -> Limit {
        self.0.lock()[resource as usize]
    }

    /// The enforced limit of `resource`.
    pub fn soft(&self, resource: Resource) -> u64 {
        self.get(resource).soft
    }

    /// The bound of descriptor numbers.
    pub fn max_files(&self) -> usize {
        usize::try_from(self.soft(Resource::Nofile)).unwrap_or(usize::MAX)
    }

    /// Moves the enforced limit of `resource` from `old` to `new`, unless somebody has set another one.
    pub fn move_soft(&self, resource: Resource, old: u64, new: u64) {
        let mut limits = self.0.lock();
        let limit = &mut limits[resource as usize];
        if limit.soft == old {
            limit.soft = new;
        }
    }

    /// Reads and, if `new` is given, replaces the limit with number `resource` (`prlimit(2)`).
    ///
    /// # Errors
    /// `EINVAL` if there is no such resource or `soft` exceeds `hard`; `EPERM` if `hard` is raised without privilege, or
    /// `RLIMIT_NOFILE` beyond `/proc/sys/fs/nr_open`.
    pub fn exchange(&self, resource: usize, new: Option<Limit>, privileged: bool) -> Result<Limit> {
        let mut limits = self.0.lock();
        let limit = limits.get_mut(resource).ok_or(EINVAL)?;
        let old = *limit;
        if let Some(new) = new {
            if new.soft > new.hard {
                return Err(EINVAL);
            }
            let is_too_many_files =
                resource == Resource::Nofile as usize && new.hard > crate::file::table::NR_OPEN as u64;
            if (new.hard > old.hard && !privileged) || is_too_many_files {
                return Err(EPERM);
            }
            *limit = new;
        }
        Ok(old)
    }
}
