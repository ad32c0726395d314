// SPDX-License-Identifier: MPL-2.0

//! Networking: sockets and what their calls carry.
//!
//! # Role
//! [`socket`] has the sockets themselves, one directory per family; [`address`], [`message`] and [`options`] are what the
//! families share and the system calls (`syscall/{socket,message}.rs`) decode.

pub mod address;
pub mod message;
pub mod options;
pub mod socket;

pub use self::{
    address::SocketAddress,
    message::{ControlMessage, Incoming, MsgFlags, Outgoing},
    options::Options,
    socket::{Common, Family, Shutdown, Socket, SocketType},
};
