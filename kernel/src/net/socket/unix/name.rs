// SPDX-License-Identifier: MPL-2.0

//! Names of sockets: in the file system, in the abstract namespace, and made up (`unix(7)`, "Address format").
//!
//! # Role
//! A [`Binding`] joins an address to what answers there. The bound socket holds it; the inode of a path
//! ([`crate::fs::Attachment`]) and the table of abstract names refer to it weakly, so a name is free, or dead, when its socket has
//! ended.

use core::any::Any;

use spin::Once;

use super::{inbox::Inbox, listener::Listener};
use crate::{
    fs::{Attachment, InodeKind, NewKind, Path, Start, Walk, WalkFlags, modify, walk::check_inode},
    net::{SocketAddress, SocketType, address::UnixAddress},
    prelude::*,
    process::credentials::Permission,
};

/// A name.
#[derive(Clone)]
pub struct Name {
    /// The address.
    pub address: Arc<UnixAddress>,
    /// Where it is, for a name in the file system.
    pub path: Option<Path>,
}

/// A name, and what answers at it.
pub struct Binding {
    /// The name.
    pub name: Name,
    kind: SocketType,
    target: Once<Target>,
}

/// What answers at a name.
#[derive(Clone)]
pub enum Target {
    /// A socket that listens.
    Listener(Weak<Listener>),
    /// A datagram socket.
    Inbox(Weak<Inbox>),
}

type AbstractName = (Vec<u8>, u32);

static ABSTRACT: Mutex<BTreeMap<AbstractName, Weak<Binding>>> = Mutex::new(BTreeMap::new());

impl Binding {
    /// Takes the name `address` for a socket of this kind, whose inode has the permissions `mode`.
    ///
    /// # Errors
    /// `EADDRINUSE`; as `mknod(2)` for a path.
    pub fn new(ctx: &Context, address: &UnixAddress, kind: SocketType, mode: u16) -> Result<Arc<Self>> {
        match address {
            UnixAddress::Path(path) => Self::at_path(ctx, path, kind, mode),
            UnixAddress::Abstract(name) => Self::abstract_name(name, kind),
            UnixAddress::Unnamed => Self::autobind(kind),
        }
    }

    fn at_path(ctx: &Context, name: &[u8], kind: SocketType, mode: u16) -> Result<Arc<Self>> {
        let made = modify::make(ctx, Start::Cwd, name, NewKind::Socket, mode);
        let path = made.map_err(|error| if error == EEXIST { EADDRINUSE } else { error })?;
        let address = Arc::new(UnixAddress::Path(name.to_vec()));
        let name = Name { address, path: Some(path.clone()) };
        let binding = Arc::new(Self { name, kind, target: Once::new() });
        let shared: Arc<dyn Any + Send + Sync> = binding.clone();
        *path.inode().attachment().ok_or(EOPNOTSUPP)?.lock() = Some(Arc::downgrade(&shared));
        Ok(binding)
    }

    fn abstract_name(name: &[u8], kind: SocketType) -> Result<Arc<Self>> {
        let address = Arc::new(UnixAddress::Abstract(name.to_vec()));
        let binding = Arc::new(Self { name: Name { address, path: None }, kind, target: Once::new() });
        let mut names = ABSTRACT.lock();
        let entry = names.entry((name.to_vec(), kind as u32)).or_default();
        if entry.strong_count() > 0 {
            return Err(EADDRINUSE);
        }
        *entry = Arc::downgrade(&binding);
        Ok(binding)
    }

    /// A name of five hexadecimal digits that is free.
    ///
    /// # Errors
    /// `ENOSPC` if there is none.
    fn autobind(kind: SocketType) -> Result<Arc<Self>> {
        const NAMES: u32 = 1 << 20;
        let mut random = [0; 4];
        crate::random::fill(&mut random);
        let first = u32::from_ne_bytes(random);
        for number in (0..NAMES).map(|step| first.wrapping_add(step) % NAMES) {
            let name = alloc::format!("{number:05x}");
            match Self::abstract_name(name.as_bytes(), kind) {
                Err(EADDRINUSE) => {}
                outcome => return outcome,
            }
        }
        Err(ENOSPC)
    }

    /// From now on, `target` answers.
    pub fn set_target(&self, target: Target) {
        self.target.call_once(|| target);
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        if let UnixAddress::Abstract(name) = &*self.name.address {
            let mut names = ABSTRACT.lock();
            let key = (name.clone(), self.kind as u32);
            // Somebody may have taken the name since this one died.
            if names.get(&key).is_some_and(|binding| binding.strong_count() == 0) {
                names.remove(&key);
            }
        }
    }
}

/// What answers at `address` for a socket of this kind.
///
/// # Errors
/// `ECONNREFUSED` if nothing does; `EPROTOTYPE` if it is of another kind; `EACCES` without permission to write; as
/// `path_resolution(7)`.
fn find(ctx: &Context, address: &UnixAddress, kind: SocketType) -> Result<Target> {
    let binding = match address {
        UnixAddress::Unnamed => return Err(EINVAL),
        UnixAddress::Abstract(name) => {
            let names = ABSTRACT.lock();
            let found = names.get(&(name.clone(), kind as u32)).and_then(Weak::upgrade);
            // Dropping the last reference takes the lock.
            drop(names);
            found.ok_or(ECONNREFUSED)?
        }
        UnixAddress::Path(path) => {
            let mut walk = Walk::new(ctx, WalkFlags::empty());
            let path = walk.resolve(Start::Cwd, path)?;
            check_inode(walk.credentials(), path.inode(), Permission::WRITE)?;
            if path.inode().kind() != InodeKind::Socket {
                return Err(ECONNREFUSED);
            }
            attached(path.inode().attachment().ok_or(ECONNREFUSED)?)?
        }
    };
    if binding.kind != kind {
        return Err(EPROTOTYPE);
    }
    binding.target.get().cloned().ok_or(ECONNREFUSED)
}

fn attached(attachment: &Attachment) -> Result<Arc<Binding>> {
    let attached = attachment.lock().as_ref().and_then(Weak::upgrade);
    attached.and_then(|any| any.downcast().ok()).ok_or(ECONNREFUSED)
}

/// The listener at `address`.
///
/// # Errors
/// As [`find`].
pub fn find_listener(ctx: &Context, address: &UnixAddress, kind: SocketType) -> Result<Arc<Listener>> {
    match find(ctx, address, kind)? {
        Target::Listener(listener) => listener.upgrade().ok_or(ECONNREFUSED),
        Target::Inbox(_) => Err(EPROTOTYPE),
    }
}

/// The inbox at `address`.
///
/// # Errors
/// As [`find`].
pub fn find_inbox(ctx: &Context, address: &UnixAddress) -> Result<Arc<Inbox>> {
    match find(ctx, address, SocketType::Datagram)? {
        Target::Inbox(inbox) => inbox.upgrade().ok_or(ECONNREFUSED),
        Target::Listener(_) => Err(EPROTOTYPE),
    }
}

/// The address that a program passed to a unix socket.
///
/// # Errors
/// `EINVAL` if it is of another family.
pub fn of_unix(address: &SocketAddress) -> Result<&UnixAddress> {
    match address {
        SocketAddress::Unix(address) => Ok(address),
        _ => Err(EINVAL),
    }
}
