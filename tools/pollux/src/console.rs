// SPDX-License-Identifier: MPL-2.0

//! The kernel's log: what of it is for the user's eyes.

use std::collections::VecDeque;
use std::io::Write;

/// Lines kept for the case that the kernel dies.
const KEPT: usize = 60;

/// Words that open a kernel's obituary: a Rust panic's, and Linux's.
const PANIC_MARKS: [&str; 4] =
    ["panicked at ", "Uncaught panic", "Kernel panic - not syncing", "Unrecoverable kernel fault"];

/// Takes the log line by line.
#[derive(Debug, Default)]
pub struct Console {
    partial: Vec<u8>,
    lines: VecDeque<String>,
    /// Lines from the first sign of a panic on.
    obituary: Vec<String>,
    verbose: bool,
    trace: bool,
    /// The process that is to become the program, and init's pump.
    pids: Option<(u32, u32)>,
    /// The program has been executed.
    executed: bool,
    /// Traced lines that came before `pids` was known.
    held: Vec<String>,
}

impl Console {
    /// `verbose`: everything goes to standard error; `trace`: lines that trace system calls do.
    pub fn new(verbose: bool, trace: bool) -> Self {
        Self { verbose, trace, ..Self::default() }
    }

    /// The next bytes of the log.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&self.partial).trim_end_matches('\r').to_owned();
                self.partial.clear();
                self.take_line(line);
            } else {
                self.partial.push(*byte);
            }
        }
    }

    /// Init says which process becomes the program and which is its pump.
    pub fn set_pids(&mut self, program: u32, pump: u32) {
        self.pids = Some((program, pump));
        self.release_held();
    }

    fn release_held(&mut self) {
        for line in std::mem::take(&mut self.held) {
            self.show_traced(&line);
        }
    }

    /// Shows a traced call if it is the user's: not the pump's, and not the program's before its `execve`.
    fn show_traced(&mut self, line: &str) {
        if let (Some((program, pump)), Some(pid)) = (self.pids, traced_pid(line)) {
            self.executed |= pid == program && line.contains("] execve(");
            if pid == pump || (pid == program && !self.executed) {
                return;
            }
        }
        show(line);
    }

    /// No more bytes will come.
    pub fn finish(&mut self) {
        self.release_held();
        if !self.partial.is_empty() {
            self.feed(b"\n");
        }
    }

    fn take_line(&mut self, line: String) {
        let traced = trace_line(&line);
        match &traced {
            Some(traced) if self.trace && self.pids.is_none() => self.held.push(traced.clone()),
            Some(traced) if self.trace => self.show_traced(traced),
            _ if self.verbose => show(&line),
            _ => {}
        }
        if traced.is_none() && (!self.obituary.is_empty() || PANIC_MARKS.iter().any(|mark| line.contains(mark))) {
            self.obituary.push(line.clone());
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Whether the kernel has said that it panicked.
    pub fn has_panicked(&self) -> bool {
        !self.obituary.is_empty()
    }

    /// The kernel's last words: from the panic on, else the tail of its log.
    pub fn last_words(&self) -> Vec<&str> {
        if self.obituary.is_empty() {
            self.lines.iter().map(String::as_str).collect()
        } else {
            self.obituary.iter().take(KEPT).map(String::as_str).collect()
        }
    }
}

fn show(line: &str) {
    // In a raw terminal a line feed alone does not return the carriage. Nobody is left to tell if standard error is closed.
    let end = if crate::terminal::is_interactive() { "\r\n" } else { "\n" };
    let _ = write!(std::io::stderr(), "{line}{end}");
}

/// The N of `[pid N]`.
fn traced_pid(line: &str) -> Option<u32> {
    line.strip_prefix("[pid")?.split(']').next()?.trim().parse().ok()
}

/// A line that traces a system call, in the form `[pid N] call(...) = result`; strace's own form is `N call(...)`.
fn trace_line(line: &str) -> Option<String> {
    if line.starts_with("[pid ") {
        return Some(line.to_owned());
    }
    let (pid, rest) = line.split_once(' ')?;
    let is_pid = !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
    is_pid.then(|| format!("[pid {pid}] {}", rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_noticed_but_not_in_traces() {
        let mut console = Console::default();
        console.feed(b"booting\r\n[pid 2] write(1, \"panicked at x\", 13) = 13\n");
        assert!(!console.has_panicked());
        console.feed(b"Uncaught panic:\n  panicked at kernel/src/x.rs:1\n  trace");
        console.finish();
        assert!(console.has_panicked());
        assert_eq!(console.last_words(), ["Uncaught panic:", "  panicked at kernel/src/x.rs:1", "  trace"]);
    }

    #[test]
    fn without_a_panic_the_tail_is_kept() {
        let mut console = Console::default();
        for n in 0..100 {
            console.feed(format!("line {n}\n").as_bytes());
        }
        assert_eq!(console.last_words().len(), KEPT);
        assert_eq!(console.last_words().last(), Some(&"line 99"));
    }

    #[test]
    fn the_pumps_own_calls_are_known() {
        assert_eq!(traced_pid("[pid     3] close(9) = 0"), Some(3));
        assert_eq!(traced_pid("[pid 71] x"), Some(71));
        assert_eq!(traced_pid("other"), None);
    }

    #[test]
    fn both_forms_of_trace() {
        assert_eq!(trace_line("[pid 2] getpid() = 2").unwrap(), "[pid 2] getpid() = 2");
        assert_eq!(trace_line("71  getpid() = 71").unwrap(), "[pid 71] getpid() = 71");
        assert_eq!(trace_line("x86: booting"), None);
    }
}
