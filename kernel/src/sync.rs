// SPDX-License-Identifier: MPL-2.0

//! The kernel's sleeping mutex: that of the readiness core.

use ostd::sync::WaitQueue;
use readiness::turn;

/// A mutex whose waiters sleep. OSTD's looks at its wait queue at each release; this one knows whether it has to.
pub type Mutex<T> = turn::Mutex<T, WaitQueue>;

/// The data is the holder's for as long as this lives.
pub type MutexGuard<'a, T> = turn::MutexGuard<'a, T, WaitQueue>;
