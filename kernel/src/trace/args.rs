// SPDX-License-Identifier: MPL-2.0

//! From an argument to text, in the manner of `strace(1)`.
//!
//! User memory is read by the thread that made the call, with no lock held: it may fault and sleep. What cannot be read is
//! shown as an address.

use core::fmt::Write;

use super::{flags, siginfo::write_signal_info, table::Arg};
use crate::prelude::*;

/// Bytes of a string that are shown.
const TEXT_MAX: usize = 32;
/// Elements of an array that are shown.
const ELEMENTS_MAX: usize = 32;
/// Longest path that is read.
const PATH_MAX: usize = 4096;

/// A call's arguments, and its answer once it has one.
pub struct Call<'a, 'c> {
    /// The caller.
    pub ctx: &'a Context<'c>,
    /// The six words.
    pub words: [usize; 6],
    /// What the call answered; `None` before.
    pub answer: Option<isize>,
}

/// The two words of `struct timespec` and `struct timeval`.
type Time = [i64; 2];

impl Call<'_, '_> {
    /// Writes argument `index`.
    pub fn write(&self, out: &mut String, index: usize, arg: Arg) {
        let word = self.words[index];
        let low = u64::from(word as u32);
        match arg {
            Arg::Int | Arg::Fd => _ = write!(out, "{}", word as i32),
            Arg::Long => _ = write!(out, "{}", word as i64),
            Arg::Unsigned => _ = write!(out, "{word}"),
            Arg::Hex => _ = if word == 0 { write!(out, "0") } else { write!(out, "{word:#x}") },
            Arg::Pointer => write_pointer(out, word),
            Arg::Mode => _ = write!(out, "0{:o}", word as u32),
            Arg::DirFd if word as i32 == -100 => out.push_str("AT_FDCWD"),
            Arg::DirFd => _ = write!(out, "{}", word as i32),
            Arg::Flags(names) => flags::write_flags(out, low, names),
            Arg::Choice(names) => flags::write_choice(out, low, names),
            Arg::OpenFlags => flags::write_open_flags(out, low),
            Arg::CloneFlags => self.write_clone_flags(out, word as u64),
            Arg::Signal => flags::write_signal(out, low),
            _ => {
                if self.write_memory(out, word, arg).is_none() {
                    write_pointer(out, word);
                }
            }
        }
    }

    /// Writes what `address` points to; `None` if that is nothing, cannot be read, or was not filled.
    fn write_memory(&self, out: &mut String, address: usize, arg: Arg) -> Option<()> {
        if address == 0 || (arg.is_output() && self.answer.is_none_or(|answer| answer < 0)) {
            return None;
        }
        let answer = usize::try_from(self.answer.unwrap_or(0)).unwrap_or(0);
        match arg {
            Arg::Text | Arg::OutText => write_text(out, &self.text(address)?, usize::MAX),
            Arg::Bytes(len) => self.write_bytes(out, address, self.words[len])?,
            Arg::OutBytes => self.write_bytes(out, address, answer)?,
            Arg::Texts => self.write_texts(out, address)?,
            Arg::TextCount => self.write_text_count(out, address)?,
            Arg::SignalSet | Arg::OutSignalSet => flags::write_signal_set(out, self.value::<u64>(address)?),
            Arg::SignalAction | Arg::OutSignalAction => self.write_action(out, address)?,
            // Of nothing that was waited for.
            Arg::OutSignalInfo if self.value::<i32>(address)? == 0 => out.push_str("{}"),
            Arg::SignalInfo | Arg::OutSignalInfo => write_signal_info(out, &self.value(address)?),
            Arg::Timespec | Arg::OutTimespec => write_time(out, self.value(address)?, "tv_nsec"),
            Arg::Timeval | Arg::OutTimeval => write_time(out, self.value(address)?, "tv_usec"),
            Arg::TimerSpec | Arg::OutTimerSpec => self.write_timer(out, address)?,
            Arg::Limit | Arg::OutLimit => self.write_limit(out, address)?,
            Arg::PollFds(count) => self.write_poll_fds(out, address, self.words[count], false)?,
            Arg::FdSet => self.write_fd_set(out, address)?,
            Arg::EpollEvent => self.write_epoll_events(out, address, 1)?,
            Arg::OutEpollEvents => {
                out.push('[');
                self.write_epoll_events(out, address, answer)?;
                out.push(']');
            }
            Arg::Vectors(count) => self.write_vectors(out, address, self.words[count], usize::MAX)?,
            Arg::OutVectors(count) => self.write_vectors(out, address, self.words[count], answer)?,
            Arg::Address(len) => self.write_address(out, address, self.words[len])?,
            Arg::OutAddress(len) => {
                let len = self.value::<u32>(self.words[len])?;
                self.write_address(out, address, len as usize)?;
            }
            Arg::OutFds => {
                let [first, second] = self.value::<[i32; 2]>(address)?;
                let _ = write!(out, "[{first}, {second}]");
            }
            Arg::OutInt => _ = write!(out, "[{}]", self.value::<i32>(address)?),
            Arg::OutWaitStatus if answer == 0 => return None,
            Arg::OutWaitStatus => write_wait_status(out, self.value(address)?),
            Arg::OutStat => self.write_stat(out, address)?,
            _ => return None,
        }
        Some(())
    }

    fn value<T: Pod>(&self, address: usize) -> Option<T> {
        self.ctx.read_val(address).ok()
    }

    fn bytes(&self, address: usize, len: usize) -> Option<Vec<u8>> {
        let mut bytes = alloc::vec![0; len];
        let mut dst = VmWriter::from(&mut bytes[..]).to_fallible();
        self.ctx.reader(address, len).ok()?.read_fallible(&mut dst).ok()?;
        Some(bytes)
    }

    fn text(&self, address: usize) -> Option<Vec<u8>> {
        self.ctx.read_cstring(address, PATH_MAX).ok().map(|text| text.into_bytes())
    }

    fn write_bytes(&self, out: &mut String, address: usize, len: usize) -> Option<()> {
        let bytes = self.bytes(address, len.min(TEXT_MAX + 1))?;
        write_text(out, &bytes, TEXT_MAX);
        Some(())
    }

    fn write_clone_flags(&self, out: &mut String, value: u64) {
        out.push_str("flags=");
        let signal = value & 0xff;
        if value & !0xff != 0 {
            flags::write_flags(out, value & !0xff, flags::CLONE);
        }
        if signal != 0 {
            out.push_str(if value & !0xff != 0 { "|" } else { "" });
            flags::write_signal(out, signal);
        }
    }

    fn write_texts(&self, out: &mut String, address: usize) -> Option<()> {
        out.push('[');
        for index in 0..ELEMENTS_MAX {
            let pointer = self.value::<usize>(address.checked_add(index * 8)?)?;
            if pointer == 0 {
                out.push(']');
                return Some(());
            }
            out.push_str(if index > 0 { ", " } else { "" });
            let text = self.text(pointer)?;
            write_text(out, &text, TEXT_MAX);
        }
        out.push_str(", ...]");
        Some(())
    }

    fn write_text_count(&self, out: &mut String, address: usize) -> Option<()> {
        let mut count = 0;
        while self.value::<usize>(address.checked_add(count * 8)?)? != 0 && count < 1000 {
            count += 1;
        }
        let _ = write!(out, "{address:#x} /* {count} var{} */", if count == 1 { "" } else { "s" });
        Some(())
    }

    fn write_action(&self, out: &mut String, address: usize) -> Option<()> {
        let [handler, action_flags, restorer, mask] = self.value::<[u64; 4]>(address)?;
        out.push_str("{sa_handler=");
        match handler {
            0 => out.push_str("SIG_DFL"),
            1 => out.push_str("SIG_IGN"),
            address => _ = write!(out, "{address:#x}"),
        }
        out.push_str(", sa_mask=");
        flags::write_signal_set(out, mask);
        out.push_str(", sa_flags=");
        flags::write_flags(out, action_flags, flags::SIGACTION);
        if action_flags & 0x0400_0000 != 0 {
            let _ = write!(out, ", sa_restorer={restorer:#x}");
        }
        out.push('}');
        Some(())
    }

    fn write_timer(&self, out: &mut String, address: usize) -> Option<()> {
        let [a, b, c, d] = self.value::<[i64; 4]>(address)?;
        out.push_str("{it_interval=");
        write_time(out, [a, b], "tv_nsec");
        out.push_str(", it_value=");
        write_time(out, [c, d], "tv_nsec");
        out.push('}');
        Some(())
    }

    fn write_limit(&self, out: &mut String, address: usize) -> Option<()> {
        let [soft, hard] = self.value::<[u64; 2]>(address)?;
        for (name, value) in [("{rlim_cur=", soft), (", rlim_max=", hard)] {
            out.push_str(name);
            match value {
                u64::MAX => out.push_str("RLIM64_INFINITY"),
                value if value > 1024 && value % 1024 == 0 => _ = write!(out, "{}*1024", value / 1024),
                value => _ = write!(out, "{value}"),
            }
        }
        out.push('}');
        Some(())
    }

    /// The array of `poll(2)`: what is asked for, or with `answers` what was found.
    pub fn write_poll_fds(&self, out: &mut String, address: usize, count: usize, answers: bool) -> Option<()> {
        out.push('[');
        let mut separator = "";
        for index in 0..count.min(ELEMENTS_MAX) {
            let [fd, events] = self.value::<[u32; 2]>(address.checked_add(index * 8)?)?;
            let (name, bits) = if answers { ("revents", events >> 16) } else { ("events", events & 0xffff) };
            if answers && bits == 0 {
                continue;
            }
            let _ = write!(out, "{separator}{{fd={}, {name}=", fd as i32);
            flags::write_flags(out, u64::from(bits), flags::POLL_EVENTS);
            out.push('}');
            separator = ", ";
        }
        out.push_str(if count > ELEMENTS_MAX { ", ...]" } else { "]" });
        Some(())
    }

    fn write_fd_set(&self, out: &mut String, address: usize) -> Option<()> {
        let count = self.words[0].min(1024);
        let bytes = self.bytes(address, count.div_ceil(8))?;
        out.push('[');
        let mut separator = "";
        for fd in (0..count).filter(|fd| bytes[fd / 8] >> (fd % 8) & 1 == 1) {
            let _ = write!(out, "{separator}{fd}");
            separator = " ";
        }
        out.push(']');
        Some(())
    }

    fn write_epoll_events(&self, out: &mut String, address: usize, count: usize) -> Option<()> {
        for index in 0..count.min(ELEMENTS_MAX) {
            let [events, low, high] = self.value::<[u32; 3]>(address.checked_add(index * 12)?)?;
            out.push_str(if index > 0 { ", {events=" } else { "{events=" });
            flags::write_flags(out, u64::from(events), flags::EPOLL_EVENTS);
            let data = u64::from(high) << 32 | u64::from(low);
            let _ = if high == 0 { write!(out, ", data={low}}}") } else { write!(out, ", data={data:#x}}}") };
        }
        Some(())
    }

    fn write_vectors(&self, out: &mut String, address: usize, count: usize, mut left: usize) -> Option<()> {
        out.push('[');
        for index in 0..count.min(ELEMENTS_MAX) {
            let [base, len] = self.value::<[usize; 2]>(address.checked_add(index * 16)?)?;
            out.push_str(if index > 0 { ", {iov_base=" } else { "{iov_base=" });
            self.write_bytes(out, base, len.min(left))?;
            let _ = write!(out, ", iov_len={len}}}");
            left = left.saturating_sub(len);
        }
        out.push(']');
        Some(())
    }

    fn write_address(&self, out: &mut String, address: usize, len: usize) -> Option<()> {
        let bytes = self.bytes(address, len.min(128))?;
        let family = u16::from_le_bytes([*bytes.first()?, *bytes.get(1)?]);
        out.push_str("{sa_family=");
        flags::write_choice(out, u64::from(family), flags::FAMILIES);
        match (family, bytes.get(2..)?) {
            (1, path) => {
                let is_abstract = path.first() == Some(&0);
                let end = path.iter().skip(1).position(|byte| *byte == 0).map_or(path.len(), |end| end + 1);
                let name = if is_abstract { &path[1..] } else { &path[..end] };
                out.push_str(if is_abstract { ", sun_path=@" } else { ", sun_path=" });
                write_text(out, name, usize::MAX);
            }
            (2, [high, low, a, b, c, d, ..]) => {
                let port = u16::from_be_bytes([*high, *low]);
                let _ = write!(out, ", sin_port=htons({port}), sin_addr=inet_addr(\"{a}.{b}.{c}.{d}\")");
            }
            (10, [high, low, _, _, _, _, ip @ ..]) if ip.len() >= 16 => {
                let port = u16::from_be_bytes([*high, *low]);
                let mut octets = [0; 16];
                octets.copy_from_slice(&ip[..16]);
                let ip = core::net::Ipv6Addr::from(octets);
                let _ = write!(out, ", sin6_port=htons({port}), sin6_addr=\"{ip}\"");
            }
            _ => {}
        }
        out.push('}');
        Some(())
    }

    fn write_stat(&self, out: &mut String, address: usize) -> Option<()> {
        let mode = self.value::<u32>(address.checked_add(24)?)?;
        let size = self.value::<i64>(address.checked_add(48)?)?;
        let kind = match mode & 0o170_000 {
            0o100_000 => "S_IFREG",
            0o040_000 => "S_IFDIR",
            0o120_000 => "S_IFLNK",
            0o020_000 => "S_IFCHR",
            0o060_000 => "S_IFBLK",
            0o010_000 => "S_IFIFO",
            0o140_000 => "S_IFSOCK",
            _ => "0",
        };
        let _ = write!(out, "{{st_mode={kind}|0{:o}, st_size={size}, ...}}", mode & 0o7777);
        Some(())
    }
}

pub(super) fn write_pointer(out: &mut String, word: usize) {
    let _ = if word == 0 { write!(out, "NULL") } else { write!(out, "{word:#x}") };
}

fn write_time(out: &mut String, [seconds, fraction]: Time, fraction_name: &str) {
    let _ = write!(out, "{{tv_sec={seconds}, {fraction_name}={fraction}}}");
}

/// Quotes `bytes`, at most `max` of them.
fn write_text(out: &mut String, bytes: &[u8], max: usize) {
    out.push('"');
    let shown = &bytes[..bytes.len().min(max)];
    for (index, byte) in shown.iter().enumerate() {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            11 => out.push_str("\\v"),
            12 => out.push_str("\\f"),
            b'"' | b'\\' => _ = write!(out, "\\{}", *byte as char),
            b' '..=b'~' => out.push(*byte as char),
            // Three digits only where a digit follows, as strace does.
            _ if shown.get(index + 1).is_some_and(u8::is_ascii_digit) => _ = write!(out, "\\{byte:03o}"),
            _ => _ = write!(out, "\\{byte:o}"),
        }
    }
    out.push_str(if bytes.len() > max { "\"..." } else { "\"" });
}

fn write_wait_status(out: &mut String, status: i32) {
    let signal = u64::from(status as u32 & 0x7f);
    out.push('[');
    match status & 0xff {
        0 => _ = write!(out, "{{WIFEXITED(s) && WEXITSTATUS(s) == {}}}", status >> 8 & 0xff),
        0x7f if status == 0xffff => out.push_str("{WIFCONTINUED(s)}"),
        0x7f => {
            out.push_str("{WIFSTOPPED(s) && WSTOPSIG(s) == ");
            flags::write_signal(out, (status as u64 >> 8) & 0xff);
            out.push('}');
        }
        _ => {
            out.push_str("{WIFSIGNALED(s) && WTERMSIG(s) == ");
            flags::write_signal(out, signal);
            out.push_str(if status & 0x80 != 0 { " && WCOREDUMP(s)}" } else { "}" });
        }
    }
    out.push(']');
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn texts_are_quoted() {
        let mut out = String::new();
        write_text(&mut out, b"a\"\n\x00012\x7f", 100);
        write_text(&mut out, b"abcdef", 3);
        assert_eq!(out, r#""a\"\n\000012\177""abc"..."#);
    }

    #[ktest]
    fn statuses_are_told() {
        let mut out = String::new();
        write_wait_status(&mut out, 3 << 8);
        write_wait_status(&mut out, 9);
        assert_eq!(out, "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}][{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]");
    }
}
