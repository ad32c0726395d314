// SPDX-License-Identifier: MPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  ./pollux run /bin/echo hello                 a program of this machine, on Pollux
  ./pollux run -- sh -c 'seq 9 | wc -l'        options end at PROGRAM, or at --
  echo 6*7 | ./pollux run bc                   standard input is passed on
  ./pollux run python3 server.py               files named as arguments come along
  ./pollux run --add data:/data ./prog         more files, here under another name
  ./pollux run --kernel linux ./prog           the same image on Debian's kernel
  ./pollux run --smp 4 --timeout 10 ./prog     four CPUs; give up after ten seconds
  ./pollux run --trace /bin/true               every system call, as strace shows it
  ./pollux run --icount --cpu=-erms ./prog     count instructions, on a CPU without fast rep movsb
  ./pollux compare ./prog                      here, on Linux and on Pollux: what differs?
  ./pollux shell                               a busybox shell on Pollux

What is packed:
  PROGRAM with the interpreter of its #! line, its dynamic loader and its shared libraries, each at the path
  it has here; regular files named by an ARG (unless --no-auto-add); CPython's standard library with CPython; /bin/sh and
  busybox's applets as basic tools. What a program loads by dlopen() or opens by itself has to be named by --add.
  The guest's working directory has the same path as yours.

Standard streams:
  Standard output and error are the program's, byte for byte. When standard input and output both are terminals the
  program gets a terminal too (there, press Ctrl-] three times to pull the plug). Else Ctrl-C sends the program
  SIGINT; a second one ends the machine.

Exit status:
  the program's; 128+N if signal N ended it; 124 after a --timeout; 125 for mistakes in usage and trouble on this
  machine; 126 if the kernel panicked (its last words are on standard error). As in a shell, 127 and 126 also say that
  PROGRAM was not found or could not be executed in the guest.

Environment:
  POLLUX_KERNEL=FILE boots that kernel image (as target/osdk/*.qemu_elf) and builds nothing.";

/// Runs Linux programs on the Pollux kernel, in QEMU, like a container.
#[derive(Debug, Parser)]
#[command(name = "pollux", version, after_help = EXAMPLES, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Pack PROGRAM with all it needs, boot, run it, and exit with its exit status
    #[command(after_help = EXAMPLES)]
    Run(Run),
    /// Run PROGRAM here, on Linux in QEMU and on Pollux in QEMU, and show what differs
    ///
    /// Compares standard output, standard error and the exit status. Exits with 0 if all agree, else with 1.
    Compare(Compare),
    /// An interactive busybox shell in the guest
    Shell(Shell),
    /// Pack PROGRAM as `run` would, but only list what goes into the image
    Pack(Pack),
}

/// Options that describe the machine.
#[derive(Args, Clone, Debug)]
pub struct MachineOptions {
    /// Number of CPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub smp: u8,
    /// Memory, in bytes or with K, M, G; at least 3G
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = parse_size)]
    pub mem: u64,
    /// Give up after this many seconds (fractions allowed), with exit status 124
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    pub timeout: Option<std::time::Duration>,
    /// Guest time counts guest instructions: figures that repeat exactly (one CPU only)
    #[arg(long)]
    pub icount: bool,
    /// Show the firmware's and the kernel's log on standard error
    #[arg(long, short)]
    pub verbose: bool,
    /// Append to the kernel's command line
    #[arg(long = "kernel-arg", value_name = "WORD", allow_hyphen_values = true)]
    pub kernel_args: Vec<String>,
    /// Add and take away features of the CPU, as in QEMU's -cpu: --cpu=-erms,-fsrm
    #[arg(long, value_name = "FLAGS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub cpu: String,
    /// Append to QEMU's command line
    #[arg(long = "qemu-arg", value_name = "WORD", allow_hyphen_values = true)]
    pub qemu_args: Vec<String>,
    /// Compress the image with gzip
    #[arg(long)]
    pub gzip: bool,
}

/// Options that describe what is packed.
#[derive(Args, Clone, Debug)]
pub struct PackOptions {
    /// Pack a file or directory as well; ELF files bring their libraries
    #[arg(long = "add", value_name = "HOST[:GUEST]", value_parser = parse_add)]
    pub add: Vec<Addition>,
    /// Do not pack the files that ARGs name
    #[arg(long)]
    pub no_auto_add: bool,
    /// Set an environment variable in the guest; without =V, to its value here
    #[arg(long = "env", value_name = "K=V")]
    pub env: Vec<String>,
}

/// `pollux run`.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// The image.
    #[command(flatten)]
    pub pack: PackOptions,
    /// Which kernel to boot
    #[arg(long, value_enum, default_value_t = Kernel::Pollux)]
    pub kernel: Kernel,
    /// Show the program's system calls on standard error, as strace does
    #[arg(long)]
    pub trace: bool,
    /// Never give the program a terminal, only pipes
    #[arg(long)]
    pub no_tty: bool,
    /// A path, or a name to look up in PATH, and its arguments
    #[arg(value_name = "PROGRAM [ARG]...", required = true, trailing_var_arg = true)]
    pub program: Vec<String>,
}

/// `pollux compare`.
#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// The image.
    #[command(flatten)]
    pub pack: PackOptions,
    /// Do not run it on this machine itself
    #[arg(long)]
    pub no_native: bool,
    /// A path, or a name to look up in PATH, and its arguments
    #[arg(value_name = "PROGRAM [ARG]...", required = true, trailing_var_arg = true)]
    pub program: Vec<String>,
}

/// `pollux shell`.
#[derive(Args, Clone, Debug)]
pub struct Shell {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// The image.
    #[command(flatten)]
    pub pack: PackOptions,
    /// Which kernel to boot
    #[arg(long, value_enum, default_value_t = Kernel::Pollux)]
    pub kernel: Kernel,
}

/// `pollux pack`.
#[derive(Args, Clone, Debug)]
pub struct Pack {
    /// The image.
    #[command(flatten)]
    pub pack: PackOptions,
    /// Write the image (a cpio archive) to this file
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Compress the image with gzip
    #[arg(long)]
    pub gzip: bool,
    /// A path, or a name to look up in PATH, and its arguments
    #[arg(value_name = "PROGRAM [ARG]...", required = true, trailing_var_arg = true)]
    pub program: Vec<String>,
}

/// The kernels that can be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Ours.
    Pollux,
    /// Debian's stock kernel: the oracle and the rival.
    Linux,
}

/// One `--add`: a host path and the place it gets in the guest (`None`: the same absolute path).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The file or directory here.
    pub host: PathBuf,
    /// Its absolute path there.
    pub guest: Option<PathBuf>,
}

fn parse_add(text: &str) -> Result<Addition, String> {
    // A host path that contains a colon is still found by its whole name.
    let (host, guest) = match text.rsplit_once(':') {
        Some((host, guest)) if !PathBuf::from(text).exists() => (host, Some(PathBuf::from(guest))),
        _ => (text, None),
    };
    if let Some(guest) = &guest
        && !guest.is_absolute()
    {
        return Err(format!("the guest's path must be absolute: {}", guest.display()));
    }
    if !PathBuf::from(host).exists() {
        return Err(format!("no such file or directory: {host}"));
    }
    Ok(Addition { host: PathBuf::from(host), guest })
}

fn parse_size(text: &str) -> Result<u64, String> {
    const MINIMUM: u64 = 3 << 30;
    let (digits, shift) = match text.trim_end_matches(['B', 'b', 'i']).to_ascii_uppercase() {
        t if t.ends_with('K') => (t[..t.len() - 1].to_owned(), 10),
        t if t.ends_with('M') => (t[..t.len() - 1].to_owned(), 20),
        t if t.ends_with('G') => (t[..t.len() - 1].to_owned(), 30),
        t => (t, 0),
    };
    let number: u64 = digits.parse().map_err(|_| format!("not a size: {text}; write 4G or 4096M"))?;
    let bytes = number.checked_mul(1 << shift).ok_or("too large")?;
    if bytes < MINIMUM {
        return Err(
            "the kernel needs at least 3G to boot; QEMU takes host memory only as the guest touches it".to_owned()
        );
    }
    Ok(bytes)
}

fn parse_seconds(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("not a number of seconds: {text}"))?;
    std::time::Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn clap_accepts_the_definition() {
        Cli::command().debug_assert();
    }

    fn run(args: &[&str]) -> Run {
        let words = ["pollux", "run"].iter().chain(args);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_end_at_the_program() {
        let run = run(&["--smp", "2", "ls", "--smp", "-l", "--", "x"]);
        assert_eq!(run.machine.smp, 2);
        assert_eq!(run.program, ["ls", "--smp", "-l", "--", "x"]);
    }

    #[test]
    fn a_double_dash_before_the_program_is_dropped() {
        assert_eq!(run(&["--", "-odd-name", "--", "x"]).program, ["-odd-name", "--", "x"]);
    }

    #[test]
    fn unknown_options_are_mistakes_not_programs() {
        assert!(Cli::try_parse_from(["pollux", "run", "--bogus", "ls"]).is_err());
        assert!(Cli::try_parse_from(["pollux", "run"]).is_err());
    }

    #[test]
    fn words_for_the_machine_may_begin_with_a_hyphen() {
        let run = run(&["--cpu", "-erms,-fsrm", "--qemu-arg", "-d", "--qemu-arg", "int", "--kernel-arg", "-x", "ls"]);
        assert_eq!(run.machine.cpu, "-erms,-fsrm");
        assert_eq!(run.machine.qemu_args, ["-d", "int"]);
        assert_eq!(run.machine.kernel_args, ["-x"]);
        assert_eq!(run.program, ["ls"]);
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("4G").unwrap(), 4 << 30);
        assert_eq!(parse_size("3072MiB").unwrap(), 3 << 30);
        assert_eq!(parse_size("3221225472").unwrap(), 3 << 30);
        assert!(parse_size("2G").unwrap_err().contains("3G"));
        assert!(parse_size("much").is_err());
    }

    #[test]
    fn additions() {
        assert_eq!(parse_add("/etc:/x/etc").unwrap(), Addition { host: "/etc".into(), guest: Some("/x/etc".into()) });
        assert_eq!(parse_add("/etc").unwrap(), Addition { host: "/etc".into(), guest: None });
        assert!(parse_add("/etc:relative").is_err());
        assert!(parse_add("/no/such/file").is_err());
    }
}
