// SPDX-License-Identifier: MPL-2.0

//! The user's terminal, when the program gets one.

use std::io::{IsTerminal, stdin, stdout};

use anyhow::{Context, Result};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Whether the user sits at a terminal, for both input and output.
pub fn is_interactive() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

mod ioctl {
    nix::ioctl_read_bad!(get_window_size, nix::libc::TIOCGWINSZ, nix::libc::winsize);
}

/// Rows and columns of the terminal on standard output; 24 and 80 if it does not say.
pub fn window_size() -> (u16, u16) {
    let mut size = nix::libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, and `size` is one.
    let result = unsafe { ioctl::get_window_size(nix::libc::STDOUT_FILENO, &mut size) };
    match result {
        Ok(_) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => (24, 80),
    }
}

/// The terminal in raw mode; dropping this restores it.
#[derive(Debug)]
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Switches the terminal on standard input to raw mode: the guest's terminal does the editing.
    pub fn enter() -> Result<Self> {
        let before = tcgetattr(stdin()).context("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin(), SetArg::TCSANOW, &raw).context("cannot change the terminal's settings")?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &self.before);
    }
}
