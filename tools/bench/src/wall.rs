// SPDX-License-Identifier: MPL-2.0

//! `make bench-wall`: real programs against the clock, Pollux and Linux in turn, so that both meet the same weather on
//! this machine. Only the ratios mean something.
//!
//! Each test is a script for the guest in `test/bench/wall`; its head says what it needs and what results it prints.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::guest::{Kernel, Project};
use crate::table::{commit, qemu_version};

/// `pollux-bench wall`.
#[derive(Args, Clone, Debug)]
pub struct Wall {
    /// Only the tests (scripts of test/bench/wall) whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub tests: String,
    /// Numbers of CPUs
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 2])]
    pub smp: Vec<u8>,
    /// Turns on each kernel; the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: u32,
    /// The longest that one turn may take, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 180)]
    pub timeout: u32,
    /// Write the committed page of results, test/bench/WALL.md
    #[arg(long)]
    pub page: bool,
}

/// The kernels, in the order of their turns.
const KERNELS: [Kernel; 2] = [Kernel::Pollux, Kernel::Best];

/// A script, and what its head says.
#[derive(Debug, PartialEq)]
struct Test {
    script: PathBuf,
    name: String,
    needs: Vec<String>,
    package: String,
    results: Vec<String>,
    /// The least ratio to Linux that we want.
    goal: f64,
}

impl Test {
    fn read(script: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(script).with_context(|| script.display().to_string())?;
        let head = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {key}: ")));
            line.map(str::to_owned).with_context(|| format!("{}: no line `# {key}:`", script.display()))
        };
        let words = |key: &str| Ok::<_, anyhow::Error>(head(key)?.split_whitespace().map(str::to_owned).collect());
        Ok(Self {
            script: script.to_owned(),
            name: script.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            needs: words("needs")?,
            package: head("package")?,
            results: words("results")?,
            goal: head("goal")?.parse().with_context(|| format!("{}: its goal", script.display()))?,
        })
    }
}

/// All tests, sorted by name.
fn tests(project: &Project, wanted: &str) -> Result<Vec<Test>> {
    let directory = project.path("test/bench/wall");
    let mut scripts: Vec<_> = std::fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    scripts.retain(|path| path.extension().is_some_and(|e| e == "sh") && !path.ends_with("common.sh"));
    scripts.sort();
    let tests: Vec<Test> = scripts.iter().map(|script| Test::read(script)).collect::<Result<_>>()?;
    Ok(tests.into_iter().filter(|test| test.name.contains(wanted)).collect())
}

/// Where a program that tests need is: among those fetched for this, else on the PATH, else among our own.
fn find(project: &Project, program: &str) -> Option<PathBuf> {
    let fetched = ["bin", "sbin"].map(|directory| project.path("target/wall/root/usr").join(directory));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = fetched.into_iter().chain(std::env::split_paths(&path)).chain([project.output()]);
    all.map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// What one test yields on one number of CPUs, round by round.
#[derive(Default)]
struct Rounds {
    /// By result and kernel: a number for each round in which there was one.
    numbers: BTreeMap<(String, &'static str), BTreeMap<u32, f64>>,
    units: BTreeMap<String, String>,
}

/// How Pollux and Linux stand to each other in one result.
#[derive(Debug, PartialEq)]
struct Comparison {
    pollux: f64,
    linux: f64,
    /// The median of the rounds' ratios: what slows this machine down for a while hits both turns of a round.
    ratio: f64,
    /// The least and the greatest of them.
    spread: (f64, f64),
}

impl Rounds {
    fn take(&mut self, round: u32, kernel: Kernel, output: &str) {
        for line in output.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["result", name, number, unit] = words[..]
                && let Ok(number) = number.parse()
            {
                self.units.insert(name.to_owned(), unit.to_owned());
                self.numbers.entry((name.to_owned(), kernel.key())).or_default().insert(round, number);
            }
        }
    }

    /// `None` if no round has the result on both kernels.
    fn compare(&self, result: &str) -> Option<Comparison> {
        let [pollux, linux] = KERNELS.map(|kernel| self.numbers.get(&(result.to_owned(), kernel.key())));
        let (pollux, linux) = (pollux?, linux?);
        let ratios = pollux.iter().filter_map(|(round, number)| Some(number / linux.get(round)?));
        let ratios = sorted(ratios);
        Some(Comparison {
            pollux: middle(&sorted(pollux.values().copied()))?,
            linux: middle(&sorted(linux.values().copied()))?,
            ratio: middle(&ratios)?,
            spread: (*ratios.first()?, *ratios.last()?),
        })
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// The median; of an even number, the mean of the two in the middle.
fn middle(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some(f64::midpoint(*sorted.get(low)?, *sorted.get(high)?))
}

/// Runs the tests, prints a line per result, and writes `target/bench/wall.csv` and, if asked to, the page. Returns whether every result was there on
/// both kernels.
///
/// # Errors
///
/// There is no such test, or `./pollux` cannot be started.
pub fn wall(project: &Project, options: &Wall) -> Result<bool> {
    let tests = tests(project, &options.tests)?;
    if tests.is_empty() {
        bail!("no test's name contains {}", options.tests);
    }
    let mut report = Report::default();
    println!("{HEAD}");
    for test in &tests {
        let missing: Vec<_> = test.needs.iter().filter(|name| find(project, name).is_none()).cloned().collect();
        if !missing.is_empty() {
            println!("{:<22}missing: {}; to install: apt-get install {}", test.name, missing.join(" "), test.package);
            report.is_incomplete = true;
            continue;
        }
        for &cpus in &options.smp {
            report.take(test, cpus, &run(project, test, cpus, options)?);
        }
    }
    println!("{}", report.summary());
    let path = project.output().join("wall.csv");
    std::fs::write(&path, &report.csv).with_context(|| path.display().to_string())?;
    println!("In {}", path.display());
    if options.page {
        let path = project.path("test/bench/WALL.md");
        std::fs::write(&path, report.page(project, options.rounds)?).with_context(|| path.display().to_string())?;
        println!("Written: {}", path.display());
    }
    Ok(!report.is_incomplete)
}

fn run(project: &Project, test: &Test, cpus: u8, options: &Wall) -> Result<Rounds> {
    let mut rounds = Rounds::default();
    for round in 0..options.rounds {
        for kernel in KERNELS {
            let output = turn(project, test, kernel, cpus, options.timeout)?;
            rounds.take(round, kernel, &output);
        }
    }
    Ok(rounds)
}

/// One turn's standard output. That it failed shows by what is missing in it.
fn turn(project: &Project, test: &Test, kernel: Kernel, cpus: u8, timeout: u32) -> Result<String> {
    let mut machine: Vec<OsString> = kernel.options().iter().map(OsString::from).collect();
    machine.extend([format!("--smp={cpus}").into(), format!("--timeout={timeout}").into(), "--no-auto-add".into()]);
    let mut add = |host: &Path, guest: &str| {
        machine.push("--add".into());
        let mut pair = host.as_os_str().to_owned();
        pair.push(":");
        pair.push(guest);
        machine.push(pair);
    };
    add(test.script.parent().context("a script in a directory")?, "/wall");
    let libraries = project.path("target/wall/root/usr/lib/x86_64-linux-gnu");
    if libraries.is_dir() {
        add(&libraries, "/usr/lib/x86_64-linux-gnu");
    }
    for program in &test.needs {
        add(&find(project, program).context("was there")?, &format!("/usr/bin/{program}"));
    }
    let script = format!("/wall/{}.sh", test.name);
    // What is packed twice or not found is noted on standard error: the tests run nevertheless, or their results miss.
    let mut command = project.command(&machine, &["busybox".into(), "sh".into(), script.into()]);
    let output = command.stderr(std::process::Stdio::piped()).output().context("cannot start ./pollux")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last: Vec<_> = text.lines().filter(|line| !line.starts_with("pollux: note")).collect();
        let tail = &last[last.len().saturating_sub(4)..];
        eprintln!("{} on {}, {cpus} CPUs: {}\n    {}", test.name, kernel.title(), output.status, tail.join("\n    "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const HEAD: &str = "                       CPUs      Pollux       Linux   ratio       spread  goal    (more is better)";

/// What is shown and written of all tests.
#[derive(Default)]
struct Report {
    csv: String,
    markdown: String,
    measured: usize,
    met: usize,
    is_incomplete: bool,
}

impl Report {
    /// Prints and keeps the results of `test`.
    fn take(&mut self, test: &Test, cpus: u8, rounds: &Rounds) {
        for result in &test.results {
            let unit = rounds.units.get(result).map_or("", String::as_str);
            let Some(Comparison { pollux, linux, ratio, spread: (low, high) }) = rounds.compare(result) else {
                println!("{result:<22}{cpus:>5}  no result");
                self.is_incomplete = true;
                continue;
            };
            let verdict = if ratio >= test.goal { "met" } else { "not met" };
            self.measured += 1;
            self.met += usize::from(ratio >= test.goal);
            let goal = test.goal;
            println!(
                "{result:<22}{cpus:>5}{pollux:>12.0}{linux:>12.0}{ratio:>8.2}  {low:>5.2}-{high:<5.2}{goal:>6.2}  {verdict:<8} {unit}"
            );
            let _ = writeln!(
                self.csv,
                "{result},{cpus},{pollux:.3},{linux:.3},{ratio:.3},{low:.3},{high:.3},{goal:.2},{unit}"
            );
            let _ = writeln!(
                self.markdown,
                "|`{result}`|{cpus}|{pollux:.0}|{linux:.0}|{unit}|{ratio:.2}|{low:.2} to {high:.2}|{goal:.2}|{verdict}|"
            );
        }
    }

    fn summary(&self) -> String {
        format!("{} of {} results meet their goal.", self.met, self.measured)
    }

    /// The committed page.
    fn page(&self, project: &Project, rounds: u32) -> Result<String> {
        Ok(format!(
            "<!-- Written by `make bench-wall FLAGS=--page`; do not edit. -->\n\
             # Against the clock\n\n\
             Commit {}, `make bench-wall FLAGS='--page --rounds {rounds}'`, {}.\n\n\
             Real programs inside the guest, with their clients; more is better. Pollux and Debian's Linux (at its fastest settings, as in\n\
             `RESULTS.md`) take turns, {rounds} each. The ratio is the median of the rounds' ratios, the spread their least and greatest: QEMU\n\
             emulates the processor, on a machine with two, so only ratios mean something, and small differences nothing.\n\n\
             |result|CPUs|Pollux|Linux|unit|ratio|spread|goal||\n|-|-:|-:|-:|-|-:|-|-:|-|\n{}\n{}\n",
            commit(project)?,
            qemu_version()?,
            self.markdown,
            self.summary()
        ))
    }
}

#[cfg(test)]
mod tests_of_wall {
    use super::*;

    #[test]
    fn every_script_has_a_head() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/bench/wall");
        let test = Test::read(&directory.join("redis.sh")).unwrap();
        assert_eq!(test.name, "redis");
        assert_eq!(test.needs, ["redis-check-rdb", "redis-benchmark"]);
        assert_eq!(test.results.len(), 4);
        assert!((test.goal - 1.3).abs() < f64::EPSILON);
        for name in ["bandwidth", "hackbench", "memcached", "nginx", "perf"] {
            assert!(!Test::read(&directory.join(format!("{name}.sh"))).unwrap().results.is_empty());
        }
        assert!(Test::read(&directory.join("common.sh")).is_err());
    }

    fn rounds(pollux: [&str; 3], linux: [&str; 3]) -> Rounds {
        let mut rounds = Rounds::default();
        for round in 0..3 {
            for (kernel, numbers) in [(Kernel::Pollux, pollux), (Kernel::Best, linux)] {
                let number = numbers[round as usize];
                rounds.take(round, kernel, &format!("noise\nresult a {number} MB/s\nresult broken\n"));
            }
        }
        rounds
    }

    #[test]
    fn what_hits_both_turns_of_a_round_does_not_count() {
        let rounds = rounds(["10", "4", "20"], ["5", "2", "5"]);
        let expected = Comparison { pollux: 10.0, linux: 5.0, ratio: 2.0, spread: (2.0, 4.0) };
        assert_eq!(rounds.compare("a"), Some(expected));
        assert_eq!(rounds.units["a"], "MB/s");
        assert_eq!(rounds.compare("b"), None);
    }

    #[test]
    fn a_round_with_one_turn_counts_for_no_ratio() {
        let rounds = rounds(["10", "none", "20"], ["5", "1", "none"]);
        let expected = Comparison { pollux: 15.0, linux: 3.0, ratio: 2.0, spread: (2.0, 2.0) };
        assert_eq!(rounds.compare("a"), Some(expected));
    }
}
