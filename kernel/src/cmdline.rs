// SPDX-License-Identifier: MPL-2.0

//! The kernel command line.
//!
//! # Role
//! Splits the words that the boot loader hands over into what the kernel wants to know and what goes to init, by the rules
//! of `bootparam(7)` and Linux's `Documentation/admin-guide/kernel-parameters.rst`:
//! - everything behind a word `--` is an argument of init;
//! - an unknown `NAME=VALUE` goes to init's environment, any other unknown word to its arguments;
//! - a word with a dot before any `=` is a module's parameter and never goes to init;
//! - `init=` drops the arguments collected before it;
//! - double quotes group spaces into one word and vanish.

use spin::Once;

use crate::prelude::*;

/// The parsed command line.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct CommandLine {
    /// The whole line, as `/proc/cmdline` shows it (without the newline).
    pub raw: String,
    /// Path of the first program, from `init=` or `rdinit=`.
    pub init: Option<String>,
    /// Arguments of init behind its own name.
    pub init_args: Vec<String>,
    /// `NAME=VALUE` strings of init's environment.
    pub init_env: Vec<String>,
    /// Names of the `console=` words, options behind a comma removed; the last one is `/dev/console`.
    pub consoles: Vec<String>,
    /// Records of a level below this number are printed (`loglevel=`, `quiet`, `debug`).
    pub loglevel: Option<u8>,
    /// `pollux.trace=1`: print every system call.
    pub trace: bool,
    /// `vdso=0`: programs ask the kernel for the time.
    pub without_vdso: bool,
}

/// Words that Linux itself consumes and that mean nothing here; they must not reach init.
const IGNORED: &[&str] = &[
    "root",
    "rootfstype",
    "rootflags",
    "rootwait",
    "rootdelay",
    "ro",
    "rw",
    "initrd",
    "noinitrd",
    "panic",
    "reboot",
    "mitigations",
    "nokaslr",
    "maxcpus",
    "nr_cpus",
    "nosmp",
    "noapic",
    "nolapic",
    "acpi",
    "apic",
    "pci",
    "clocksource",
    "tsc",
    "lpj",
    "mem",
    "memmap",
    "earlyprintk",
    "earlycon",
    "ignore_loglevel",
    "log_buf_len",
    "keep_bootcon",
    "init_on_alloc",
    "init_on_free",
    "net",
    "idle",
    "nohz",
    "highres",
    "audit",
    "selinux",
    "apparmor",
    "swiotlb",
    "BOOT_IMAGE",
];

/// The command line of this boot.
pub fn get() -> &'static CommandLine {
    static LINE: Once<CommandLine> = Once::new();
    LINE.call_once(|| CommandLine::parse(&ostd::boot::boot_info().kernel_cmdline))
}

impl CommandLine {
    /// Parses a command line.
    pub fn parse(raw: &str) -> Self {
        // Some boot loaders leave the terminator or a newline in the string.
        let raw = raw.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        let mut line = Self { raw: raw.to_string(), ..Self::default() };
        let mut words = split_words(raw).into_iter();
        while let Some(word) = words.next() {
            if word == "--" {
                line.init_args.extend(words);
                break;
            }
            line.take_word(word);
        }
        line
    }

    fn take_word(&mut self, word: String) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        match (name, value) {
            ("init" | "rdinit", Some(path)) => {
                self.init = Some(path.to_string());
                self.init_args.clear();
            }
            ("console", Some(console)) => {
                let device = console.split(',').next().unwrap_or(console);
                self.consoles.push(device.trim_start_matches("/dev/").to_string());
            }
            ("loglevel", Some(level)) => self.loglevel = level.parse().ok().or(self.loglevel),
            ("quiet", None) => self.loglevel = Some(4),
            ("debug", None) => self.loglevel = Some(10),
            ("pollux.trace", value) => self.trace = !matches!(value, Some("0" | "n" | "off")),
            ("vdso", Some(value)) => self.without_vdso = value == "0",
            _ if name.contains('.') || IGNORED.contains(&name) => {}
            (_, Some(_)) => self.init_env.push(word),
            (_, None) => self.init_args.push(word),
        }
    }
}

/// Splits at white space outside double quotes; the quotes are removed.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn known_words_are_taken_and_unknown_ones_go_to_init() {
        let line = CommandLine::parse("console=ttyS1,115200 quiet TERM=vt100 single root=/dev/vda mod.x=1 mod.y\n");
        assert_eq!(line.consoles, ["ttyS1"]);
        assert_eq!(line.loglevel, Some(4));
        assert_eq!(line.init_env, ["TERM=vt100"]);
        assert_eq!(line.init_args, ["single"]);
        assert_eq!(line.init, None);
    }

    #[ktest]
    fn words_behind_the_double_dash_are_arguments_as_they_stand() {
        let line = CommandLine::parse("auto init=/bin/sh a -- -c \"echo  hi\" --  x=1 \"\"");
        assert_eq!(line.init.as_deref(), Some("/bin/sh"));
        assert_eq!(line.init_args, ["a", "-c", "echo  hi", "--", "x=1", ""]);
        assert!(line.init_env.is_empty());
    }

    #[ktest]
    fn trace_and_loglevel() {
        assert!(CommandLine::parse("pollux.trace=1").trace);
        assert!(CommandLine::parse("pollux.trace").trace);
        assert!(!CommandLine::parse("pollux.trace=0").trace);
        assert!(CommandLine::parse("vdso=0").without_vdso);
        assert!(!CommandLine::parse("vdso=0 vdso=1").without_vdso);
        assert_eq!(CommandLine::parse("loglevel=7 loglevel=x").loglevel, Some(7));
        assert_eq!(CommandLine::parse("  "), CommandLine::default());
    }
}
