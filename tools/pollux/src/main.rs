// SPDX-License-Identifier: MPL-2.0

//! `pollux`: packs a Linux program of this machine with all it needs, boots it on the Pollux kernel (or on Linux) in
//! QEMU, carries its bytes, and exits with its exit status.
//!
//! The way of a run: [`program`] finds the file, [`packing`] builds the [`image`] with init's [`job`], [`machine`]
//! starts QEMU on it, [`session`] carries bytes until the end, and this file turns the outcome into an exit status.

mod cli;
mod compare;
mod console;
mod elf;
mod image;
mod job;
mod libraries;
mod machine;
mod packing;
mod program;
mod project;
mod python;
mod session;
mod terminal;

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use cli::{Cli, Command, Kernel, MachineOptions, Pack, PackOptions, Run, Shell};
use image::Node;
use job::Job;
use packing::Packer;
use project::Project;
use session::{Outcome, Wishes};

const TIMED_OUT: u8 = 124;
const HOST_ERROR: u8 = 125;
const KERNEL_PANIC: u8 = 126;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes.
            let status = if error.use_stderr() { HOST_ERROR } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let result = match cli.command {
        Command::Run(options) => run(&options),
        Command::Shell(options) => run(&shell(options)),
        Command::Compare(options) => compare::compare(&options).map(|agree| u8::from(!agree)),
        Command::Pack(options) => pack(&options).map(|()| 0),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("pollux: {error:#}");
            ExitCode::from(HOST_ERROR)
        }
    }
}

/// The shell is a run like any other.
fn shell(options: Shell) -> Run {
    Run {
        machine: options.machine,
        pack: PackOptions { env: [vec!["PS1=pollux:\\w# ".to_owned()], options.pack.env].concat(), ..options.pack },
        kernel: options.kernel,
        trace: false,
        no_tty: false,
        program: ["busybox", "sh"].map(String::from).into(),
    }
}

/// The PATH that names are looked up in: the user's, not the one that `./pollux` makes for compilers.
fn search_path() -> OsString {
    std::env::var_os("POLLUX_USER_PATH").or_else(|| std::env::var_os("PATH")).unwrap_or_default()
}

/// An image with the program and its job, but not yet init.
fn prepare(words: &[String], options: &PackOptions, terminal: bool) -> Result<(Packer, Job)> {
    let cwd = std::env::current_dir().context("the working directory is gone")?;
    let program = program::find(words, &search_path(), &cwd)?;
    let mut packer = Packer::new(search_path(), cwd.clone())?;
    packer.pack(&program, options)?;
    let job = Job {
        path: program.path.to_str().context("the program's path is not UTF-8")?.to_owned(),
        argv: program.argv,
        env: job::environment(&options.env, terminal),
        cwd: cwd.to_str().context("the working directory's name is not UTF-8")?.to_owned(),
        terminal: terminal.then(terminal::window_size),
    };
    Ok((packer, job))
}

fn run(options: &Run) -> Result<u8> {
    check_machine(&options.machine)?;
    let terminal = !options.no_tty && terminal::is_interactive();
    let (mut packer, mut job) = prepare(&options.program, &options.pack, terminal)?;
    if options.trace && options.kernel == Kernel::Linux {
        let strace = packer.add_tracer()?;
        job.under_tracer(&strace);
    }
    let project = Project::locate()?;
    packer.put_init(&project.init()?, &job)?;
    packer.warnings.iter().for_each(|warning| eprintln!("pollux: note: {warning}"));

    let kernel_image = project.kernel_image(options.kernel)?;
    let command_line = machine::kernel_command_line(options.kernel, &options.machine, options.trace);
    let (machine, wires) = machine::start(&kernel_image, &packer.image, &command_line, &options.machine)?;
    let wishes =
        Wishes { timeout: options.machine.timeout, terminal, verbose: options.machine.verbose, trace: options.trace };
    let outcome = session::run(machine, wires, wishes)?;
    Ok(conclude(outcome, options))
}

fn check_machine(options: &MachineOptions) -> Result<()> {
    if options.icount && options.smp != 1 {
        bail!("--icount counts the instructions of one CPU: drop --smp {}", options.smp);
    }
    Ok(())
}

/// Tells the user what there is to tell, and returns the exit status.
fn conclude(outcome: Outcome, options: &Run) -> u8 {
    match outcome {
        Outcome::Exit(status) => status,
        Outcome::Signal(signal) | Outcome::Interrupted(signal) => 128 + signal,
        Outcome::OutputClosed => 128 + nix::sys::signal::Signal::SIGPIPE as u8,
        Outcome::TimedOut(unstarted) => {
            let seconds = options.machine.timeout.unwrap_or_default().as_secs_f64();
            match unstarted {
                None => eprintln!("pollux: timed out after {seconds} s"),
                Some(words) if words.is_empty() || options.machine.verbose => {
                    eprintln!("pollux: timed out after {seconds} s; the program was not yet started");
                }
                Some(words) => {
                    eprintln!(
                        "pollux: timed out after {seconds} s; the program was not yet started; the kernel's log:"
                    );
                    words.iter().for_each(|line| eprintln!("{line}"));
                }
            }
            TIMED_OUT
        }
        Outcome::GuestError(text) => {
            eprintln!("pollux: the guest could not start the program: {text}");
            HOST_ERROR
        }
        Outcome::Panicked(words) => {
            if options.machine.verbose {
                eprintln!("pollux: the kernel panicked");
            } else {
                eprintln!("pollux: the kernel panicked; its last words:");
                words.iter().for_each(|line| eprintln!("{line}"));
            }
            KERNEL_PANIC
        }
        Outcome::Died(words, complaints, status) => {
            let how = status.map_or_else(String::new, |status| format!(" ({status})"));
            eprint!("{complaints}");
            if words.is_empty() && !complaints.is_empty() {
                eprintln!("pollux: QEMU did not start the machine{how}");
                return HOST_ERROR;
            }
            eprintln!("pollux: the machine stopped without a word from init{how}; the end of the kernel's log:");
            words.iter().for_each(|line| eprintln!("{line}"));
            KERNEL_PANIC
        }
    }
}

/// Lists the image, or writes it to a file.
fn pack(options: &Pack) -> Result<()> {
    let (mut packer, job) = prepare(&options.program, &options.pack, false)?;
    packer.put_init(&Project::locate()?.init()?, &job)?;
    packer.warnings.iter().for_each(|warning| eprintln!("pollux: note: {warning}"));
    let Some(output) = &options.output else {
        return list(&packer.image);
    };
    let file = std::fs::File::create(output).with_context(|| output.display().to_string())?;
    packer.image.write_archive(file, options.gzip)
}

fn list(image: &image::Image) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (path, node) in image.nodes() {
        let path = path.display();
        match node {
            Node::Directory(_) => writeln!(out, "{path}/")?,
            Node::HostFile(_) => writeln!(out, "{path}")?,
            Node::Bytes(bytes, _) => writeln!(out, "{path} ({} bytes)", bytes.len())?,
            Node::Symlink(target) => writeln!(out, "{path} -> {}", target.display())?,
            Node::CharDevice(major, minor, _) => writeln!(out, "{path} (device {major}:{minor})")?,
        }
    }
    out.flush()?;
    Ok(())
}
