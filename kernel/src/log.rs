// SPDX-License-Identifier: MPL-2.0

//! The kernel log: a ring of records for `/dev/kmsg` and `syslog(2)`, and the first serial port for what is urgent.
//!
//! # Role
//! The backend of OSTD's logging macros. Every record up to `info` (or `debug`, when the console wants it) enters the ring;
//! those more severe than the console level (`loglevel=`) are also printed on the first serial port. By default warnings and
//! worse are printed, so that a healthy boot prints nothing.
//!
//! # Concurrency
//! Macros are called from any context. The ring is a leaf lock with IRQs disabled and never allocates; the port is written
//! after the ring is unlocked, in one call per record, so that lines of two CPUs do not mix.

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

use ostd::{
    early_print,
    log::{Level, LevelFilter, Log, Record},
};

use readiness::{IoEvents, Pollee};
use spin::Once;

use crate::prelude::*;

/// Bytes of the ring; a power of two.
pub const RING_SIZE: usize = 1 << 16;
/// Longest text of one record; more is cut off.
const TEXT_MAX: usize = 976;
/// Length (2), level (1), unused (1), nanoseconds since boot (8).
const HEADER: usize = 12;
/// Records of a lower number are printed, unless the command line says otherwise: warnings and worse.
const DEFAULT_CONSOLE_LEVEL: u8 = 5;

static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(DEFAULT_CONSOLE_LEVEL);
static RING: SpinLock<Ring, LocalIrqDisabled> = SpinLock::new(Ring::new());
/// The level that `SYSLOG_ACTION_CONSOLE_OFF` remembers for `_ON`; 0 while the console is on.
static SAVED_LEVEL: AtomicU8 = AtomicU8::new(0);

struct Logger;

/// Takes over OSTD's log. Call once, early in the boot.
pub fn init(loglevel: Option<u8>) {
    // Made now, not by the first record, which may come from an interrupt.
    pollee();
    ostd::log::inject_logger(&Logger);
    set_console_level(loglevel.unwrap_or(DEFAULT_CONSOLE_LEVEL));
}

/// Sets the level below which records are printed, clamped to 1..=8 as `syslog(2)` `SYSLOG_ACTION_CONSOLE_LEVEL` does.
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level.clamp(1, 8), Relaxed);
    SAVED_LEVEL.store(0, Relaxed);
    let filter = if level > Level::Debug as u8 { LevelFilter::Debug } else { LevelFilter::Info };
    ostd::log::set_max_level(filter);
}

/// The level below which records are printed.
pub fn console_level() -> u8 {
    CONSOLE_LEVEL.load(Relaxed)
}

/// Switches printing off and on again (`SYSLOG_ACTION_CONSOLE_OFF`, `_ON`).
pub fn set_console_enabled(is_enabled: bool) {
    let saved = SAVED_LEVEL.load(Relaxed);
    if is_enabled && saved != 0 {
        set_console_level(saved);
    } else if !is_enabled && saved == 0 {
        let level = CONSOLE_LEVEL.swap(1, Relaxed);
        SAVED_LEVEL.store(level, Relaxed);
    }
}

/// Logs that a program asked for a system call that does not exist here: once per call and boot.
pub fn unimplemented_syscall(number: usize) {
    const WORDS: usize = 8;
    static SEEN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
    // Numbers beyond the table share its last bit: the log must not grow with what a program makes up.
    let index = number.min(WORDS * 64 - 1);
    let bit = 1 << (index % 64);
    if SEEN[index / 64].fetch_or(bit, Relaxed) & bit == 0 {
        let name = crate::trace::syscall_name(number).unwrap_or("unknown");
        ostd::warn!("system call {number} ({name}) is not implemented");
    }
}

/// Adds a line that a program wrote to `/dev/kmsg`, and prints it if it is urgent enough. Above the three bits of the level
/// is the facility.
pub fn write_user(level: u8, text: &str) {
    emit(level, format_args!("{text}"));
}

impl Log for Logger {
    fn log(&self, record: &Record) {
        emit(record.level() as u8, format_args!("{}{}", record.prefix(), record.args()));
    }
}

fn emit(level: u8, args: fmt::Arguments<'_>) {
    let mut text = Text::new();
    let _ = text.write_fmt(args);
    let nanos = uptime_nanos();
    RING.lock().push(level, nanos, text.as_bytes());
    // Whoever waits for records is woken after the lock is gone; with nobody waiting this is one locked instruction.
    let _ = pollee().notify(IoEvents::READABLE);
    if level & 7 < CONSOLE_LEVEL.load(Relaxed) {
        let micros = nanos / 1000;
        early_print!("[{:5}.{:06}] {}\n", micros / 1_000_000, micros % 1_000_000, text.as_str());
    }
}

/// Nanoseconds since the time stamp counter started, as the log shows them. 0 before its frequency is known.
fn uptime_nanos() -> u64 {
    let frequency = u128::from(ostd::arch::tsc_freq());
    let nanos = u128::from(ostd::arch::read_tsc()) * 1_000_000_000;
    u64::try_from(nanos.checked_div(frequency).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// A record's text, without a heap: what does not fit is cut at a character's border.
struct Text {
    bytes: [u8; TEXT_MAX],
    len: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; TEXT_MAX], len: 0 }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes[..self.len].trim_ascii_end()
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("(not text)")
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut count = text.len().min(TEXT_MAX - self.len);
        while !text.is_char_boundary(count) {
            count -= 1;
        }
        self.bytes[self.len..self.len + count].copy_from_slice(&text.as_bytes()[..count]);
        self.len += count;
        Ok(())
    }
}

/// A record as readers see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Number since boot.
    pub sequence: u64,
    /// Severity, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Microseconds since boot.
    pub micros: u64,
    /// The text, without a newline at its end.
    pub text: Vec<u8>,
}

impl Entry {
    /// The record as one `read(2)` of `/dev/kmsg` returns it (Linux's `Documentation/ABI/testing/dev-kmsg`).
    pub fn to_kmsg(&self) -> Vec<u8> {
        let mut line = alloc::format!("{},{},{},-;", self.level, self.sequence, self.micros).into_bytes();
        for byte in &self.text {
            match byte {
                // A newline inside the text would look like a dictionary line.
                b' '..=b'~' if *byte != b'\\' => line.push(*byte),
                0x80.. => line.push(*byte),
                other => line.extend(alloc::format!("\\x{other:02x}").bytes()),
            }
        }
        line.push(b'\n');
        line
    }

    /// The record as `syslog(2)` returns it: `<level>[seconds] text`.
    pub fn to_syslog(&self) -> Vec<u8> {
        let (seconds, micros) = (self.micros / 1_000_000, self.micros % 1_000_000);
        let prefix = alloc::format!("<{}>[{seconds:5}.{micros:06}] ", self.level);
        let mut line = Vec::new();
        for part in self.text.split(|byte| *byte == b'\n') {
            line.extend(prefix.bytes());
            line.extend(part);
            line.push(b'\n');
        }
        line
    }
}

/// Is notified of every new record. Readers are at different places, so they must not use its cache.
pub fn pollee() -> &'static Pollee {
    static POLLEE: Once<Pollee> = Once::new();
    POLLEE.call_once(Pollee::new)
}

/// The oldest record numbered `sequence` or above.
pub fn entry_from(sequence: u64) -> Option<Entry> {
    RING.lock().find(sequence).map(|raw| raw.into_entry())
}

/// The number of the oldest record that is still there.
pub fn first_sequence() -> u64 {
    RING.lock().first_sequence
}

/// The number that the next record will get.
pub fn next_sequence() -> u64 {
    RING.lock().next_sequence
}

/// A record copied out under the lock, still without a heap.
struct RawEntry {
    sequence: u64,
    level: u8,
    nanos: u64,
    text: Text,
}

impl RawEntry {
    fn into_entry(self) -> Entry {
        let text = self.text.bytes[..self.text.len].to_vec();
        Entry { sequence: self.sequence, level: self.level, micros: self.nanos / 1000, text }
    }
}

/// Records of different length behind each other; the newest overwrite the oldest.
struct Ring {
    bytes: [u8; RING_SIZE],
    /// Offsets that only grow; taken modulo the size on access.
    start: usize,
    end: usize,
    first_sequence: u64,
    next_sequence: u64,
}

impl Ring {
    const fn new() -> Self {
        Self { bytes: [0; RING_SIZE], start: 0, end: 0, first_sequence: 0, next_sequence: 0 }
    }

    fn push(&mut self, level: u8, nanos: u64, text: &[u8]) {
        let size = HEADER + text.len();
        while self.end.wrapping_sub(self.start) + size > RING_SIZE {
            self.start = self.start.wrapping_add(HEADER + self.text_len(self.start));
            self.first_sequence += 1;
        }
        let len = (text.len() as u16).to_le_bytes();
        self.put(&[len[0], len[1], level, 0]);
        self.put(&nanos.to_le_bytes());
        self.put(text);
        self.next_sequence += 1;
    }

    /// Looks from the oldest record on: readers are rare, and the ring stays simple.
    fn find(&self, sequence: u64) -> Option<RawEntry> {
        if sequence >= self.next_sequence {
            return None;
        }
        let mut at = self.start;
        for _ in self.first_sequence..sequence {
            at = at.wrapping_add(HEADER + self.text_len(at));
        }
        let mut nanos = [0; 8];
        self.copy_out(at.wrapping_add(4), &mut nanos);
        let mut text = Text::new();
        text.len = self.text_len(at).min(TEXT_MAX);
        self.copy_out(at.wrapping_add(HEADER), &mut text.bytes[..text.len]);
        let level = self.bytes[at.wrapping_add(2) % RING_SIZE];
        let sequence = sequence.max(self.first_sequence);
        Some(RawEntry { sequence, level, nanos: u64::from_le_bytes(nanos), text })
    }

    fn text_len(&self, at: usize) -> usize {
        let mut len = [0; 2];
        self.copy_out(at, &mut len);
        usize::from(u16::from_le_bytes(len))
    }

    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.bytes[self.end % RING_SIZE] = *byte;
            self.end = self.end.wrapping_add(1);
        }
    }

    fn copy_out(&self, at: usize, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.bytes[at.wrapping_add(index) % RING_SIZE];
        }
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn the_ring_keeps_the_newest_records() {
        // Too large for a stack.
        static SCRATCH: SpinLock<Ring> = SpinLock::new(Ring::new());
        let mut ring = SCRATCH.lock();
        for number in 0..2000_u64 {
            ring.push(6, number * 1000, alloc::format!("record {number} {:60}", "").as_bytes());
        }
        assert_eq!(ring.next_sequence, 2000);
        assert!(ring.first_sequence > 0);
        assert!(ring.find(2000).is_none());
        let last = ring.find(1999).unwrap().into_entry();
        assert!(last.text.starts_with(b"record 1999 "));
        assert_eq!((last.sequence, last.level, last.micros), (1999, 6, 1999));
        // A reader that was overtaken gets the oldest record that is left.
        let oldest = ring.find(0).unwrap().into_entry();
        assert_eq!(oldest.sequence, ring.first_sequence);
        assert!(oldest.text.starts_with(alloc::format!("record {} ", oldest.sequence).as_bytes()));
    }

    #[ktest]
    fn records_are_formatted_as_linux_does() {
        let entry = Entry { sequence: 7, level: 4, micros: 1_000_042, text: b"a\tb\nc".to_vec() };
        assert_eq!(entry.to_kmsg(), b"4,7,1000042,-;a\\x09b\\x0ac\n");
        assert_eq!(entry.to_syslog(), b"<4>[    1.000042] a\tb\n<4>[    1.000042] c\n");
    }
}
