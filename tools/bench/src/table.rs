// SPDX-License-Identifier: MPL-2.0

//! `make bench`: all rows on all kernels, as a table, as files, as figures; and the committed page of results.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::goals;
use crate::guest::{Kernel, Project};
use crate::plot;
use crate::results::Results;
use crate::rows::Row;

/// `pollux-bench table`.
#[derive(Args, Clone, Debug)]
pub struct Table {
    /// Only the rows that this expression matches
    #[arg(long, value_name = "REGEX", default_value = "")]
    pub rows: String,
    /// Only on these kernels; the others' figures are those of the last run, or else the committed ones
    #[arg(long, value_name = "KERNEL,...", value_enum, value_delimiter = ',')]
    pub kernels: Vec<Kernel>,
    /// The length of a batch in microseconds of guest time, that is in thousands of instructions; five times that in
    /// rows of several tasks
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub batch_us: u32,
    /// Write the committed page of results, test/bench/RESULTS.md, with its figures
    #[arg(long)]
    pub page: bool,
}

/// Measures, prints and writes. Returns whether no row failed.
///
/// # Errors
///
/// It cannot be measured, or a file not be written.
pub fn table(project: &Project, options: &Table) -> Result<bool> {
    let goals = goals::read(&project.path("test/bench/goals.csv"))?;
    let kernels = if options.kernels.is_empty() { Kernel::ALL.to_vec() } else { options.kernels.clone() };
    let output = project.output();
    let all_path = output.join("results.json");
    let committed = project.path("test/bench/results.json");
    let wanted = project.list(&[&options.rows])?;
    if wanted.is_empty() {
        bail!("no row matches {}", options.rows);
    }

    let mut all = Results::load(&all_path)?;
    let mut well = true;
    for (kernel, rows) in measure(project, &kernels, options)? {
        well &= !rows.iter().any(Row::has_failed);
        all.take(kernel, &rows);
    }
    all.save(&all_path)?;
    all.complete(&Results::load(&committed)?);
    let shown = all.only(&wanted);
    print!("{}", shown.text(&goals));
    for line in &shown.rows {
        for (kernel, why) in line.missing.iter().filter(|(_, why)| why.starts_with("failed")) {
            println!("{} on {kernel}: {why}", line.row);
        }
    }
    std::fs::write(output.join("results.csv"), shown.csv(&goals))?;
    let figures = plot::draw(&shown, &output, true)?;
    println!("In {}: results.json, results.csv{}", output.display(), names(&figures));
    if options.page {
        all.only(&project.list(&[""])?).save(&committed)?;
        page(project, &Results::load(&committed)?, &goals)?;
    }
    Ok(well)
}

fn names(figures: &[&str]) -> String {
    figures.iter().map(|name| format!(", {name}.svg and .png")).collect()
}

/// All kernels at once: instructions are counted, so they do not disturb each other.
fn measure(project: &Project, kernels: &[Kernel], options: &Table) -> Result<Vec<(Kernel, Vec<Row>)>> {
    let batch = options.batch_us.to_string();
    let arguments = ["--batch-us", &batch, &options.rows];
    std::thread::scope(|scope| {
        let runs: Vec<_> = kernels
            .iter()
            .map(|kernel| (*kernel, scope.spawn(move || project.bench(*kernel, &[], &arguments))))
            .collect();
        runs.into_iter()
            .map(|(kernel, run)| Ok((kernel, run.join().map_err(|_| anyhow!("a thread panicked"))??)))
            .collect()
    })
}

fn page(project: &Project, results: &Results, goals: &goals::Goals) -> Result<()> {
    let directory = project.path("test/bench/figures");
    std::fs::create_dir_all(&directory)?;
    let figures = plot::draw(results, &directory, false)?;
    let mut text = format!(
        "<!-- Written by `make bench-results`; do not edit. -->\n\
         # Results\n\n\
         Commit {}, `make bench-results`, {}.\n\n\
         Instructions per operation in the guest, one CPU, QEMU's emulator with `-icount shift=0`; lower is better. *Linux*\n\
         is Debian's; *best*: `mitigations=off init_on_alloc=0 hardened_usercopy=off`, on a CPU without ERMS; *stock*: as\n\
         shipped. The ratio is to *best* (`s`: to *stock*). Goals: `goals.csv`; all numbers, the curves' too: `results.json`.\n\
         The `64k` rows count each byte or word that is copied: `make bench-wall` compares them by time.\n\n",
        commit(project)?,
        qemu_version()?
    );
    text += &results.markdown(goals);
    let _ = write!(text, "\n{}", results.summary(goals));
    text += "\n## Curves\n";
    for name in figures {
        let _ = write!(text, "\n![{name}](figures/{name}.svg)\n");
    }
    let path = project.path("test/bench/RESULTS.md");
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("Written: {}, with its figures", path.display());
    Ok(())
}

/// The commit that is checked out, and whether the kernel differs from it.
pub fn commit(project: &Project) -> Result<String> {
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(project.path("")).args(arguments));
    let changed = !git(&["status", "--porcelain", "--", "kernel", "Cargo.lock", "test/bench/*.c"])?.is_empty();
    Ok(format!(
        "`{}`{}",
        git(&["rev-parse", "--short=12", "HEAD"])?,
        if changed { " with uncommitted changes" } else { "" }
    ))
}

/// QEMU's name and version.
pub fn qemu_version() -> Result<String> {
    let text = output(Command::new("qemu-system-x86_64").arg("--version"))?;
    let line = text.lines().next().unwrap_or_default();
    Ok(line.replace(" emulator version", "").split(" (").next().unwrap_or_default().to_owned())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Draws the figures of the last run again.
///
/// # Errors
///
/// There was none, or the files cannot be written.
pub fn redraw(project: &Project, from: &Path) -> Result<bool> {
    let figures = plot::draw(&Results::load(from)?, &project.output(), true)?;
    println!("In {}{}", project.output().display(), names(&figures));
    Ok(!figures.is_empty())
}
