// SPDX-License-Identifier: MPL-2.0

//! The properties of `epoll_properties.rs` with files of both kinds: an epoll knows the answers of some, and asks the others.

#[path = "epoll_properties.rs"]
mod epoll_properties;
