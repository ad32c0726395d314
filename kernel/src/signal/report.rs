// SPDX-License-Identifier: MPL-2.0

//! What `/proc` says about signals.

use super::{SIG_IGN, Signal};
use crate::process::Thread;

/// The sets of `/proc/PID/status`, bit `n - 1` for signal `n`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SignalSets {
    /// Queued signals of the process, its threads' included.
    pub queued: usize,
    /// Pending for the thread.
    pub pending: u64,
    /// Pending for the process.
    pub shared_pending: u64,
    /// Blocked by the thread.
    pub blocked: u64,
    /// Ignored because the program said so.
    pub ignored: u64,
    /// With a handler.
    pub caught: u64,
}

/// The sets of a thread.
pub fn sets(thread: &Thread) -> SignalSets {
    let process = &thread.process.signals;
    let mut sets = SignalSets {
        queued: process.queued(),
        pending: thread.signals.pending().0,
        shared_pending: process.pending().0,
        blocked: thread.signals.mask().0,
        ..SignalSets::default()
    };
    let actions = process.actions();
    for signal in (1..=64).filter_map(|number| Signal::new(number).ok()) {
        let (action, bit) = (actions.get(signal), 1 << signal.index());
        if action.handler == SIG_IGN {
            sets.ignored |= bit;
        } else if action.is_handler() {
            sets.caught |= bit;
        }
    }
    sets
}
