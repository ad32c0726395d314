// SPDX-License-Identifier: MPL-2.0

//! A stream of bytes in one direction, between whoever holds the producer and whoever holds the consumer.
//!
//! # Role
//! The core of pipes and FIFOs, and of whatever else passes bytes from one end to another. [`Ring`] says which bytes of which
//! pages are in use, [`Pages`] holds them. The owner keeps the `Ring` in its [`Tracked`](readiness::Tracked) state, because readiness depends on it,
//! and the `Pages` behind one sleeping mutex per side ([`Ends`]).
//!
//! # Protocol
//! ```text
//! write: lock producer ─► ring.plan_write ─► pages.fill  (copies, may fault) ─► ring.commit_write, notify the reader
//! read:  lock consumer ─► ring.plan_read  ─► pages.drain (copies, may fault) ─► ring.commit_read, notify the writer
//! ```
//! Each byte is copied once on its way in and once on its way out, under no spin lock; a reader and a writer copy at the same
//! time. The layout of writes in pages, which decides when a stream is full, is that of Linux's pipes.
//!
//! # Concurrency
//! Lock order: producer, consumer, then the owner's `Tracked` state. User memory may fault, and so sleep, under the first two.

mod pages;
mod ring;

pub use self::{
    pages::Pages,
    ring::{Filled, Kind, Merge, Piece, ReadPlan, Ring, WritePlan},
};
use crate::{prelude::*, sync::MutexGuard};

/// The pages of a stream, as the two sides hold them.
pub struct Ends {
    /// Whoever writes holds this.
    pub producer: Mutex<Arc<Pages>>,
    /// Whoever reads holds this.
    pub consumer: Mutex<Arc<Pages>>,
}

impl Ends {
    /// The ends of a stream of `slots` pages.
    pub fn new(slots: usize) -> Self {
        let pages = Arc::new(Pages::new(slots));
        Self { producer: Mutex::new(pages.clone()), consumer: Mutex::new(pages) }
    }

    /// The producer, for a writer.
    #[inline]
    pub fn produce(&self) -> MutexGuard<'_, Arc<Pages>> {
        self.producer.lock()
    }

    /// The consumer, for a reader.
    #[inline]
    pub fn consume(&self) -> MutexGuard<'_, Arc<Pages>> {
        self.consumer.lock()
    }

    /// Changes the number of pages while nobody reads or writes. `exchange` puts the ring that it is given in place of the
    /// present one by [`Ring::move_to`], and returns that.
    ///
    /// # Errors
    /// What `exchange` says.
    pub fn resize(&self, slots: usize, exchange: impl FnOnce(Ring) -> Result<Ring>) -> Result<()> {
        self.resize_held(&mut self.producer.lock(), slots, exchange)
    }

    /// [`Self::resize`] by whoever holds the producer.
    ///
    /// # Errors
    /// What `exchange` says.
    pub fn resize_held(
        &self,
        producer: &mut Arc<Pages>,
        slots: usize,
        exchange: impl FnOnce(Ring) -> Result<Ring>,
    ) -> Result<()> {
        let mut consumer = self.consumer.lock();
        let old = exchange(Ring::new(slots))?;
        let pages = Arc::new(producer.resized(slots, old.pages_in_use()));
        *consumer = pages.clone();
        *producer = pages;
        Ok(())
    }
}
