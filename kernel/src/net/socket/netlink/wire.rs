// SPDX-License-Identifier: MPL-2.0

//! Messages and attributes as they lie in a packet (`netlink(7)`, `rtnetlink(7)`).

use crate::prelude::*;

/// Bytes of `struct nlmsghdr`.
pub const HEADER_LEN: usize = size_of::<Header>();
/// Messages and attributes begin at multiples of this.
const ALIGNMENT: usize = 4;
/// Bytes of `struct rtattr`.
const ATTRIBUTE_LEN: usize = 4;

/// Types of messages that are of no protocol.
pub const NLMSG_ERROR: u16 = 2;
/// See [`NLMSG_ERROR`].
pub const NLMSG_DONE: u16 = 3;
/// The least type of a protocol's own message.
pub const NLMSG_MIN_TYPE: u16 = 0x10;

bitflags::bitflags! {
    /// `nlmsg_flags`
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct Flags: u16 {
        /// The message asks for something.
        const REQUEST = 1;
        /// It is one of several; the last one is `NLMSG_DONE`.
        const MULTI = 2;
        /// The sender wants an answer even if all is well.
        const ACK = 4;
        /// An error does not bring the whole request back.
        const CAPPED = 0x100;
        /// Everything is asked for.
        const DUMP = 0x300;
    }
}

/// `struct nlmsghdr`
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
pub struct Header {
    /// Bytes of the message, this header included.
    pub len: u32,
    /// `nlmsg_type`
    pub kind: u16,
    flags: u16,
    /// The sender's number for the request; an answer has the same.
    pub sequence: u32,
    /// The port of who asked.
    pub port: u32,
}

impl Header {
    /// `nlmsg_flags`
    pub fn flags(&self) -> Flags {
        Flags::from_bits_retain(self.flags)
    }
}

/// A message of a packet.
pub struct Request<'a> {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub body: &'a [u8],
    /// All of it.
    pub whole: &'a [u8],
}

/// Takes the first message off `packet`. `None`: there is no whole one.
pub fn take_request<'a>(packet: &mut &'a [u8]) -> Option<Request<'a>> {
    let word = |at: usize| packet.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes);
    let half = |at: usize| packet.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes);
    let header = Header { len: word(0)?, kind: half(4)?, flags: half(6)?, sequence: word(8)?, port: word(12)? };
    let len = header.len as usize;
    let whole = packet.get(..len).filter(|_| len >= HEADER_LEN)?;
    *packet = packet.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    Some(Request { header, body: &whole[HEADER_LEN..], whole })
}

/// The value of the first attribute of `kind` among `attributes`.
pub fn find_attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    /// Two bits of a type say how its value is to be read.
    const TYPE_MASK: u16 = 0x3fff;
    loop {
        let len = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let found = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(ATTRIBUTE_LEN..len)?;
        if found & TYPE_MASK == kind {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(ALIGNMENT)..)?;
    }
}

/// A packet that is being written. Everything in it answers one request.
pub struct Packet {
    bytes: Vec<u8>,
    /// Whom it answers.
    sequence: u32,
    port: u32,
}

impl Packet {
    /// An empty packet that answers `request`, which came from `port`.
    pub fn answering(request: &Header, port: u32) -> Self {
        Self { bytes: Vec::new(), sequence: request.sequence, port }
    }

    /// Adds a message: its fixed part, and what `add` puts behind that.
    pub fn message(&mut self, kind: u16, flags: Flags, fixed: &[u8], add: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        let header = Header { len: 0, kind, flags: flags.bits(), sequence: self.sequence, port: self.port };
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        add(&mut Attributes(&mut self.bytes));
        // What the kernel has to say is short.
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    /// Adds the end of several messages.
    pub fn done(&mut self) {
        self.message(NLMSG_DONE, Flags::MULTI, &0i32.to_ne_bytes(), |_| {});
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The end of a message, where attributes go.
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let len = (ATTRIBUTE_LEN + value.len()) as u16;
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        pad(self.0);
    }

    /// Adds an attribute that is a number.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Adds an attribute that is a string; it ends with a zero.
    pub fn put_str(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}
