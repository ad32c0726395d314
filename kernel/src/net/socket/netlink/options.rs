// SPDX-License-Identifier: MPL-2.0

//! The options of level `SOL_NETLINK` (`netlink(7)`, "Socket options").

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{ports::GROUPS, queue::Received};
use crate::{
    net::{ControlMessage, options::decode_int},
    prelude::*,
};

/// The level of these options.
pub const SOL_NETLINK: i32 = 270;
/// The groups that a socket is in; to be read only.
pub const LIST_MEMBERSHIPS: i32 = 9;
const ADD_MEMBERSHIP: i32 = 1;
const DROP_MEMBERSHIP: i32 = 2;
const PKTINFO: i32 = 3;
const BROADCAST_ERROR: i32 = 4;
const NO_ENOBUFS: i32 = 5;
const CAP_ACK: i32 = 10;
const EXT_ACK: i32 = 11;
const GET_STRICT_CHK: i32 = 12;

/// The options that are on or off, in the order of their values.
const FLAGS: [i32; 6] = [PKTINFO, BROADCAST_ERROR, NO_ENOBUFS, CAP_ACK, EXT_ACK, GET_STRICT_CHK];

/// Their values. Relaxed: an option orders nothing else.
#[derive(Default)]
pub struct NetlinkOptions([AtomicBool; FLAGS.len()]);

impl NetlinkOptions {
    /// # Errors
    /// `ENOPROTOOPT` for an unknown option.
    fn flag(&self, name: i32) -> Result<&AtomicBool> {
        let index = FLAGS.iter().position(|known| *known == name).ok_or(ENOPROTOOPT)?;
        Ok(&self.0[index])
    }

    fn is_set(&self, name: i32) -> bool {
        self.flag(name).is_ok_and(|flag| flag.load(Relaxed))
    }

    /// `setsockopt(2)`
    ///
    /// # Errors
    /// `ENOPROTOOPT`; `EINVAL` for a value that is too short.
    pub fn set(&self, name: i32, value: &[u8]) -> Result<()> {
        let is_on = decode_int(value)? != 0;
        self.flag(name)?.store(is_on, Relaxed);
        Ok(())
    }

    /// `getsockopt(2)`
    ///
    /// # Errors
    /// `ENOPROTOOPT`
    pub fn get(&self, name: i32) -> Result<Vec<u8>> {
        Ok(i32::from(self.flag(name)?.load(Relaxed)).to_ne_bytes().to_vec())
    }

    /// `NETLINK_NO_ENOBUFS`
    pub fn hides_overruns(&self) -> bool {
        self.is_set(NO_ENOBUFS)
    }

    /// `NETLINK_CAP_ACK`
    pub fn caps_acknowledgements(&self) -> bool {
        self.is_set(CAP_ACK)
    }

    /// What comes with a packet beside its bytes.
    pub fn describe(&self, packet: &Received) -> Vec<ControlMessage> {
        if !self.is_set(PKTINFO) {
            return Vec::new();
        }
        let data = packet.group.to_ne_bytes().to_vec();
        alloc::vec![ControlMessage::Other { level: SOL_NETLINK, kind: PKTINFO, data }]
    }
}

/// The group that an option is about, and whether it joins; `None`: it is about none.
///
/// # Errors
/// `EINVAL` for a group that there is not.
pub fn decode_membership(name: i32, value: &[u8]) -> Result<Option<(u32, bool)>> {
    if !matches!(name, ADD_MEMBERSHIP | DROP_MEMBERSHIP) {
        return Ok(None);
    }
    let group = decode_int(value)?.cast_unsigned();
    if (1..=GROUPS).contains(&group) { Ok(Some((group, name == ADD_MEMBERSHIP))) } else { Err(EINVAL) }
}
