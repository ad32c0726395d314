// SPDX-License-Identifier: MPL-2.0

//! Who a thread is: `credentials(7)` and `capabilities(7)`.

use crate::{
    fs::{InodeKind, Metadata},
    prelude::*,
};

bitflags::bitflags! {
    /// Capabilities, by the bit numbers of `linux/capability.h`.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Capabilities: u64 {
        /// `CAP_CHOWN`
        const CHOWN = 1 << 0;
        /// `CAP_DAC_OVERRIDE`
        const DAC_OVERRIDE = 1 << 1;
        /// `CAP_DAC_READ_SEARCH`
        const DAC_READ_SEARCH = 1 << 2;
        /// `CAP_FOWNER`
        const FOWNER = 1 << 3;
        /// `CAP_FSETID`
        const FSETID = 1 << 4;
        /// `CAP_KILL`
        const KILL = 1 << 5;
        /// `CAP_SETGID`
        const SETGID = 1 << 6;
        /// `CAP_SETUID`
        const SETUID = 1 << 7;
        /// `CAP_SETPCAP`
        const SETPCAP = 1 << 8;
        /// `CAP_NET_BIND_SERVICE`
        const NET_BIND_SERVICE = 1 << 10;
        /// `CAP_NET_ADMIN`
        const NET_ADMIN = 1 << 12;
        /// `CAP_NET_RAW`
        const NET_RAW = 1 << 13;
        /// `CAP_IPC_LOCK`
        const IPC_LOCK = 1 << 14;
        /// `CAP_SYS_CHROOT`
        const SYS_CHROOT = 1 << 18;
        /// `CAP_SYS_PTRACE`
        const SYS_PTRACE = 1 << 19;
        /// `CAP_SYS_ADMIN`
        const SYS_ADMIN = 1 << 21;
        /// `CAP_SYS_BOOT`
        const SYS_BOOT = 1 << 22;
        /// `CAP_SYS_NICE`
        const SYS_NICE = 1 << 23;
        /// `CAP_SYS_RESOURCE`
        const SYS_RESOURCE = 1 << 24;
        /// `CAP_SYS_TIME`
        const SYS_TIME = 1 << 25;
        /// `CAP_SYS_TTY_CONFIG`
        const SYS_TTY_CONFIG = 1 << 26;
        /// `CAP_MKNOD`
        const MKNOD = 1 << 27;
        /// `CAP_WAKE_ALARM`
        const WAKE_ALARM = 1 << 35;
        /// `CAP_SYS_RAWIO`
        const SYS_RAWIO = 1 << 17;
        /// `CAP_BLOCK_SUSPEND`
        const BLOCK_SUSPEND = 1 << 36;
        /// All that Linux 6.1 knows, up to `CAP_CHECKPOINT_RESTORE`.
        const ALL = (1 << 41) - 1;
        /// Those that concern files: they follow the file system user (`setfsuid(2)`).
        const FILES = Self::CHOWN.bits() | Self::DAC_OVERRIDE.bits() | Self::DAC_READ_SEARCH.bits()
            | Self::FOWNER.bits() | Self::FSETID.bits() | Self::MKNOD.bits();
    }
}

bitflags::bitflags! {
    /// What `access(2)` asks for; the bits of a permission triple.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Permission: u16 {
        /// Running a file, searching a directory.
        const EXEC = 1;
        /// Writing.
        const WRITE = 2;
        /// Reading.
        const READ = 4;
    }
}

/// The identity of a thread. Immutable: a change makes a new one.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Real user.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Saved user.
    pub suid: u32,
    /// User for file access.
    pub fsuid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective group.
    pub egid: u32,
    /// Saved group.
    pub sgid: u32,
    /// Group for file access.
    pub fsgid: u32,
    /// Supplementary groups, sorted.
    pub groups: Arc<[u32]>,
    /// Capabilities that may become effective.
    pub permitted: Capabilities,
    /// Capabilities in force.
    pub effective: Capabilities,
    /// Capabilities kept over `execve(2)` with those of the file.
    pub inheritable: Capabilities,
    /// The bounding set.
    pub bounding: Capabilities,
    /// `PR_SET_KEEPCAPS`: permitted capabilities survive leaving user 0.
    pub keep_capabilities: bool,
}

impl Credentials {
    /// Those of the first process.
    pub fn root() -> Arc<Self> {
        Arc::new(Self {
            uid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            gid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            groups: Arc::new([]),
            permitted: Capabilities::ALL,
            effective: Capabilities::ALL,
            inheritable: Capabilities::empty(),
            bounding: Capabilities::ALL,
            keep_capabilities: false,
        })
    }

    /// Whether `capability` is in force.
    pub fn has(&self, capability: Capabilities) -> bool {
        self.effective.contains(capability)
    }

    /// Whether file access counts the thread as a member of `gid`.
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.binary_search(&gid).is_ok()
    }

    /// Whether the thread may do what only a file's owner may.
    pub fn is_owner(&self, uid: u32) -> bool {
        self.fsuid == uid || self.has(Capabilities::FOWNER)
    }

    /// Those that `access(2)` checks by: the real user's, with its capabilities.
    pub fn real(&self) -> Self {
        let mut real = self.clone();
        real.fsuid = self.uid;
        real.fsgid = self.gid;
        real.effective = if self.uid == 0 { self.permitted } else { Capabilities::empty() };
        real
    }

    /// Checks `wanted` against a file's owner, group and mode, as Linux's `generic_permission`.
    ///
    /// # Errors
    /// `EACCES` if anything wanted is not allowed.
    pub fn check(&self, wanted: Permission, kind: InodeKind, permissions: u16, uid: u32, gid: u32) -> Result<()> {
        let triple = if self.fsuid == uid {
            permissions >> 6
        } else if self.is_in_group(gid) {
            permissions >> 3
        } else {
            permissions
        };
        if Permission::from_bits_truncate(triple).contains(wanted) {
            return Ok(());
        }
        let is_dir = kind == InodeKind::Directory;
        let only_reads = !wanted.contains(Permission::WRITE) && (is_dir || wanted == Permission::READ);
        if self.has(Capabilities::DAC_READ_SEARCH) && only_reads {
            return Ok(());
        }
        let is_runnable = is_dir || permissions & 0o111 != 0 || !wanted.contains(Permission::EXEC);
        if self.has(Capabilities::DAC_OVERRIDE) && is_runnable {
            return Ok(());
        }
        Err(EACCES)
    }

    /// [`Self::check`] on the answer of `stat(2)`.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_metadata(&self, wanted: Permission, metadata: &Metadata) -> Result<()> {
        self.check(wanted, metadata.kind, metadata.permissions, metadata.uid, metadata.gid)
    }

    /// Adjusts capabilities after the user numbers changed from those of `old`, as `capabilities(7)` describes.
    pub fn adjust_capabilities(&mut self, old: &Self) {
        let had_root = [old.uid, old.euid, old.suid].contains(&0);
        let has_root = [self.uid, self.euid, self.suid].contains(&0);
        if had_root && !has_root && !self.keep_capabilities {
            self.permitted = Capabilities::empty();
            self.effective = Capabilities::empty();
        }
        match (old.euid == 0, self.euid == 0) {
            (true, false) => self.effective = Capabilities::empty(),
            (false, true) => self.effective = self.permitted,
            _ => {}
        }
    }

    /// Adjusts the capabilities that concern files after the file system user changed from that of `old`.
    pub fn adjust_file_capabilities(&mut self, old: &Self) {
        match (old.fsuid == 0, self.fsuid == 0) {
            (true, false) => self.effective -= Capabilities::FILES,
            (false, true) => self.effective |= self.permitted & Capabilities::FILES,
            _ => {}
        }
    }

    /// The credentials after `execve(2)` of a file without capabilities of its own; `set_uid` and `set_gid` are those of a
    /// set-user-ID or set-group-ID file.
    pub fn after_exec(&self, set_uid: Option<u32>, set_gid: Option<u32>) -> Self {
        let mut new = self.clone();
        new.euid = set_uid.unwrap_or(new.euid);
        new.egid = set_gid.unwrap_or(new.egid);
        (new.suid, new.fsuid) = (new.euid, new.euid);
        (new.sgid, new.fsgid) = (new.egid, new.egid);
        let is_root = new.euid == 0 || new.uid == 0;
        new.permitted = if is_root { new.inheritable | new.bounding } else { Capabilities::empty() };
        new.effective = if new.euid == 0 { new.permitted } else { Capabilities::empty() };
        new.keep_capabilities = false;
        new
    }
}
