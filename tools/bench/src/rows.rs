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

    /// Whether it went wrong. What the kernel does not support has not.
    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
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

/// The row in a line of the program's output. Other lines, such as the first with the kernel's version, are none.
///
/// # Errors
///
/// A line that begins like a row is none.
pub fn parse(line: &str) -> Result<Option<Row>> {
    if !line.starts_with("{\"row\"") {
        return Ok(None);
    }
    serde_json::from_str(line).map(Some).with_context(|| format!("not a row: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_kinds_are_understood() {
        let row = |line| parse(line).unwrap().unwrap();
        assert!(parse("{\"system\":\"Linux\"}").unwrap().is_none());
        let measured = row("{\"row\":\"a\",\"status\":\"ok\",\"operations\":7,\"batches\":[3.5,1.0,2.0]}");
        assert_eq!(measured.cost(), Some(2.0));
        assert!(measured.point.is_none());
        let lacking = row("{\"row\":\"b\",\"status\":\"unsupported\",\"why\":\"socket\"}");
        assert_eq!(lacking.why().unwrap(), "unsupported: socket");
        let point = row(
            "{\"row\":\"c\",\"status\":\"ok\",\"curve\":\"poll\",\"series\":\"1 ready\",\"x\":10,\"operations\":1,\"batches\":[1]}",
        );
        assert_eq!(point.point.unwrap().x, 10);
        assert!(parse("{\"row\":1}").is_err());
    }
}
