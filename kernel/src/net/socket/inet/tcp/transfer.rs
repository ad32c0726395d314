// SPDX-License-Identifier: MPL-2.0

//! Bytes into a connection, and out of it.

use readiness::IoEvents;

use super::{
    connection::Connection,
    state::{Stage, State, Urgent},
};
use crate::{
    file::{IoDst, IoSrc},
    net::MsgFlags,
    prelude::*,
    stream::{Kind, Merge, Pages, ReadPlan, WritePlan},
};

/// How fast a ring of pages grows when it is too small.
const GROWTH: usize = 4;

/// How far a send has come.
pub struct Sending {
    total: usize,
    /// Bytes sent.
    pub done: usize,
    /// They met an end that takes no more, and were thrown away.
    was_discarded: bool,
}

impl Sending {
    /// A send of `total` bytes.
    pub fn new(total: usize) -> Self {
        Self { total, done: 0, was_discarded: false }
    }
}

/// How far a read has come.
pub struct Reading {
    total: usize,
    /// It does not end with less, unless it must (`SO_RCVLOWAT`, `MSG_WAITALL`).
    target: usize,
    /// Bytes read.
    pub done: usize,
    flags: MsgFlags,
}

impl Reading {
    /// A read of up to `total` bytes, and of `low_water` or, with `MSG_WAITALL`, all of them at least.
    pub fn new(total: usize, low_water: usize, flags: MsgFlags) -> Self {
        let target = if flags.contains(MsgFlags::WAITALL) { total } else { low_water.min(total) };
        Self { total, target: target.max(1), done: 0, flags }
    }
}

/// What a sender may do next.
enum SendStep {
    Fill(WritePlan, usize),
    /// There is room, but there are too few pages.
    Grow,
    Wait,
    /// The peer will read nothing: what is sent to it meets a reset.
    Discard,
    Fail,
}

/// What a reader may do next.
enum ReadStep {
    Drain(ReadPlan, usize),
    /// Skips the urgent byte, which is not part of the stream.
    SkipUrgent,
    Wait,
    Done,
    /// There is an error to take.
    Fail,
}

impl State {
    fn plan_send(&self, side: usize, left: usize) -> SendStep {
        if self.ends[side].error.is_some() || self.ends_writing(side) {
            return SendStep::Fail;
        }
        let (flow, peer) = (&self.flows[side], &self.ends[self.peer_of(side)]);
        if left > 0 && peer.is_write_shut && peer.is_read_shut {
            return SendStep::Discard;
        }
        let count = left.min(flow.room());
        if self.stage == Stage::Waiting || count == 0 && left > 0 {
            return SendStep::Wait;
        }
        let plan = flow.ring.plan_write(count, Kind::Stream, Merge::AnyBytes);
        match plan.room() {
            0 if count > 0 => SendStep::Grow,
            room => SendStep::Fill(plan, count.min(room)),
        }
    }

    fn plan_read(&self, side: usize, reading: &Reading) -> ReadStep {
        let (flow, end) = (self.incoming(side), &self.ends[side]);
        if reading.total == 0 && flow.queued > 0 {
            return ReadStep::Done;
        }
        if flow.is_at_mark() && !end.takes_urgent_inline && flow.queued > 0 {
            let (peeks, behind) = (reading.flags.contains(MsgFlags::PEEK), flow.queued - 1);
            return match () {
                () if reading.done > 0 || peeks && behind == 0 => self.plan_end(side, reading),
                () if peeks => {
                    let want = reading.total.min(behind);
                    ReadStep::Drain(flow.ring.plan_peek(1, want), want)
                }
                () => ReadStep::SkipUrgent,
            };
        }
        let stops_at_mark = reading.done > 0 && flow.is_at_mark();
        if flow.queued == 0 || stops_at_mark {
            return self.plan_end(side, reading);
        }
        let want = (reading.total - reading.done).min(flow.bytes_before_mark());
        let is_short = reading.flags.contains(MsgFlags::PEEK) && want < reading.target;
        if is_short && want == flow.queued && matches!(self.plan_end(side, reading), ReadStep::Wait) {
            return ReadStep::Wait;
        }
        let plan = flow.ring.plan_read(want);
        ReadStep::Drain(plan, want)
    }

    /// What a reader does who finds nothing (more).
    fn plan_end(&self, side: usize, reading: &Reading) -> ReadStep {
        let end = &self.ends[side];
        let is_at_mark = self.incoming(side).is_at_mark();
        if reading.done >= reading.target || reading.done > 0 && (is_at_mark || end.error.is_some()) {
            return ReadStep::Done;
        }
        if self.has_fin(side) || self.ends_reading(side) && (reading.done > 0 || end.error.is_none()) {
            return ReadStep::Done;
        }
        if end.error.is_some() { ReadStep::Fail } else { ReadStep::Wait }
    }
}

impl Connection {
    /// Sends as much as there is room for. `None`: the rest has to wait.
    ///
    /// # Errors
    /// The pending error, which is cleared by that; `EPIPE` if nothing may be sent; `EFAULT`, `ENOMEM`.
    pub fn send(&self, side: usize, src: &mut IoSrc<'_>, sending: &mut Sending) -> Option<Result<()>> {
        let mut pages = self.ends[side].producer.lock();
        loop {
            let left = sending.total - sending.done;
            let (plan, count) = match self.state.read(|state| state.plan_send(side, left)) {
                SendStep::Fill(plan, count) => (plan, count),
                SendStep::Wait => return None,
                SendStep::Fail => return Some(Err(self.take_error(side).unwrap_or(EPIPE))),
                SendStep::Discard => {
                    self.send_into_the_void(side);
                    sending.done = sending.total;
                    sending.was_discarded = true;
                    return Some(Ok(()));
                }
                SendStep::Grow => {
                    if let Err(error) = self.grow(side, &mut pages) {
                        return Some(Err(error));
                    }
                    continue;
                }
            };
            let (filled, result) = pages.fill(&plan, src, count);
            let count = filled.merged + filled.fresh;
            if count > 0 {
                self.state.update(|state| {
                    state.flows[side].commit_write(&plan, filled);
                    let peer = state.peer_of(side);
                    state.notify(peer, IoEvents::READABLE);
                });
            }
            sending.done += count;
            if result.is_err() || sending.done == sending.total {
                return Some(result);
            }
        }
    }

    /// Sends one urgent byte. `None`: there is no room.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_urgent(&self, side: usize, byte: u8) -> Option<Result<()>> {
        let mut sending = Sending::new(1);
        let outcome = self.send(side, &mut IoSrc::from_slice(&[byte]), &mut sending);
        if sending.done == 1 {
            if !sending.was_discarded {
                self.drop_urgent(side);
            }
            self.state.update(|state| {
                let flow = &mut state.flows[side];
                // As on Linux, what is thrown away still was urgent.
                let behind = usize::from(!sending.was_discarded);
                if let Some(before) = flow.queued.checked_sub(behind) {
                    let position = flow.received + before as u64;
                    flow.urgent = Some(Urgent { position, byte, is_read: false });
                }
                let peer = state.peer_of(side);
                state.notify(peer, IoEvents::PRI | IoEvents::READABLE);
            });
        }
        outcome
    }

    /// The urgent byte that `side` sent before another, if it is all that the receiver has in front of it, is no part of the
    /// stream any more (Linux's `tcp_check_urg`).
    fn drop_urgent(&self, side: usize) {
        let _reader = self.ends[side].consumer.lock();
        let (peer, is_passed) = self.state.read(|state| {
            let (flow, peer) = (&state.flows[side], state.peer_of(side));
            (peer, flow.is_at_mark() && !state.ends[peer].takes_urgent_inline && flow.queued > 1)
        });
        if is_passed {
            self.consume(peer, 1);
        }
    }

    /// Something is sent to an end that is gone: it answers with a reset.
    fn send_into_the_void(&self, side: usize) {
        self.state.update(|state| {
            let peer = state.peer_of(side);
            state.ends[side].error = Some(EPIPE);
            state.ends[peer].error = Some(ECONNRESET);
            state.stage = Stage::Over;
            state.notify(side, IoEvents::all());
            state.notify(peer, IoEvents::all());
        });
    }

    /// More pages for what `side` sends. The ring begins without any, so that an idle connection costs nothing.
    fn grow(&self, side: usize, pages: &mut Arc<Pages>) -> Result<()> {
        let (slots, limit) = self.state.read(|state| (state.flows[side].ring.capacity(), state.flows[side].limit()));
        // One page more at either end may be partly used.
        let most = (limit.div_ceil(PAGE_SIZE) + 2).next_power_of_two();
        let slots = (slots * GROWTH).clamp(1, most.max(slots));
        self.ends[side].resize_held(pages, slots, |ring| {
            self.state.update(|state| {
                state.notify_nothing();
                state.flows[side].ring.move_to(ring).ok_or(ENOBUFS)
            })
        })
    }

    /// Reads as `reading` says. `None`: there is not enough yet.
    ///
    /// # Errors
    /// The pending error, which is cleared by that; `EFAULT`.
    pub fn receive(&self, side: usize, dst: &mut IoDst<'_>, reading: &mut Reading) -> Option<Result<()>> {
        let from = self.state.read(|state| state.peer_of(side));
        let pages = self.ends[from].consumer.lock();
        loop {
            let (plan, want) = match self.state.read(|state| state.plan_read(side, reading)) {
                ReadStep::Drain(plan, want) => (plan, want),
                ReadStep::SkipUrgent => {
                    self.consume(side, 1);
                    continue;
                }
                ReadStep::Wait => return None,
                ReadStep::Done => return Some(Ok(())),
                ReadStep::Fail => match self.take_error(side) {
                    Some(error) => return Some(Err(error)),
                    // Somebody else took it.
                    None => continue,
                },
            };
            let peeks = reading.flags.contains(MsgFlags::PEEK);
            let (count, outcome) = if reading.flags.contains(MsgFlags::TRUNC) {
                (plan.bytes().min(want), Ok(()))
            } else if peeks {
                pages.peek(&plan, dst, want)
            } else {
                pages.drain(&plan, dst, want)
            };
            reading.done += count;
            if peeks {
                return Some(if count > 0 { Ok(()) } else { outcome });
            }
            if count > 0 {
                self.consume(side, count);
            }
            match outcome {
                Err(error) if reading.done == 0 => return Some(Err(error)),
                Err(_) => return Some(Ok(())),
                Ok(()) if reading.done == reading.total => return Some(Ok(())),
                Ok(()) => {}
            }
        }
    }

    /// Takes `count` bytes out of what `side` receives. The sender hears when it has room again.
    fn consume(&self, side: usize, count: usize) {
        self.state.update(|state| {
            let peer = state.peer_of(side);
            if state.incoming_mut(side).commit_read(count) {
                state.notify(peer, IoEvents::WRITABLE);
            } else {
                state.notify_nothing();
            }
        });
    }

    /// Takes the urgent byte, or with `peeks` looks at it.
    ///
    /// # Errors
    /// `EINVAL` if there is none, or it is part of the stream; `ENOTCONN` on what is over without a FIN.
    pub fn receive_urgent(&self, side: usize, peeks: bool) -> Result<Option<u8>> {
        self.state.update(|state| {
            state.notify_nothing();
            let is_inline = state.ends[side].takes_urgent_inline;
            let urgent = state.incoming(side).urgent.filter(|urgent| !urgent.is_read && !is_inline).ok_or(EINVAL)?;
            if state.is_over(side) && !state.has_fin(side) {
                return Err(ENOTCONN);
            }
            if !peeks {
                state.incoming_mut(side).urgent = Some(Urgent { is_read: true, ..urgent });
            }
            Ok(Some(urgent.byte))
        })
    }

    /// The pending error of `side`, which is cleared.
    pub fn take_error(&self, side: usize) -> Option<Errno> {
        self.state.update(|state| {
            state.ends[side].error?;
            state.notify_nothing();
            state.ends[side].error.take()
        })
    }

    /// Keeps an error of `side` for the next call.
    pub fn set_error(&self, side: usize, error: Errno) {
        self.state.update(|state| {
            state.ends[side].error = Some(error);
            state.notify(side, IoEvents::ERR);
        });
    }
}
