// SPDX-License-Identifier: MPL-2.0

//! The sockets that programs have open, for `/proc/net`.
//!
//! No list of them is kept: whoever asks looks through the descriptors of all processes. So a connection is shown while a
//! program has it, and what the kernel keeps of others is not.

use core::net::SocketAddr;

use super::{
    tcp::{self, TcpSocket, TcpState},
    udp::UdpSocket,
};
use crate::{file::Description, net::Family, prelude::*, process::table};

/// One socket.
pub struct Row {
    /// Which protocol, and which version of IP.
    pub protocol: Protocol,
    /// Its family.
    pub family: Family,
    /// The addresses, canonical; unspecified where there is none.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// With Linux's numbers.
    pub state: u8,
    /// Bytes that the peer has no room for; for a listener, its backlog is not counted.
    pub send_queue: usize,
    /// Bytes to be read; for a listener, connections to be accepted.
    pub receive_queue: usize,
    /// Datagrams that found no room.
    pub drops: u64,
    /// Its owner.
    pub uid: u32,
    /// The number of its inode.
    pub inode: u64,
}

/// What is shown in different files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// `tcp(7)`
    Tcp,
    /// `udp(7)`
    Udp,
}

/// All internet sockets that are open, by inode.
pub fn rows() -> Vec<Row> {
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for description in open_descriptions() {
        if let Some(row) = row(&description) {
            rows.insert(row.inode, row);
        }
    }
    rows.into_values().collect()
}

/// Number of sockets of any family that are open.
pub fn count() -> usize {
    let inodes = open_descriptions().into_iter().filter(|file| file.file().as_socket().is_some());
    inodes.map(|file| (file.inode().number(), ())).collect::<BTreeMap<_, _>>().len()
}

/// Number of connections of TCP that are over and keep their address still.
pub fn count_time_waits() -> usize {
    tcp::count_time_waits()
}

fn open_descriptions() -> Vec<Arc<Description>> {
    let threads = table::processes().into_iter().filter_map(|process| process.main_thread());
    let tables = threads.map(|thread| thread.files.lock().clone());
    tables.flat_map(|files| files.snapshot().into_iter().map(|(_, file)| file)).collect()
}

fn row(description: &Description) -> Option<Row> {
    if let Some(socket) = description.downcast::<TcpSocket>() {
        return Some(socket.row());
    }
    description.downcast::<UdpSocket>().map(UdpSocket::row)
}

/// What sockets of `family` show where they have no address.
pub fn nowhere(family: Family) -> SocketAddr {
    crate::net::address::any_of(family)
}

impl Row {
    /// A row for the socket with this inode; the rest is to be filled in.
    pub fn new(protocol: Protocol, common: &crate::net::Common) -> Self {
        let nowhere = nowhere(common.family);
        Self {
            protocol,
            family: common.family,
            local: nowhere,
            remote: nowhere,
            state: TcpState::Close as u8,
            send_queue: 0,
            receive_queue: 0,
            drops: 0,
            uid: common.inode.metadata().uid,
            inode: common.inode.number(),
        }
    }
}
