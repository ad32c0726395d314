// SPDX-License-Identifier: MPL-2.0

//! The line discipline's output side: from what `write(2)` brings, and echo, to what goes over the line.
//!
//! Programs and echo share one queue, so that their order is kept. The queue knows the cursor's column, for tabs and for
//! wiping what was echoed. Mirrors `do_output_char` and `__process_echoes` of Linux's `n_tty`.

use super::{
    ldisc::Echo,
    termios::{InputFlags, LocalFlags, OutputFlags, Termios},
};
use crate::prelude::*;

/// Bytes that one character may become: a tab, or a rubout of a tab.
const MAX_EXPANSION: usize = 8;

/// Output on its way to the line.
pub struct Output {
    bytes: VecDeque<u8>,
    capacity: usize,
    column: usize,
    /// Column at which the line being edited starts.
    line_start: usize,
}

impl Output {
    /// An empty queue of at most `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity, column: 0, line_start: 0 }
    }

    /// Bytes waiting for the line.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits for the line.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of room.
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Whether a character may be written, whatever it becomes.
    pub fn has_room(&self) -> bool {
        self.room() >= MAX_EXPANSION
    }

    /// Takes as much of `bytes` as fits; returns how much.
    pub fn write(&mut self, termios: &Termios, bytes: &[u8]) -> usize {
        if !termios.output().contains(OutputFlags::OPOST) {
            let count = bytes.len().min(self.room());
            self.bytes.extend(&bytes[..count]);
            return count;
        }
        let mut count = 0;
        while count < bytes.len() && self.has_room() {
            self.process(termios, bytes[count]);
            count += 1;
        }
        count
    }

    /// Echoes. What does not fit is lost, as Linux loses it.
    pub fn echo(&mut self, termios: &Termios, echo: Echo) {
        if !self.has_room() {
            return;
        }
        let shows_control = termios.local().contains(LocalFlags::ECHOCTL);
        match echo {
            Echo::Char(byte) if shows_control && byte.is_ascii_control() && byte != b'\t' => {
                self.bytes.extend([b'^', byte ^ 0x40]);
                self.column += 2;
            }
            Echo::Char(byte) | Echo::Raw(byte) => {
                self.write(termios, &[byte]);
            }
            Echo::Rubout => {
                self.bytes.extend(*b"\x08 \x08");
                self.column = self.column.saturating_sub(1);
            }
            Echo::EraseTab(columns, is_behind_tab) => {
                let start = if is_behind_tab { columns } else { columns + self.line_start };
                for _ in 0..8 - start % 8 {
                    self.bytes.push_back(8);
                    self.column = self.column.saturating_sub(1);
                }
            }
            Echo::MarkLineStart => self.line_start = self.column,
        }
    }

    /// Takes up to `max` bytes for the line.
    pub fn take(&mut self, max: usize) -> impl Iterator<Item = u8> {
        let count = max.min(self.bytes.len());
        self.bytes.drain(..count)
    }

    /// Throws away what waits.
    pub fn flush(&mut self) {
        self.bytes.clear();
    }

    /// Output processing of one byte.
    fn process(&mut self, termios: &Termios, byte: u8) {
        let flags = termios.output();
        let mut byte = byte;
        match byte {
            b'\n' => {
                if flags.contains(OutputFlags::ONLCR) {
                    self.bytes.push_back(b'\r');
                }
                if flags.intersects(OutputFlags::ONLCR | OutputFlags::ONLRET) {
                    self.column = 0;
                }
                self.line_start = self.column;
            }
            b'\r' if flags.contains(OutputFlags::ONOCR) && self.column == 0 => return,
            b'\r' => {
                let becomes_newline = flags.contains(OutputFlags::OCRNL);
                byte = if becomes_newline { b'\n' } else { b'\r' };
                if !becomes_newline || flags.contains(OutputFlags::ONLRET) {
                    self.column = 0;
                    self.line_start = 0;
                }
            }
            b'\t' => {
                let spaces = 8 - self.column % 8;
                self.column += spaces;
                if termios.expands_tabs() {
                    self.bytes.extend(core::iter::repeat_n(b' ', spaces));
                    return;
                }
            }
            8 => self.column = self.column.saturating_sub(1),
            _ if byte.is_ascii_control() => {}
            _ => {
                if flags.contains(OutputFlags::OLCUC) {
                    byte = byte.to_ascii_uppercase();
                }
                let is_utf8 = termios.input().contains(InputFlags::IUTF8);
                if !(is_utf8 && byte & 0xc0 == 0x80) {
                    self.column += 1;
                }
            }
        }
        self.bytes.push_back(byte);
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    fn shown(output: &mut Output) -> Vec<u8> {
        output.take(usize::MAX).collect()
    }

    #[ktest]
    fn newlines_return_and_tabs_are_tracked() {
        let mut output = Output::new(100);
        assert_eq!(output.write(&Termios::serial(), b"a\tb\n"), 4);
        assert_eq!(shown(&mut output), b"a\tb\r\n");
        assert_eq!(output.column, 0);
    }

    #[ktest]
    fn a_tab_that_was_typed_is_wiped_to_its_start() {
        let mut output = Output::new(100);
        let termios = Termios::serial();
        output.write(&termios, b"$ ");
        output.echo(&termios, Echo::MarkLineStart);
        output.echo(&termios, Echo::Char(b'a'));
        output.echo(&termios, Echo::Char(b'\t'));
        assert_eq!(output.column, 8);
        output.echo(&termios, Echo::EraseTab(1, false));
        assert_eq!(shown(&mut output), b"$ a\t\x08\x08\x08\x08\x08");
        assert_eq!(output.column, 3);
    }

    #[ktest]
    fn a_full_queue_takes_no_more() {
        let mut output = Output::new(16);
        assert_eq!(output.write(&Termios::serial(), &[b'x'; 20]), 9);
        output.echo(&Termios::serial(), Echo::Char(3));
        assert_eq!(output.len(), 9);
    }
}
