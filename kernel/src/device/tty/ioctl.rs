// SPDX-License-Identifier: MPL-2.0

//! What programs ask of terminals by `ioctl(2)`: `ioctl_tty(2)`.

use readiness::IoEvents;

use super::{
    MASTER, TERMINAL, Tty,
    file::TtyFile,
    job,
    pty::{self, PtyMaster},
    termios::{Termio, Termios, Termios2, WindowSize},
};
use crate::{
    prelude::*,
    process::{Pid, credentials::Capabilities},
    signal::numbers::*,
};

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCGETA: u32 = 0x5405;
const TCSETA: u32 = 0x5406;
const TCSETAW: u32 = 0x5407;
const TCSETAF: u32 = 0x5408;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCEXCL: u32 = 0x540c;
const TIOCNXCL: u32 = 0x540d;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCSTI: u32 = 0x5412;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCMGET: u32 = 0x5415;
const TIOCGSOFTCAR: u32 = 0x5419;
const FIONREAD: u32 = 0x541b;
const TIOCPKT: u32 = 0x5420;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGETD: u32 = 0x5424;
const TIOCSETD: u32 = 0x5423;
const TCSBRKP: u32 = 0x5425;
const TIOCGSID: u32 = 0x5429;
const TCGETS2: u32 = 0x802c_542a;
const TCSETS2: u32 = 0x402c_542b;
const TCSETSW2: u32 = 0x402c_542c;
const TCSETSF2: u32 = 0x402c_542d;
const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;
const TIOCGDEV: u32 = 0x8004_5432;
const TIOCSIG: u32 = 0x4004_5436;
const TIOCVHANGUP: u32 = 0x5437;
const TIOCGPKT: u32 = 0x8004_5438;
const TIOCGPTLCK: u32 = 0x8004_5439;
const TIOCGEXCL: u32 = 0x8004_5440;

/// `TIOCM_DTR | TIOCM_RTS | TIOCM_CAR | TIOCM_DSR | TIOCM_CTS`: a line that is always up.
const MODEM_UP: i32 = 0x2 | 0x4 | 0x20 | 0x40 | 0x100;

/// When settings take effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    Now,
    Drained,
    DrainedAndFlushed,
}

/// `ioctl(2)` on a terminal.
///
/// # Errors
/// `ENOTTY` for what terminals do not know; `EIO` after a hang-up; `EFAULT`; as the single requests say.
pub(super) fn on_terminal(
    tty: &Arc<Tty>,
    file: &TtyFile,
    ctx: &Context,
    command: u32,
    argument: usize,
) -> Result<isize> {
    if file.is_dead() {
        return Err(if command == TIOCSPGRP { ENOTTY } else { EIO });
    }
    match command {
        TCSETS | TCSETSW | TCSETSF | TCSETA | TCSETAW | TCSETAF | TCSETS2 | TCSETSW2 | TCSETSF2 => {
            job::check_foreground(tty, ctx, SIGTTOU)?;
            let (new, when) = read_settings(tty, ctx, command, argument)?;
            if when != When::Now {
                tty.drain(ctx, file)?;
            }
            tty.set_termios(new, when == When::DrainedAndFlushed);
        }
        TCSBRK | TCSBRKP => {
            job::check_foreground(tty, ctx, SIGTTOU)?;
            tty.drain(ctx, file)?;
        }
        TIOCSCTTY => {
            let force = argument == 1 && is_privileged(ctx);
            job::acquire(tty, &ctx.process, force)?;
        }
        TIOCNOTTY => job::release(tty, &ctx.process)?,
        TIOCGPGRP => {
            let group = controlled(tty, ctx)?.foreground().unwrap_or(0);
            ctx.write_val(argument, &group)?;
        }
        TIOCSPGRP => {
            let group: i32 = ctx.read_val(argument)?;
            let group = Pid::try_from(group).map_err(|_| EINVAL)?;
            job::set_foreground(tty, ctx, group)?;
        }
        TIOCGSID => {
            let session = controlled(tty, ctx)?.session().ok_or(ENOTTY)?;
            ctx.write_val(argument, &session)?;
        }
        FIONREAD => write_count(ctx, argument, tty.line.read(|line| line.discipline.readable_bytes()))?,
        TIOCOUTQ => write_count(ctx, argument, tty.line.read(|line| line.output.len()))?,
        TIOCSTI => {
            if !is_privileged(ctx) {
                return Err(EPERM);
            }
            let byte: u8 = ctx.read_val(argument)?;
            tty.receive(&[byte]);
        }
        TIOCVHANGUP => {
            if !is_privileged(ctx) {
                return Err(EPERM);
            }
            tty.hang_up();
        }
        TCXONC => {
            job::check_foreground(tty, ctx, SIGTTOU)?;
            flow(tty, argument)?;
        }
        TCFLSH => {
            job::check_foreground(tty, ctx, SIGTTOU)?;
            flush(tty, argument, false)?;
        }
        _ => return common(tty, ctx, command, argument),
    }
    Ok(0)
}

/// `ioctl(2)` on the master of a pseudo terminal: its own requests, and those on the settings of the terminal.
///
/// # Errors
/// As [`on_terminal`].
pub(super) fn on_master(master: &PtyMaster, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
    let tty = master.tty();
    match command {
        TIOCGPTN => ctx.write_val(argument, &master.index())?,
        TIOCSPTLCK => {
            let locks: i32 = ctx.read_val(argument)?;
            tty.line.update(|line| line.pty.is_locked = locks != 0);
        }
        TIOCGPTLCK => {
            let is_locked = tty.line.read(|line| line.pty.is_locked);
            ctx.write_val(argument, &i32::from(is_locked))?;
        }
        TIOCPKT => {
            let is_on: i32 = ctx.read_val(argument)?;
            tty.line.update(|line| {
                line.pty.packet_status = 0;
                line.pty.is_packet_mode = is_on != 0;
            });
        }
        TIOCGPKT => {
            let is_on = tty.line.read(|line| line.pty.is_packet_mode);
            ctx.write_val(argument, &i32::from(is_on))?;
        }
        TIOCSIG => {
            let signal = u8::try_from(argument).map_err(|_| EINVAL)?;
            if ![SIGINT, SIGQUIT, SIGTSTP].contains(&signal) {
                return Err(EINVAL);
            }
            job::signal_foreground(tty, signal);
        }
        TCSETS | TCSETSW | TCSETSF | TCSETA | TCSETAW | TCSETAF | TCSETS2 | TCSETSW2 | TCSETSF2 => {
            let (new, when) = read_settings(tty, ctx, command, argument)?;
            tty.set_termios(new, when == When::DrainedAndFlushed);
        }
        TIOCGPGRP => ctx.write_val(argument, &tty.foreground().unwrap_or(0))?,
        TIOCSPGRP => {
            let group: i32 = ctx.read_val(argument)?;
            job::set_foreground(tty, ctx, Pid::try_from(group).map_err(|_| EINVAL)?)?;
        }
        TIOCGSID => ctx.write_val(argument, &tty.session().ok_or(ENOTTY)?)?,
        FIONREAD => write_count(ctx, argument, tty.line.read(|line| line.output.len()))?,
        TIOCOUTQ => write_count(ctx, argument, 0)?,
        TCSBRK | TCSBRKP => {}
        TCXONC => flow(tty, argument)?,
        TCFLSH => flush(tty, argument, true)?,
        _ => return common(tty, ctx, command, argument),
    }
    Ok(0)
}

/// What both sides answer alike.
fn common(tty: &Arc<Tty>, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
    match command {
        TCGETS => ctx.write_val(argument, &tty.termios())?,
        TCGETS2 => ctx.write_val(argument, &tty.termios().to_termios2())?,
        TCGETA => ctx.write_val(argument, &tty.termios().to_termio())?,
        TIOCGWINSZ => ctx.write_val(argument, &tty.window())?,
        TIOCSWINSZ => tty.set_window(ctx.read_val::<WindowSize>(argument)?),
        TIOCEXCL => tty.line.update(|line| line.is_exclusive = true),
        TIOCNXCL => tty.line.update(|line| line.is_exclusive = false),
        TIOCGEXCL => {
            let is_exclusive = tty.line.read(|line| line.is_exclusive);
            ctx.write_val(argument, &i32::from(is_exclusive))?;
        }
        TIOCGDEV => {
            let number = u32::try_from(tty.number().encode()).map_err(|_| EOVERFLOW)?;
            ctx.write_val(argument, &number)?;
        }
        // One line discipline exists: N_TTY, number 0.
        TIOCGETD => ctx.write_val(argument, &0_i32)?,
        TIOCSETD => {
            let number: i32 = ctx.read_val(argument)?;
            if number != 0 {
                return Err(EINVAL);
            }
        }
        TIOCMGET if !tty.is_pty() => ctx.write_val(argument, &MODEM_UP)?,
        TIOCGSOFTCAR => ctx.write_val(argument, &i32::from(!tty.is_pty()))?,
        _ => return Err(ENOTTY),
    }
    Ok(0)
}

fn controlled<'a>(tty: &'a Tty, ctx: &Context) -> Result<&'a Tty> {
    if tty.session() == Some(ctx.process.session()) { Ok(tty) } else { Err(ENOTTY) }
}

fn is_privileged(ctx: &Context) -> bool {
    ctx.credentials().has(Capabilities::SYS_ADMIN)
}

fn write_count(ctx: &Context, address: Vaddr, count: usize) -> Result<()> {
    ctx.write_val(address, &i32::try_from(count).unwrap_or(i32::MAX))
}

fn read_settings(tty: &Tty, ctx: &Context, command: u32, argument: usize) -> Result<(Termios, When)> {
    let when = match command {
        TCSETSW | TCSETAW | TCSETSW2 => When::Drained,
        TCSETSF | TCSETAF | TCSETSF2 => When::DrainedAndFlushed,
        _ => When::Now,
    };
    let new = match command {
        TCSETS | TCSETSW | TCSETSF => ctx.read_val::<Termios>(argument)?,
        TCSETA | TCSETAW | TCSETAF => tty.termios().with_termio(&ctx.read_val::<Termio>(argument)?),
        _ => ctx.read_val::<Termios2>(argument)?.base,
    };
    Ok((new, when))
}

/// `tcflow(3)`.
fn flow(tty: &Tty, action: usize) -> Result<()> {
    use super::termios::Control::{Start, Stop};
    match action {
        0 => tty.set_stopped(true),
        1 => tty.set_stopped(false),
        // Tells the other end: the character goes out as it is.
        2 | 3 => {
            let byte = tty.termios().char(if action == 2 { Stop } else { Start });
            if byte != 0 {
                tty.send_character(byte);
            }
        }
        _ => return Err(EINVAL),
    }
    Ok(())
}

/// `tcflush(3)`. Seen from the master, input is what the terminal put out.
fn flush(tty: &Tty, queue: usize, is_master: bool) -> Result<()> {
    let (flushes_input, flushes_output) = match queue {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(EINVAL),
    };
    let (input, output) = if is_master { (flushes_output, flushes_input) } else { (flushes_input, flushes_output) };
    tty.flush(input, output);
    Ok(())
}

impl Tty {
    fn set_termios(&self, termios: Termios, flushes_input: bool) {
        self.line.update(|line| {
            if flushes_input {
                line.discipline.flush();
            }
            let old = line.discipline.termios();
            line.discipline.set_termios(termios);
            line.pty.note_settings(&old, &termios);
            line.notify(TERMINAL, IoEvents::READABLE | IoEvents::WRITABLE);
            line.notify(MASTER, IoEvents::READABLE | IoEvents::WRITABLE | IoEvents::PRI);
        });
        self.input_taken();
    }

    fn flush(&self, input: bool, output: bool) {
        self.line.update(|line| {
            if input {
                line.discipline.flush();
                line.pty.packet_status |= pty::PACKET_FLUSH_READ;
            }
            if output {
                line.output.flush();
                line.pty.packet_status |= pty::PACKET_FLUSH_WRITE;
            }
            line.notify(TERMINAL, IoEvents::WRITABLE);
            line.notify(MASTER, IoEvents::READABLE | IoEvents::WRITABLE | IoEvents::PRI);
        });
        if input {
            self.input_taken();
        }
    }

    fn send_character(&self, byte: u8) {
        self.line.update(|line| {
            let mut raw = Termios::pty();
            raw.make_output_raw();
            line.output.write(&raw, &[byte]);
            line.notify(MASTER, IoEvents::READABLE);
        });
        self.start_output();
    }
}
