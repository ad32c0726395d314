// SPDX-License-Identifier: MPL-2.0

//! Open files on their way in messages (`SCM_RIGHTS`), and the end of those that nobody can receive any more.
//!
//! # Role
//! A socket may be in a message in its own queue, or several in a circle: when the last descriptor closes, nobody can receive
//! them, and each keeps the next alive. [`Graph`] knows which sockets are in flight and how often; [`collect`] finds those
//! that only each other's queues keep, and empties these. It looks for them only when there may be a circle: the message
//! that closes one goes to a socket that is itself in flight.
//!
//! # Protocol
//! Whoever puts a message with files into a queue, or takes one out or copies its files, does so while holding the graph, and
//! calls [`Graph::enter`] or [`Graph::leave`]. So, whenever the graph is free, it is exactly what the queues contain.
//!
//! # Invariants
//! - **F1** A description is garbage if all its references are messages in queues of garbage. That is stable: to get at it one
//!   needs a reference to one of them.
//! - **F2** Files end without the graph, and one after the other: a chain of queues in queues, however long, is no recursion.
//!
//! # Concurrency
//! Lock order: the graph, then the states of sockets. It is a sleeping lock; observers are called after it.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{Identity, datagram::DatagramSocket, stream::StreamSocket};
use crate::{
    file::Description,
    prelude::*,
    process::{credentials::Capabilities, limits::Resource},
    sync::MutexGuard,
};

/// The most files of one message (`SCM_MAX_FD`).
const MAX_FILES: usize = 253;

/// Open files of one message.
pub struct Rights {
    files: Vec<Arc<Description>>,
    /// The sender's user, who is accountable for them.
    user: u32,
}

/// What is in flight.
pub struct Graph {
    /// Unix sockets, by description.
    sockets: BTreeMap<u64, InFlight>,
    /// Files of any kind, by the sender's user.
    users: BTreeMap<u32, usize>,
}

/// The socket in a description, if it is a unix socket.
enum UnixSocket<'a> {
    Stream(&'a StreamSocket),
    Datagram(&'a DatagramSocket),
}

struct InFlight {
    description: Weak<Description>,
    /// In how many messages it is.
    count: usize,
}

static GRAPH: Mutex<Graph> = Mutex::new(Graph { sockets: BTreeMap::new(), users: BTreeMap::new() });
/// Whether sockets in flight may keep each other. Changed with the graph held. Relaxed: a hint; what is overlooked is found when
/// the next socket closes.
static MAY_HAVE_CIRCLES: AtomicBool = AtomicBool::new(false);
/// Collecting, and whether to do so again after that.
static IS_COLLECTING: AtomicBool = AtomicBool::new(false);
static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// Holds the graph: queues with files in them do not change.
pub fn graph() -> MutexGuard<'static, Graph> {
    GRAPH.lock()
}

impl Rights {
    /// The files of a message that the caller sends; `None` if there are none.
    ///
    /// # Errors
    /// `EINVAL` if there are more than [`MAX_FILES`]; `ETOOMANYREFS` if the user has more in flight than it may open.
    pub fn new(ctx: &Context, files: Vec<Arc<Description>>) -> Result<Option<Self>> {
        if files.is_empty() {
            return Ok(None);
        }
        if files.len() > MAX_FILES {
            return Err(EINVAL);
        }
        let credentials = ctx.credentials();
        let user = credentials.uid;
        let in_flight = graph().users.get(&user).copied().unwrap_or(0);
        let is_exempt = credentials.has(Capabilities::SYS_RESOURCE) || credentials.has(Capabilities::SYS_ADMIN);
        if in_flight as u64 > ctx.process.limits.soft(Resource::Nofile) && !is_exempt {
            return Err(ETOOMANYREFS);
        }
        Ok(Some(Self { files, user }))
    }

    /// The same files once more, for `MSG_PEEK`. To be called with the graph held.
    pub fn duplicate(&self) -> Self {
        Self { files: self.files.clone(), user: self.user }
    }

    /// The files, out of flight.
    pub fn into_files(mut self) -> Vec<Arc<Description>> {
        core::mem::take(&mut self.files)
    }
}

impl Drop for Rights {
    /// Closes the files. A socket that ends with that has its own messages taken out first (F2).
    fn drop(&mut self) {
        let mut files = core::mem::take(&mut self.files);
        while let Some(file) = files.pop() {
            if Arc::strong_count(&file) == 1 {
                for mut rights in take_queued(&file) {
                    files.append(&mut rights.files);
                }
            }
            drop(file);
        }
    }
}

impl Graph {
    /// `rights` go into the queue of `receiver`.
    pub fn enter(&mut self, rights: &Rights, receiver: &Identity) {
        let mut has_sockets = false;
        for file in &rights.files {
            let Some(socket) = unix_socket(file) else { continue };
            socket.identity().travel();
            has_sockets = true;
            let new = || InFlight { description: Arc::downgrade(file), count: 0 };
            self.sockets.entry(file.id()).or_insert_with(new).count += 1;
        }
        if has_sockets && receiver.may_travel() {
            MAY_HAVE_CIRCLES.store(true, Ordering::Relaxed);
        }
        *self.users.entry(rights.user).or_insert(0) += rights.files.len();
    }

    /// `rights` have come out of a queue.
    pub fn leave(&mut self, rights: &Rights) {
        for file in rights.files.iter().filter(|file| is_unix_socket(file)) {
            let Some(entry) = self.sockets.get_mut(&file.id()) else { continue };
            entry.count -= 1;
            if entry.count == 0 {
                self.sockets.remove(&file.id());
            }
        }
        if self.sockets.is_empty() {
            MAY_HAVE_CIRCLES.store(false, Ordering::Relaxed);
        }
        if let Some(count) = self.users.get_mut(&rights.user) {
            *count -= rights.files.len();
            if *count == 0 {
                self.users.remove(&rights.user);
            }
        }
    }

    /// The sockets in flight that nothing keeps but queues of such sockets.
    fn garbage(&self) -> Vec<Arc<Description>> {
        let mut candidates = BTreeMap::new();
        for (id, in_flight) in &self.sockets {
            if let Some(description) = in_flight.description.upgrade()
                // One reference is ours.
                && Arc::strong_count(&description) == in_flight.count + 1
            {
                candidates.insert(*id, Candidate { description, outside: in_flight.count });
            }
        }
        for held in candidates.values().map(|candidate| held_by(&candidate.description)).collect::<Vec<_>>() {
            for id in held {
                if let Some(candidate) = candidates.get_mut(&id) {
                    candidate.outside -= 1;
                }
            }
        }
        // What a queue outside of the candidates holds can be received, and what that holds, and so on.
        let mut reachable: Vec<u64> =
            candidates.iter().filter(|(_, candidate)| candidate.outside > 0).map(|(id, _)| *id).collect();
        while let Some(id) = reachable.pop() {
            if let Some(candidate) = candidates.remove(&id) {
                reachable.extend(held_by(&candidate.description));
            }
        }
        candidates.into_values().map(|candidate| candidate.description).collect()
    }
}

/// A socket that has no descriptor.
struct Candidate {
    description: Arc<Description>,
    /// In how many messages outside of the candidates' queues it is.
    outside: usize,
}

/// The sockets in the messages in the queues of `description`, each as often as it is there.
fn held_by(description: &Description) -> Vec<u64> {
    let mut ids = Vec::new();
    let mut visit = |rights: &Rights| {
        ids.extend(rights.files.iter().filter(|file| is_unix_socket(file)).map(|file| file.id()));
    };
    match unix_socket(description) {
        Some(UnixSocket::Stream(socket)) => socket.for_each_queued(&mut visit),
        Some(UnixSocket::Datagram(socket)) => socket.for_each_queued(&mut visit),
        None => {}
    }
    ids
}

/// Takes the files out of the messages in the queues of `description`; they are out of flight.
fn take_queued(description: &Description) -> Vec<Rights> {
    let Some(socket) = unix_socket(description) else { return Vec::new() };
    let mut graph = graph();
    let taken = match socket {
        UnixSocket::Stream(socket) => socket.take_queued(),
        UnixSocket::Datagram(socket) => socket.take_queued(),
    };
    for rights in &taken {
        graph.leave(rights);
    }
    taken
}

impl UnixSocket<'_> {
    fn identity(&self) -> &Identity {
        match self {
            Self::Stream(socket) => socket.identity(),
            Self::Datagram(socket) => socket.identity(),
        }
    }
}

fn unix_socket(description: &Description) -> Option<UnixSocket<'_>> {
    let stream = description.downcast().map(UnixSocket::Stream);
    stream.or_else(|| description.downcast().map(UnixSocket::Datagram))
}

fn is_unix_socket(description: &Description) -> bool {
    unix_socket(description).is_some()
}

/// Ends sockets in flight that can never be received. To be called when a socket has closed. Mirrors Linux's `unix_gc`.
pub fn collect() {
    if !MAY_HAVE_CIRCLES.load(Ordering::Relaxed) {
        return;
    }
    // SeqCst: whoever finds the collector at work has said before that it wants another round, and the collector looks for
    // that after it has stopped.
    IS_WANTED.store(true, Ordering::SeqCst);
    while IS_WANTED.load(Ordering::SeqCst) && !IS_COLLECTING.swap(true, Ordering::SeqCst) {
        IS_WANTED.store(false, Ordering::SeqCst);
        let garbage = graph().garbage();
        let rights: Vec<Rights> = garbage.iter().flat_map(|description| take_queued(description)).collect();
        // The messages go first, which held the others; then the sockets, each for the last time.
        drop(garbage);
        drop(rights);
        IS_COLLECTING.store(false, Ordering::SeqCst);
    }
}
