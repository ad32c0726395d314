// SPDX-License-Identifier: MPL-2.0

//! One run: a machine, the four wires, and the threads that carry bytes over them.
//!
//! # Protocol
//!
//! The guest's init speaks first: `start` on the control wire, `pids M N` (the program and the process that carries its
//! bytes), then `credit N` whenever it has taken N bytes of standard input, and at last one of `exit N`, `signal N`,
//! `error TEXT`, written when all output is on the wires; then it turns the machine off. Standard input goes out in
//! frames, never more than [`WINDOW`] bytes ahead of the credit.
//!
//! # Concurrency
//!
//! One thread per direction and wire, one for signals, one that waits for QEMU's standard error; they report to the
//! main loop by a channel. Only the main loop decides how the run ends. Output threads end by end-of-file when QEMU is
//! gone and are joined, so no byte is lost; the thread that reads standard input may be stuck in `read` and is left to
//! the end of the process.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};

use crate::console::Console;
use crate::machine::{Machine, Wires};
use crate::terminal;

/// Bytes of standard input (frame headers included) that may be on their way: half of what Linux's terminal driver
/// buffers for a reader that is late.
const WINDOW: usize = 2048;

/// Bytes of one frame's header.
const HEADER: usize = 2;

/// How long a machine may take to turn itself off once it has reported.
const POWER_OFF_GRACE: Duration = Duration::from_secs(3);

/// How long a panicking kernel may go on printing.
const PANIC_GRACE: Duration = Duration::from_millis(1500);

/// How long a program may take to obey Ctrl-C before the machine is ended.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);

/// How the run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program exited.
    Exit(u8),
    /// A signal ended the program.
    Signal(u8),
    /// Init could not start it.
    GuestError(String),
    /// `--timeout` was up. If init had not started the program by then: the tail of the kernel's log.
    TimedOut(Option<Vec<String>>),
    /// We were told to stop by a signal.
    Interrupted(u8),
    /// Standard output is closed: nobody listens any more.
    OutputClosed,
    /// The kernel died: its last words.
    Panicked(Vec<String>),
    /// The machine stopped without saying why: the tail of the kernel's log, QEMU's messages and status.
    Died(Vec<String>, String, Option<ExitStatus>),
}

enum Event {
    Control(String),
    Console(Vec<u8>),
    OutputClosed,
    Signal(Signal),
    Unplugged,
    MachineGone,
}

/// Bytes that may still be sent.
#[derive(Default)]
struct Credit {
    available: Mutex<usize>,
    more: Condvar,
}

impl Credit {
    fn grant(&self, bytes: usize) {
        *self.available.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
        self.more.notify_one();
    }

    /// Waits for more than `HEADER` bytes and takes up to `most`.
    fn take(&self, most: usize) -> usize {
        let available = self.available.lock().unwrap_or_else(PoisonError::into_inner);
        let mut available = self.more.wait_while(available, |a| *a <= HEADER).unwrap_or_else(PoisonError::into_inner);
        let taken = most.min(*available);
        *available -= taken;
        taken
    }
}

/// What the user asked of the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// See `--timeout`.
    pub timeout: Option<Duration>,
    /// The program has a terminal.
    pub terminal: bool,
    /// See `--verbose`.
    pub verbose: bool,
    /// See `--trace`.
    pub trace: bool,
}

/// Carries the machine to its end.
pub fn run(mut machine: Machine, wires: Wires, wishes: Wishes) -> Result<Outcome> {
    let _raw_mode = if wishes.terminal { Some(terminal::RawMode::enter()?) } else { None };
    let (events, inbox) = channel();
    let credit = Arc::new(Credit::default());
    watch_signals(events.clone())?;
    let readers = start_readers(&wires, &events, &mut machine)?;
    let mut commands = wires.control.try_clone()?;
    start_input(wires.data.try_clone()?, &events, Arc::clone(&credit), wishes.terminal);
    drop(events);

    let mut state = State {
        console: Console::new(wishes.verbose, wishes.trace),
        wishes,
        credit,
        started: false,
        outcome: None,
        deadline: wishes.timeout.map(|timeout| Instant::now() + timeout),
        deadline_means: Outcome::TimedOut(None),
        interrupted: false,
    };
    state.serve(&inbox, &mut commands);
    // Whatever is still running has had its time.
    let _ = machine.process.kill();
    let status = machine.process.wait().ok();
    for data in [&wires.data, &wires.error, &wires.console, &wires.control] {
        // Only our sending side: what QEMU has sent is still to be read.
        let _ = data.shutdown(Shutdown::Write);
    }
    let complaints = readers.join();
    for event in inbox.try_iter() {
        state.take(event, &mut commands);
    }
    state.console.finish();
    Ok(state.conclude(complaints, status))
}

struct State {
    console: Console,
    wishes: Wishes,
    credit: Arc<Credit>,
    started: bool,
    outcome: Option<Outcome>,
    deadline: Option<Instant>,
    /// What it means when the deadline passes and there is no outcome yet.
    deadline_means: Outcome,
    interrupted: bool,
}

impl State {
    /// Takes events until the machine is gone or its time is up.
    fn serve(&mut self, inbox: &Receiver<Event>, commands: &mut UnixStream) {
        loop {
            let event = match self.deadline {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(Event::MachineGone) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(event) => {
                    if self.take(event, commands) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.outcome.is_none() && !self.console.has_panicked() {
                        self.outcome = Some(std::mem::replace(&mut self.deadline_means, Outcome::TimedOut(None)));
                    }
                    return;
                }
            }
        }
    }

    /// Takes one event; true means: do not wait for anything more.
    fn take(&mut self, event: Event, commands: &mut UnixStream) -> bool {
        match event {
            Event::Console(bytes) => {
                let knew = self.console.has_panicked();
                self.console.feed(&bytes);
                if !knew && self.console.has_panicked() {
                    self.limit(PANIC_GRACE);
                }
                false
            }
            Event::Control(line) => {
                self.obey(&line);
                false
            }
            Event::OutputClosed => self.end_with(Outcome::OutputClosed),
            Event::Unplugged => self.end_with(Outcome::Interrupted(Signal::SIGKILL as u8)),
            Event::Signal(signal) => self.handle_signal(signal, commands),
            Event::MachineGone => true,
        }
    }

    fn end_with(&mut self, outcome: Outcome) -> bool {
        self.outcome.get_or_insert(outcome);
        true
    }

    /// The end comes in `grace` at the latest.
    fn limit(&mut self, grace: Duration) {
        let latest = Instant::now() + grace;
        self.deadline = Some(self.deadline.map_or(latest, |deadline| deadline.min(latest)));
    }

    fn obey(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, rest.parse::<usize>()) {
            ("start", _) => {
                self.started = true;
                self.credit.grant(WINDOW);
            }
            ("pids", _) => {
                if let Some((Ok(program), Ok(pump))) = rest.split_once(' ').map(|(a, b)| (a.parse(), b.parse())) {
                    self.console.set_pids(program, pump);
                }
            }
            ("credit", Ok(bytes)) => self.credit.grant(bytes),
            ("exit", Ok(status)) => self.report(Outcome::Exit((status & 0xff) as u8)),
            ("signal", Ok(signal)) => self.report(Outcome::Signal((signal & 0x7f) as u8)),
            ("error", _) => self.report(Outcome::GuestError(rest.to_owned())),
            // Noise on the line, such as firmware probing the port: not for us.
            _ => {}
        }
    }

    fn report(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
        self.deadline = None;
        self.limit(POWER_OFF_GRACE);
    }

    fn handle_signal(&mut self, signal: Signal, commands: &mut UnixStream) -> bool {
        match signal {
            Signal::SIGWINCH if self.wishes.terminal => {
                let (rows, cols) = terminal::window_size();
                let _ = writeln!(commands, "size {rows} {cols}");
                false
            }
            Signal::SIGWINCH => false,
            // The first Ctrl-C is for the program, if there is one yet.
            Signal::SIGINT if self.started && !self.interrupted => {
                self.interrupted = true;
                let _ = writeln!(commands, "signal {}", signal as i32);
                self.limit(INTERRUPT_GRACE);
                self.deadline_means = Outcome::Interrupted(signal as u8);
                false
            }
            _ => self.end_with(Outcome::Interrupted(signal as u8)),
        }
    }

    fn conclude(self, complaints: String, status: Option<ExitStatus>) -> Outcome {
        let words = || self.console.last_words().into_iter().map(str::to_owned).collect();
        match self.outcome {
            Some(Outcome::TimedOut(_)) => Outcome::TimedOut((!self.started).then(words)),
            Some(outcome) => outcome,
            None if self.console.has_panicked() => Outcome::Panicked(words()),
            None => Outcome::Died(words(), complaints, status),
        }
    }
}

struct Readers {
    threads: Vec<JoinHandle<()>>,
    complaints: JoinHandle<String>,
}

impl Readers {
    /// Waits for the last byte. Returns what QEMU wrote to its standard error.
    fn join(self) -> String {
        for thread in self.threads {
            // A thread that panicked has printed why.
            let _ = thread.join();
        }
        self.complaints.join().unwrap_or_default()
    }
}

fn start_readers(wires: &Wires, events: &Sender<Event>, machine: &mut Machine) -> Result<Readers> {
    let mut stderr = machine.process.stderr.take();
    let gone = events.clone();
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(stderr) = &mut stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        // End-of-file here is QEMU's end.
        let _ = gone.send(Event::MachineGone);
        text
    });
    let (data, error) = (wires.data.try_clone()?, wires.error.try_clone()?);
    let (console, control) = (wires.console.try_clone()?, wires.control.try_clone()?);
    let (closed, also_closed) = (events.clone(), events.clone());
    let (log, lines) = (events.clone(), events.clone());
    let threads = vec![
        std::thread::spawn(move || carry(data, std::io::stdout(), &closed)),
        std::thread::spawn(move || carry(error, std::io::stderr(), &also_closed)),
        std::thread::spawn(move || read_chunks(console, |bytes| log.send(Event::Console(bytes.to_vec())).is_ok())),
        std::thread::spawn(move || read_control(control, &lines)),
    ];
    Ok(Readers { threads, complaints })
}

/// Calls `take` with what comes until the end, or until it says false.
fn read_chunks(mut from: UnixStream, mut take: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 1 << 16];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                if !take(&buffer[..n]) {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn carry(from: UnixStream, mut to: impl Write, events: &Sender<Event>) {
    let mut open = true;
    read_chunks(from, |bytes| {
        if open && to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            open = false;
            let _ = events.send(Event::OutputClosed);
        }
        // The rest is read all the same, or QEMU would wait for us.
        true
    });
}

fn read_control(from: UnixStream, events: &Sender<Event>) {
    let mut line = Vec::new();
    read_chunks(from, |bytes| {
        bytes.iter().all(|byte| match byte {
            b'\n' => {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                line.clear();
                events.send(Event::Control(text)).is_ok()
            }
            _ => {
                line.push(*byte);
                true
            }
        })
    });
}

fn start_input(to: UnixStream, events: &Sender<Event>, credit: Arc<Credit>, terminal: bool) {
    let events = events.clone();
    std::thread::spawn(move || {
        if terminal {
            // Nobody reads the port before the program is there.
            credit.take(HEADER + 1);
            carry_keys(to, &events);
        } else {
            carry_frames(std::io::stdin(), to, &credit);
        }
    });
}

/// Standard input in frames, then the frame of length 0 that means its end.
fn carry_frames(mut from: impl Read, mut to: impl Write, credit: &Credit) {
    let mut buffer = [0; WINDOW - HEADER];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // Such as EIO from a terminal we are not in the foreground of: no more input.
            Err(_) => 0,
        };
        let mut rest = &buffer[..n];
        loop {
            let room = credit.take(HEADER + rest.len().max(1)) - HEADER;
            let piece = &rest[..room.min(rest.len())];
            rest = &rest[piece.len()..];
            credit.grant(room - piece.len());
            let mut frame = (piece.len() as u16).to_le_bytes().to_vec();
            frame.extend_from_slice(piece);
            if to.write_all(&frame).is_err() {
                return;
            }
            if rest.is_empty() {
                break;
            }
        }
        if n == 0 {
            return;
        }
    }
}

/// Ctrl-].
const ESCAPE: u8 = 0x1d;

/// Keys go to the guest as they come. Three times Ctrl-] in a row ends the machine.
fn carry_keys(mut to: UnixStream, events: &Sender<Event>) {
    let mut escapes = 0;
    let mut buffer = [0; 256];
    while let Ok(n) = std::io::stdin().read(&mut buffer) {
        if n == 0 {
            return;
        }
        for byte in &buffer[..n] {
            escapes = if *byte == ESCAPE { escapes + 1 } else { 0 };
        }
        if escapes >= 3 {
            let _ = events.send(Event::Unplugged);
            return;
        }
        if to.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

/// From here on these signals come as events, whichever thread they hit.
fn watch_signals(events: Sender<Event>) -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH] {
        signals.add(signal);
    }
    signals.thread_block()?;
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_framed_and_ended() {
        let credit = Credit::default();
        credit.grant(WINDOW);
        let mut wire = Vec::new();
        carry_frames(&b"hello"[..], &mut wire, &credit);
        assert_eq!(wire, b"\x05\x00hello\x00\x00");
    }

    #[test]
    fn frames_never_exceed_the_credit() {
        let credit = Arc::new(Credit::default());
        let granting = Arc::clone(&credit);
        let input = vec![b'x'; 10_000];
        let sender = std::thread::spawn(move || {
            let mut wire = Vec::new();
            carry_frames(&input[..], &mut wire, &credit);
            wire
        });
        // Far less than the input, in odd portions: it has to come through in many frames.
        for _ in 0..3000 {
            granting.grant(7);
            std::thread::yield_now();
        }
        let wire = sender.join().unwrap();
        let (mut at, mut payload) = (0, 0);
        while at < wire.len() {
            let size = usize::from(u16::from_le_bytes([wire[at], wire[at + 1]]));
            payload += size;
            at += HEADER + size;
        }
        assert_eq!(payload, 10_000);
        assert!(wire.ends_with(&[0, 0]));
    }
}
