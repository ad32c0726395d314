// SPDX-License-Identifier: MPL-2.0

//! The tests of `epoll.rs` with files that an epoll has to ask.

#[path = "epoll.rs"]
mod epoll;
