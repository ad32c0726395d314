// SPDX-License-Identifier: MPL-2.0

//! Terminal settings: `struct termios` as the kernel's ioctls pass it, and its flags (`termios(3)`, x86-64 values).

bitflags::bitflags! {
    /// `c_iflag`: what happens to input.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct InputFlags: u32 {
        const IGNBRK = 0o1;
        const BRKINT = 0o2;
        const ISTRIP = 0o40;
        const INLCR = 0o100;
        const IGNCR = 0o200;
        const ICRNL = 0o400;
        const IUCLC = 0o1000;
        const IXON = 0o2000;
        const IXANY = 0o4000;
        const IMAXBEL = 0o20000;
        const IUTF8 = 0o40000;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// `c_oflag`: what happens to output.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct OutputFlags: u32 {
        const OPOST = 0o1;
        const OLCUC = 0o2;
        const ONLCR = 0o4;
        const OCRNL = 0o10;
        const ONOCR = 0o20;
        const ONLRET = 0o40;
        /// Tabs become spaces: the value of the two bits of `TABDLY` that asks for it.
        const XTABS = 0o14000;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// `c_lflag`: editing, echo, signals.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct LocalFlags: u32 {
        const ISIG = 0o1;
        const ICANON = 0o2;
        const ECHO = 0o10;
        const ECHOE = 0o20;
        const ECHOK = 0o40;
        const ECHONL = 0o100;
        const NOFLSH = 0o200;
        const TOSTOP = 0o400;
        const ECHOCTL = 0o1000;
        const ECHOKE = 0o4000;
        const IEXTEN = 0o100000;
        const EXTPROC = 0o200000;
        const _ = !0;
    }
}

/// `CS8 | CREAD | HUPCL | CLOCAL | B115200`: what a line without a modem runs at.
const SERIAL_CONTROL: u32 = 0o60 | 0o200 | 0o2000 | 0o4000 | 0o10002;
/// `CS8 | CREAD | B38400`, as a new pseudo terminal has.
const PTY_CONTROL: u32 = 0o60 | 0o200 | 0o17;

/// Indices of `c_cc`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the names are those of termios(3)")]
pub enum Control {
    Intr = 0,
    Quit = 1,
    Erase = 2,
    Kill = 3,
    Eof = 4,
    Time = 5,
    Min = 6,
    Start = 8,
    Stop = 9,
    Susp = 10,
    Eol = 11,
    Reprint = 12,
    Werase = 14,
    Lnext = 15,
    Eol2 = 16,
}

/// `struct termios` of `TCGETS` and `TCSETS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Pod)]
pub struct Termios {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    line: u8,
    chars: [u8; 19],
}

/// `struct termios2` of `TCGETS2` and `TCSETS2`: speeds as numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
pub struct Termios2 {
    /// The part that the old structure has, too.
    pub base: Termios,
    /// Bits per second.
    pub input_speed: u32,
    /// Bits per second.
    pub output_speed: u32,
}

/// `struct termio` of the System V calls `TCGETA` and `TCSETA`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod)]
pub struct Termio {
    input: u16,
    output: u16,
    control: u16,
    local: u16,
    line: u8,
    chars: [u8; 8],
    pad: u8,
}

impl Termios {
    /// A serial line: cooked, echoing, 115200 baud.
    pub const fn serial() -> Self {
        Self::cooked(SERIAL_CONTROL)
    }

    /// A new pseudo terminal: cooked, echoing.
    pub const fn pty() -> Self {
        Self::cooked(PTY_CONTROL)
    }

    const fn cooked(control: u32) -> Self {
        let input = InputFlags::ICRNL.bits() | InputFlags::IXON.bits();
        let output = OutputFlags::OPOST.bits() | OutputFlags::ONLCR.bits();
        let signals = LocalFlags::ISIG.bits() | LocalFlags::IEXTEN.bits();
        let edit = LocalFlags::ICANON.bits() | LocalFlags::ECHO.bits() | LocalFlags::ECHOE.bits();
        let echo = LocalFlags::ECHOK.bits() | LocalFlags::ECHOCTL.bits() | LocalFlags::ECHOKE.bits();
        let chars = [3, 0x1c, 0x7f, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1a, 0, 0x12, 0x0f, 0x17, 0x16, 0, 0, 0];
        Self { input, output, control, local: signals | edit | echo, line: 0, chars }
    }

    /// Switches output processing off.
    pub fn make_output_raw(&mut self) {
        self.output &= !OutputFlags::OPOST.bits();
    }

    /// `c_iflag`.
    pub fn input(&self) -> InputFlags {
        InputFlags::from_bits_retain(self.input)
    }

    /// `c_oflag`.
    pub fn output(&self) -> OutputFlags {
        OutputFlags::from_bits_retain(self.output)
    }

    /// `c_lflag`.
    pub fn local(&self) -> LocalFlags {
        LocalFlags::from_bits_retain(self.local)
    }

    /// Whether input comes by lines.
    pub fn is_canonical(&self) -> bool {
        self.local().contains(LocalFlags::ICANON)
    }

    /// Whether tabs are written as spaces.
    pub fn expands_tabs(&self) -> bool {
        self.output().contains(OutputFlags::XTABS)
    }

    /// The number or character at `index` of `c_cc`.
    pub fn char(&self, index: Control) -> u8 {
        self.chars[index as usize]
    }

    /// Whether `byte` is the control character `index`; a 0 there means "none" (`_POSIX_VDISABLE`).
    pub fn is(&self, index: Control, byte: u8) -> bool {
        byte != 0 && self.char(index) == byte
    }

    /// The bits per second that `c_cflag` names; 0 hangs up.
    pub fn speed(&self) -> u32 {
        const SLOW: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
        const FAST: [u32; 15] = [
            57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000,
            2_500_000, 3_000_000, 3_500_000, 4_000_000,
        ];
        let code = (self.control & 0o10017) as usize;
        match code {
            0..=15 => SLOW[code],
            0o10001..=0o10017 => FAST[code - 0o10001],
            _ => 38400,
        }
    }

    /// This as a `termios2`.
    pub fn to_termios2(self) -> Termios2 {
        Termios2 { base: self, input_speed: self.speed(), output_speed: self.speed() }
    }

    /// This as a `termio`: what fits.
    pub fn to_termio(self) -> Termio {
        let mut chars = [0; 8];
        chars.copy_from_slice(&self.chars[..8]);
        let low = |flags: u32| (flags & 0xffff) as u16;
        Termio {
            input: low(self.input),
            output: low(self.output),
            control: low(self.control),
            local: low(self.local),
            line: self.line,
            chars,
            pad: 0,
        }
    }

    /// This with the half of each flag word and the characters that a `termio` has replaced.
    pub fn with_termio(mut self, termio: &Termio) -> Self {
        let merge = |flags: u32, low: u16| (flags & 0xffff_0000) | u32::from(low);
        self.input = merge(self.input, termio.input);
        self.output = merge(self.output, termio.output);
        self.control = merge(self.control, termio.control);
        self.local = merge(self.local, termio.local);
        self.chars[..8].copy_from_slice(&termio.chars);
        self
    }
}

/// `struct winsize`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod)]
pub struct WindowSize {
    /// Lines of characters.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
    /// Pixels, unused.
    pub x_pixels: u16,
    /// Pixels, unused.
    pub y_pixels: u16,
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn structures_have_the_sizes_of_the_abi() {
        assert_eq!(size_of::<Termios>(), 36);
        assert_eq!(size_of::<Termios2>(), 44);
        assert_eq!(size_of::<Termio>(), 18);
    }

    #[ktest]
    fn speeds() {
        assert_eq!(Termios::serial().speed(), 115_200);
        assert_eq!(Termios::pty().speed(), 38400);
    }
}
