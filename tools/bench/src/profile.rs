// SPDX-License-Identifier: MPL-2.0

//! The instructions of one row by function, exactly: QEMU's plugin (`test/bench/qemu/profile.c`) has counted how often
//! each instruction was executed in the measured batches.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::guest::{Kernel, Project};
use crate::rows::{Outcome, Row};
use crate::symbols::{KERNEL, Symbols};

/// `pollux-bench profile`.
#[derive(Args, Clone, Debug)]
pub struct Profile {
    /// The row: its name, or an expression that only it matches
    pub row: String,
    /// The kernel
    #[arg(long, value_enum, default_value_t = Kernel::Pollux)]
    pub kernel: Kernel,
    /// Count for the innermost function, also where it was inlined (Pollux only)
    #[arg(long)]
    pub inline: bool,
    /// Count for each line of the sources (Pollux only)
    #[arg(long)]
    pub lines: bool,
    /// Show as well what one operation goes through, in order
    #[arg(long)]
    pub trace: bool,
    /// List so many functions
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub top: usize,
    /// The length of a batch in microseconds of guest time; 20000, as in the table, settles Linux's scheduler
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub batch_us: u32,
}

/// What was counted for a function or a line.
#[derive(Default)]
struct Share {
    instructions: u64,
    /// How often its first instruction was executed.
    calls: u64,
}

/// Measures, and prints the table.
///
/// # Errors
///
/// The row does not exist, is one of several that match, or was not measured.
pub fn profile(project: &Project, options: &Profile) -> Result<()> {
    let counts_path = project.output().join("profile.counts");
    let trace_path = project.output().join("profile.trace");
    let row = run(project, options, &counts_path, &trace_path)?;
    let Outcome::Ok { operations, batches } = &row.outcome else {
        bail!("{}: {}", row.name, row.why().unwrap_or_default());
    };
    let counts = read_pairs(&counts_path)?;
    let symbols = symbols(project, options.kernel)?;
    let all = (*operations * batches.len() as u64) as f64;
    print_table(&row, &counts, &symbols, all, options);
    if options.trace {
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        print_trace(&read_pairs(&trace_path)?, &symbols, (total as f64 / all).ceil() as u64);
    }
    Ok(())
}

fn run(project: &Project, options: &Profile, counts: &Path, trace: &Path) -> Result<Row> {
    let mut plugin = OsString::from("--qemu-arg=file=");
    plugin.push(project.output().join("profile.so"));
    plugin.push(",counts=");
    plugin.push(counts);
    if options.trace {
        plugin.push(",trace=");
        plugin.push(trace);
    }
    let machine = [OsString::from("--qemu-arg=-plugin"), plugin, OsString::from("--kernel-arg=nokaslr")];
    let batch = options.batch_us.to_string();
    let rows = |pattern: &str| project.bench(options.kernel, &machine, &["--batch-us", &batch, pattern]);
    let mut found = rows(&format!("^{}$", options.row))?;
    if found.is_empty() {
        found = rows(&options.row)?;
    }
    match found.as_slice() {
        [row] => Ok(row.clone()),
        [] => bail!("no row matches {}", options.row),
        several => {
            let names: Vec<_> = several.iter().map(|row| row.name.as_str()).collect();
            bail!("{} rows match {}: {}", names.len(), options.row, names.join(" "))
        }
    }
}

/// The kernel's functions. Linux says them itself, at the same addresses in each run with `nokaslr`.
fn symbols(project: &Project, kernel: Kernel) -> Result<Symbols> {
    if kernel == Kernel::Pollux {
        let image = std::env::var_os("POLLUX_KERNEL").map_or_else(|| project.path("target/pollux.elf"), PathBuf::from);
        return Symbols::of_elf(&image);
    }
    let mut options: Vec<OsString> = kernel.options().iter().map(OsString::from).collect();
    options.push("--kernel-arg=nokaslr".into());
    let text = project.output_of(&options, &["busybox", "cat", "/proc/kallsyms"])?;
    Ok(Symbols::of_kallsyms(&text))
}

/// The lines `HEXADECIMAL DECIMAL` of a file of the plugin's.
fn read_pairs(path: &Path) -> Result<Vec<(u64, u64)>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let pair = |line: &str| {
        let (address, number) = line.split_once(' ')?;
        Some((u64::from_str_radix(address, 16).ok()?, number.parse().ok()?))
    };
    text.lines().map(|line| pair(line).with_context(|| format!("{}: {line}", path.display()))).collect()
}

/// What instructions are counted for: a name and, in parentheses, a place.
fn bucket(symbols: &Symbols, address: u64, options: &Profile) -> String {
    if !options.inline && !options.lines {
        return symbols.function(address).map_or("?", |(_, name)| name).to_owned();
    }
    let frames = symbols.frames(address);
    let innermost = &frames[0];
    if options.lines { format!("{} {}", innermost.place, innermost.function) } else { innermost.function.clone() }
}

fn print_table(row: &Row, counts: &[(u64, u64)], symbols: &Symbols, operations: f64, options: &Profile) {
    let mut shares: HashMap<String, Share> = HashMap::new();
    let (mut kernel, mut user) = (0, 0);
    for &(address, count) in counts {
        if address < KERNEL {
            user += count;
            continue;
        }
        kernel += count;
        let share = shares.entry(bucket(symbols, address, options)).or_default();
        share.instructions += count;
        if symbols.function(address).is_some_and(|(start, _)| start == address) {
            share.calls += count;
        }
    }
    let mut sorted: Vec<_> = shares.into_iter().collect();
    sorted.sort_by(|(a, x), (b, y)| y.instructions.cmp(&x.instructions).then_with(|| a.cmp(b)));
    let per = |number: u64| number as f64 / operations;
    println!("{} on {}: instructions per operation, {operations} operations", row.name, options.kernel.title());
    println!("{:>11} {:>6} {:>9}  function", "self", "share", "calls");
    for (name, share) in sorted.iter().take(options.top) {
        let calls = if share.calls == 0 { String::new() } else { format!("{:.2}", per(share.calls)) };
        println!(
            "{:>11.2} {:>5.1}% {calls:>9}  {name}",
            per(share.instructions),
            100.0 * share.instructions as f64 / kernel as f64
        );
    }
    let rest: u64 = sorted.iter().skip(options.top).map(|(_, share)| share.instructions).sum();
    if rest != 0 {
        println!(
            "{:>11.2} {:>5.1}%            {} more",
            per(rest),
            100.0 * rest as f64 / kernel as f64,
            sorted.len() - options.top
        );
    }
    println!("{:>11.2}                   kernel", per(kernel));
    println!("{:>11.2}                   program", per(user));
    println!("{:>11.2}                   all", per(kernel + user));
}

/// The blocks of the batch's first `instructions`, joined where they are of the same place in the call tree.
fn print_trace(blocks: &[(u64, u64)], symbols: &Symbols, instructions: u64) {
    println!("\none operation, in order (instructions, function < what it was inlined to):");
    let (mut seen, mut here, mut sum) = (0, String::new(), 0);
    for &(address, count) in blocks {
        if seen >= instructions {
            break;
        }
        seen += count;
        let place = if address < KERNEL { "program".to_owned() } else { chain(symbols, address) };
        if place != here {
            if sum != 0 {
                println!("{sum:>7}  {here}");
            }
            (here, sum) = (place, 0);
        }
        sum += count;
    }
    println!("{sum:>7}  {here}");
}

fn chain(symbols: &Symbols, address: u64) -> String {
    let names: Vec<_> = symbols.frames(address).into_iter().map(|frame| frame.function).collect();
    names.join(" < ")
}
