// SPDX-License-Identifier: MPL-2.0

//! Pseudo terminals: the master side, and the numbers of both (`pty(7)`).
//!
//! # Role
//! Opening `/dev/ptmx` makes a [`Tty`] and returns its [`PtyMaster`]. What is written to the master is typed on the terminal;
//! what programs write to the terminal, and echo, is read from the master. `/dev/pts` shows the terminals ([`terminals`]).

use readiness::{InTurn, IoEvents, Pollable, Pollee, Timeout};

use super::{
    Line, MASTER, TERMINAL, Tty, ioctl,
    termios::{Control, InputFlags, LocalFlags, Termios},
};
use crate::{
    file::{File, IoDst, IoSrc, StatusFlags, Written},
    fs::Inode,
    prelude::*,
    process::credentials::Credentials,
};

/// Flags of packet mode (`ioctl_tty(2)`, `TIOCPKT`).
pub(super) const PACKET_FLUSH_READ: u8 = 1;
pub(super) const PACKET_FLUSH_WRITE: u8 = 2;
pub(super) const PACKET_STOP: u8 = 4;
pub(super) const PACKET_START: u8 = 8;
const PACKET_NO_STOP: u8 = 16;
const PACKET_DO_STOP: u8 = 32;
const PACKET_IOCTL: u8 = 64;

/// Pseudo terminals that may exist at once, as Linux's default `kernel.pty.max`.
const MAX: u32 = 4096;
/// Bytes that one round of a write takes from the caller.
const CHUNK: usize = 2048;

/// Existing pseudo terminals by number.
static TERMINALS: SpinLock<BTreeMap<u32, Arc<Tty>>> = SpinLock::new(BTreeMap::new());

/// The part of a line's state that only a pseudo terminal has.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Whether this is one.
    pub is_pty: bool,
    /// The terminal side may not be opened yet (`unlockpt(3)`).
    pub is_locked: bool,
    /// The master is open.
    pub has_master: bool,
    /// The terminal side was opened at least once.
    pub was_opened: bool,
    /// Reads of the master are preceded by a status byte.
    pub is_packet_mode: bool,
    /// What happened since the last status byte.
    pub packet_status: u8,
}

impl Shared {
    /// Records what packet mode reports of a change of settings: whether `^S` and `^Q` stop and start output, and any change
    /// under extended processing.
    pub(super) fn note_settings(&mut self, old: &Termios, new: &Termios) {
        let has_flow_keys = |termios: &Termios| {
            let keys = (termios.char(Control::Stop), termios.char(Control::Start));
            termios.input().contains(InputFlags::IXON) && keys == (0x13, 0x11)
        };
        if has_flow_keys(old) != has_flow_keys(new) {
            self.packet_status &= !(PACKET_DO_STOP | PACKET_NO_STOP);
            self.packet_status |= if has_flow_keys(new) { PACKET_DO_STOP } else { PACKET_NO_STOP };
        }
        if (old.local() | new.local()).contains(LocalFlags::EXTPROC) {
            self.packet_status |= PACKET_IOCTL;
        }
    }
}

impl Line {
    /// Nobody has the terminal side open any more.
    fn is_terminal_closed(&self) -> bool {
        self.pty.was_opened && self.openers == 0
    }

    fn has_packet(&self) -> bool {
        self.pty.is_packet_mode && self.pty.packet_status != 0
    }

    pub(super) fn master_readiness(&self) -> IoEvents {
        let mut events = IoEvents::empty();
        if !self.pty.is_pty {
            return events;
        }
        if !self.output.is_empty() {
            events |= IoEvents::READABLE;
        }
        if self.has_packet() {
            events |= IoEvents::READABLE | IoEvents::PRI;
        }
        if self.discipline.has_room() {
            events |= IoEvents::WRITABLE;
        }
        if self.is_terminal_closed() {
            events |= IoEvents::HUP;
        }
        events
    }
}

/// The terminal side of number `index`.
pub fn terminal(index: u32) -> Option<Arc<Tty>> {
    TERMINALS.lock().get(&index).cloned()
}

/// The existing terminals in ascending order.
pub fn terminals() -> Vec<(u32, Arc<Tty>)> {
    TERMINALS.lock().iter().map(|(index, tty)| (*index, tty.clone())).collect()
}

/// The master side of a pseudo terminal.
pub struct PtyMaster {
    index: u32,
    tty: Arc<Tty>,
    inode: Arc<dyn Inode>,
}

impl PtyMaster {
    /// Makes a pseudo terminal with the lowest free number, owned by who asks.
    ///
    /// # Errors
    /// `ENOSPC` if there are too many.
    pub fn open(inode: Arc<dyn Inode>, credentials: &Credentials) -> Result<Self> {
        let mut terminals = TERMINALS.lock();
        let index = (0..MAX).find(|index| !terminals.contains_key(index)).ok_or(ENOSPC)?;
        let tty = Tty::new_pty(index);
        tty.line.update(|line| {
            line.pty = Shared { is_pty: true, is_locked: true, has_master: true, ..Shared::default() };
        });
        tty.set_owner(credentials.fsuid, credentials.fsgid, 0o620);
        terminals.insert(index, tty.clone());
        drop(terminals);
        Ok(Self { index, tty, inode })
    }

    /// The number of the terminal side.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The terminal side.
    pub fn tty(&self) -> &Arc<Tty> {
        &self.tty
    }

    /// Takes a status byte and output; `None` if there is nothing yet.
    ///
    /// # Errors
    /// `EIO` if the terminal side is closed and everything was read.
    fn take(&self, max: usize) -> Option<Result<Vec<u8>>> {
        self.tty.line.update(|line| {
            if line.has_packet() {
                line.notify_nothing();
                return Some(Ok(alloc::vec![core::mem::take(&mut line.pty.packet_status)]));
            }
            if line.output.is_empty() {
                return line.is_terminal_closed().then_some(Err(EIO));
            }
            let mut bytes = Vec::new();
            if line.pty.is_packet_mode {
                bytes.push(0); // TIOCPKT_DATA
            }
            let room = max - bytes.len();
            bytes.extend(line.output.take(room));
            line.notify(TERMINAL, IoEvents::WRITABLE);
            Some(Ok(bytes))
        })
    }
}

impl Drop for PtyMaster {
    fn drop(&mut self) {
        TERMINALS.lock().remove(&self.index);
        self.tty.line.update(|line| line.pty.has_master = false);
        self.tty.hang_up();
    }
}

impl Pollable for PtyMaster {
    fn pollee(&self) -> &Pollee {
        self.tty.line.pollee(MASTER)
    }

    fn readiness(&self) -> IoEvents {
        self.tty.line.readiness(MASTER)
    }
}

impl File for PtyMaster {
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        let max = dst.avail().min(super::PTY_QUEUE);
        if max == 0 {
            return Ok(0);
        }
        let taken = match self.take(max) {
            Some(taken) => taken,
            None if status.contains(StatusFlags::NONBLOCK) => Err(EAGAIN),
            None => {
                let subject = InTurn(self, IoEvents::IN);
                let waited = ctx.waiter.borrow_mut().wait_until(&subject, Timeout::Never, || self.take(max));
                waited.unwrap_or(Err(ERESTARTSYS))
            }
        };
        dst.write_slice(&taken?)
    }

    fn write(&self, ctx: &Context, src: &mut IoSrc<'_>, _offset: u64, status: StatusFlags) -> Result<Written> {
        let mut total = 0;
        let mut chunk = [0; CHUNK];
        loop {
            let count = match src.read_slice(&mut chunk) {
                Ok(0) => return Ok(Written::stream(total)),
                Ok(count) => count,
                Err(error) if total == 0 => return Err(error),
                Err(_) => return Ok(Written::stream(total)),
            };
            let mut done = 0;
            while done < count {
                let taken = self.tty.receive(&chunk[done..count]);
                (done, total) = (done + taken, total + taken);
                if taken > 0 {
                    continue;
                }
                let failure = if status.contains(StatusFlags::NONBLOCK) {
                    Some(EAGAIN)
                } else {
                    let has_room = || self.tty.line.read(|line| line.discipline.has_room()).then_some(());
                    let subject = InTurn(self, IoEvents::OUT);
                    let waited = ctx.waiter.borrow_mut().wait_until(&subject, Timeout::Never, has_room);
                    waited.err().map(|_| ERESTARTSYS)
                };
                match failure {
                    Some(error) if total == 0 => return Err(error),
                    Some(_) => return Ok(Written::stream(total)),
                    None => {}
                }
            }
        }
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }

    fn fdinfo(&self, out: &mut String) {
        out.push_str(&alloc::format!("tty-index:\t{}\n", self.index));
    }

    fn ioctl(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        ioctl::on_master(self, ctx, command, argument)
    }
}
