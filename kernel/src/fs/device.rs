// SPDX-License-Identifier: MPL-2.0

//! From a device's number to what serves it.

use super::{DeviceNumber, InodeKind, MountFlags, OpenRequest};
use crate::{file::Description, prelude::*};

/// What serves a device number.
pub trait Device: Send + Sync {
    /// Opens the device; `request.path` is the node that was opened.
    ///
    /// # Errors
    /// Whatever the device says.
    fn open(&self, request: OpenRequest, ctx: &Context) -> Result<Arc<Description>>;
}

type Registry = SpinLock<BTreeMap<DeviceNumber, Arc<dyn Device>>>;

static CHAR_DEVICES: Registry = SpinLock::new(BTreeMap::new());
static BLOCK_DEVICES: Registry = SpinLock::new(BTreeMap::new());

fn registry(kind: InodeKind) -> &'static Registry {
    if kind == InodeKind::BlockDevice { &BLOCK_DEVICES } else { &CHAR_DEVICES }
}

/// Lets `device` serve `number` among the devices of `kind`.
pub fn register(kind: InodeKind, number: DeviceNumber, device: Arc<dyn Device>) {
    let old = registry(kind).lock().insert(number, device);
    drop(old);
}

/// Opens the device that a node names.
///
/// # Errors
/// `ENXIO` if nobody serves it; `EACCES` on a mount with `nodev`; what the device says.
pub fn open(request: OpenRequest, ctx: &Context) -> Result<Arc<Description>> {
    if request.path.mount().flags().contains(MountFlags::NO_DEVICES) {
        return Err(EACCES);
    }
    let inode = request.path.inode();
    let device = registry(inode.kind()).lock().get(&inode.base().special_device()).cloned();
    device.ok_or(ENXIO)?.open(request, ctx)
}
