// SPDX-License-Identifier: MPL-2.0

//! The device nodes of terminals: `/dev/ttyS*`, `/dev/tty`, `/dev/console`, `/dev/ptmx`.

use super::{Tty, file::TtyFile, job, pty::PtyMaster};
use crate::{
    cmdline,
    device::serial,
    file::Description,
    fs::{Device, OpenFlags, OpenRequest},
    prelude::*,
    process::credentials::Capabilities,
};

/// What a node opens.
pub enum TtyDevice {
    /// This terminal.
    Terminal(Arc<Tty>),
    /// The caller's controlling terminal: `/dev/tty`.
    Controlling,
    /// The terminal that the command line names: `/dev/console`.
    Console,
    /// A new pseudo terminal: `/dev/ptmx`.
    Multiplexer,
}

impl Device for TtyDevice {
    fn open(&self, request: OpenRequest, ctx: &Context) -> Result<Arc<Description>> {
        match self {
            Self::Terminal(tty) => open_terminal(tty, &request, ctx, true),
            // Neither makes a terminal the controlling one: the first is it, of the second Linux says so (`tty_open`).
            Self::Controlling => {
                let tty = job::controlling(&ctx.process).ok_or(ENXIO)?;
                open_terminal(&tty, &request, ctx, false)
            }
            Self::Console => open_terminal(&console().ok_or(ENXIO)?, &request, ctx, false),
            Self::Multiplexer => {
                let master = PtyMaster::open(request.path.inode().clone(), &ctx.credentials())?;
                Ok(request.describe(master))
            }
        }
    }
}

/// Opens `tty`; unless `O_NOCTTY` it may become the caller's controlling terminal.
///
/// # Errors
/// As [`TtyFile::open`].
pub fn open_terminal(
    tty: &Arc<Tty>,
    request: &OpenRequest,
    ctx: &Context,
    may_control: bool,
) -> Result<Arc<Description>> {
    let is_privileged = ctx.credentials().has(Capabilities::SYS_ADMIN);
    let file = TtyFile::open(tty.clone(), request.path.inode().clone(), is_privileged)?;
    if may_control && !request.flags.contains(OpenFlags::NOCTTY) {
        job::acquire_on_open(tty, &ctx.process);
    }
    Ok(request.describe(file))
}

/// The terminal behind `/dev/console`: the last `console=` that exists, else the first serial port.
pub fn console() -> Option<Arc<Tty>> {
    let ports = serial::ports();
    let named = cmdline::get()
        .consoles
        .iter()
        .rev()
        .find_map(|name| ports.iter().filter_map(|port| port.tty()).find(|tty| tty.name() == name));
    named.or_else(|| ports.first()?.tty()).cloned()
}
