// SPDX-License-Identifier: MPL-2.0

//! The bits of `epoll_event.events` that are not events.

/// Edge-triggered (`EPOLLET`).
pub const EDGE: u32 = 1 << 31;
/// Disarm after one report (`EPOLLONESHOT`).
pub const ONESHOT: u32 = 1 << 30;
/// Keep the system awake (`EPOLLWAKEUP`). Accepted, without effect.
pub const WAKEUP: u32 = 1 << 29;
/// Wake one epoll instead of all (`EPOLLEXCLUSIVE`).
pub const EXCLUSIVE: u32 = 1 << 28;

/// What may stand beside [`EXCLUSIVE`]; anything else is `EINVAL` (`epoll_ctl(2)`).
pub const ALLOWED_WITH_EXCLUSIVE: u32 = {
    use crate::IoEvents;
    EDGE | WAKEUP | EXCLUSIVE | IoEvents::IN.bits() | IoEvents::OUT.bits() | IoEvents::ALWAYS.bits()
};

/// Whether a report changes nothing: an entry with these `events` stays ready for as long as its file is.
pub(super) const fn is_level(events: u32) -> bool {
    events & (EDGE | ONESHOT) == 0
}

/// What counts of `events` when [`ONESHOT`] has disarmed an entry.
pub(super) const KEPT_WHEN_DISARMED: u32 = EDGE | ONESHOT | WAKEUP | EXCLUSIVE;
