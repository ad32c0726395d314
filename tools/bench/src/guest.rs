// SPDX-License-Identifier: MPL-2.0

//! Runs programs in the emulated machine, on the kernels that are compared.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::rows::{self, Outcome, Row};

/// A kernel and how it is configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Kernel {
    /// Ours.
    Pollux,
    /// Debian's Linux in its fastest configuration.
    Best,
    /// Debian's Linux as Debian ships it.
    Stock,
}

impl Kernel {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Pollux, Self::Best, Self::Stock];

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pollux => "Pollux",
            Self::Best => "Linux best",
            Self::Stock => "Linux stock",
        }
    }

    /// Its key in files.
    pub fn key(self) -> &'static str {
        match self {
            Self::Pollux => "pollux",
            Self::Best => "best",
            Self::Stock => "stock",
        }
    }

    /// The options of `./pollux run`.
    ///
    /// Linux is fastest without mitigations, without clearing what it allocates, without checking what it copies to and
    /// from programs, and on a CPU without ERMS, whose `rep movsb` is counted by the byte. `./pollux` itself says
    /// `mitigations=off`; of two such words the last counts.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Self::Pollux => &["--kernel=pollux", "--cpu=-erms,-fsrm"],
            Self::Best => &[
                "--kernel=linux",
                "--cpu=-erms,-fsrm",
                "--kernel-arg=mitigations=off",
                "--kernel-arg=init_on_alloc=0",
                "--kernel-arg=hardened_usercopy=off",
            ],
            Self::Stock => &["--kernel=linux", "--kernel-arg=mitigations=auto"],
        }
    }
}

/// The project's tree, with the benchmark's programs built.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// Finds the tree (`POLLUX_ROOT`, else this program's own place) and builds what is in `test/bench`.
    ///
    /// # Errors
    ///
    /// There is no tree, or the programs do not compile.
    pub fn prepare() -> Result<Self> {
        let root = match std::env::var_os("POLLUX_ROOT") {
            Some(root) => PathBuf::from(root),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?,
        };
        let project = Self { root };
        let status = Command::new("make")
            .args(["--silent", "--directory"])
            .arg(project.path("test/bench"))
            // Flags of an outer make are not for this one.
            .env_remove("MAKEFLAGS")
            .env_remove("MFLAGS")
            .status()
            .context("cannot start make")?;
        if !status.success() {
            bail!("test/bench does not build");
        }
        Ok(project)
    }

    /// A path below the root.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The benchmark's output directory, which exists.
    pub fn output(&self) -> PathBuf {
        self.path("target/bench")
    }

    /// `./pollux run` with `options` on PROGRAM and its arguments, not yet started.
    pub fn command(&self, options: &[OsString], program: &[OsString]) -> Command {
        let mut command = Command::new(self.path("pollux"));
        command.arg("run").args(options).arg("--").args(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command
    }

    /// Runs the benchmark program with `arguments` on `kernel`, counting instructions. Rows that the machine did not
    /// live to see the end of have failed.
    ///
    /// # Errors
    ///
    /// The machine cannot be started, or the output is not what the program prints.
    pub fn bench(&self, kernel: Kernel, options: &[OsString], arguments: &[&str]) -> Result<Vec<Row>> {
        let expected = self.list(arguments)?;
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < expected.len() {
            let mut arguments: Vec<&str> = arguments.to_vec();
            let last = rows.last().map(|row| row.name.clone());
            if let Some(last) = &last {
                arguments.extend(["--after", last]);
            }
            let before = rows.len();
            let died = self.bench_once(kernel, options, &arguments, &mut rows)?;
            if rows.len() < expected.len() {
                let Some(why) = died else {
                    bail!("{}: {} rows of {}", kernel.title(), rows.len(), expected.len());
                };
                if rows.len() == before && before == 0 && why.contains("125") {
                    bail!("the machine could not be started");
                }
                rows.push(Row::failed(&expected[rows.len()], &why));
            }
        }
        Ok(rows)
    }

    /// The names of the rows that `arguments` select.
    ///
    /// # Errors
    ///
    /// They are no arguments of the benchmark program.
    pub fn list(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let output = Command::new(self.output().join("bench")).arg("--list").args(arguments).output()?;
        if !output.status.success() {
            bail!("bench --list {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// Appends to `rows`. Returns how the machine died, if it did not end in order.
    fn bench_once(
        &self,
        kernel: Kernel,
        options: &[OsString],
        arguments: &[&str],
        rows: &mut Vec<Row>,
    ) -> Result<Option<String>> {
        let mut all: Vec<OsString> = vec!["--icount".into(), "--timeout=3000".into()];
        all.extend(kernel.options().iter().map(OsString::from));
        all.extend_from_slice(options);
        let mut program = vec![self.output().join("bench").into_os_string()];
        program.extend(arguments.iter().map(OsString::from));
        let mut child = self.command(&all, &program).spawn().context("cannot start ./pollux")?;
        for line in BufReader::new(child.stdout.take().context("stdout")?).lines() {
            if let Some(row) = rows::parse(&line?)? {
                progress(kernel, &row);
                rows.push(row);
            }
        }
        let status = child.wait()?;
        Ok(match status.code() {
            // 1: some rows failed, which their lines say.
            Some(0 | 1) => None,
            Some(126) => Some("the kernel panicked".to_owned()),
            Some(124) => Some("the machine hung".to_owned()),
            _ => Some(format!("the machine died: {status}")),
        })
    }

    /// What PROGRAM prints to its standard output.
    ///
    /// # Errors
    ///
    /// It did not end with status 0.
    pub fn output_of<S: AsRef<OsStr>>(&self, options: &[OsString], program: &[S]) -> Result<String> {
        let program: Vec<OsString> = program.iter().map(|word| word.as_ref().to_owned()).collect();
        let output = self.command(options, &program).output().context("cannot start ./pollux")?;
        if !output.status.success() {
            bail!("{:?} ended with {}", program, output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A line for whoever watches; the result is in the table.
fn progress(kernel: Kernel, row: &Row) {
    if std::io::stderr().is_terminal() {
        let cost = row.cost().map_or_else(|| row.why().unwrap_or_default(), |cost| format!("{cost:.0}"));
        eprintln!("{}: {} {cost}", kernel.title(), row.name);
    }
}

impl Row {
    /// One that was not measured.
    fn failed(name: &str, why: &str) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Failed { why: why.to_owned() }, point: None }
    }
}
