// SPDX-License-Identifier: MPL-2.0

//! The trace of system calls that `pollux.trace=1` prints on the first serial port, in the manner of `strace -f`.
//!
//! # Protocol
//! - Around a call: if [`is_on`] then [`enter`], and [`leave`] with the token that it gave. Without tracing that is one load.
//! - A thread that is about to sleep in a call: [`block`]. What is known of the call is printed at once; if another thread
//!   prints before it is over, it ends in `<unfinished ...>` and is taken up by `<... resumed>`.
//! - [`signal`] at the delivery of a signal, [`exited`] at the end of a process.
//!
//! The first process is not traced: it is the guest's own init.
//!
//! # Concurrency
//! Task context. Arguments are decoded before the printer is locked, since that may fault.

mod args;
mod flags;
mod siginfo;
mod table;

use core::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use ostd::early_print;
use syscalls::Sysno;

use self::args::Call;
use crate::{
    prelude::*,
    process::{ExitStatus, Pid, Process, Thread, Tid},
    signal::SigInfo,
};

/// Column at which answers are aligned, as `strace` does by default.
const ANSWER_COLUMN: usize = 39;

static IS_ON: AtomicBool = AtomicBool::new(false);
static PRINTER: SpinLock<Printer> = SpinLock::new(Printer { open_line: None, calls: BTreeMap::new() });

/// The name of system call `number` of x86-64, without `sys_`; `None` if Linux has none of that number.
pub fn syscall_name(number: usize) -> Option<&'static str> {
    Sysno::new(number).map(|call| call.name())
}

/// Starts tracing if the command line says so. Call once, before the first process.
pub fn init() {
    IS_ON.store(crate::cmdline::get().trace, Relaxed);
}

/// Whether anything is traced.
#[inline]
pub fn is_on() -> bool {
    IS_ON.load(Relaxed)
}

/// What of the calls is printed.
struct Printer {
    /// The thread whose line has not ended yet.
    open_line: Option<Tid>,
    /// The calls under way, by thread.
    calls: BTreeMap<Tid, Pending>,
}

/// A call under way.
struct Pending {
    call: Sysno,
    /// The process, the name, and the arguments up to the first that the kernel fills.
    head: String,
    /// Whether `head` is printed.
    is_printed: bool,
}

/// A call that is traced: to be handed to [`leave`].
#[must_use]
pub struct Traced {
    call: Sysno,
    words: [usize; 6],
    /// Arguments that are shown already.
    shown: usize,
}

/// A call begins, while [`is_on`]. `None` if it is not traced.
#[cold]
pub fn enter(ctx: &Context, number: usize, words: [usize; 6]) -> Option<Traced> {
    if ctx.process.pid == 1 {
        return None;
    }
    let call = Sysno::new(number)?;
    let mut head = String::new();
    let _ = write!(head, "[pid {:>5}] {}(", ctx.thread.tid(), call.name());
    let arguments = table::arguments(call, &words);
    let shown = arguments.iter().position(|arg| arg.is_output()).unwrap_or(arguments.len());
    let decoder = Call { ctx, words, answer: None };
    for (index, arg) in arguments[..shown].iter().enumerate() {
        head.push_str(if index > 0 { ", " } else { "" });
        decoder.write(&mut head, index, *arg);
    }
    let mut printer = PRINTER.lock();
    if table::never_returns(call) {
        head.push(')');
        pad(&mut head);
        head.push_str("= ?\n");
        printer.print(ctx.thread.tid(), &head, false);
        return None;
    }
    printer.calls.insert(ctx.thread.tid(), Pending { call, head, is_printed: false });
    Some(Traced { call, words, shown })
}

/// The call is over.
#[cold]
pub fn leave(ctx: &Context, traced: Traced, result: &Result<isize>) {
    let arguments = table::arguments(traced.call, &traced.words);
    let decoder = Call { ctx, words: traced.words, answer: Some(result.unwrap_or(-1)) };
    let mut tail = String::new();
    for (index, arg) in arguments.iter().enumerate().skip(traced.shown) {
        tail.push_str(if index > 0 { ", " } else { "" });
        decoder.write(&mut tail, index, *arg);
    }
    tail.push(')');
    let mut answer = String::new();
    write_answer(&mut answer, traced.call, result);
    write_note(&mut answer, traced.call, &decoder, result);
    PRINTER.lock().finish(ctx.thread.tid(), tail, &answer);
}

/// The thread is about to sleep: shows what it waits in.
#[inline]
pub fn block(thread: &Thread) {
    if is_on() {
        PRINTER.lock().show_head(thread.tid());
    }
}

/// A signal is delivered.
#[cold]
pub fn signal(ctx: &Context, info: &SigInfo) {
    if ctx.process.pid == 1 {
        return;
    }
    let mut line = String::new();
    let _ = write!(line, "[pid {:>5}] --- ", ctx.thread.tid());
    flags::write_signal(&mut line, u64::from(info.signal().number()));
    line.push(' ');
    siginfo::write_signal_info(&mut line, info);
    line.push_str(" ---\n");
    PRINTER.lock().print(ctx.thread.tid(), &line, false);
}

/// A process ended.
#[cold]
pub fn exited(process: &Process, status: ExitStatus) {
    if process.pid == 1 {
        return;
    }
    let pid: Pid = process.pid;
    let mut line = String::new();
    let _ = write!(line, "[pid {pid:>5}] +++ ");
    match status {
        ExitStatus::Exited(code) => _ = write!(line, "exited with {code}"),
        ExitStatus::Signaled { signal, core } => {
            line.push_str("killed by ");
            flags::write_signal(&mut line, u64::from(signal));
            line.push_str(if core { " (core dumped)" } else { "" });
        }
    }
    line.push_str(" +++\n");
    let mut printer = PRINTER.lock();
    printer.print(pid, &line, false);
    printer.calls.remove(&pid);
}

impl Printer {
    /// Prints `text` of thread `tid`, ending another thread's open line before. `stays_open` if more will follow.
    fn print(&mut self, tid: Tid, text: &str, stays_open: bool) {
        if self.open_line.is_some_and(|open| open != tid) {
            early_print!(" <unfinished ...>\n");
        }
        early_print!("{}", text);
        self.open_line = stays_open.then_some(tid);
    }

    fn show_head(&mut self, tid: Tid) {
        let Some(pending) = self.calls.get_mut(&tid) else {
            return;
        };
        if !core::mem::replace(&mut pending.is_printed, true) {
            let head = core::mem::take(&mut pending.head);
            self.print(tid, &head, true);
            if let Some(pending) = self.calls.get_mut(&tid) {
                pending.head = head;
            }
        }
    }

    fn finish(&mut self, tid: Tid, tail: String, answer: &str) {
        let Some(pending) = self.calls.remove(&tid) else {
            return;
        };
        let mut line = String::new();
        if !pending.is_printed {
            line = pending.head + &tail;
            pad(&mut line);
        } else if self.open_line == Some(tid) {
            let len = pending.head.len() + tail.len();
            line = tail;
            line.extend(core::iter::repeat_n(' ', padding(len)));
        } else {
            let _ = write!(line, "[pid {tid:>5}] <... {} resumed>{tail}", pending.call.name());
            pad(&mut line);
        }
        line.push_str(answer);
        line.push('\n');
        self.print(tid, &line, false);
    }
}

/// Blanks between a call of `len` characters, the process in front included, and its answer.
fn padding(len: usize) -> usize {
    const PREFIX: usize = "[pid 12345] ".len();
    (ANSWER_COLUMN + PREFIX).saturating_sub(len).max(1)
}

fn pad(line: &mut String) {
    let count = padding(line.len());
    line.extend(core::iter::repeat_n(' ', count));
}

fn write_answer(out: &mut String, call: Sysno, result: &Result<isize>) {
    let _ = match result {
        Ok(value) if table::answers_address(call) => write!(out, "= {value:#x}"),
        Ok(value) => write!(out, "= {value}"),
        Err(error) if error.is_restart() => write!(out, "= ? {} ({})", error.name(), error.description()),
        Err(error) => write!(out, "= -1 {} ({})", error.name(), error.description()),
    };
}

/// What `strace` says behind the answer: the events that `poll(2)` found, `Timeout`.
fn write_note(out: &mut String, call: Sysno, decoder: &Call<'_, '_>, result: &Result<isize>) {
    let is_poll = matches!(call, Sysno::poll | Sysno::ppoll);
    let is_select = matches!(call, Sysno::select | Sysno::pselect6);
    match result {
        Ok(0) if is_poll || is_select => out.push_str(" (Timeout)"),
        Ok(1..) if is_poll => {
            out.push_str(" (");
            let _ = decoder.write_poll_fds(out, decoder.words[0], decoder.words[1], true);
            out.push(')');
        }
        Ok(1..) if is_select => {
            let mut separator = " (";
            for (index, name) in [(1, "in "), (2, "out "), (3, "except ")] {
                if decoder.words[index] != 0 {
                    let _ = write!(out, "{separator}{name}");
                    decoder.write(out, index, table::Arg::FdSet);
                    separator = ", ";
                }
            }
            out.push(')');
        }
        _ => {}
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn names_are_those_of_the_manual() {
        assert_eq!(syscall_name(0), Some("read"));
        assert_eq!(syscall_name(232), Some("epoll_wait"));
        assert_eq!(syscall_name(441), Some("epoll_pwait2"));
        assert_eq!(syscall_name(400), None);
        assert_eq!(syscall_name(usize::MAX), None);
    }

    #[ktest]
    fn answers_are_as_strace_writes_them() {
        let shown = |call, result: crate::error::Result<isize>| {
            let mut out = String::new();
            write_answer(&mut out, call, &result);
            out
        };
        assert_eq!(shown(Sysno::read, Ok(3)), "= 3");
        assert_eq!(shown(Sysno::mmap, Ok(0x7f00)), "= 0x7f00");
        assert_eq!(shown(Sysno::read, Err(EAGAIN)), "= -1 EAGAIN (Resource temporarily unavailable)");
    }
}
