// SPDX-License-Identifier: MPL-2.0

//! Terminals: serial lines and pseudo terminals.
//!
//! # Role
//! A [`Tty`] joins a line discipline ([`ldisc`], [`output`]), a driver (a serial port, or the master of a pseudo terminal,
//! [`pty`]) and job control ([`job`]). [`file`] is what programs open, [`ioctl`] what they ask of it. Behaviour is that of
//! Linux's `tty_io.c`, `n_tty.c` and `tty_jobctrl.c`.
//!
//! # Protocol
//! Everything that readiness depends on is in [`Line`], tracked with two sides: the terminal's, which programs open, and
//! the master's, which is idle for a serial line. Received bytes enter by [`Tty::receive`]; output leaves by
//! [`Tty::take_output`].
//!
//! # Concurrency
//! Task context only, except that [`Tty::take_output`] is called under a UART's lock. Lock order: UART, then the line.
//! Signals are sent, and the driver is called, with no lock held.

pub mod file;
mod ioctl;
pub mod job;
pub mod ldisc;
pub mod nodes;
mod output;
pub mod pty;
pub mod termios;

use core::sync::atomic::{AtomicU64, Ordering};

use readiness::{IoEvents, Pending, Readiness, Tracked};

use self::{
    job::JobControl,
    ldisc::{Effects, KeySignal, LineDiscipline},
    output::Output,
    termios::{Control, Termios, WindowSize},
};
use super::serial::SerialPort;
use crate::{fs::DeviceNumber, prelude::*, signal::numbers::*};

/// The side of [`Line`] that programs open as the terminal.
pub const TERMINAL: usize = 0;
/// The side of [`Line`] that a pseudo terminal's master is.
pub const MASTER: usize = 1;

/// Output that may wait for a serial line, and for the reader of a master.
const SERIAL_QUEUE: usize = 4096;
const PTY_QUEUE: usize = 16384;

/// A terminal.
pub struct Tty {
    name: String,
    number: DeviceNumber,
    driver: Driver,
    line: Tracked<Line, 2>,
    /// How often it was hung up: descriptions from before are dead.
    hangups: AtomicU64,
    job: SpinLock<JobControl>,
    window: SpinLock<WindowSize>,
    owner: SpinLock<Owner>,
}

/// Owner and permissions of a pseudo terminal's node.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The low twelve bits of `st_mode`.
    pub permissions: u16,
}

/// What moves the bytes.
enum Driver {
    Serial(Arc<SerialPort>),
    Pty,
}

/// The state that readiness depends on.
pub struct Line {
    discipline: LineDiscipline,
    output: Output,
    /// Output is stopped by `^S` or `TCXONC`.
    is_stopped: bool,
    /// `TIOCEXCL`: only root may open it again.
    is_exclusive: bool,
    /// Open descriptions of the terminal.
    openers: usize,
    /// The pseudo terminal's own part.
    pty: pty::Shared,
}

impl Readiness for Line {
    fn readiness(&self, side: usize) -> IoEvents {
        if side == TERMINAL { self.terminal_readiness() } else { self.master_readiness() }
    }
}

impl Line {
    fn new(termios: Termios, queue: usize) -> Self {
        Self {
            discipline: LineDiscipline::new(termios),
            output: Output::new(queue),
            is_stopped: false,
            is_exclusive: false,
            openers: 0,
            pty: pty::Shared::default(),
        }
    }

    fn terminal_readiness(&self) -> IoEvents {
        let mut events = IoEvents::empty();
        if self.discipline.has_input(self.poll_minimum()) {
            events |= IoEvents::READABLE;
        }
        if !self.is_stopped && self.output.has_room() {
            events |= IoEvents::WRITABLE;
        }
        events
    }

    /// Bytes that make a non-canonical terminal readable for `poll(2)`: `VMIN`, unless a timer may end the read before.
    fn poll_minimum(&self) -> usize {
        let termios = self.discipline.termios();
        if termios.char(Control::Time) == 0 { usize::from(termios.char(Control::Min)) } else { 1 }
    }
}

impl Tty {
    /// The terminal on serial port `index`.
    pub fn new_serial(index: u32, port: Arc<SerialPort>) -> Arc<Self> {
        let number = DeviceNumber::new(4, 64 + index);
        let line = Line::new(Termios::serial(), SERIAL_QUEUE);
        Self::new(alloc::format!("ttyS{index}"), number, Driver::Serial(port), line)
    }

    /// The terminal of pseudo terminal `index`.
    pub fn new_pty(index: u32) -> Arc<Self> {
        let line = Line::new(Termios::pty(), PTY_QUEUE);
        Self::new(alloc::format!("pts/{index}"), DeviceNumber::new(136, index), Driver::Pty, line)
    }

    fn new(name: String, number: DeviceNumber, driver: Driver, line: Line) -> Arc<Self> {
        let line = Tracked::new(line);
        let (job, window) = (SpinLock::new(JobControl::default()), SpinLock::new(WindowSize::default()));
        let owner = SpinLock::new(Owner { uid: 0, gid: 0, permissions: 0o620 });
        Arc::new(Self { name, number, driver, line, hangups: AtomicU64::new(0), job, window, owner })
    }

    /// The name below `/dev`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device number.
    pub fn number(&self) -> DeviceNumber {
        self.number
    }

    /// Owner and permissions of its node.
    pub fn owner(&self) -> Owner {
        *self.owner.lock()
    }

    /// Changes owner and permissions of its node.
    pub fn set_owner(&self, uid: u32, gid: u32, permissions: u16) {
        *self.owner.lock() = Owner { uid, gid, permissions };
    }

    /// Whether it is a pseudo terminal.
    pub fn is_pty(&self) -> bool {
        matches!(self.driver, Driver::Pty)
    }

    /// The settings.
    pub fn termios(&self) -> Termios {
        self.line.read(|line| line.discipline.termios())
    }

    /// Takes received bytes as far as there is room, echoes, and sends the signals of keys. Returns how many were taken.
    pub fn receive(&self, bytes: &[u8]) -> usize {
        let mut effects = Effects::default();
        let count = self.line.update(|line| {
            let mut count = 0;
            while count < bytes.len() && line.discipline.has_room() {
                line.discipline.receive(bytes[count], &mut effects);
                count += 1;
            }
            if count > 0 {
                line.apply(&mut effects);
                line.notify(TERMINAL, IoEvents::READABLE | IoEvents::WRITABLE);
                line.notify(MASTER, IoEvents::READABLE | IoEvents::WRITABLE | IoEvents::PRI);
            }
            count
        });
        for signal in effects.signals {
            self.signal_foreground(signal);
        }
        if count > 0 {
            self.start_output();
        }
        count
    }

    fn signal_foreground(&self, signal: KeySignal) {
        let number = match signal {
            KeySignal::Interrupt => SIGINT,
            KeySignal::Quit => SIGQUIT,
            KeySignal::Suspend => SIGTSTP,
        };
        job::signal_foreground(self, number);
    }

    /// Takes up to `bytes.len()` bytes of output for the line, and returns how many. Dropping the second part of the answer
    /// tells the writers: to be done without locks.
    pub fn take_output(&self, bytes: &mut [u8]) -> (usize, Pending<'_, 2>) {
        self.line.update_then(|line| {
            if line.is_stopped || line.output.is_empty() {
                return 0;
            }
            let (max, mut count) = (bytes.len(), 0);
            for (to, from) in bytes.iter_mut().zip(line.output.take(max)) {
                *to = from;
                count += 1;
            }
            // Also for `tcdrain(3)`, which waits until nothing is left.
            line.notify(TERMINAL, IoEvents::WRITABLE);
            count
        })
    }

    /// Sends what waits, if the driver wants to be asked.
    fn start_output(&self) {
        if let Driver::Serial(port) = &self.driver {
            port.pump();
        }
    }

    /// Whether the driver has nothing left to send. A pseudo terminal has no line.
    fn is_line_idle(&self) -> bool {
        match &self.driver {
            Driver::Serial(port) => port.is_idle(),
            Driver::Pty => true,
        }
    }

    /// Input was taken: the driver may send more.
    fn input_taken(&self) {
        if let Driver::Serial(port) = &self.driver {
            port.unthrottle();
        }
    }

    /// The window's size.
    pub fn window(&self) -> WindowSize {
        *self.window.lock()
    }

    /// Sets the window's size, and tells the foreground if it changed.
    pub fn set_window(&self, size: WindowSize) {
        let old = core::mem::replace(&mut *self.window.lock(), size);
        if old != size {
            job::signal_foreground(self, SIGWINCH);
        }
    }

    /// Stops or starts output, as `^S` and `^Q` do.
    pub fn set_stopped(&self, is_stopped: bool) {
        self.line.update(|line| {
            line.set_stopped(is_stopped);
            line.notify(TERMINAL, IoEvents::WRITABLE);
            line.notify(MASTER, IoEvents::READABLE | IoEvents::PRI);
        });
        self.start_output();
    }

    /// How often it was hung up.
    fn hangups(&self) -> u64 {
        self.hangups.load(Ordering::Acquire)
    }

    /// Cuts the terminal off from its programs: reads end, writes fail, the session is told.
    pub fn hang_up(&self) {
        // Release pairs with the Acquire in `hangups`: who wakes by the update sees it.
        self.hangups.fetch_add(1, Ordering::Release);
        self.line.update(|line| {
            line.discipline.flush();
            line.set_stopped(false);
        });
        job::on_hang_up(self);
    }
}

impl Line {
    /// Does to the line what receiving asked for; signals are left to the caller.
    fn apply(&mut self, effects: &mut Effects) {
        let termios = self.discipline.termios();
        if effects.flush_output {
            self.output.flush();
            self.pty.packet_status |= pty::PACKET_FLUSH_READ | pty::PACKET_FLUSH_WRITE;
        }
        if let Some(is_stopped) = effects.stop {
            self.set_stopped(is_stopped);
        }
        for echo in effects.echo.drain(..) {
            self.output.echo(&termios, echo);
        }
    }

    fn set_stopped(&mut self, is_stopped: bool) {
        if self.is_stopped != is_stopped {
            self.is_stopped = is_stopped;
            self.discipline.set_stopped(is_stopped);
            self.pty.packet_status &= !(pty::PACKET_STOP | pty::PACKET_START);
            self.pty.packet_status |= if is_stopped { pty::PACKET_STOP } else { pty::PACKET_START };
        }
    }
}
