// SPDX-License-Identifier: MPL-2.0

//! The line discipline's input side: from received bytes to what `read(2)` returns.
//!
//! # Role
//! Pure logic without locks or devices, in Linux's `n_tty` manner: editing in canonical mode, special characters, echo.
//! [`LineDiscipline::receive`] takes one byte and appends what has to happen outside to [`Effects`]; the terminal then does
//! it without the lock of this state.
//!
//! # Invariants
//! 1. The first `committed` cells are complete lines or were received in non-canonical mode; the rest is the line being
//!    edited. Outside canonical mode everything is readable.
//! 2. At most [`CAPACITY`] cells: a longer line loses its end, as on Linux; otherwise the sender is held back.

use super::termios::{Control, InputFlags, LocalFlags, Termios};
use crate::prelude::*;

/// Bytes that wait for a reader, Linux's `N_TTY_BUF_SIZE`.
pub const CAPACITY: usize = 4096;

/// A received byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cell {
    /// Data.
    Byte(u8),
    /// The last byte of a line.
    LineEnd(u8),
    /// The end-of-file character: ends a read, is not data.
    Eof,
}

/// What is to be echoed; columns are known to the output side only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Echo {
    /// A character, control characters as `^X` if `ECHOCTL`.
    Char(u8),
    /// A byte as it is, through output processing.
    Raw(u8),
    /// Back over one column, wiping it.
    Rubout,
    /// Back over a tab: columns since the line's start or the previous tab, and whether there was one.
    EraseTab(usize, bool),
    /// The line being edited starts here.
    MarkLineStart,
}

/// A signal that a key sends to the foreground.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeySignal {
    /// `VINTR`.
    Interrupt,
    /// `VQUIT`.
    Quit,
    /// `VSUSP`.
    Suspend,
}

/// What receiving asks the terminal to do.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be echoed, in order.
    pub echo: Vec<Echo>,
    /// To be sent, in order.
    pub signals: Vec<KeySignal>,
    /// `Some(true)` stops output, `Some(false)` starts it.
    pub stop: Option<bool>,
    /// Output that was not yet sent is to be thrown away, as input was.
    pub flush_output: bool,
}

/// Settings and waiting input of one terminal.
pub struct LineDiscipline {
    termios: Termios,
    cells: VecDeque<Cell>,
    committed: usize,
    /// `VLNEXT` was typed: the next byte is data.
    is_literal_next: bool,
    /// Mirrors the output side's state, for `IXANY`.
    is_stopped: bool,
}

impl LineDiscipline {
    /// A discipline without input.
    pub fn new(termios: Termios) -> Self {
        Self { termios, cells: VecDeque::new(), committed: 0, is_literal_next: false, is_stopped: false }
    }

    /// The settings.
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Replaces the settings. What was received in the other mode becomes readable at once, as in Linux's
    /// `n_tty_set_termios`.
    pub fn set_termios(&mut self, termios: Termios) {
        let changes_mode = termios.is_canonical() != self.termios.is_canonical();
        self.termios = termios;
        if !changes_mode {
            return;
        }
        self.is_literal_next = false;
        self.committed = self.cells.len();
        if let Some(Cell::Byte(last)) = self.cells.back().copied() {
            self.cells.pop_back();
            self.cells.push_back(Cell::LineEnd(last));
        }
    }

    /// Whether output is stopped; the terminal says so when `TCXONC` changes it.
    pub fn set_stopped(&mut self, is_stopped: bool) {
        self.is_stopped = is_stopped;
    }

    /// Throws input away (`TCIFLUSH`).
    pub fn flush(&mut self) {
        self.cells.clear();
        self.committed = 0;
        self.is_literal_next = false;
    }

    /// Whether another byte may be received now. While a line without end is being typed everything is taken: what does not
    /// fit is lost, or the terminal could never be released.
    pub fn has_room(&self) -> bool {
        self.cells.len() < CAPACITY - 1 || (self.termios.is_canonical() && self.committed == 0)
    }

    /// Bytes that a read would find, as `FIONREAD` reports them.
    pub fn readable_bytes(&self) -> usize {
        let readable = self.cells.iter().take(self.readable_cells());
        readable.filter(|cell| **cell != Cell::Eof).count()
    }

    /// Whether a read need not wait. `minimum` is the number of bytes that satisfies a non-canonical one.
    pub fn has_input(&self, minimum: usize) -> bool {
        self.readable_cells() >= if self.termios.is_canonical() { 1 } else { minimum.max(1) }
    }

    /// Takes what one read returns, at most `max` bytes: in canonical mode not more than a line.
    pub fn take(&mut self, max: usize, out: &mut Vec<u8>) {
        let is_canonical = self.termios.is_canonical();
        let start = out.len();
        while self.readable_cells() > 0 {
            let is_full = out.len() - start >= max;
            let next = self.cells.front().copied();
            // An end-of-file behind a read that just fits belongs to that read.
            if is_full && !(is_canonical && next == Some(Cell::Eof)) {
                return;
            }
            self.cells.pop_front();
            self.committed = self.committed.saturating_sub(1);
            match next {
                Some(Cell::Byte(byte)) => out.push(byte),
                Some(Cell::LineEnd(byte)) => out.push(byte),
                _ => {}
            }
            if is_canonical && !matches!(next, Some(Cell::Byte(_))) {
                return;
            }
        }
    }

    fn readable_cells(&self) -> usize {
        if self.termios.is_canonical() { self.committed } else { self.cells.len() }
    }

    /// Takes one byte from the line.
    pub fn receive(&mut self, byte: u8, effects: &mut Effects) {
        let input = self.termios.input();
        let local = self.termios.local();
        let mut byte = byte;
        if input.contains(InputFlags::ISTRIP) {
            byte &= 0x7f;
        }
        if input.contains(InputFlags::IUCLC) && local.contains(LocalFlags::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if core::mem::take(&mut self.is_literal_next) {
            return self.put_echoed(byte, effects);
        }
        if input.contains(InputFlags::IXON) && self.take_flow_control(byte, effects) {
            return;
        }
        if local.contains(LocalFlags::ISIG) && self.take_signal(byte, effects) {
            return;
        }
        if self.is_stopped && input.contains(InputFlags::IXON | InputFlags::IXANY) {
            self.restart(effects);
        }
        match byte {
            b'\r' if input.contains(InputFlags::IGNCR) => return,
            b'\r' if input.contains(InputFlags::ICRNL) => byte = b'\n',
            b'\n' if input.contains(InputFlags::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.termios.is_canonical() && self.edit(byte, effects) {
            return;
        }
        self.put_echoed(byte, effects);
    }

    fn take_flow_control(&mut self, byte: u8, effects: &mut Effects) -> bool {
        if self.termios.is(Control::Start, byte) {
            self.restart(effects);
            return true;
        }
        let is_stop = self.termios.is(Control::Stop, byte);
        if is_stop {
            self.is_stopped = true;
            effects.stop = Some(true);
        }
        is_stop
    }

    fn restart(&mut self, effects: &mut Effects) {
        self.is_stopped = false;
        effects.stop = Some(false);
    }

    fn take_signal(&mut self, byte: u8, effects: &mut Effects) -> bool {
        let signal = match byte {
            _ if self.termios.is(Control::Intr, byte) => KeySignal::Interrupt,
            _ if self.termios.is(Control::Quit, byte) => KeySignal::Quit,
            _ if self.termios.is(Control::Susp, byte) => KeySignal::Suspend,
            _ => return false,
        };
        if !self.termios.local().contains(LocalFlags::NOFLSH) {
            self.flush();
            effects.flush_output = true;
            effects.echo.clear();
        }
        if self.termios.input().contains(InputFlags::IXON) && self.is_stopped {
            self.restart(effects);
        }
        if self.termios.local().contains(LocalFlags::ECHO) {
            effects.echo.push(Echo::Char(byte));
        }
        effects.signals.push(signal);
        true
    }

    /// Handles the editing characters of canonical mode; `false` if `byte` is data.
    fn edit(&mut self, byte: u8, effects: &mut Effects) -> bool {
        let local = self.termios.local();
        let is_extended = local.contains(LocalFlags::IEXTEN);
        let has_echo = local.contains(LocalFlags::ECHO);
        let is = |control| self.termios.is(control, byte);
        if is(Control::Erase) || is(Control::Kill) || (is_extended && is(Control::Werase)) {
            self.erase(byte, effects);
        } else if is_extended && is(Control::Lnext) {
            self.is_literal_next = true;
            if has_echo && local.contains(LocalFlags::ECHOCTL) {
                effects.echo.extend([Echo::Raw(b'^'), Echo::Raw(8)]);
            }
        } else if is_extended && has_echo && is(Control::Reprint) {
            self.reprint(byte, effects);
        } else if byte == b'\n' {
            if has_echo || local.contains(LocalFlags::ECHONL) {
                effects.echo.push(Echo::Raw(b'\n'));
            }
            self.end_line(Cell::LineEnd(byte));
        } else if is(Control::Eof) {
            self.end_line(Cell::Eof);
        } else if is(Control::Eol) || (is_extended && is(Control::Eol2)) {
            self.echo_data(byte, effects);
            self.end_line(Cell::LineEnd(byte));
        } else {
            return false;
        }
        true
    }

    fn end_line(&mut self, end: Cell) {
        // The end of a line always fits: data stops one cell earlier.
        if self.cells.len() < CAPACITY {
            self.cells.push_back(end);
        }
        self.committed = self.cells.len();
    }

    fn put_echoed(&mut self, byte: u8, effects: &mut Effects) {
        if self.cells.len() >= CAPACITY - 1 {
            if self.termios.input().contains(InputFlags::IMAXBEL) {
                effects.echo.push(Echo::Raw(7));
            }
            return;
        }
        self.echo_data(byte, effects);
        self.cells.push_back(Cell::Byte(byte));
        if !self.termios.is_canonical() {
            self.committed = self.cells.len();
        }
    }

    fn echo_data(&self, byte: u8, effects: &mut Effects) {
        if !self.termios.local().contains(LocalFlags::ECHO) {
            return;
        }
        if byte == b'\n' {
            effects.echo.push(Echo::Raw(byte));
            return;
        }
        if self.cells.len() == self.committed {
            effects.echo.push(Echo::MarkLineStart);
        }
        effects.echo.push(Echo::Char(byte));
    }

    fn reprint(&self, byte: u8, effects: &mut Effects) {
        effects.echo.extend([Echo::Char(byte), Echo::Raw(b'\n')]);
        effects.echo.extend(self.edited().map(Echo::Char));
    }

    /// The bytes of the line being edited.
    fn edited(&self) -> impl DoubleEndedIterator<Item = u8> {
        self.cells.iter().skip(self.committed).filter_map(|cell| match cell {
            Cell::Byte(byte) | Cell::LineEnd(byte) => Some(*byte),
            Cell::Eof => None,
        })
    }

    /// `VERASE`, `VWERASE` and `VKILL`, as Linux's `eraser`.
    fn erase(&mut self, key: u8, effects: &mut Effects) {
        let local = self.termios.local();
        let is_kill = self.termios.is(Control::Kill, key) && !self.termios.is(Control::Erase, key);
        let is_word = !is_kill && !self.termios.is(Control::Erase, key);
        if self.cells.len() == self.committed {
            return;
        }
        let wipes_line = LocalFlags::ECHOK | LocalFlags::ECHOKE | LocalFlags::ECHOE;
        if is_kill && !local.contains(LocalFlags::ECHO | wipes_line) {
            self.cells.truncate(self.committed);
            if local.contains(LocalFlags::ECHO) {
                effects.echo.push(Echo::Char(key));
                effects.echo.extend(local.contains(LocalFlags::ECHOK).then_some(Echo::Raw(b'\n')));
            }
            return;
        }
        let mut has_seen_word = false;
        while let Some(byte) = self.last_edited() {
            let is_word_byte = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
            if is_word && has_seen_word && !is_word_byte {
                return;
            }
            has_seen_word |= is_word_byte;
            self.remove_last();
            if local.contains(LocalFlags::ECHO) {
                self.echo_erasure(byte, key, is_kill || is_word, effects);
            }
            if !is_kill && !is_word {
                return;
            }
        }
    }

    /// The first byte of the last character of the line being edited.
    fn last_edited(&self) -> Option<u8> {
        self.edited().rev().find(|byte| !self.is_continuation(*byte))
    }

    fn remove_last(&mut self) {
        while self.cells.len() > self.committed {
            match self.cells.pop_back() {
                Some(Cell::Byte(byte)) if self.is_continuation(byte) => {}
                _ => return,
            }
        }
    }

    fn echo_erasure(&self, byte: u8, key: u8, is_long: bool, effects: &mut Effects) {
        let local = self.termios.local();
        if !is_long && !local.contains(LocalFlags::ECHOE) {
            effects.echo.push(Echo::Char(key));
        } else if byte == b'\t' {
            effects.echo.push(self.tab_erasure());
        } else if byte.is_ascii_control() {
            if local.contains(LocalFlags::ECHOCTL) {
                effects.echo.extend([Echo::Rubout, Echo::Rubout]);
            }
        } else {
            effects.echo.push(Echo::Rubout);
        }
    }

    /// How far to go back over a tab that was just removed.
    fn tab_erasure(&self) -> Echo {
        let shows_control = self.termios.local().contains(LocalFlags::ECHOCTL);
        let mut columns = 0;
        for byte in self.edited().rev() {
            match byte {
                b'\t' => return Echo::EraseTab(columns, true),
                byte if byte.is_ascii_control() => columns += if shows_control { 2 } else { 0 },
                byte if self.is_continuation(byte) => {}
                _ => columns += 1,
            }
        }
        Echo::EraseTab(columns, false)
    }

    fn is_continuation(&self, byte: u8) -> bool {
        self.termios.input().contains(InputFlags::IUTF8) && byte & 0xc0 == 0x80
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    fn type_in(discipline: &mut LineDiscipline, bytes: &[u8]) -> Effects {
        let mut effects = Effects::default();
        bytes.iter().for_each(|byte| discipline.receive(*byte, &mut effects));
        effects
    }

    fn read(discipline: &mut LineDiscipline, max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        discipline.take(max, &mut out);
        out
    }

    #[ktest]
    fn a_line_is_readable_when_it_is_complete() {
        let mut discipline = LineDiscipline::new(Termios::serial());
        type_in(&mut discipline, b"ab");
        assert!(!discipline.has_input(1));
        type_in(&mut discipline, b"c\rnext");
        assert!(discipline.has_input(1));
        assert_eq!(discipline.readable_bytes(), 4);
        assert_eq!(read(&mut discipline, 2), b"ab");
        assert_eq!(read(&mut discipline, 100), b"c\n");
        assert!(!discipline.has_input(1));
    }

    #[ktest]
    fn editing_removes_characters_words_and_lines() {
        let mut discipline = LineDiscipline::new(Termios::serial());
        type_in(&mut discipline, b"one two_3\x17x\x7fy\n");
        assert_eq!(read(&mut discipline, 100), b"one y\n");
        type_in(&mut discipline, b"gone\x15kept\x16\x03\n");
        assert_eq!(read(&mut discipline, 100), b"kept\x03\n");
    }

    #[ktest]
    fn end_of_file_ends_a_read() {
        let mut discipline = LineDiscipline::new(Termios::serial());
        type_in(&mut discipline, b"ab\x04\x04");
        assert_eq!(read(&mut discipline, 2), b"ab");
        assert!(discipline.has_input(1));
        assert_eq!(read(&mut discipline, 2), b"");
        assert!(!discipline.has_input(1));
    }

    #[ktest]
    fn keys_send_signals_and_flush() {
        let mut discipline = LineDiscipline::new(Termios::serial());
        let effects = type_in(&mut discipline, b"abc\x03");
        assert_eq!(effects.signals, [KeySignal::Interrupt]);
        assert_eq!(effects.echo, [Echo::Char(3)]);
        type_in(&mut discipline, b"x\n");
        assert_eq!(read(&mut discipline, 9), b"x\n");
    }

    #[ktest]
    fn a_line_too_long_loses_its_end_only() {
        let mut discipline = LineDiscipline::new(Termios::serial());
        type_in(&mut discipline, &[b'x'; 5000]);
        assert!(discipline.has_room());
        type_in(&mut discipline, b"\n");
        assert!(!discipline.has_room());
        let line = read(&mut discipline, 9000);
        assert_eq!((line.len(), line.last()), (CAPACITY, Some(&b'\n')));
    }
}
