// SPDX-License-Identifier: MPL-2.0

//! Random numbers: the kernel's own, `getrandom(2)`, `/dev/random` and `/dev/urandom`.
//!
//! # Role
//! One ChaCha20 generator, seeded at first use from the CPU's generator (`rdrand`, where there is one) and the jitter of the
//! time stamp counter. Each request takes a fresh key from it, and with it replaces the generator's own: what was handed
//! out cannot be computed from the state that is left.
//!
//! # Concurrency
//! The generator's lock is held for one block of key material only, with IRQs disabled; the bytes of a request are computed
//! without it.

use ostd::arch::{read_random, read_tsc};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::prelude::*;

type Key = [u8; 32];

static GENERATOR: SpinLock<Option<ChaCha20Rng>, LocalIrqDisabled> = SpinLock::new(None);

/// The numbers of one request: a generator of its own.
pub fn generator() -> ChaCha20Rng {
    let mut generator = GENERATOR.lock();
    let parent = generator.get_or_insert_with(seed);
    let (mut own, mut next) = (Key::default(), Key::default());
    parent.fill_bytes(&mut own);
    parent.fill_bytes(&mut next);
    *parent = ChaCha20Rng::from_seed(next);
    ChaCha20Rng::from_seed(own)
}

/// Fills `bytes` with random numbers.
pub fn fill(bytes: &mut [u8]) {
    generator().fill_bytes(bytes);
}

/// Mixes `bytes` in, as a write to `/dev/urandom` does. They can make the state no more predictable than it was.
pub fn mix(bytes: &[u8]) {
    let mut generator = GENERATOR.lock();
    let state = generator.get_or_insert_with(seed);
    for chunk in bytes.chunks(size_of::<Key>()) {
        *state = absorb(state, chunk);
    }
}

/// A generator whose key depends on `state` and on `bytes`.
fn absorb(state: &mut ChaCha20Rng, bytes: &[u8]) -> ChaCha20Rng {
    let mut key = Key::default();
    state.fill_bytes(&mut key);
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to ^= *from);
    ChaCha20Rng::from_seed(key)
}

/// The first state. Each round absorbs a time stamp, whose low bits depend on caches and interrupts, and what `rdrand` gives.
fn seed() -> ChaCha20Rng {
    const ROUNDS: usize = 64;
    let mut state = ChaCha20Rng::from_seed(Key::default());
    for round in 0..ROUNDS {
        let mut entropy = Key::default();
        entropy[..8].copy_from_slice(&read_tsc().to_le_bytes());
        if round < 8 {
            entropy[8..16].copy_from_slice(&read_random().unwrap_or(0).to_le_bytes());
        }
        state = absorb(&mut state, &entropy);
    }
    state
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn requests_differ() {
        let (mut first, mut second) = ([0; 64], [0; 64]);
        fill(&mut first);
        mix(b"more");
        fill(&mut second);
        assert_ne!(first, second);
    }
}
