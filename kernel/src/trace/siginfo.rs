// SPDX-License-Identifier: MPL-2.0

//! `siginfo_t` as text, in the manner of `strace(1)`.

use core::fmt::Write;

use super::{args::write_pointer, flags};
use crate::{
    prelude::*,
    signal::{InfoLayout, SI_KERNEL, SigInfo},
};

/// The members of a `siginfo_t` that its code gives a meaning (`sigaction(2)`).
pub fn write_signal_info(out: &mut String, info: &SigInfo) {
    let number = u64::from(info.signal().number());
    out.push_str("{si_signo=");
    flags::write_signal(out, number);
    out.push_str(", si_code=");
    let names = match number {
        _ if !(1..0x80).contains(&info.code) => flags::SIGNAL_CODES,
        11 => flags::SEGV_CODES,
        17 => flags::CHILD_CODES,
        _ => &[],
    };
    match names.iter().find(|(code, _)| *code == u64::from(info.code.cast_unsigned())) {
        Some((_, name)) => out.push_str(name),
        None => _ = write!(out, "{}", info.code),
    }
    let low = |index: usize| info.fields[index] as u32;
    let high = |index: usize| (info.fields[index] >> 32) as u32;
    let sender = |out: &mut String| write!(out, ", si_pid={}, si_uid={}", low(0), high(0));
    let _ = match info.layout() {
        InfoLayout::Fault => write!(out, ", si_addr={:#x}", info.fields[0]),
        InfoLayout::Child => {
            let _ = sender(out);
            let _ = write!(out, ", si_status={}", low(1).cast_signed());
            write_ticks(out, "si_utime", info.fields[2]);
            write_ticks(out, "si_stime", info.fields[3]);
            Ok(())
        }
        InfoLayout::Queue | InfoLayout::Kill if info.code != SI_KERNEL => {
            let _ = sender(out);
            if info.layout() == InfoLayout::Queue && info.fields[1] != 0 {
                write_signal_value(out, info.fields[1]);
            }
            Ok(())
        }
        InfoLayout::Timer => {
            let _ = write!(out, ", si_timerid={:#x}, si_overrun={}", low(0), high(0).cast_signed());
            write_signal_value(out, info.fields[1]);
            Ok(())
        }
        InfoLayout::Poll => write!(out, ", si_band={}, si_fd={}", info.fields[0], low(1).cast_signed()),
        _ => Ok(()),
    };
    out.push('}');
}

fn write_signal_value(out: &mut String, value: u64) {
    let _ = write!(out, ", si_int={}, si_ptr=", (value as u32).cast_signed());
    write_pointer(out, value as usize);
}

/// CPU time in ticks of 10 ms.
fn write_ticks(out: &mut String, name: &str, ticks: u64) {
    let _ = write!(out, ", {name}={ticks}");
    if ticks > 0 {
        let _ = write!(out, " /* {}.{:02} s */", ticks / 100, ticks % 100);
    }
}
