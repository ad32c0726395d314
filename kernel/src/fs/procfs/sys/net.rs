// SPDX-License-Identifier: MPL-2.0

//! `/proc/sys/net`. What concerns packets is fixed: there are none.

use super::{
    Node::{self, Dir, Fixed, Setting},
    first_line, parse, text,
};
use crate::{
    net::socket::{
        inet::settings::{self, Setting as Number},
        unix,
    },
    prelude::*,
};

/// A file that shows and sets a number.
macro_rules! number {
    ($name:literal, $setting:ident) => {
        ($name, Setting(|_| show(&settings::$setting), |_, bytes| settings::$setting.set(parse(bytes)?)))
    };
}

/// A file with a text that nobody changes.
macro_rules! fixed {
    ($name:literal, $text:literal) => {
        ($name, Fixed(|_| text(format_args!(concat!($text, "\n")))))
    };
}

pub(super) const SETTINGS: &[(&str, Node)] =
    &[("core", Dir(CORE)), ("ipv4", Dir(IPV4)), ("ipv6", Dir(IPV6)), ("unix", Dir(UNIX))];

const CORE: &[(&str, Node)] = &[
    fixed!("default_qdisc", "noqueue"),
    fixed!("netdev_max_backlog", "1000"),
    fixed!("optmem_max", "20480"),
    number!("rmem_default", RECEIVE_DEFAULT),
    number!("rmem_max", RECEIVE_MAX),
    number!("somaxconn", SOMAXCONN),
    number!("wmem_default", SEND_DEFAULT),
    number!("wmem_max", SEND_MAX),
];

const IPV4: &[(&str, Node)] = &[
    fixed!("ip_default_ttl", "64"),
    fixed!("ip_forward", "0"),
    ("ip_local_port_range", Setting(show_port_range, store_port_range)),
    fixed!("ip_nonlocal_bind", "0"),
    number!("ip_unprivileged_port_start", UNPRIVILEGED_PORT_START),
    fixed!("ping_group_range", "1\t0"),
    fixed!("tcp_abort_on_overflow", "0"),
    fixed!("tcp_allowed_congestion_control", "reno cubic"),
    fixed!("tcp_available_congestion_control", "reno cubic"),
    fixed!("tcp_congestion_control", "cubic"),
    fixed!("tcp_fastopen", "0"),
    fixed!("tcp_fin_timeout", "60"),
    fixed!("tcp_keepalive_intvl", "75"),
    fixed!("tcp_keepalive_probes", "9"),
    fixed!("tcp_keepalive_time", "7200"),
    fixed!("tcp_max_syn_backlog", "1024"),
    fixed!("tcp_max_tw_buckets", "65536"),
    fixed!("tcp_rmem", "4096\t131072\t6291456"),
    fixed!("tcp_sack", "1"),
    fixed!("tcp_syn_retries", "6"),
    fixed!("tcp_synack_retries", "5"),
    fixed!("tcp_syncookies", "1"),
    fixed!("tcp_timestamps", "1"),
    fixed!("tcp_tw_reuse", "2"),
    fixed!("tcp_window_scaling", "1"),
    fixed!("tcp_wmem", "4096\t16384\t4194304"),
];

const IPV6: &[(&str, Node)] = &[
    fixed!("bindv6only", "0"),
    (
        "conf",
        Dir(&[
            ("all", Dir(&[fixed!("disable_ipv6", "0"), fixed!("forwarding", "0")])),
            ("default", Dir(&[fixed!("disable_ipv6", "0"), fixed!("forwarding", "0")])),
            ("lo", Dir(&[fixed!("disable_ipv6", "0"), fixed!("forwarding", "0")])),
        ]),
    ),
];

const UNIX: &[(&str, Node)] = &[(
    "max_dgram_qlen",
    Setting(|_| text(format_args!("{}\n", unix::max_queue())), |_, bytes| unix::set_max_queue(parse(bytes)?)),
)];

fn show(number: &Number) -> Result<Vec<u8>> {
    text(format_args!("{}\n", number.get()))
}

fn show_port_range(_ctx: &Context) -> Result<Vec<u8>> {
    let (first, last) = settings::port_range();
    text(format_args!("{first}\t{last}\n"))
}

fn store_port_range(_ctx: &Context, bytes: &[u8]) -> Result<()> {
    let mut numbers = first_line(bytes).split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (first, last) = (numbers.next().ok_or(EINVAL)?, numbers.next().ok_or(EINVAL)?);
    settings::set_port_range(parse(first)?, parse(last)?)
}
