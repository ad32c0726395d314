// SPDX-License-Identifier: MPL-2.0

//! Options whose value is a number: a table says what each may be, a socket holds one word for each.

use core::{
    array,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

use crate::prelude::*;

/// What `setsockopt(2)` may set an option to.
#[derive(Clone, Copy)]
pub enum Allowed {
    /// Zero or not.
    Flag,
    /// Numbers from the first to the second; `EINVAL` else.
    Range(i32, i32),
}

/// An option.
pub struct Known {
    /// `IPPROTO_...`
    pub level: i32,
    /// Its number.
    pub name: i32,
    /// Its value in a new socket.
    pub initial: i32,
    /// Its values.
    pub allowed: Allowed,
}

impl Known {
    /// An option that is on or off.
    pub const fn flag(level: i32, name: i32, initial: i32) -> Self {
        Self { level, name, initial, allowed: Allowed::Flag }
    }

    /// An option that is a number.
    pub const fn number(level: i32, name: i32, initial: i32, min: i32, max: i32) -> Self {
        Self { level, name, initial, allowed: Allowed::Range(min, max) }
    }
}

/// The values of the `N` options of a table. Relaxed: an option orders nothing else.
pub struct Values<const N: usize> {
    table: &'static [Known; N],
    words: [AtomicI32; N],
}

impl<const N: usize> Values<N> {
    /// The values of a new socket.
    pub fn new(table: &'static [Known; N]) -> Self {
        Self { table, words: array::from_fn(|index| AtomicI32::new(table[index].initial)) }
    }

    fn find(&self, level: i32, name: i32) -> Option<usize> {
        self.table.iter().position(|known| known.level == level && known.name == name)
    }

    /// Sets an option. `None`: it is not in the table.
    ///
    /// # Errors
    /// `EINVAL` out of range.
    pub fn set(&self, level: i32, name: i32, value: i32) -> Option<Result<()>> {
        let index = self.find(level, name)?;
        let value = match self.table[index].allowed {
            Allowed::Flag => i32::from(value != 0),
            Allowed::Range(min, max) if (min..=max).contains(&value) => value,
            Allowed::Range(..) => return Some(Err(EINVAL)),
        };
        self.words[index].store(value, Relaxed);
        Some(Ok(()))
    }

    /// The value of an option; `None`: it is not in the table.
    pub fn get(&self, level: i32, name: i32) -> Option<i32> {
        self.find(level, name).map(|index| self.words[index].load(Relaxed))
    }

    /// Whether an option of the table is set.
    pub fn is_set(&self, level: i32, name: i32) -> bool {
        self.get(level, name).is_some_and(|value| value != 0)
    }
}

impl<const N: usize> Clone for Values<N> {
    fn clone(&self) -> Self {
        Self { table: self.table, words: array::from_fn(|index| AtomicI32::new(self.words[index].load(Relaxed))) }
    }
}
