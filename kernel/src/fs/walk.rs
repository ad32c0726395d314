// SPDX-License-Identifier: MPL-2.0

//! Path resolution, as `path_resolution(7)` describes it.
//!
//! # Role
//! A [`Walk`] carries what one resolution needs: who asks, from which root, with which restrictions of `openat2(2)`, and how
//! many symbolic links it has followed.

use super::{Inode, InodeKind, Link, MountFlags, NAME_MAX, Path};
use crate::{
    file::table::Fd,
    prelude::*,
    process::credentials::{Capabilities, Credentials, Permission},
};

bitflags::bitflags! {
    /// Restrictions and choices of one resolution.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct WalkFlags: u32 {
        /// A symbolic link in the last place is not followed (`AT_SYMLINK_NOFOLLOW`, `O_NOFOLLOW`).
        const NO_FOLLOW = 1;
        /// The empty path names the start itself (`AT_EMPTY_PATH`).
        const EMPTY_PATH = 1 << 1;
        /// Mount points are not crossed (`RESOLVE_NO_XDEV`).
        const NO_XDEV = 1 << 2;
        /// Magic links are not followed (`RESOLVE_NO_MAGICLINKS`).
        const NO_MAGIC_LINKS = 1 << 3;
        /// No symbolic link is followed at all (`RESOLVE_NO_SYMLINKS`).
        const NO_SYMLINKS = 1 << 4;
        /// Nothing outside the start is reached (`RESOLVE_BENEATH`).
        const BENEATH = 1 << 5;
        /// The start is the root (`RESOLVE_IN_ROOT`).
        const IN_ROOT = 1 << 6;
    }
}

/// The most symbolic links that one resolution follows (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// The value of `dirfd` that means the working directory.
pub const AT_FDCWD: Fd = -100;

/// Where a relative path starts.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// At the working directory.
    Cwd,
    /// At an open directory.
    Descriptor(Fd),
}

impl From<Fd> for Start {
    fn from(dirfd: Fd) -> Self {
        if dirfd == AT_FDCWD { Self::Cwd } else { Self::Descriptor(dirfd) }
    }
}

/// The last component of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Last {
    /// An ordinary name.
    Name(Vec<u8>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path was `/`, or a link led straight to the result.
    Nothing,
}

/// Where a path's last component is to be looked up or made.
#[derive(Clone)]
pub struct Parent {
    /// The directory; with [`Last::Nothing`] the result itself.
    pub dir: Path,
    /// The last component.
    pub last: Last,
    /// Whether a slash follows it.
    pub wants_dir: bool,
}

/// One resolution.
pub struct Walk<'a, 'c> {
    ctx: &'a Context<'c>,
    credentials: Arc<Credentials>,
    root: Path,
    flags: WalkFlags,
    links: u32,
    /// The mount that `NO_XDEV` keeps to.
    start_mount: Option<u32>,
}

impl<'a, 'c> Walk<'a, 'c> {
    /// A resolution for the calling thread, with the identity for file access.
    pub fn new(ctx: &'a Context<'c>, flags: WalkFlags) -> Self {
        Self::with_credentials(ctx, flags, ctx.credentials())
    }

    /// A resolution with another identity, for `access(2)`.
    pub fn with_credentials(ctx: &'a Context<'c>, flags: WalkFlags, credentials: Arc<Credentials>) -> Self {
        Self { ctx, credentials, root: ctx.fs().root(), flags, links: 0, start_mount: None }
    }

    /// The identity that permissions are checked for.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// The file that `path` names.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`; `EBADF` for a bad descriptor with a relative path; `EXDEV`
    /// for what the flags forbid.
    pub fn resolve(&mut self, start: Start, path: &[u8]) -> Result<Path> {
        if path.is_empty() {
            return self.resolve_empty(start);
        }
        let start = self.begin(start, path)?;
        let follow = !self.flags.contains(WalkFlags::NO_FOLLOW);
        self.resolve_from(&start, path, follow)
    }

    fn resolve_empty(&mut self, start: Start) -> Result<Path> {
        match start {
            _ if !self.flags.contains(WalkFlags::EMPTY_PATH) => Err(ENOENT),
            Start::Cwd => Ok(self.ctx.fs().cwd()),
            Start::Descriptor(fd) => Ok(self.ctx.file(fd)?.path()),
        }
    }

    /// The directory of `path`'s last component, links in the way followed; the last component is not looked up.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_parent(&mut self, start: Start, path: &[u8]) -> Result<Parent> {
        if path.is_empty() {
            return Err(ENOENT);
        }
        let start = self.begin(start, path)?;
        self.parent_from(&start, path)
    }

    /// Looks up the last component that [`Self::resolve_parent`] left. A symbolic link is followed only if `follow`.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn finish(&mut self, parent: &Parent, follow: bool) -> Result<Path> {
        let found = match &parent.last {
            Last::Nothing | Last::Dot => parent.dir.clone(),
            Last::DotDot => self.up(&parent.dir)?,
            Last::Name(name) => {
                let child = self.step(&parent.dir, name)?;
                if child.inode().kind() == InodeKind::Symlink && (follow || parent.wants_dir) {
                    self.follow(&parent.dir, &child)?
                } else {
                    child
                }
            }
        };
        if parent.wants_dir && !found.inode().is_dir() {
            return Err(ENOTDIR);
        }
        Ok(found)
    }

    /// Where the symbolic link `link`, found in `parent.dir`, would have its target made (`O_CREAT`).
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn follow_to_parent(&mut self, dir: &Path, link: &Path) -> Result<Parent> {
        match self.read_link(link)? {
            Link::Jump(path) => Ok(Parent { dir: path, last: Last::Nothing, wants_dir: false }),
            Link::Target(target) => {
                let start = self.link_start(dir, &target)?;
                self.parent_from(&start, &target)
            }
        }
    }

    /// The place where a resolution starts.
    fn begin(&mut self, start: Start, path: &[u8]) -> Result<Path> {
        let is_absolute = path.first() == Some(&b'/');
        let is_confined = self.flags.intersects(WalkFlags::BENEATH | WalkFlags::IN_ROOT);
        if is_absolute && !is_confined {
            self.start_mount = Some(self.root.mount().id());
            return Ok(self.root.clone());
        }
        let from = match start {
            Start::Cwd => self.ctx.fs().cwd(),
            Start::Descriptor(fd) => self.ctx.file(fd)?.path(),
        };
        if !from.inode().is_dir() {
            return Err(ENOTDIR);
        }
        self.start_mount = Some(from.mount().id());
        if is_confined {
            if is_absolute && self.flags.contains(WalkFlags::BENEATH) {
                return Err(EXDEV);
            }
            self.root = from.clone();
        }
        Ok(from)
    }

    fn resolve_from(&mut self, start: &Path, path: &[u8], follow: bool) -> Result<Path> {
        let parent = self.parent_from(start, path)?;
        self.finish(&parent, follow)
    }

    /// Walks all components but the last.
    fn parent_from(&mut self, start: &Path, path: &[u8]) -> Result<Parent> {
        let wants_dir = path.last() == Some(&b'/');
        let mut components = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
        let mut dir = start.clone();
        loop {
            let Some(name) = components.next() else {
                return Ok(Parent { dir, last: Last::Nothing, wants_dir });
            };
            self.check_search(&dir)?;
            if components.peek().is_none() {
                let last = match name {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    _ if name.len() > NAME_MAX => return Err(ENAMETOOLONG),
                    _ => Last::Name(name.to_vec()),
                };
                return Ok(Parent { dir, last, wants_dir });
            }
            dir = match name {
                b"." => dir,
                b".." => self.up(&dir)?,
                _ => self.enter(&dir, name)?,
            };
        }
    }

    /// Walks into the intermediate component `name`.
    fn enter(&mut self, dir: &Path, name: &[u8]) -> Result<Path> {
        let mut next = self.step(dir, name)?;
        if next.inode().kind() == InodeKind::Symlink {
            next = self.follow(dir, &next)?;
        }
        if next.inode().is_dir() { Ok(next) } else { Err(ENOTDIR) }
    }

    /// Whether names in `dir` may be looked up.
    fn check_search(&self, dir: &Path) -> Result<()> {
        if !dir.inode().is_dir() {
            return Err(ENOTDIR);
        }
        check_inode(&self.credentials, dir.inode(), Permission::EXEC)
    }

    /// The child `name`, mounts crossed.
    fn step(&self, dir: &Path, name: &[u8]) -> Result<Path> {
        if name.len() > NAME_MAX {
            return Err(ENAMETOOLONG);
        }
        let child = dir.child(name)?;
        self.check_mount(&child)?;
        Ok(child)
    }

    fn up(&self, dir: &Path) -> Result<Path> {
        if self.flags.contains(WalkFlags::BENEATH) && dir.is_same(&self.root) {
            return Err(EXDEV);
        }
        let parent = dir.parent(&self.root);
        self.check_mount(&parent)?;
        Ok(parent)
    }

    fn check_mount(&self, path: &Path) -> Result<()> {
        let is_other = self.start_mount.is_some_and(|id| id != path.mount().id());
        if is_other && self.flags.contains(WalkFlags::NO_XDEV) { Err(EXDEV) } else { Ok(()) }
    }

    /// Follows `link`, found in `dir`, to its end.
    fn follow(&mut self, dir: &Path, link: &Path) -> Result<Path> {
        match self.read_link(link)? {
            Link::Jump(path) => Ok(path),
            Link::Target(target) => {
                let start = self.link_start(dir, &target)?;
                self.resolve_from(&start, &target, true)
            }
        }
    }

    fn read_link(&mut self, link: &Path) -> Result<Link> {
        self.links += 1;
        let is_refused =
            self.flags.contains(WalkFlags::NO_SYMLINKS) || link.mount().flags().contains(MountFlags::NO_SYMFOLLOW);
        if self.links > MAX_LINKS || is_refused {
            return Err(ELOOP);
        }
        let link = link.inode().follow(self.ctx)?;
        if let Link::Jump(path) = &link {
            if self.flags.contains(WalkFlags::NO_MAGIC_LINKS) {
                return Err(ELOOP);
            }
            if self.flags.intersects(WalkFlags::BENEATH | WalkFlags::IN_ROOT) {
                return Err(EXDEV);
            }
            self.check_mount(path)?;
        }
        Ok(link)
    }

    /// Where the text of a link found in `dir` starts.
    fn link_start(&self, dir: &Path, target: &[u8]) -> Result<Path> {
        match target.first() {
            None => Err(ENOENT),
            Some(b'/') if self.flags.contains(WalkFlags::BENEATH) => Err(EXDEV),
            Some(b'/') => {
                self.check_mount(&self.root)?;
                Ok(self.root.clone())
            }
            Some(_) => Ok(dir.clone()),
        }
    }
}

/// Checks `wanted` on an inode.
///
/// # Errors
/// `EACCES`
pub fn check_inode(credentials: &Credentials, inode: &Arc<dyn Inode>, wanted: Permission) -> Result<()> {
    let is_plain = inode.is_dir() || !wanted.contains(Permission::EXEC);
    if is_plain && credentials.has(Capabilities::DAC_OVERRIDE) {
        return Ok(()); // The short way for root: whatever the mode says.
    }
    credentials.check_metadata(wanted, &inode.metadata())
}
