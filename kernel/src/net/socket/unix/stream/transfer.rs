// SPDX-License-Identifier: MPL-2.0

//! Messages, with all that `sendmsg(2)` and `recvmsg(2)` know.

use readiness::{InTurn, IoEvents};

use super::{
    super::{
        connection::{Endpoint, Unit},
        control::{self, Control, own_credentials},
        receive::Reading,
        state::{Urgency, check_packet},
        write::Writing,
    },
    StreamSocket,
};
use crate::{
    file::{IoDst, IoSrc},
    net::{
        Incoming, MsgFlags, Outgoing,
        message::Receive,
        socket::{errno_of, report_broken_pipe},
    },
    prelude::*,
};

impl StreamSocket {
    /// `sendmsg(2)`
    ///
    /// # Errors
    /// `EPIPE`, with a signal, if nothing more may be sent; `EISCONN`, `EOPNOTSUPP` for a stream with a destination; `ENOTCONN`; for
    /// packets `EMSGSIZE`, `ENOBUFS` and the pending error.
    pub(super) fn send_message(&self, ctx: &Context, src: &mut IoSrc<'_>, message: Outgoing) -> Result<usize> {
        let (flags, is_nonblocking) = (message.flags, message.is_nonblocking);
        let len = src.remain();
        let (endpoint, mut writing) = self.prepare(ctx, len, message)?;
        let is_urgent = flags.contains(MsgFlags::OOB);
        let mut outcome = Ok(());
        if len > 1 || !is_urgent {
            outcome = self.write_all(ctx, endpoint, src, &mut writing, is_nonblocking);
        }
        let (mut done, mut has_waited) = (writing.done, writing.has_waited);
        if is_urgent && outcome.is_ok() {
            // The last byte is the urgent one.
            let mut last = Writing::new(1);
            (last.control, last.credentials, last.urgency) = (writing.control, writing.credentials, Urgency::Pending);
            outcome = self.write_all(ctx, endpoint, src, &mut last, is_nonblocking);
            done += last.done;
            has_waited |= last.has_waited;
        }
        self.finish_write(ctx, outcome, (done, has_waited), flags)
    }

    /// `recvmsg(2)`
    ///
    /// # Errors
    /// `EINVAL` for a stream, `ENOTCONN` for packets that are not connected; the pending error; `EOPNOTSUPP` for urgent packets.
    pub(super) fn receive_message(&self, ctx: &Context, dst: &mut IoDst<'_>, how: Receive) -> Result<Incoming> {
        let is_stream = self.unit() == Unit::Byte;
        let endpoint = self.endpoint().ok_or(if is_stream { EINVAL } else { ENOTCONN })?;
        let other = &endpoint.connection.identities[endpoint.other()];
        let (options, peeks) = (&self.common.options, how.flags.contains(MsgFlags::PEEK));
        if how.flags.contains(MsgFlags::OOB) {
            if !is_stream {
                return Err(EOPNOTSUPP);
            }
            if options.takes_urgent_inline() {
                return Err(EINVAL);
            }
            let count = endpoint.connection.receive_urgent(endpoint.side, dst, peeks)?;
            return Ok(Incoming { flags: MsgFlags::OOB, ..Incoming::bytes(count) });
        }
        let mut reading = Reading::new(dst.avail(), how.flags, options.receive_low_water());
        reading.passes_credentials = options.passes_credentials();
        reading.takes_urgent = options.takes_urgent_inline();
        self.receive_on(ctx, endpoint, dst, how, &mut reading)?;
        let mut incoming = if reading.has_message && !is_stream {
            Incoming::message(reading.done, reading.packet_len, how.flags)
        } else {
            Incoming::bytes(reading.done)
        };
        if reading.has_message {
            incoming.source = other.source();
            if how.wants_control {
                incoming.control = control::to_messages(self, reading.credentials, reading.rights.take());
            }
        }
        Ok(incoming)
    }

    /// Whether the caller's message may go, and what goes with it.
    pub(super) fn prepare(&self, ctx: &Context, len: usize, message: Outgoing) -> Result<(&Endpoint, Writing)> {
        let is_stream = self.unit() == Unit::Byte;
        let is_urgent = message.flags.contains(MsgFlags::OOB);
        if is_urgent && (!is_stream || len == 0) {
            return Err(EOPNOTSUPP);
        }
        let control = Control::decode(ctx, message.control)?;
        if self.common.options.passes_credentials() {
            self.autobind(ctx)?;
        }
        let endpoint = match self.endpoint() {
            Some(_) if is_stream && message.destination.is_some() => return Err(EISCONN),
            Some(endpoint) => endpoint,
            None if is_stream && message.destination.is_some() => return Err(EOPNOTSUPP),
            None => return Err(ENOTCONN),
        };
        if !is_stream {
            if let Some(error) = endpoint.connection.take_error(endpoint.side) {
                return Err(error);
            }
            check_packet(len, self.common.options.send_buffer())?;
        }
        let mut writing = Writing::new(if is_urgent { len - 1 } else { len });
        writing.control = control.boxed();
        if endpoint.connection.passes_credentials() {
            writing.credentials = Some(own_credentials(ctx));
        }
        Ok((endpoint, writing))
    }

    /// Writes, and waits for room as long as it may. Says how much was written.
    #[inline(always)]
    pub(super) fn write_all(
        &self,
        ctx: &Context,
        endpoint: &Endpoint,
        src: &mut IoSrc<'_>,
        writing: &mut Writing,
        is_nonblocking: bool,
    ) -> Result<()> {
        let mut write = || endpoint.connection.write(endpoint.side, src, writing);
        if let Some(result) = write() {
            return result;
        }
        let timeout = self.common.send_timeout(is_nonblocking);
        let subject = InTurn(self, IoEvents::WRITABLE);
        ctx.sleep(&subject, timeout, write).unwrap_or_else(|error| Err(errno_of(error, timeout)))
    }

    #[inline]
    pub(super) fn finish_write(
        &self,
        ctx: &Context,
        outcome: Result<()>,
        (done, has_waited): (usize, bool),
        flags: MsgFlags,
    ) -> Result<usize> {
        match outcome {
            Ok(()) => Ok(done),
            Err(_) if done > 0 => Ok(done),
            Err(error) => {
                // Packets, and writes that had to wait, break without a signal, as on Linux.
                if error == EPIPE && self.unit() == Unit::Byte && !has_waited {
                    report_broken_pipe(ctx, flags);
                }
                Err(error)
            }
        }
    }

    pub(super) fn receive_on(
        &self,
        ctx: &Context,
        endpoint: &Endpoint,
        dst: &mut IoDst<'_>,
        how: Receive,
        reading: &mut Reading,
    ) -> Result<()> {
        let timeout = self.common.receive_timeout(how.is_nonblocking);
        let subject = InTurn(self, IoEvents::READABLE);
        let outcome = ctx.wait(&subject, timeout, || endpoint.connection.receive(endpoint.side, dst, reading));
        match outcome {
            Ok(outcome) => outcome,
            Err(_) if reading.has_message => Ok(()),
            Err(error) => Err(errno_of(error, timeout)),
        }
    }
}
