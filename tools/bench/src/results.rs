// SPDX-License-Identifier: MPL-2.0

//! What was measured, by row and kernel: kept between runs, judged by the goals, written as a table, CSV and JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::goals::{Goal, Goals};
use crate::guest::Kernel;
use crate::rows::{Point, Row};

/// One row on all kernels.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Line {
    /// Its name.
    pub row: String,
    /// Where it lies, if it is a point of a curve.
    #[serde(flatten)]
    pub point: Option<Point>,
    /// Instructions per operation, by the kernel's key.
    pub cost: BTreeMap<String, f64>,
    /// Why there is no cost, by the kernel's key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
}

/// All rows, in the benchmark's order.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Results {
    /// The rows.
    pub rows: Vec<Line>,
}

/// How a row stands to its goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// There is no goal, or not all was measured.
    None,
    /// The goal is met.
    Met,
    /// Faster than Linux, but not by as much as the goal demands.
    Faster,
    /// Not faster than Linux.
    Slower,
}

impl Verdict {
    /// How it is shown.
    fn mark(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Met => "met",
            Self::Faster => "not met",
            Self::Slower => "SLOWER",
        }
    }
}

impl Line {
    /// Its cost on `kernel`.
    pub fn on(&self, kernel: Kernel) -> Option<f64> {
        self.cost.get(kernel.key()).copied()
    }

    /// Pollux's cost as a fraction of that on `kernel`.
    pub fn ratio(&self, kernel: Kernel) -> Option<f64> {
        Some(self.on(Kernel::Pollux)? / self.on(kernel)?)
    }

    /// How it stands.
    pub fn verdict(&self, goal: Option<Goal>) -> Verdict {
        let Some((goal, ratio)) = goal.and_then(|goal| Some((goal, self.ratio(goal.against)?))) else {
            return Verdict::None;
        };
        match ratio {
            _ if ratio <= goal.ratio => Verdict::Met,
            _ if ratio < 1.0 => Verdict::Faster,
            _ => Verdict::Slower,
        }
    }
}

impl Results {
    /// What an earlier run left; nothing, if it left nothing.
    ///
    /// # Errors
    ///
    /// The file is there but not what [`save`](Self::save) writes.
    pub fn load(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes the results to a file, a row to a line.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let rows: Vec<String> = self.rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let text = format!("{{\"rows\":[\n{}\n]}}\n", rows.join(",\n"));
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    /// Takes the rows of a run on `kernel`; they replace those it had.
    pub fn take(&mut self, kernel: Kernel, rows: &[Row]) {
        for row in rows {
            let index = self.rows.iter().position(|line| line.row == row.name).unwrap_or_else(|| {
                self.rows.push(Line { row: row.name.clone(), ..Line::default() });
                self.rows.len() - 1
            });
            let line = &mut self.rows[index];
            line.point = row.point.clone().or_else(|| line.point.take());
            line.cost.remove(kernel.key());
            line.missing.remove(kernel.key());
            match (row.cost(), row.why()) {
                (Some(cost), _) => drop(line.cost.insert(kernel.key().to_owned(), rounded(cost))),
                (None, why) => drop(line.missing.insert(kernel.key().to_owned(), why.unwrap_or_default())),
            }
        }
    }

    /// Takes what `other` has and this has not.
    pub fn complete(&mut self, other: &Self) {
        for theirs in &other.rows {
            let Some(ours) = self.rows.iter_mut().find(|line| line.row == theirs.row) else {
                self.rows.push(theirs.clone());
                continue;
            };
            for kernel in Kernel::ALL.map(Kernel::key) {
                if ours.cost.contains_key(kernel) || ours.missing.contains_key(kernel) {
                    continue;
                }
                if let Some(cost) = theirs.cost.get(kernel) {
                    ours.cost.insert(kernel.to_owned(), *cost);
                }
            }
        }
    }

    /// Only the rows that `wanted` holds, in its order.
    pub fn only(&self, wanted: &[String]) -> Self {
        let rows = wanted.iter().filter_map(|name| self.rows.iter().find(|line| line.row == *name).cloned()).collect();
        Self { rows }
    }

    /// The rows of the table: those that are no points of curves.
    pub fn table(&self) -> impl Iterator<Item = &Line> {
        self.rows.iter().filter(|line| line.point.is_none() && !line.row.starts_with("curve/"))
    }

    /// The table for a terminal.
    pub fn text(&self, goals: &Goals) -> String {
        let mut out = format!(
            "{:<32}{:>12}{:>12}{:>12}{:>8}{:>7}\n",
            "instructions per operation", "Pollux", "Linux best", "Linux stock", "ratio", "goal"
        );
        for line in self.table() {
            let goal = goals.get(&line.row).copied();
            let cells = Cells::of(line, goal);
            let mark = line.verdict(goal).mark();
            let row = format!(
                "{:<32}{:>12}{:>12}{:>12}{:>8}{:>7}  {mark}",
                line.row, cells.costs[0], cells.costs[1], cells.costs[2], cells.ratio, cells.goal
            );
            let _ = writeln!(out, "{}", row.trim_end());
        }
        out + &self.summary(goals).to_string()
    }

    /// The table in Markdown.
    pub fn markdown(&self, goals: &Goals) -> String {
        let mut out = String::from("|row|Pollux|Linux best|Linux stock|ratio|goal||\n|-|-:|-:|-:|-:|-:|-|\n");
        for line in self.table() {
            let goal = goals.get(&line.row).copied();
            let cells = Cells::of(line, goal);
            let mark = line.verdict(goal).mark();
            let [pollux, best, stock] = cells.costs;
            let _ = writeln!(out, "|`{}`|{pollux}|{best}|{stock}|{}|{}|{mark}|", line.row, cells.ratio, cells.goal);
        }
        out
    }

    /// All rows as comma-separated values.
    pub fn csv(&self, goals: &Goals) -> String {
        let mut out = String::from("row,pollux,linux_best,linux_stock,ratio,goal,goal_against,curve,series,x\n");
        for line in &self.rows {
            let goal = goals.get(&line.row).copied();
            let number =
                |value: Option<f64>, digits: usize| value.map_or_else(String::new, |v| format!("{v:.digits$}"));
            let costs = Kernel::ALL.map(|kernel| number(line.on(kernel), 3)).join(",");
            let against = goal.map_or(Kernel::Best, |goal| goal.against);
            let point =
                line.point.as_ref().map_or_else(|| ",,".to_owned(), |p| format!("{},{},{}", p.curve, p.series, p.x));
            let _ = writeln!(
                out,
                "{},{costs},{},{},{},{point}",
                line.row,
                number(line.ratio(against), 4),
                number(goal.map(|goal| goal.ratio), 2),
                goal.map_or("", |goal| goal.against.key()),
            );
        }
        out
    }

    /// The sums.
    pub fn summary(&self, goals: &Goals) -> Summary {
        let mut summary = Summary::default();
        let mut logarithms = Vec::new();
        for line in self.table() {
            let Some(goal) = goals.get(&line.row).copied() else { continue };
            summary.with_goal += 1;
            let Some(ratio) = line.ratio(goal.against) else { continue };
            summary.measured += 1;
            summary.met += usize::from(line.verdict(Some(goal)) == Verdict::Met);
            summary.faster += usize::from(ratio < 1.0);
            if goal.against == Kernel::Best {
                logarithms.push(ratio.ln());
            }
        }
        if !logarithms.is_empty() {
            summary.mean = Some((logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp());
        }
        summary
    }
}

/// The sums of a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Rows that have a goal.
    pub with_goal: usize,
    /// Those of them that were measured on both kernels.
    pub measured: usize,
    /// Those that meet it.
    pub met: usize,
    /// Those that are faster than Linux.
    pub faster: usize,
    /// The geometric mean of the ratios to Linux best, of the rows with such a goal.
    pub mean: Option<f64>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { with_goal, measured, met, faster, mean } = self;
        writeln!(
            f,
            "{with_goal} rows with a goal, {measured} of them measured: {met} meet it, {faster} are faster than Linux."
        )?;
        match mean {
            Some(mean) => writeln!(f, "Geometric mean of their ratios to Linux best: {mean:.3} (goal: below 0.50)."),
            None => Ok(()),
        }
    }
}

/// A row's cells as text.
struct Cells {
    costs: [String; 3],
    ratio: String,
    goal: String,
}

impl Cells {
    fn of(line: &Line, goal: Option<Goal>) -> Self {
        let costs = Kernel::ALL.map(|kernel| match (line.on(kernel), line.missing.get(kernel.key())) {
            (Some(cost), _) => format!("{cost:.0}"),
            (None, Some(why)) => why.split(':').next().unwrap_or_default().to_owned(),
            (None, None) => "-".to_owned(),
        });
        let ratio = line.ratio(goal.map_or(Kernel::Best, |goal| goal.against));
        Self {
            costs,
            ratio: ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            goal: goal.map_or_else(String::new, |goal| {
                format!("{:.2}{}", goal.ratio, if goal.against == Kernel::Stock { "s" } else { "" })
            }),
        }
    }
}

/// To a thousandth: more is noise in files that are compared.
fn rounded(cost: f64) -> f64 {
    (cost * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Outcome;

    fn row(name: &str, cost: f64) -> Row {
        Row { name: name.into(), outcome: Outcome::Ok { operations: 1, batches: vec![cost; 3] }, point: None }
    }

    fn results() -> (Results, Goals) {
        let mut results = Results::default();
        results.take(Kernel::Best, &[row("a", 100.0), row("b", 100.0), row("c", 100.0)]);
        let lacking = Row { outcome: Outcome::Unsupported { why: "socket: no".into() }, ..row("c", 0.0) };
        results.take(Kernel::Pollux, &[row("a", 25.0), row("b", 100.0), lacking]);
        let goal = Goal { ratio: 0.5, against: Kernel::Best };
        (results, ["a", "b", "c"].map(|name| (name.to_owned(), goal)).into())
    }

    #[test]
    fn rows_are_judged_and_summed_up() {
        let (results, goals) = results();
        let summary = results.summary(&goals);
        assert_eq!((summary.with_goal, summary.measured, summary.met, summary.faster), (3, 2, 1, 1));
        assert!((summary.mean.unwrap() - 0.5).abs() < 1e-9);
        let text = results.text(&goals);
        assert!(text.contains("met") && text.contains("SLOWER") && text.contains("unsupported"));
        assert!(results.csv(&goals).contains("\na,25.000,100.000,,0.2500,0.50,best,,,\n"));
    }

    #[test]
    fn a_new_run_replaces_and_an_old_one_completes() {
        let (mut results, _) = results();
        results.take(Kernel::Pollux, &[row("c", 7.0)]);
        assert_eq!(results.rows[2].on(Kernel::Pollux), Some(7.0));
        assert!(results.rows[2].missing.is_empty());
        let mut new = Results::default();
        new.take(Kernel::Pollux, &[row("a", 1.0)]);
        new.complete(&results);
        assert_eq!((new.rows[0].on(Kernel::Pollux), new.rows[0].on(Kernel::Best)), (Some(1.0), Some(100.0)));
    }

    #[test]
    fn what_is_saved_can_be_loaded() {
        let (results, _) = results();
        let file = tempfile::NamedTempFile::new().unwrap();
        results.save(file.path()).unwrap();
        assert_eq!(Results::load(file.path()).unwrap().rows.len(), 3);
        assert!(Results::load(Path::new("/no/such/file")).unwrap().rows.is_empty());
    }
}
