// SPDX-License-Identifier: MPL-2.0

//! What nearly every module of the kernel names.

pub use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    string::{String, ToString},
    sync::{Arc, Weak},
    vec::Vec,
};

pub use ostd::{
    mm::{Fallible, FallibleVmRead, FallibleVmWrite, PAGE_SIZE, Vaddr, VmIo, VmReader, VmWriter},
    sync::{LocalIrqDisabled, RwMutex, SpinLock},
};
pub use ostd_pod::{FromZeros, IntoBytes, Pod};

pub use crate::{
    context::Context,
    error::{Errno, Errno::*, Result},
    sync::Mutex,
};
