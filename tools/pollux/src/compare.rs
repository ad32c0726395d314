// SPDX-License-Identifier: MPL-2.0

//! `pollux compare`: the same program here, on Linux in QEMU and on Pollux in QEMU; what differs?

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result};
use similar::TextDiff;

use crate::cli::{Compare, Kernel};

struct Observation {
    name: &'static str,
    output: Output,
}

/// Runs all of them and prints a verdict. True means that they agree.
pub fn compare(options: &Compare) -> Result<bool> {
    let mut observations = Vec::new();
    if !options.no_native {
        let mut command = Command::new(&options.program[0]);
        command.args(&options.program[1..]);
        if let Some(path) = std::env::var_os("POLLUX_USER_PATH") {
            command.env("PATH", path);
        }
        observations.push(observe("host", command)?);
    }
    observations.push(observe("linux", this_program(options, Kernel::Linux)?)?);
    observations.push(observe("pollux", this_program(options, Kernel::Pollux)?)?);

    let (reference, others) = observations.split_first().context("two observations at least")?;
    let mut agree = true;
    for other in others {
        agree &= report(reference, other);
    }
    println!("{}", if agree { "no difference" } else { "they differ" });
    Ok(agree)
}

/// This very program, asked to run it on one kernel with the options at hand.
fn this_program(options: &Compare, kernel: Kernel) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    let machine = &options.machine;
    command.args(["run", "--kernel", if kernel == Kernel::Linux { "linux" } else { "pollux" }]);
    command.args(["--smp", &machine.smp.to_string(), "--mem", &machine.mem.to_string()]);
    if let Some(timeout) = machine.timeout {
        command.args(["--timeout", &timeout.as_secs_f64().to_string()]);
    }
    command.args(machine.icount.then_some("--icount")).args(machine.gzip.then_some("--gzip"));
    for word in &machine.kernel_args {
        command.args(["--kernel-arg", word]);
    }
    for variable in &options.pack.env {
        command.args(["--env", variable]);
    }
    for addition in &options.pack.add {
        let mut text = addition.host.clone().into_os_string();
        if let Some(guest) = &addition.guest {
            text.push(":");
            text.push(guest);
        }
        command.arg("--add").arg(text);
    }
    command.args(options.pack.no_auto_add.then_some("--no-auto-add"));
    command.arg("--").args(&options.program);
    Ok(command)
}

fn observe(name: &'static str, mut command: Command) -> Result<Observation> {
    eprintln!("running on {name} ...");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run it on {name}"))?;
    Ok(Observation { name, output })
}

/// The status as a shell shows it.
fn shell_status(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn report(reference: &Observation, other: &Observation) -> bool {
    let pair = format!("{} and {}", reference.name, other.name);
    let (a, b) = (shell_status(reference.output.status), shell_status(other.output.status));
    let mut agree = a == b;
    if !agree {
        println!("exit status of {pair}: {a}, {b}");
    }
    let streams = [
        ("standard output", &reference.output.stdout, &other.output.stdout),
        ("standard error", &reference.output.stderr, &other.output.stderr),
    ];
    for (stream, left, right) in streams.into_iter().filter(|(_, left, right)| left != right) {
        agree = false;
        println!("{stream} of {pair}:");
        let (left, right) = (String::from_utf8_lossy(left), String::from_utf8_lossy(right));
        let diff = TextDiff::from_lines(left.as_ref(), right.as_ref());
        print!("{}", diff.unified_diff().header(reference.name, other.name));
    }
    agree
}
