// SPDX-License-Identifier: MPL-2.0

//! What messages carry beside their bytes: open files and credentials (`unix(7)`, "Ancillary messages").

use super::rights::Rights;
use crate::{
    net::{ControlMessage, Socket, message::UserCredentials},
    prelude::*,
    process::{credentials::Capabilities, table},
};

/// The control messages of one record.
#[derive(Default)]
pub struct Control {
    /// `SCM_CREDENTIALS`, said by the sender or noted because somebody asked for them (`SO_PASSCRED`).
    pub credentials: Option<UserCredentials>,
    /// `SCM_RIGHTS`
    pub rights: Option<Rights>,
}

/// The credentials of a message that was sent when nobody asked for any: nobody's.
pub const NO_CREDENTIALS: UserCredentials = UserCredentials { pid: 0, uid: OVERFLOW_ID, gid: OVERFLOW_ID };
const OVERFLOW_ID: u32 = 65_534;

/// The caller, as a message shows it: process, real user and real group.
pub fn own_credentials(ctx: &Context) -> UserCredentials {
    let credentials = ctx.credentials();
    UserCredentials { pid: ctx.process.pid.cast_signed(), uid: credentials.uid, gid: credentials.gid }
}

impl Control {
    /// Decodes what the caller passed to `sendmsg(2)`; what is of another level is ignored, as by Linux's `__scm_send`.
    ///
    /// # Errors
    /// `EPERM` for credentials that are not the caller's; `ESRCH` if there is no such process; `EINVAL` for too many files.
    pub fn decode(ctx: &Context, messages: Vec<ControlMessage>) -> Result<Self> {
        let mut control = Self::default();
        let mut files = Vec::new();
        for message in messages {
            match message {
                ControlMessage::Credentials(credentials) => {
                    check_credentials(ctx, &credentials)?;
                    control.credentials = Some(credentials);
                }
                ControlMessage::Rights(more) => files.extend(more),
                ControlMessage::Other { .. } => {}
            }
        }
        control.rights = Rights::new(ctx, files)?;
        Ok(control)
    }

    /// The control as a record keeps it: nothing if there is nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self.credentials.is_some() || self.rights.is_some()).then(|| Box::new(self))
    }
}

/// Whether the caller may claim to be `claimed`. Mirrors Linux's `scm_check_creds`.
fn check_credentials(ctx: &Context, claimed: &UserCredentials) -> Result<()> {
    let own = ctx.credentials();
    let pid = ctx.process.pid.cast_signed();
    let may_pid = claimed.pid == pid || own.has(Capabilities::SYS_ADMIN);
    let may_uid = [own.uid, own.euid, own.suid].contains(&claimed.uid) || own.has(Capabilities::SETUID);
    let may_gid = [own.gid, own.egid, own.sgid].contains(&claimed.gid) || own.has(Capabilities::SETGID);
    if !(may_pid && may_uid && may_gid) {
        return Err(EPERM);
    }
    let exists = claimed.pid == pid
        || u32::try_from(claimed.pid).is_ok_and(|id| table::process_of_id(id).is_some() || table::thread(id).is_some());
    if exists { Ok(()) } else { Err(ESRCH) }
}

/// What a receiver gets: credentials first, if it asked for them, then files.
pub fn to_messages(
    socket: &dyn Socket,
    credentials: Option<UserCredentials>,
    rights: Option<Rights>,
) -> Vec<ControlMessage> {
    let mut messages = Vec::new();
    if socket.common().options.passes_credentials() {
        messages.push(ControlMessage::Credentials(credentials.unwrap_or(NO_CREDENTIALS)));
    }
    if let Some(rights) = rights {
        messages.push(ControlMessage::Rights(rights.into_files()));
    }
    messages
}
