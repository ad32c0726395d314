// SPDX-License-Identifier: MPL-2.0

//! The memory devices: `null`, `zero`, `full`, `random`, `urandom` (`null(4)`, `full(4)`, `random(4)`).

use readiness::{IoEvents, Pollable, Pollee};

use crate::{
    file::{Description, File, IoDst, IoSrc, Mappable, StatusFlags, Written},
    fs::{Device, Inode, OpenRequest},
    prelude::*,
    random,
};

/// Bytes that are made at once for a reader of random numbers.
const CHUNK: usize = 256;

/// Which of the devices.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemDevice {
    /// Empty to readers, takes everything from writers.
    Null,
    /// Endless zeros.
    Zero,
    /// Endless zeros, and no room.
    Full,
    /// Random numbers; may be polled.
    Random,
    /// Random numbers.
    Urandom,
}

impl Device for MemDevice {
    fn open(&self, request: OpenRequest, _ctx: &Context) -> Result<Arc<Description>> {
        let inode = request.path.inode().clone();
        Ok(request.describe(MemFile { device: *self, inode }))
    }
}

struct MemFile {
    device: MemDevice,
    inode: Arc<dyn Inode>,
}

impl File for MemFile {
    fn read(&self, _ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, _status: StatusFlags) -> Result<usize> {
        match self.device {
            MemDevice::Null => Ok(0),
            MemDevice::Zero | MemDevice::Full => dst.fill_zeros(dst.avail()),
            MemDevice::Random | MemDevice::Urandom => read_random(dst),
        }
    }

    fn write(&self, _ctx: &Context, src: &mut IoSrc<'_>, _offset: u64, _status: StatusFlags) -> Result<Written> {
        match self.device {
            // The memory is not even looked at, as on Linux.
            MemDevice::Null | MemDevice::Zero => Ok(Written::stream(src.remain())),
            MemDevice::Full => Err(ENOSPC),
            MemDevice::Random | MemDevice::Urandom => write_random(src).map(Written::stream),
        }
    }

    fn is_seekable(&self) -> bool {
        true
    }

    /// As by Linux's `null_lseek`: they begin anew wherever one is.
    fn ignores_lseek(&self) -> bool {
        true
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    fn mmap(&self, _shared: bool, _write: bool) -> Result<Mappable> {
        if self.device == MemDevice::Zero { Ok(Mappable::Zeros) } else { Err(ENODEV) }
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        if self.device == MemDevice::Random { Some(self) } else { None }
    }
}

impl Pollable for MemFile {
    fn pollee(&self) -> &Pollee {
        // The generator is seeded before anybody can ask: nothing ever changes.
        static CONSTANT: spin::Once<Pollee> = spin::Once::new();
        CONSTANT.call_once(Pollee::new)
    }

    fn readiness(&self) -> IoEvents {
        // Writable it would be if it wanted entropy.
        IoEvents::READABLE
    }
}

/// Fills `dst` with random numbers; a fault behind the first byte ends it short.
///
/// # Errors
/// `EFAULT` if not one byte could be written.
pub fn read_random(dst: &mut IoDst<'_>) -> Result<usize> {
    use rand_chacha::rand_core::RngCore;
    let mut generator = random::generator();
    let mut total = 0;
    let mut chunk = [0; CHUNK];
    while dst.avail() > 0 {
        generator.fill_bytes(&mut chunk);
        match dst.write_slice(&chunk) {
            Ok(0) => break,
            Ok(count) => total += count,
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(total)
}

fn write_random(src: &mut IoSrc<'_>) -> Result<usize> {
    let mut total = 0;
    let mut chunk = [0; CHUNK];
    loop {
        match src.read_slice(&mut chunk) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                random::mix(&chunk[..count]);
                total += count;
            }
            Err(error) if total == 0 => return Err(error),
            Err(_) => return Ok(total),
        }
    }
}
