// SPDX-License-Identifier: MPL-2.0

//! `pollux-bench`: how fast the kernel is, compared with Linux and with itself. `make bench` and its relatives call it.
//!
//! [`guest`] runs the program of `test/bench` in the emulated machine, [`rows`] is what it prints, and each subcommand
//! has a module.

mod baseline;
mod goals;
mod guest;
mod plot;
mod profile;
mod results;
mod rows;
mod symbols;
mod table;
mod wall;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use guest::Project;

/// Measures the Pollux kernel, in instructions per operation.
#[derive(Debug, Parser)]
#[command(name = "pollux-bench", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all rows on Pollux and on Linux, show the table, write files and figures
    Table(table::Table),
    /// Compare Pollux with the committed baseline; exits with 1 if a row has grown
    Check,
    /// Write the baseline
    Baseline,
    /// Draw the figures of the last `table` again
    Plot,
    /// Run real programs against the clock, on Pollux and on Linux in turn
    Wall(wall::Wall),
    /// Show the instructions of one row by function
    Profile(profile::Profile),
}

fn main() -> ExitCode {
    // A reader that goes away, as `head` does, ends this program quietly.
    sigpipe::reset();
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("pollux-bench: {error:#}");
            ExitCode::from(125)
        }
    }
}

/// Returns whether all is well.
fn run(cli: &Cli) -> Result<bool> {
    let project = Project::prepare()?;
    match &cli.command {
        Command::Table(options) => table::table(&project, options),
        Command::Check => baseline::check(&project),
        Command::Baseline => baseline::write(&project).map(|()| true),
        Command::Plot => table::redraw(&project, &project.output().join("results.json")),
        Command::Wall(options) => wall::wall(&project, options),
        Command::Profile(options) => profile::profile(&project, options).map(|()| true),
    }
}
