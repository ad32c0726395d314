// SPDX-License-Identifier: MPL-2.0

//! `/proc/net`: sockets and the interface (`proc(5)`).

use alloc::format;
use core::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use super::{
    super::{
        Inode, InodeKind,
        pseudo::{Directory, Identity, Name, TextInode, text},
    },
    file_system, inode_number,
};
use crate::{
    net::{
        Family,
        socket::{
            inet::report::{self, Protocol, Row},
            unix,
        },
    },
    prelude::*,
};

/// Inode numbers of the files start here.
const FIRST: u32 = 0x0300_0000;

/// The directory `/proc/net`.
pub(super) struct NetDir;

type Show = fn(&Context) -> Result<Vec<u8>>;

const FILES: &[(&str, Show)] = &[
    ("dev", dev),
    ("if_inet6", |_| text(format_args!("00000000000000000000000000000001 01 80 10 80       lo\n"))),
    ("route", |_| text(format_args!("{ROUTE_TITLE:<127}\n"))),
    ("sockstat", sockstat),
    ("sockstat6", sockstat6),
    ("tcp", |_| Ok(table(Protocol::Tcp, Family::Inet))),
    ("tcp6", |_| Ok(table(Protocol::Tcp, Family::Inet6))),
    ("udp", |_| Ok(table(Protocol::Udp, Family::Inet))),
    ("udp6", |_| Ok(table(Protocol::Udp, Family::Inet6))),
    ("unix", |_| Ok(unix::show_sockets())),
];

const ROUTE_TITLE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";

impl Directory for NetDir {
    fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let index = FILES.iter().position(|(known, _)| known.as_bytes() == name).ok_or(ENOENT)?;
        let identity = Identity::of_root(inode_number(0, FIRST + index as u32), 0o444);
        Ok(Arc::new(TextInode::new(file_system(), identity, FILES[index].1).pollable()))
    }

    fn list(&self) -> Vec<Name> {
        let names = FILES.iter().enumerate().map(|(index, (name, _))| Name {
            name: name.as_bytes().to_vec(),
            number: inode_number(0, FIRST + index as u32),
            kind: InodeKind::Regular,
            next: 3 + index as u64,
        });
        names.collect()
    }
}

/// An address as the tables show it: words in the machine's order, each of network order.
fn show_address(family: Family, address: SocketAddr) -> String {
    let mut out = String::new();
    let mut word = |bytes: [u8; 4]| _ = write!(out, "{:08X}", u32::from_ne_bytes(bytes));
    match (family, address.ip()) {
        (Family::Inet6, ip) => {
            let ip = if let IpAddr::V4(ip) = ip { ip.to_ipv6_mapped().octets() } else { octets6(ip) };
            ip.as_chunks::<4>().0.iter().for_each(|bytes| word(*bytes));
        }
        (_, IpAddr::V4(ip)) => word(ip.octets()),
        // No socket of IPv4 has one.
        (_, IpAddr::V6(_)) => word([0; 4]),
    }
    let _ = write!(out, ":{:04X}", address.port());
    out
}

fn octets6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// `/proc/net/tcp` and its like.
fn table(protocol: Protocol, family: Family) -> Vec<u8> {
    let tail = if protocol == Protocol::Udp { " ref pointer drops" } else { "" };
    let addresses = if family == Family::Inet6 {
        format!("{:<39}{:<39}", "local_address", "remote_address")
    } else {
        String::from("local_address rem_address  ")
    };
    let title = format!("  sl  {addresses} st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode{tail}");
    let width = match (protocol, family) {
        (_, Family::Inet6) => 0,
        (Protocol::Tcp, _) => 149,
        (Protocol::Udp, _) => 127,
    };
    let mut out = format!("{title:<width$}\n");
    let rows = report::rows().into_iter().filter(|row| row.protocol == protocol && row.family == family);
    for (index, row) in rows.enumerate() {
        let _ = writeln!(out, "{:<width$}", show_row(index, &row));
    }
    out.into_bytes()
}

fn show_row(index: usize, row: &Row) -> String {
    let (local, remote) = (show_address(row.family, row.local), show_address(row.family, row.remote));
    let Row { state, send_queue, receive_queue, uid, inode, .. } = row;
    let head = format!("{local} {remote} {state:02X} {send_queue:08X}:{receive_queue:08X} 00:00000000 00000000");
    match row.protocol {
        Protocol::Tcp => {
            format!("{index:4}: {head} {uid:5} {:8} {inode} 1 {:016x} 20 4 30 10 -1", 0, 0)
        }
        Protocol::Udp => format!("{index:5}: {head} {uid:5} {:8} {inode} 2 {:016x} {}", 0, 0, row.drops),
    }
}

fn count(rows: &[Row], protocol: Protocol, family: Family) -> usize {
    rows.iter().filter(|row| row.protocol == protocol && row.family == family).count()
}

fn sockstat(_ctx: &Context) -> Result<Vec<u8>> {
    let rows = report::rows();
    let (tcp, udp) = (count(&rows, Protocol::Tcp, Family::Inet), count(&rows, Protocol::Udp, Family::Inet));
    text(format_args!(
        "sockets: used {}\nTCP: inuse {tcp} orphan 0 tw {} alloc {tcp} mem 0\nUDP: inuse {udp} mem 0\nUDPLITE: inuse 0\n\
         RAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        report::count(),
        report::count_time_waits(),
    ))
}

fn sockstat6(_ctx: &Context) -> Result<Vec<u8>> {
    let rows = report::rows();
    let (tcp, udp) = (count(&rows, Protocol::Tcp, Family::Inet6), count(&rows, Protocol::Udp, Family::Inet6));
    text(format_args!(
        "TCP6: inuse {tcp}\nUDP6: inuse {udp}\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
    ))
}

/// The interfaces. Nothing passes the loopback as a packet, so nothing is counted.
fn dev(_ctx: &Context) -> Result<Vec<u8>> {
    let zeros = "       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0";
    text(format_args!(
        "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier \
         compressed\n    lo: {}\n",
        zeros.trim_start(),
    ))
}
