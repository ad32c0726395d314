// SPDX-License-Identifier: MPL-2.0

//! Keeps what was won: compares Pollux with the committed costs of an earlier Pollux, `test/bench/baseline.json`.
//!
//! Costs depend on the compiler by more than the tolerance, so the file has a set of them for each compiler that has been
//! used. With another one there is nothing to compare with, and that is said.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::guest::{Kernel, Project};
use crate::rows::Row;

/// By how much a row may grow.
const TOLERANCE: f64 = 0.03;
/// The short form: batches of 4 ms (20 ms with several tasks), which suffices on Pollux, and of the curves only some
/// points that are built quickly.
const BATCH_US: &str = "4000";
const ROWS: &str = "^([^/]*|curve/.*/(0|1|64|1000))$";

type Costs = BTreeMap<String, f64>;
/// By the compiler that built the kernel.
type Baselines = BTreeMap<String, Costs>;

fn path(project: &Project) -> PathBuf {
    project.path("test/bench/baseline.json")
}

/// What is committed; nothing if there is no such file.
fn read(project: &Project) -> Result<Baselines> {
    let path = path(project);
    if !path.exists() {
        return Ok(Baselines::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// The compiler that scripts/env.sh has put on the PATH: `rustc 1.96.0 (...)`.
fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("cannot start rustc")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn measure(project: &Project, pattern: &str) -> Result<Vec<Row>> {
    project.bench(Kernel::Pollux, &[], &["--batch-us", BATCH_US, pattern])
}

/// Measures and writes the baseline.
///
/// # Errors
///
/// It cannot be measured or written; or a row failed.
pub fn write(project: &Project) -> Result<()> {
    let rows = measure(project, ROWS)?;
    if let Some(failed) = rows.iter().find(|row| row.has_failed()) {
        bail!("{} {}", failed.name, failed.why().unwrap_or_default());
    }
    let costs: Costs =
        rows.iter().filter_map(|row| Some((row.name.clone(), (row.cost()? * 10.0).round() / 10.0))).collect();
    println!("{} rows written to test/bench/baseline.json", costs.len());
    let mut baselines = read(project)?;
    baselines.insert(compiler()?, costs);
    let text = serde_json::to_string_pretty(&baselines)? + "\n";
    std::fs::write(path(project), text).with_context(|| path(project).display().to_string())?;
    Ok(())
}

/// A row that costs more than it may.
#[derive(Debug, PartialEq)]
struct Offender {
    row: String,
    complaint: String,
}

/// The rows of the baseline that are missing, or cost too much.
fn offenders(baseline: &Costs, rows: &[Row]) -> Vec<Offender> {
    let complain = |name: &str, was: f64| {
        let Some(row) = rows.iter().find(|row| row.name == name) else {
            return Some("is gone".to_owned());
        };
        let Some(cost) = row.cost() else {
            return row.why();
        };
        let growth = cost / was - 1.0;
        (growth > TOLERANCE).then(|| format!("grew by {:.1} %, from {was:.0} to {cost:.0}", growth * 100.0))
    };
    let offender =
        |(name, was): (&String, &f64)| Some(Offender { row: name.clone(), complaint: complain(name, *was)? });
    baseline.iter().filter_map(offender).collect()
}

/// An expression for exactly these names.
fn pattern(offenders: &[Offender]) -> String {
    let names: Vec<_> = offenders.iter().map(|offender| offender.row.as_str()).collect();
    // Names consist of letters, digits, spaces and `_/`: none of them means anything in an expression.
    format!("^({})$", names.join("|"))
}

/// Measures, compares, measures the offenders once more, and says what grew. Returns whether nothing did.
///
/// # Errors
///
/// The baseline cannot be read, or the costs cannot be measured.
pub fn check(project: &Project) -> Result<bool> {
    let compiler = compiler()?;
    let Some(baseline) = read(project)?.remove(&compiler) else {
        println!("test/bench/baseline.json has nothing for {compiler}: not compared. make bench-baseline adds it.");
        println!("0 passed, 0 failed");
        return Ok(true);
    };
    let rows = measure(project, ROWS)?;
    let failed: Vec<&Row> = rows.iter().filter(|row| row.has_failed() && !baseline.contains_key(&row.name)).collect();
    let mut found = offenders(&baseline, &rows);
    if !found.is_empty() {
        let again = measure(project, &pattern(&found))?;
        let names: Vec<_> = found.iter().map(|offender| offender.row.clone()).collect();
        let part = baseline.iter().filter(|(name, _)| names.contains(name)).map(|(name, cost)| (name.clone(), *cost));
        found = offenders(&part.collect(), &again);
    }
    for row in &failed {
        println!("{} {}", row.name, row.why().unwrap_or_default());
    }
    for Offender { row, complaint } in &found {
        println!("{row} {complaint}");
    }
    report_gains(&baseline, &rows);
    let bad = found.len() + failed.len();
    if !found.is_empty() {
        println!("If that is how it has to be: make bench-baseline, and say why in the commit.");
    }
    println!("{} passed, {bad} failed", baseline.len().saturating_sub(found.len()));
    Ok(bad == 0)
}

/// What has become faster, or is new, is worth keeping too.
fn report_gains(baseline: &Costs, rows: &[Row]) {
    let better =
        |row: &&Row| row.cost().zip(baseline.get(&row.name)).is_some_and(|(cost, was)| cost < was * (1.0 - TOLERANCE));
    let gains = rows.iter().filter(better).count();
    let new = rows.iter().filter(|row| row.cost().is_some() && !baseline.contains_key(&row.name)).count();
    if gains + new != 0 {
        println!("{gains} rows cost less by more than 3 %, {new} are new: make bench-baseline keeps that.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Outcome;

    fn row(name: &str, cost: f64) -> Row {
        Row { name: name.into(), outcome: Outcome::Ok { operations: 1, batches: vec![cost] }, point: None }
    }

    #[test]
    fn more_than_three_percent_is_too_much() {
        let baseline = Costs::from([("a".into(), 100.0), ("b".into(), 100.0), ("c".into(), 100.0)]);
        let found = offenders(&baseline, &[row("a", 102.9), row("b", 103.2)]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Offender { row: "b".into(), complaint: "grew by 3.2 %, from 100 to 103".into() });
        assert_eq!(found[1], Offender { row: "c".into(), complaint: "is gone".into() });
        assert_eq!(pattern(&found), "^(b|c)$");
    }

    #[test]
    fn a_row_that_fails_now_is_an_offender() {
        let baseline = Costs::from([("a".into(), 100.0)]);
        let failed = Row { outcome: Outcome::Failed { why: "hung".into() }, ..row("a", 0.0) };
        assert_eq!(offenders(&baseline, &[failed])[0].complaint, "failed: hung");
    }
}
