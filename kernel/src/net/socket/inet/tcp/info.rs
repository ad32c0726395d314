// SPDX-License-Identifier: MPL-2.0

//! What is known about a socket: `TCP_INFO`, and the states of `/proc/net/tcp`.

use super::{
    super::report::{Protocol, Row},
    TcpSocket,
    connection::Endpoint,
    state::Stage,
};
use crate::prelude::*;

/// Bytes that fit into a packet of the loopback beside the headers.
pub(super) const SEGMENT: u32 = 65483;
/// What TCP assumes before it knows.
pub(super) const DEFAULT_SEGMENT: i32 = 536;

/// The states of a TCP socket, with Linux's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum TcpState {
    /// Bytes flow both ways.
    Established = 1,
    /// `connect(2)` waits for an answer.
    SynSent = 2,
    /// Its FIN was sent.
    FinWait2 = 5,
    /// Nothing.
    Close = 7,
    /// The peer's FIN came.
    CloseWait = 8,
    /// It listens.
    Listen = 10,
}

impl Endpoint {
    /// The state that Linux would show.
    pub fn tcp_state(&self) -> TcpState {
        self.connection.state.read(|state| match state.stage {
            Stage::Waiting => TcpState::SynSent,
            _ if state.is_over(self.side) => TcpState::Close,
            _ if state.has_fin(self.side) => TcpState::CloseWait,
            _ if state.ends[self.side].is_write_shut => TcpState::FinWait2,
            _ => TcpState::Established,
        })
    }
}

/// The start of `struct tcp_info`, as far as there is something to say; what follows is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
struct TcpInfo {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    window_scale: u8,
    rate_limited: u8,
    retransmission_timeout: u32,
    ack_timeout: u32,
    send_segment: u32,
    receive_segment: u32,
    unacknowledged: u32,
    selectively_acknowledged: u32,
    lost: u32,
    retransmitted: u32,
    forward_acknowledged: u32,
    times: [u32; 4],
    path_mtu: u32,
    receive_threshold: u32,
    round_trip: u32,
    round_trip_variance: u32,
    send_threshold: u32,
    congestion_window: u32,
    advertised_segment: u32,
    reordering: u32,
    receive_round_trip: u32,
    receive_space: u32,
    total_retransmitted: u32,
}

/// Bytes of `struct tcp_info` in Linux 6.1.
const INFO_LEN: usize = 240;
/// Options that Linux negotiates on the loopback: timestamps, selective acknowledgements, window scaling.
const NEGOTIATED: u8 = 7;

impl TcpSocket {
    /// The state that Linux would show.
    pub fn tcp_state(&self) -> TcpState {
        match self.endpoint() {
            Some(end) => end.tcp_state(),
            None if self.listener().is_some() => TcpState::Listen,
            None => TcpState::Close,
        }
    }

    /// `TCP_INFO`. Between two programs of one machine nothing is ever lost, and a round trip takes microseconds.
    pub(super) fn info(&self) -> Vec<u8> {
        let state = self.tcp_state();
        let is_connected = !matches!(state, TcpState::Close | TcpState::Listen | TcpState::SynSent);
        let (queued, backlog) = match self.listener() {
            // For a listener Linux shows its queue here, and its backlog in the next member.
            Some(listener) => listener.fill(),
            None => (self.endpoint().map_or(0, |end| self.unacknowledged_segments(&end)), 0),
        };
        let connection = self.endpoint().filter(|_| is_connected).map(|end| end.connection);
        let segment = connection.map_or(DEFAULT_SEGMENT.cast_unsigned(), |connection| connection.segment());
        let info = TcpInfo {
            state: state as u8,
            ca_state: 0,
            retransmits: 0,
            probes: 0,
            backoff: 0,
            options: if is_connected { NEGOTIATED } else { 0 },
            window_scale: if is_connected { 0x77 } else { 0 },
            rate_limited: 0,
            retransmission_timeout: if is_connected { 201_000 } else { 1_000_000 },
            ack_timeout: if is_connected { 40_000 } else { 0 },
            send_segment: segment,
            receive_segment: segment,
            unacknowledged: u32::try_from(queued).unwrap_or(u32::MAX),
            selectively_acknowledged: u32::try_from(backlog).unwrap_or(u32::MAX),
            lost: 0,
            retransmitted: 0,
            forward_acknowledged: 0,
            times: [0; 4],
            path_mtu: if is_connected { super::super::route::LOOPBACK_MTU - 1 } else { 0 },
            receive_threshold: 65535,
            round_trip: if is_connected { 20 } else { 0 },
            round_trip_variance: if is_connected { 10 } else { 250_000 },
            send_threshold: i32::MAX.cast_unsigned(),
            congestion_window: 10,
            advertised_segment: segment,
            reordering: 3,
            receive_round_trip: 0,
            receive_space: 65483,
            total_retransmitted: 0,
        };
        let mut bytes = info.as_bytes().to_vec();
        bytes.resize(INFO_LEN, 0);
        bytes
    }

    fn unacknowledged_segments(&self, end: &Endpoint) -> usize {
        let bytes = end.connection.state.read(|state| state.flows[end.side].unacknowledged());
        bytes.div_ceil(end.connection.segment() as usize)
    }
}

impl TcpSocket {
    /// What `/proc/net/tcp` shows.
    pub fn row(&self) -> Row {
        let mut row = Row::new(Protocol::Tcp, &self.common);
        row.state = self.tcp_state() as u8;
        if let Some(listener) = self.listener() {
            row.local = listener.claim().address();
            row.receive_queue = listener.fill().0;
        } else if let Some(end) = self.endpoint() {
            let state = &end.connection.state;
            let peer = state.read(|state| state.peer_of(end.side));
            row.local = end.connection.addresses[end.side];
            row.remote = end.connection.addresses[peer];
            (row.send_queue, row.receive_queue) =
                state.read(|state| (state.flows[end.side].unacknowledged(), state.incoming(end.side).queued));
        } else if let Some(claim) = &self.name.lock().claim {
            row.local = claim.address();
        }
        row
    }
}
