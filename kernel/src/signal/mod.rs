// SPDX-License-Identifier: MPL-2.0

//! Signals.

/// What a process keeps for signals.
pub struct ProcessSignals {}

/// What a thread keeps for signals.
pub struct ThreadSignals {}
