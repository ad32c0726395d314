// SPDX-License-Identifier: MPL-2.0

//! The models of `loom_epoll.rs` with files that an epoll has to ask.

#![cfg(loom)]

#[path = "loom_epoll.rs"]
mod loom_epoll;
