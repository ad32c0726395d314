// SPDX-License-Identifier: MPL-2.0

//! What the benchmark program prints: a line of JSON per row (`test/bench/main.c`).

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One row of one run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    /// Its name.
    #[serde(rename = "row")]
    pub name: String,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Where it lies, if it is a point of a curve.
    #[serde(flatten)]
    pub point: Option<Point>,
}

/// How a row went.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Outcome {
    /// It was measured.
    Ok {
        /// Operations in each batch.
        operations: u64,
        /// Nanoseconds per operation, that is instructions, of each batch.
        batches: Vec<f64>,
    },
    /// The kernel lacks a system call that the row needs.
    Unsupported {
        /// Which, and what it answered.
        why: String,
    },
    /// It went wrong.
    Failed {
        /// How.
        why: String,
    },
}

/// A place on a curve.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Point {
    /// The figure.
    pub curve: String,
    /// The line in it.
    pub series: String,
    /// How many are watched, ready, waiting or armed.
    pub x: u64,
}

impl Row {
    /// Instructions per operation: the median of the batches. `None` if it was not measured.
    pub fn cost(&self) -> Option<f64> {
        let Outcome::Ok { batches, .. } = &self.outcome else {
            return None;
        };
        let mut sorted = batches.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// Why it was not measured.
    pub fn why(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Ok { .. } => None,
            Outcome::Unsupported { why } => Some(format!("unsupported: {why}")),
            Outcome::Failed { why } => Some(format!("failed: {why}")),
        }
    }
}

/// The rows in the program's output. Other lines, such as the first with the kernel's version, are not rows.
///
/// # Errors
///
/// A line that begins like a row is none.
pub fn parse(output: &str) -> Result<Vec<Row>> {
    output
        .lines()
        .filter(|line| line.starts_with("{\"row\""))
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a row: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_kinds_are_understood() {
        let rows = parse(
            "{\"system\":\"Linux\"}\n\
             {\"row\":\"a\",\"status\":\"ok\",\"operations\":7,\"batches\":[3.5,1.0,2.0]}\n\
             {\"row\":\"b\",\"status\":\"unsupported\",\"why\":\"socket\"}\n\
             {\"row\":\"c\",\"status\":\"ok\",\"curve\":\"select\",\"series\":\"1 ready\",\"x\":10,\"operations\":1,\"batches\":[1.0]}\n",
        )
        .unwrap();
        assert_eq!(rows[0].cost(), Some(2.0));
        assert!(rows[0].point.is_none());
        assert_eq!(rows[1].why().unwrap(), "unsupported: socket");
        assert_eq!(rows[2].point.as_ref().unwrap().x, 10);
        assert!(parse("{\"row\":1}").is_err());
    }
}
