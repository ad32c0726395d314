// SPDX-License-Identifier: MPL-2.0

//! Where things are in the project's tree, and building the kernel when it is missing or older than its sources.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Kernel;

/// The project's root directory.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// `POLLUX_ROOT` says where; else this program's own place does.
    pub fn locate() -> Result<Self> {
        let root = match std::env::var_os("POLLUX_ROOT") {
            Some(root) => PathBuf::from(root),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?,
        };
        if !root.join("kernel").is_dir() {
            bail!("{} is not the project's root; start this program by ./pollux", root.display());
        }
        Ok(Self { root })
    }

    /// The guest's init program.
    pub fn init(&self) -> Result<PathBuf> {
        let path = self.root.join("target/guest/init");
        if !path.is_file() {
            bail!("{} is missing; it is built by: sh scripts/build-tools.sh", path.display());
        }
        Ok(path)
    }

    /// The kernel's image, built first if need be. `POLLUX_KERNEL` names another image, taken as it is.
    pub fn kernel_image(&self, kernel: Kernel) -> Result<PathBuf> {
        match kernel {
            Kernel::Linux => self.existing("target/linux/vmlinuz", "make setup"),
            Kernel::Pollux => {
                if let Some(path) = std::env::var_os("POLLUX_KERNEL") {
                    return Ok(PathBuf::from(path));
                }
                if self.kernel_is_outdated() {
                    self.build_kernel()?;
                }
                self.existing("target/pollux.elf", "make build")
            }
        }
    }

    fn existing(&self, path: &str, remedy: &str) -> Result<PathBuf> {
        let path = self.root.join(path);
        if !path.exists() {
            bail!("{} is missing; it is made by: {remedy}", path.display());
        }
        Ok(path)
    }

    fn kernel_is_outdated(&self) -> bool {
        let Ok(built) = modified(&self.root.join("target/pollux.elf")) else {
            return true;
        };
        ["Cargo.toml", "Cargo.lock", "OSDK.toml", "kernel"]
            .iter()
            .any(|source| newest(&self.root.join(source)) > Some(built))
    }

    fn build_kernel(&self) -> Result<()> {
        let mut child = Command::new("sh")
            .arg(self.root.join("scripts/build-kernel.sh"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start scripts/build-kernel.sh")?;
        let progress = spinner("building the kernel");
        let mut log = Vec::new();
        for line in BufReader::new(child.stderr.take().context("stderr")?).lines() {
            let line = line?;
            progress.set_message(format!("building the kernel: {}", line.trim()));
            log.push(line);
        }
        let status = child.wait()?;
        progress.finish_and_clear();
        if !status.success() {
            log.iter().for_each(|line| eprintln!("{line}"));
            bail!("the kernel did not build");
        }
        Ok(())
    }
}

/// Something moving on standard error while a long step runs; one plain line if that is no terminal.
fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if bar.is_hidden() {
        eprintln!("{what} (about two minutes the first time, seconds later)");
    }
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn modified(path: &Path) -> Result<SystemTime> {
    Ok(path.metadata()?.modified()?)
}

/// The newest modification time of the files in and below `path`.
fn newest(path: &Path) -> Option<SystemTime> {
    walkdir::WalkDir::new(path)
        .into_iter()
        .filter_entry(|entry| entry.file_name() != "target")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| modified(entry.path()).ok())
        .max()
}
