// SPDX-License-Identifier: MPL-2.0

//! Runs the benchmark program in the emulated machine, on the kernels that are compared.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::rows::{self, Row};

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

    /// Runs PROGRAM with its arguments by `./pollux run` with `options`. Returns its standard output.
    ///
    /// # Errors
    ///
    /// It did not end by itself: no row, and no other trouble of the program, is an error here.
    pub fn run(&self, options: &[OsString], program: &[OsString]) -> Result<String> {
        let output = Command::new(self.path("pollux"))
            .arg("run")
            .args(options)
            .arg("--")
            .args(program)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start ./pollux")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            // 1: some rows failed, which their lines say.
            Some(0 | 1) => Ok(text),
            code => {
                eprint!("{text}");
                bail!("./pollux run ended with status {code:?}")
            }
        }
    }

    /// Runs the benchmark program with `arguments` on `kernel`, counting instructions.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); and if the output is not what the program prints.
    pub fn bench(&self, kernel: Kernel, options: &[OsString], arguments: &[&str]) -> Result<Vec<Row>> {
        let mut all: Vec<OsString> = vec!["--icount".into()];
        all.extend(kernel.options().iter().map(OsString::from));
        all.extend_from_slice(options);
        let mut program = vec![self.output().join("bench").into_os_string()];
        program.extend(arguments.iter().map(OsString::from));
        rows::parse(&self.run(&all, &program)?)
    }
}
