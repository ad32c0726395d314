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

/// What one test yields on one number of CPUs: by result and kernel, a number per turn.
#[derive(Default)]
struct Turns {
    numbers: BTreeMap<(String, &'static str), Vec<f64>>,
    units: BTreeMap<String, String>,
}

impl Turns {
    fn take(&mut self, kernel: Kernel, output: &str) {
        for line in output.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["result", name, number, unit] = words[..]
                && let Ok(number) = number.parse()
            {
                self.units.insert(name.to_owned(), unit.to_owned());
                self.numbers.entry((name.to_owned(), kernel.key())).or_default().push(number);
            }
        }
    }

    fn median(&self, result: &str, kernel: Kernel) -> Option<f64> {
        let mut sorted = self.numbers.get(&(result.to_owned(), kernel.key()))?.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Runs the tests, prints a line per result, and writes `target/bench/wall.csv`. Returns whether every result was there on
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
    let mut csv = String::from("result,cpus,pollux,linux,ratio,unit\n");
    let mut complete = true;
    println!("{:<22}{:>5}{:>12}{:>12}{:>8}  (more is better)", "", "CPUs", "Pollux", "Linux", "ratio");
    for test in &tests {
        let missing: Vec<_> = test.needs.iter().filter(|name| find(project, name).is_none()).cloned().collect();
        if !missing.is_empty() {
            println!("{:<22}missing: {}; to install: apt-get install {}", test.name, missing.join(" "), test.package);
            complete = false;
            continue;
        }
        for &cpus in &options.smp {
            let turns = run(project, test, cpus, options)?;
            complete &= report(test, cpus, &turns, &mut csv);
        }
    }
    let path = project.output().join("wall.csv");
    std::fs::write(&path, csv).with_context(|| path.display().to_string())?;
    println!("In {}", path.display());
    Ok(complete)
}

fn run(project: &Project, test: &Test, cpus: u8, options: &Wall) -> Result<Turns> {
    let mut turns = Turns::default();
    for _ in 0..options.rounds {
        for kernel in KERNELS {
            let output = turn(project, test, kernel, cpus, options.timeout)?;
            turns.take(kernel, &output);
        }
    }
    Ok(turns)
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

/// Returns whether nothing is missing.
fn report(test: &Test, cpus: u8, turns: &Turns, csv: &mut String) -> bool {
    let mut complete = true;
    for result in &test.results {
        let [pollux, linux] = KERNELS.map(|kernel| turns.median(result, kernel));
        let ratio = pollux.zip(linux).map(|(pollux, linux)| pollux / linux);
        complete &= ratio.is_some();
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
        let unit = turns.units.get(result).map_or("", String::as_str);
        let shown = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!("{result:<22}{cpus:>5}{:>12}{:>12}{shown:>8}  {unit}", cell(pollux), cell(linux));
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
        let _ = writeln!(csv, "{result},{cpus},{},{},{},{unit}", number(pollux), number(linux), number(ratio));
    }
    complete
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
        for name in ["bandwidth", "hackbench", "memcached", "nginx", "perf"] {
            assert!(!Test::read(&directory.join(format!("{name}.sh"))).unwrap().results.is_empty());
        }
        assert!(Test::read(&directory.join("common.sh")).is_err());
    }

    #[test]
    fn the_median_of_the_turns_counts() {
        let mut turns = Turns::default();
        for number in ["1", "30", "2"] {
            turns.take(Kernel::Pollux, &format!("noise\nresult a {number} MB/s\nresult broken\n"));
        }
        assert_eq!(turns.median("a", Kernel::Pollux), Some(2.0));
        assert_eq!(turns.median("a", Kernel::Best), None);
        assert_eq!(turns.units["a"], "MB/s");
    }
}
