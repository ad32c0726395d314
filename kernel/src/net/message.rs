// SPDX-License-Identifier: MPL-2.0

//! What `sendmsg(2)` and `recvmsg(2)` carry beside the bytes: flags and control messages.

use super::SocketAddress;
use crate::{file::Description, prelude::*};

bitflags::bitflags! {
    /// The flags of `send(2)` and `recv(2)`, and those that `recvmsg(2)` returns.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct MsgFlags: u32 {
        /// Urgent data.
        const OOB = 0x1;
        /// Leaves what is read in place.
        const PEEK = 0x2;
        /// Only to hosts that are directly connected.
        const DONTROUTE = 0x4;
        /// Control messages were cut.
        const CTRUNC = 0x8;
        /// The datagram was cut; asked for: answers its full length.
        const TRUNC = 0x20;
        /// Does not block.
        const DONTWAIT = 0x40;
        /// Ends a record.
        const EOR = 0x80;
        /// Waits for all bytes.
        const WAITALL = 0x100;
        /// The path is known to work.
        const CONFIRM = 0x800;
        /// Reads the queue of errors.
        const ERRQUEUE = 0x2000;
        /// No `SIGPIPE`.
        const NOSIGNAL = 0x4000;
        /// More will follow.
        const MORE = 0x8000;
        /// `recvmmsg(2)`: waits for the first message only.
        const WAITFORONE = 0x10000;
        /// Descriptors that come are closed on `execve(2)`.
        const CMSG_CLOEXEC = 0x4000_0000;
    }
}

/// A control message.
pub enum ControlMessage {
    /// `SCM_RIGHTS`: open files on their way.
    Rights(Vec<Arc<Description>>),
    /// `SCM_CREDENTIALS`
    Credentials(UserCredentials),
    /// Any other, as it is.
    Other {
        /// `cmsg_level`
        level: i32,
        /// `cmsg_type`
        kind: i32,
        /// The data.
        data: Vec<u8>,
    },
}

/// `struct ucred`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod)]
pub struct UserCredentials {
    /// The process.
    pub pid: i32,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// All but the bytes of a message to send.
pub struct Outgoing {
    /// Where to, if said.
    pub destination: Option<SocketAddress>,
    /// Control messages.
    pub control: Vec<ControlMessage>,
    /// What the caller asked for.
    pub flags: MsgFlags,
    /// Whether the call may not block: by the description's flag or the call's.
    pub is_nonblocking: bool,
}

impl Outgoing {
    /// What `write(2)` sends.
    pub fn plain(is_nonblocking: bool) -> Self {
        Self { destination: None, control: Vec::new(), flags: MsgFlags::empty(), is_nonblocking }
    }
}

/// All but the bytes of a received message.
pub struct Incoming {
    /// Bytes received: those copied, or with `MSG_TRUNC` asked for the full length of a datagram.
    pub count: usize,
    /// Where from; `None` where Linux leaves the caller's buffer alone.
    pub source: Option<SocketAddress>,
    /// Control messages.
    pub control: Vec<ControlMessage>,
    /// What `recvmsg(2)` shows in `msg_flags`.
    pub flags: MsgFlags,
}

impl Incoming {
    /// Bytes of a stream.
    pub fn bytes(count: usize) -> Self {
        Self { count, source: None, control: Vec::new(), flags: MsgFlags::empty() }
    }

    /// A message with boundaries, of `len` bytes, of which `copied` have found room with a caller who `asked` for that:
    /// `MSG_TRUNC` tells that it was cut, and, where it was asked for, makes the count that of the whole.
    pub fn message(copied: usize, len: usize, asked: MsgFlags) -> Self {
        let mut incoming = Self::bytes(if asked.contains(MsgFlags::TRUNC) { len } else { copied });
        incoming.flags.set(MsgFlags::TRUNC, copied < len);
        incoming
    }
}

/// How to receive.
#[derive(Clone, Copy)]
pub struct Receive {
    /// What the caller asked for.
    pub flags: MsgFlags,
    /// Whether the call may not block: by the description's flag or the call's.
    pub is_nonblocking: bool,
    /// Whether the caller takes control messages; if not, those that would come are dropped.
    pub wants_control: bool,
}

impl Receive {
    /// What `read(2)` asks for.
    pub fn plain(is_nonblocking: bool) -> Self {
        Self { flags: MsgFlags::empty(), is_nonblocking, wants_control: false }
    }
}
