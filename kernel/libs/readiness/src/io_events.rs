// SPDX-License-Identifier: MPL-2.0

//! The event bits: what a file can be ready for.

bitflags::bitflags! {
    /// A set of I/O events, with the values that `poll(2)` and `epoll_ctl(2)` share on x86-64.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct IoEvents: u32 {
        /// Data can be read without blocking (`POLLIN`).
        const IN = 0x0001;
        /// There is urgent data (`POLLPRI`).
        const PRI = 0x0002;
        /// Data can be written without blocking (`POLLOUT`).
        const OUT = 0x0004;
        /// The file is in error (`POLLERR`). Reported whether asked for or not.
        const ERR = 0x0008;
        /// The other side hung up (`POLLHUP`). Reported whether asked for or not.
        const HUP = 0x0010;
        /// The descriptor is not open (`POLLNVAL`). Only `poll(2)` reports it; no file ever does.
        const NVAL = 0x0020;
        /// Normal data can be read (`POLLRDNORM`).
        const RDNORM = 0x0040;
        /// Priority-band data can be read (`POLLRDBAND`).
        const RDBAND = 0x0080;
        /// Normal data can be written (`POLLWRNORM`).
        const WRNORM = 0x0100;
        /// Priority-band data can be written (`POLLWRBAND`).
        const WRBAND = 0x0200;
        /// A message is there (`POLLMSG`). Known to Linux, produced by no file.
        const MSG = 0x0400;
        /// The peer shut down its writing side (`POLLRDHUP`).
        const RDHUP = 0x2000;

        /// Reported to everyone, asked for or not.
        const ALWAYS = Self::ERR.bits() | Self::HUP.bits();
        /// What a reader waits for.
        const READABLE = Self::IN.bits() | Self::RDNORM.bits();
        /// What a writer waits for.
        const WRITABLE = Self::OUT.bits() | Self::WRNORM.bits();
    }
}
