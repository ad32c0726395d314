// SPDX-License-Identifier: MPL-2.0

//! The properties of `epoll_properties.rs` with files that an epoll has to ask.

#[path = "epoll_properties.rs"]
mod epoll_properties;
