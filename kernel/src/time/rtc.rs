// SPDX-License-Identifier: MPL-2.0

//! The CMOS real-time clock of a PC: wall-clock time at boot, in seconds.
//!
//! Facts from the data sheet of the MC146818: register `0x0A` bit 7 says that an update is in progress; register `0x0B` bit 2
//! that values are binary rather than BCD, bit 1 that hours count to 24. The century is in register `0x32` by convention.

use ostd::{
    arch::device::io_port::{ReadWriteAccess, WriteOnlyAccess},
    io::IoPort,
};

const UPDATE_IN_PROGRESS: u8 = 1 << 7;
const IS_BINARY: u8 = 1 << 2;
const IS_24_HOURS: u8 = 1 << 1;
const PM: u8 = 1 << 7;
/// Readings to try before the clock is taken to be absent; an update takes 2 ms at most, a reading about 1 µs.
const MAX_TRIES: usize = 100_000;

/// Registers of one reading: seconds, minutes, hours, day, month, year, century.
const REGISTERS: [u8; 7] = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32];

struct Cmos {
    index: IoPort<u8, WriteOnlyAccess>,
    data: IoPort<u8, ReadWriteAccess>,
}

impl Cmos {
    fn read(&self, register: u8) -> u8 {
        self.index.write(register);
        self.data.read()
    }

    /// One reading that no update has torn: two equal ones in a row, both outside updates.
    fn read_stable(&self) -> Option<[u8; 7]> {
        let mut previous = None;
        for _ in 0..MAX_TRIES {
            if self.read(0x0A) & UPDATE_IN_PROGRESS != 0 {
                previous = None;
                continue;
            }
            let reading = REGISTERS.map(|register| self.read(register));
            if previous == Some(reading) {
                return previous;
            }
            previous = Some(reading);
        }
        None
    }
}

/// Seconds since 1970, or `None` if there is no such clock.
pub(super) fn read_unix_seconds() -> Option<i64> {
    let cmos = Cmos { index: IoPort::acquire(0x70).ok()?, data: IoPort::acquire(0x71).ok()? };
    let reading = cmos.read_stable()?;
    let mode = cmos.read(0x0B);
    Some(to_unix_seconds(reading, mode))
}

fn to_unix_seconds(reading: [u8; 7], mode: u8) -> i64 {
    let decode = |value: u8| match mode & IS_BINARY != 0 {
        true => i64::from(value),
        false => i64::from(value >> 4) * 10 + i64::from(value & 0x0F),
    };
    let [second, minute, hour, day, month, year, century] = reading;
    let mut hours = decode(hour & !PM);
    if mode & IS_24_HOURS == 0 {
        hours = hours % 12 + if hour & PM != 0 { 12 } else { 0 };
    }
    // Old machines have no century; the kernel is younger than this one.
    let century = if (0x19..=0x21).contains(&century) { decode(century) } else { 20 };
    let days = days_since_1970(century * 100 + decode(year), decode(month), decode(day));
    ((days * 24 + hours) * 60 + decode(minute)) * 60 + decode(second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn dates() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 2, 29), 11_016);
        assert_eq!(days_since_1970(2026, 11, 20), 20_777);
    }

    #[ktest]
    fn bcd_and_binary_agree() {
        let bcd = to_unix_seconds([0x59, 0x30, 0x23, 0x20, 0x11, 0x26, 0x20], IS_24_HOURS);
        let binary = to_unix_seconds([59, 30, 23, 20, 11, 26, 0], IS_24_HOURS | IS_BINARY);
        let half_day = to_unix_seconds([0x59, 0x30, 0x11 | PM, 0x20, 0x11, 0x26, 0x20], 0);
        assert_eq!((bcd, half_day), (binary, binary));
    }
}
