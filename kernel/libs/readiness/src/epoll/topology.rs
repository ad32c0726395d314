// SPDX-License-Identifier: MPL-2.0

//! Epolls inside epolls: no cycles, no towers, no explosions.
//!
//! # Role
//!
//! Called by ADD before an epoll is put into another, and before a file is put into an epoll that is itself watched. Mirrors
//! Linux's `ep_loop_check` and `reverse_path_check`.
//!
//! # Invariants
//!
//! - **G1** The graph of epolls has no cycle, and no path of more than [`MAX_EDGES`] edges: every edge is checked and inserted
//!   under the one topology lock, so that two ADDs that would only together close a cycle meet here.
//! - **G2** The number of paths on which an event travels up from a file is limited for each length ([`PATH_LIMITS`]).
//!
//! # Concurrency
//!
//! The lock sleeps, and is the outermost of this crate. It also guards the `nest` of every epoll.

use alloc::vec::Vec;

use super::{AddError, Core, Target, entry::Entry};
use crate::{
    Pollee,
    sync::{Arc, AtomicU32, Mutex, Ordering, Weak, const_unless_modelled},
};

/// The longest path of epolls watching epolls, in edges (`EP_MAX_NESTS`).
const MAX_EDGES: usize = 4;

/// How many paths may lead from one file up to an outermost epoll, by the number of nested epolls on the way (Linux's
/// `path_limits`). The first is not limited: it is a file in any number of plain epolls.
const PATH_LIMITS: [u32; MAX_EDGES + 1] = [u32::MAX, 500, 100, 50, 10];

/// The lock that all nested ADDs of a system meet on.
pub struct Topology(Mutex<Visit>);

/// Numbers the searches through the graph; each visits an epoll once.
struct Visit(u64);

impl Topology {
    const_unless_modelled! {
        /// A system without nested epolls.
        pub fn new() -> Self {
            Self(Mutex::new(Visit(0)))
        }
    }
}

impl Default for Topology {
    fn default() -> Self {
        Self::new()
    }
}

/// The place of one epoll in the graph.
pub(super) struct Nest<T: Target + ?Sized> {
    links: Mutex<Links<T>>,
    /// How many epolls watch this one. Read without a lock, to leave the checks out where nothing is nested.
    parents: AtomicU32,
    /// How many epolls this one watches.
    children: AtomicU32,
}

/// Edges, one for each entry.
struct Links<T: Target + ?Sized> {
    parents: Vec<Weak<Core<T>>>,
    /// The watched epolls, and the watching entries by address.
    children: Vec<(Weak<Core<T>>, EdgeKey)>,
    /// The search that visited this epoll last, and the longest path it found from here.
    visited: (u64, usize),
}

/// Identifies an edge below its outer epoll.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct EdgeKey {
    pub(super) fd: i32,
    pub(super) description: usize,
}

impl<T: Target + ?Sized> Nest<T> {
    pub(super) fn new() -> Self {
        let links = Links { parents: Vec::new(), children: Vec::new(), visited: (0, 0) };
        Self { links: Mutex::new(links), parents: AtomicU32::new(0), children: AtomicU32::new(0) }
    }

    /// Whether some epoll watches this one.
    pub(super) fn is_watched(&self) -> bool {
        // Relaxed: as a hint it may be a little late; the checks proper are under the topology lock.
        self.parents.load(Ordering::Relaxed) > 0
    }

    /// Whether this epoll watches another.
    pub(super) fn watches_epolls(&self) -> bool {
        // Relaxed: an entry's edge is counted before the entry can be removed.
        self.children.load(Ordering::Relaxed) > 0
    }

    fn parents(&self) -> Vec<Arc<Core<T>>> {
        self.links.lock().parents.iter().filter_map(Weak::upgrade).collect()
    }

    fn children(&self) -> Vec<Arc<Core<T>>> {
        self.links.lock().children.iter().filter_map(|(child, _)| child.upgrade()).collect()
    }
}

/// Checks and inserts the edge `outer` → `inner`.
pub(super) fn connect<T: Target + ?Sized>(
    outer: &Arc<Core<T>>,
    inner: &Arc<Core<T>>,
    key: EdgeKey,
) -> Result<(), AddError> {
    // Declared before the lock, so dropped after it: a file closed meanwhile leaves its epolls by way of this lock.
    let mut borrowed = Vec::new();
    let mut visit = outer.topology.0.lock();
    visit.0 += 1;
    let below = height(inner, outer, visit.0).ok_or(AddError::WouldLoop)?;
    visit.0 += 1;
    let above = depth(outer, visit.0);
    if above + 1 + below > MAX_EDGES {
        return Err(AddError::TooDeep);
    }
    link(outer, inner, key);
    visit.0 += 1;
    if has_too_many_paths_below(inner, visit.0, &mut borrowed) {
        unlink(outer, key);
        return Err(AddError::TooManyPaths);
    }
    Ok(())
}

/// Removes the edge that the entry with this key stands for, if it stands for one.
pub(super) fn disconnect<T: Target + ?Sized>(outer: &Arc<Core<T>>, key: EdgeKey) {
    if outer.nest.watches_epolls() {
        let _visit = outer.topology.0.lock();
        unlink(outer, key);
    }
}

/// Checks that a file with the pollee `pollee` may be put into `outer`, which other epolls watch.
pub(super) fn check_paths<T: Target + ?Sized>(outer: &Arc<Core<T>>, pollee: &Pollee) -> Result<(), AddError> {
    let _visit = outer.topology.0.lock();
    let mut paths = Paths::default();
    if paths.add_watchers_of::<T>(pollee) && paths.add(outer, 0) { Ok(()) } else { Err(AddError::TooManyPaths) }
}

fn link<T: Target + ?Sized>(outer: &Arc<Core<T>>, inner: &Arc<Core<T>>, key: EdgeKey) {
    outer.nest.links.lock().children.push((Arc::downgrade(inner), key));
    outer.nest.children.fetch_add(1, Ordering::Relaxed);
    inner.nest.links.lock().parents.push(Arc::downgrade(outer));
    inner.nest.parents.fetch_add(1, Ordering::Relaxed);
}

fn unlink<T: Target + ?Sized>(outer: &Arc<Core<T>>, key: EdgeKey) {
    let mut links = outer.nest.links.lock();
    let Some(at) = links.children.iter().position(|(_, other)| *other == key) else { return };
    let (inner, _) = links.children.swap_remove(at);
    drop(links);
    outer.nest.children.fetch_sub(1, Ordering::Relaxed);
    let Some(inner) = inner.upgrade() else { return };
    let mut links = inner.nest.links.lock();
    let outer = Arc::downgrade(outer);
    if let Some(at) = links.parents.iter().position(|parent| parent.ptr_eq(&outer)) {
        links.parents.swap_remove(at);
        inner.nest.parents.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The longest path down from `from`, in edges; `None` if one leads to `forbidden`.
fn height<T: Target + ?Sized>(from: &Arc<Core<T>>, forbidden: &Arc<Core<T>>, visit: u64) -> Option<usize> {
    if Arc::ptr_eq(from, forbidden) {
        return None;
    }
    remembered(from, visit, || {
        let children = from.nest.children();
        children.iter().try_fold(0, |longest, child| Some(longest.max(height(child, forbidden, visit)? + 1)))
    })
}

/// The longest path up from `from`, in edges.
fn depth<T: Target + ?Sized>(from: &Arc<Core<T>>, visit: u64) -> usize {
    remembered(from, visit, || from.nest.parents().iter().map(|parent| depth(parent, visit) + 1).max().or(Some(0)))
        .unwrap_or(0)
}

/// The path found by search number `visit` at `core`, computed if it has not been here.
fn remembered<T: Target + ?Sized>(
    core: &Arc<Core<T>>,
    visit: u64,
    compute: impl FnOnce() -> Option<usize>,
) -> Option<usize> {
    let (number, path) = core.nest.links.lock().visited;
    if number == visit {
        return Some(path);
    }
    let path = compute()?;
    core.nest.links.lock().visited = (visit, path);
    Some(path)
}

/// Whether a file in `core` or in an epoll below has more paths up than allowed. The files looked at are left in `borrowed`.
fn has_too_many_paths_below<T: Target + ?Sized>(core: &Arc<Core<T>>, visit: u64, borrowed: &mut Vec<Arc<T>>) -> bool {
    let mut exceeds = false;
    let _ = remembered(core, visit, || {
        let first = borrowed.len();
        borrowed.extend(core.interest.lock().iter().filter_map(|entry| entry.file.upgrade()));
        let mut files = borrowed[first..].iter().filter(|file| file.as_epoll().is_none());
        exceeds = files.any(|file| !Paths::default().add_watchers_of::<T>(file.pollee()))
            || core.nest.children().iter().any(|child| has_too_many_paths_below(child, visit, borrowed));
        Some(0)
    });
    exceeds
}

/// Paths up from one file, counted by their number of nested epolls.
#[derive(Default)]
struct Paths([u32; MAX_EDGES + 1]);

impl Paths {
    /// Adds the paths through every epoll that watches `pollee`. Returns `false` when a limit is passed.
    fn add_watchers_of<T: Target + ?Sized>(&mut self, pollee: &Pollee) -> bool {
        let mut is_within = true;
        pollee.for_each_observer(|observer| {
            let entry = observer.as_any().and_then(|any| any.downcast_ref::<Entry<T>>());
            if let Some(entry) = entry {
                is_within = is_within && self.add(&entry.core, 0);
            }
        });
        is_within
    }

    /// Adds the paths that start in `core`, after `nested` epolls.
    fn add<T: Target + ?Sized>(&mut self, core: &Arc<Core<T>>, nested: usize) -> bool {
        let parents = core.nest.parents();
        if !parents.is_empty() {
            return nested < MAX_EDGES && parents.iter().all(|parent| self.add(parent, nested + 1));
        }
        self.0[nested] = self.0[nested].saturating_add(1);
        self.0[nested] <= PATH_LIMITS[nested]
    }
}
