// SPDX-License-Identifier: MPL-2.0

//! The clock of file timestamps: the wall clock as of the last tick, as Linux has it (`inode(7)`, NOTES on granularity).

use super::Timestamp;
use crate::time::clock;

/// The present, in wall-clock time.
pub fn now() -> Timestamp {
    Timestamp::from_nanos(clock::now_realtime_coarse())
}
