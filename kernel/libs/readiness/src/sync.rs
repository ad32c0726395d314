// SPDX-License-Identifier: MPL-2.0

//! The one module that knows which primitives are in use: OSTD's in the kernel, `spin`'s on the host, loom's and
//! shuttle's under a model checker. Everything else in the crate is the same source in all four builds.
//!
//! # Concurrency
//!
//! - [`SpinLock`] is a leaf-level, IRQ-safe lock: in the kernel it disables local interrupts while it is held, because
//!   notifications arrive in interrupt context.
//! - `Turn` may sleep: it is held while user memory is written and while other files are asked. It guards no data
//!   ([`TurnLock`](crate::turn::TurnLock)). Models of what is done under it take it for granted; `loom_turn` proves it.
//! - [`Mutex`] is a turn with data ([`turn::Mutex`](crate::turn::Mutex)).
//! - `Arc` is `alloc`'s in every build. Loom's own cannot hold a `dyn Observer`; the price is that loom does not
//!   explore reorderings *inside* the reference count, which is not ours to prove.

pub(crate) use alloc::sync::{Arc, Weak};

#[cfg(not(any(loom, shuttle)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

#[cfg(all(feature = "ostd", not(any(loom, shuttle))))]
pub(crate) use in_kernel::{Mutex, SpinLock, Turn};
#[cfg(all(not(feature = "ostd"), not(any(loom, shuttle))))]
pub(crate) use on_host::{Mutex, SpinLock, Turn};
#[cfg(any(loom, shuttle))]
pub(crate) use under_model::{Lock as Mutex, Lock as SpinLock, Turn};

#[cfg(all(feature = "ostd", not(any(loom, shuttle))))]
mod in_kernel {
    use ostd::sync::WaitQueue;

    use crate::turn::{Queue, TurnLock};

    pub(crate) type Turn = TurnLock<WaitQueue>;

    impl Queue for WaitQueue {
        fn new() -> Self {
            Self::new()
        }

        fn wait_until(&self, mut condition: impl FnMut() -> bool) {
            self.wait_until(|| condition().then_some(()));
        }

        fn wake_one(&self) {
            self.wake_one();
        }

        fn spins() -> u32 {
            if ostd::cpu::num_cpus() > 1 { 256 } else { 0 }
        }
    }

    pub(crate) type Mutex<T> = crate::turn::Mutex<T, WaitQueue>;

    impl<T> Mutex<T> {
        /// A mutex that nobody holds.
        pub const fn new(data: T) -> Self {
            Self::with_queue(data, WaitQueue::new())
        }
    }

    pub(crate) type SpinLock<T> = ostd::sync::SpinLock<T, ostd::sync::LocalIrqDisabled>;
}

#[cfg(all(not(feature = "ostd"), not(any(loom, shuttle))))]
mod on_host {
    pub(crate) use spin::mutex::{SpinMutex as Mutex, SpinMutex as SpinLock};

    use crate::turn::{Queue, TurnLock};

    pub(crate) type Turn = TurnLock<Spinning>;

    /// Nobody sleeps.
    pub(crate) struct Spinning;

    impl Queue for Spinning {
        fn new() -> Self {
            Self
        }

        fn wait_until(&self, mut condition: impl FnMut() -> bool) {
            while !condition() {
                core::hint::spin_loop();
            }
        }

        fn wake_one(&self) {}

        fn spins() -> u32 {
            0
        }
    }
}

#[cfg(any(loom, shuttle))]
mod under_model {
    #[cfg(loom)]
    use loom::sync::{Mutex, MutexGuard};
    #[cfg(shuttle)]
    use shuttle::sync::{Mutex, MutexGuard};

    /// The turn, as its own model shows it to be.
    pub(crate) struct Turn(Lock<()>);

    impl Turn {
        pub(crate) fn new() -> Self {
            Self(Lock::new(()))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
            self.0.lock()
        }
    }

    /// A model checker's mutex with the interface of a spin lock: no poisoning.
    pub(crate) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            match self.0.lock() {
                Ok(guard) => guard,
                Err(_) => panic!("a thread of the model panicked under a lock"),
            }
        }
    }
}

/// Declares a constructor that is `const` except under a model checker, whose primitives cannot be built in constants.
macro_rules! const_unless_modelled {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) -> Self $body:block) => {
        $(#[$meta])* #[cfg(not(any(loom, shuttle)))] $vis const fn $name($($arg: $ty),*) -> Self $body
        $(#[$meta])* #[cfg(any(loom, shuttle))] $vis fn $name($($arg: $ty),*) -> Self $body
    };
}
pub(crate) use const_unless_modelled;
