// SPDX-License-Identifier: MPL-2.0

//! The goals: `test/bench/goals.csv`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::guest::Kernel;

/// What a row is to cost, as a fraction of its cost on a Linux.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// At most this.
    pub ratio: f64,
    /// The Linux it is compared with.
    pub against: Kernel,
}

/// The goals by row.
pub type Goals = HashMap<String, Goal>;

/// Reads the file: lines `ROW,RATIO,best|stock`, a heading, comments that begin with `#`.
///
/// # Errors
///
/// The file cannot be read, or has a line that is none of these.
pub fn read(path: &Path) -> Result<Goals> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .skip(1)
        .map(|line| parse(line).with_context(|| format!("{}: not a goal: {line}", path.display())))
        .collect()
}

fn parse(line: &str) -> Option<(String, Goal)> {
    let mut fields = line.split(',');
    let row = fields.next()?.to_owned();
    let ratio = fields.next()?.parse().ok()?;
    let against = match fields.next()? {
        "best" => Kernel::Best,
        "stock" => Kernel::Stock,
        _ => return None,
    };
    fields.next().is_none().then_some((row, Goal { ratio, against }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rows_ratios_and_a_linux() {
        assert_eq!(parse("a,0.50,best"), Some(("a".to_owned(), Goal { ratio: 0.5, against: Kernel::Best })));
        assert_eq!(parse("a,0.50,other"), None);
        assert_eq!(parse("a,half,best"), None);
        assert_eq!(parse("a,0.50,stock,more"), None);
    }

    #[test]
    fn the_committed_file_is_well_formed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/bench/goals.csv");
        let goals = read(&path).unwrap();
        assert!(goals.len() > 40);
        assert!(goals.values().all(|goal| goal.ratio > 0.0 && goal.ratio <= 1.0));
    }
}
