// SPDX-License-Identifier: MPL-2.0

//! An open terminal: `read(2)` and `write(2)` on a serial line or the terminal side of a pseudo terminal.

use readiness::{InTurn, IoEvents, Nothing, Pollable, Pollee, Timeout, WaitError};

use super::{
    MASTER, TERMINAL, Tty, ioctl, job,
    termios::{Control, LocalFlags},
};
use crate::{
    file::{File, IoDst, IoSrc, StatusFlags, Written},
    fs::Inode,
    prelude::*,
    signal::numbers::*,
    time::Deadline,
};

/// Bytes that one round of a write takes from the caller.
const CHUNK: usize = 2048;

/// How often to look whether a line has sent everything.
const LINE_POLL_NANOS: u64 = 1_000_000;

/// An open terminal.
pub struct TtyFile {
    tty: Arc<Tty>,
    /// [`Tty::hangups`] when it was opened.
    hangups: u64,
    inode: Arc<dyn Inode>,
}

impl TtyFile {
    /// Opens `tty`, by the node `inode`.
    ///
    /// # Errors
    /// `EIO` for a pseudo terminal that is locked or whose master is gone; `EBUSY` if it is open exclusively.
    pub fn open(tty: Arc<Tty>, inode: Arc<dyn Inode>, is_root: bool) -> Result<Self> {
        tty.line.update(|line| {
            if line.pty.is_pty && (line.pty.is_locked || !line.pty.has_master) {
                return Err(EIO);
            }
            if line.is_exclusive && line.openers > 0 && !is_root {
                return Err(EBUSY);
            }
            line.openers += 1;
            line.pty.was_opened = true;
            line.notify(MASTER, IoEvents::WRITABLE);
            Ok(())
        })?;
        let hangups = tty.hangups();
        Ok(Self { tty, hangups, inode })
    }

    /// Whether the terminal was hung up since it was opened.
    pub(super) fn is_dead(&self) -> bool {
        self.tty.hangups() != self.hangups
    }

    fn read_input(&self, ctx: &Context, dst: &mut IoDst<'_>, status: StatusFlags) -> Result<usize> {
        job::check_foreground(&self.tty, ctx, SIGTTIN)?;
        let max = dst.avail().min(super::ldisc::CAPACITY);
        if max == 0 {
            return Ok(0);
        }
        let bytes = self.tty.read_bytes(ctx, self, max, status)?;
        dst.write_slice(&bytes)
    }

    fn write_output(&self, ctx: &Context, src: &mut IoSrc<'_>, status: StatusFlags) -> Result<usize> {
        if self.tty.termios().local().contains(LocalFlags::TOSTOP) {
            job::check_foreground(&self.tty, ctx, SIGTTOU)?;
        }
        let mut total = 0;
        let mut chunk = [0; CHUNK];
        loop {
            let count = match src.read_slice(&mut chunk) {
                Ok(0) => return Ok(total),
                Ok(count) => count,
                Err(error) if total == 0 => return Err(error),
                Err(_) => return Ok(total),
            };
            let (written, result) = self.tty.write_bytes(ctx, self, &chunk[..count], status);
            total += written;
            match result {
                Ok(()) => {}
                Err(error) if total == 0 => return Err(error),
                Err(_) => return Ok(total),
            }
        }
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        self.tty.line.update(|line| {
            line.openers -= 1;
            line.is_exclusive &= line.openers > 0;
            line.notify(MASTER, IoEvents::HUP | IoEvents::READABLE);
        });
    }
}

impl Pollable for TtyFile {
    fn pollee(&self) -> &Pollee {
        self.tty.line.pollee(TERMINAL)
    }

    fn readiness(&self) -> IoEvents {
        self.tty.line.readiness(TERMINAL)
    }

    fn poll(&self) -> IoEvents {
        // Descriptions share the pollee and its cache, but may be dead or alive.
        match self.is_dead() {
            true => IoEvents::READABLE | IoEvents::WRITABLE | IoEvents::ERR | IoEvents::HUP,
            false => self.pollee().look_up(|| self.readiness()),
        }
    }

    fn cached(&self) -> Option<IoEvents> {
        if self.is_dead() { None } else { self.pollee().cached() }
    }
}

impl File for TtyFile {
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        self.read_input(ctx, dst, status)
    }

    fn write(&self, ctx: &Context, src: &mut IoSrc<'_>, _offset: u64, status: StatusFlags) -> Result<Written> {
        self.write_output(ctx, src, status).map(Written::stream)
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn ioctl(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        ioctl::on_terminal(&self.tty, self, ctx, command, argument)
    }
}

/// When a read is over: `VMIN` and `VTIME` of `termios(3)`, in the reading of Linux's `n_tty_read`.
struct ReadRule {
    /// Bytes that end the read; one line in canonical mode.
    minimum: usize,
    /// Whether to wait at all.
    waits: bool,
    /// Nanoseconds until the first byte.
    first: Option<u64>,
    /// Nanoseconds from byte to byte.
    between: Option<u64>,
}

impl ReadRule {
    fn of(termios: &super::termios::Termios) -> Self {
        if termios.is_canonical() {
            return Self { minimum: 1, waits: true, first: None, between: None };
        }
        let tenths = u64::from(termios.char(Control::Time));
        let time = (tenths > 0).then_some(tenths * 100_000_000);
        match usize::from(termios.char(Control::Min)) {
            0 => Self { minimum: 1, waits: time.is_some(), first: time, between: None },
            minimum => Self { minimum, waits: true, first: None, between: time },
        }
    }
}

impl Tty {
    /// Waits for input as the settings say, and takes up to `max` bytes of it. Empty at the end of the file.
    fn read_bytes(&self, ctx: &Context, file: &TtyFile, max: usize, status: StatusFlags) -> Result<Vec<u8>> {
        let termios = self.termios();
        let rule = ReadRule::of(&termios);
        let mut bytes = Vec::new();
        let mut timeout = rule.first;
        let mut has_waited = false;
        loop {
            if file.is_dead() {
                // As on Linux: the reader that is overtaken learns why, later ones see the end of the file.
                let is_orphaned = self.line.read(|line| line.pty.is_pty && !line.pty.has_master);
                return if has_waited && is_orphaned { Err(EIO) } else { Ok(Vec::new()) };
            }
            let is_over = self.line.update(|line| {
                if line.discipline.has_input(1) {
                    line.discipline.take(max - bytes.len(), &mut bytes);
                    line.notify(MASTER, IoEvents::WRITABLE);
                    return termios.is_canonical();
                }
                false
            });
            self.input_taken();
            if is_over || bytes.len() >= rule.minimum.min(max) || !rule.waits {
                return Ok(bytes);
            }
            if status.contains(StatusFlags::NONBLOCK) {
                return if bytes.is_empty() { Err(EAGAIN) } else { Ok(bytes) };
            }
            if !bytes.is_empty() {
                timeout = rule.between;
            }
            has_waited = true;
            match self.wait_for(ctx, file, IoEvents::IN, timeout, |line| line.discipline.has_input(1)) {
                Ok(()) => {}
                Err(WaitError::TimedOut) => return Ok(bytes),
                Err(WaitError::Interrupted) if bytes.is_empty() => return Err(ERESTARTSYS),
                Err(WaitError::Interrupted) => return Ok(bytes),
            }
        }
    }

    /// Writes all of `bytes`, waiting for room unless `NONBLOCK`. Returns how many were taken, and why not more.
    fn write_bytes(&self, ctx: &Context, file: &TtyFile, bytes: &[u8], status: StatusFlags) -> (usize, Result<()>) {
        let mut total = 0;
        while total < bytes.len() {
            if file.is_dead() {
                return (total, Err(EIO));
            }
            let count = self.line.update(|line| {
                if line.is_stopped {
                    return 0;
                }
                let termios = line.discipline.termios();
                let count = line.output.write(&termios, &bytes[total..]);
                line.notify(MASTER, IoEvents::READABLE);
                count
            });
            self.start_output();
            total += count;
            if count > 0 {
                continue;
            }
            if status.contains(StatusFlags::NONBLOCK) {
                return (total, Err(EAGAIN));
            }
            let can_go_on = |line: &super::Line| !line.is_stopped && line.output.has_room();
            if self.wait_for(ctx, file, IoEvents::OUT, None, can_go_on).is_err() {
                return (total, Err(ERESTARTSYS));
            }
        }
        (total, Ok(()))
    }

    /// Waits until everything written has gone over the line (`tcdrain(3)`). A pseudo terminal has no line to wait for.
    ///
    /// # Errors
    /// `ERESTARTSYS` if a signal came first.
    pub(super) fn drain(&self, ctx: &Context, file: &TtyFile) -> Result<()> {
        if self.is_pty() {
            return Ok(());
        }
        self.start_output();
        let is_drained = |line: &super::Line| line.output.is_empty();
        self.wait_for(ctx, file, IoEvents::OUT, None, is_drained).map_err(|_| ERESTARTSYS)?;
        // No interrupt tells that the UART has sent what it took, so look again, as Linux's `uart_wait_until_sent` does.
        while !self.is_line_idle() {
            let soon = Deadline::after_nanos(LINE_POLL_NANOS);
            if ctx.wait(&Nothing, Timeout::At(soon), || None::<()>) == Err(WaitError::Interrupted) {
                return Err(ERESTARTSYS);
            }
        }
        Ok(())
    }

    fn wait_for(
        &self,
        ctx: &Context,
        file: &TtyFile,
        events: IoEvents,
        timeout_nanos: Option<u64>,
        is_over: impl Fn(&super::Line) -> bool,
    ) -> core::result::Result<(), WaitError> {
        let timeout = match timeout_nanos {
            Some(nanos) => Timeout::At(Deadline::after_nanos(nanos)),
            None => Timeout::Never,
        };
        let check = || (file.is_dead() || self.line.read(&is_over)).then_some(());
        ctx.waiter.borrow_mut().wait_until(&InTurn(file, events), timeout, check)
    }
}
