// SPDX-License-Identifier: MPL-2.0

//! Proves the models: applies each mutation of `TABLE.md` to a copy of the crate and shows that the named test catches it.
//!
//! `cargo run -p readiness --example mutants [-- WORD]` runs all, or those whose title or test contains WORD. It fails if
//! a mutation survives, no longer applies, or if a loom model has no mutation.

use std::{
    env, fmt, fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// A mutant that makes no progress is caught, too. For a model, and for another test, which takes a second; building takes as
/// long as it takes.
const MODEL_LIMIT: Duration = Duration::from_secs(180);
const TEST_LIMIT: Duration = Duration::from_secs(30);

struct Mutant {
    title: String,
    binary: String,
    test: String,
    edits: Vec<Edit>,
}

#[derive(Default)]
struct Edit {
    file: String,
    old: String,
    new: String,
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Caught,
    Survived,
    Broken(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught => out.write_str("caught by"),
            Self::Survived => out.write_str("SURVIVED"),
            Self::Broken(why) => write!(out, "BROKEN: {why}"),
        }
    }
}

impl Mutant {
    /// Whether the title or the test contains `word`.
    fn is_about(&self, word: &str) -> bool {
        self.title.contains(word) || self.test.contains(word)
    }

    /// Whether a model is to catch it, and not a test on the host.
    fn is_of_a_model(&self) -> bool {
        self.binary.starts_with("loom_")
    }
}

fn main() -> ExitCode {
    let wanted = env::args().nth(1).unwrap_or_default();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mutants = parse(&fs::read_to_string(source.join("mutants/TABLE.md")).expect("the table is readable"));
    let copy = Copy::new(source);
    let mut is_good = every_model_is_listed(source, &mutants);
    let chosen: Vec<&Mutant> = mutants.iter().filter(|mutant| mutant.is_about(&wanted)).collect();
    let start = Instant::now();
    for (number, mutant) in (1..).zip(&chosen) {
        print!("[{number:2}/{}] {} ... ", chosen.len(), mutant.title);
        let _ = io::stdout().flush();
        let verdict = copy.try_mutant(source, mutant);
        println!("{verdict} {} {} ({} s)", mutant.binary, mutant.test, start.elapsed().as_secs());
        is_good &= verdict == Verdict::Caught;
    }
    println!("{} mutants, {}", chosen.len(), if is_good { "all caught" } else { "NOT ALL CAUGHT" });
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads the table: a heading, a `caught by`, and one or more `file` with a diff.
fn parse(table: &str) -> Vec<Mutant> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut is_in_diff = false;
    for line in table.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let (title, empty) = (title.to_owned(), String::new);
            mutants.push(Mutant { title, binary: empty(), test: empty(), edits: Vec::new() });
            continue;
        }
        let Some(mutant) = mutants.last_mut() else { continue };
        if let Some(test) = line.strip_prefix("caught by: ") {
            let (binary, test) = test.trim_matches('`').split_once(' ').expect("a test binary and a test");
            (mutant.binary, mutant.test) = (binary.to_owned(), test.to_owned());
        } else if let Some(file) = line.strip_prefix("file: ") {
            mutant.edits.push(Edit { file: file.trim_matches('`').to_owned(), ..Edit::default() });
        } else if line.starts_with("```") {
            is_in_diff = line == "```diff";
        } else if let (true, Some(edit)) = (is_in_diff, mutant.edits.last_mut()) {
            edit.add(line);
        }
    }
    mutants
}

impl Edit {
    fn add(&mut self, line: &str) {
        let (kind, text) = line.split_at_checked(1).unwrap_or((" ", ""));
        if kind != "+" {
            self.old.push_str(text);
            self.old.push('\n');
        }
        if kind != "-" {
            self.new.push_str(text);
            self.new.push('\n');
        }
    }
}

/// Whether each loom model has at least one mutation.
fn every_model_is_listed(source: &Path, mutants: &[Mutant]) -> bool {
    let mut is_complete = true;
    for binary in ["loom_word", "loom_observers", "loom_waiter", "loom_epoll", "loom_turn"] {
        let text = fs::read_to_string(source.join("tests").join(binary).with_extension("rs")).expect("a test file");
        let tests = text.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next());
        let is_listed = |test: &str| mutants.iter().any(|mutant| mutant.test.rsplit("::").next() == Some(test));
        for test in tests.filter(|test| !is_listed(test)) {
            println!("UNPROVEN         {test} catches no mutation of the table");
            is_complete = false;
        }
    }
    is_complete
}

/// A workspace of its own, with a copy of the crate.
struct Copy {
    workspace: PathBuf,
}

impl Copy {
    fn new(source: &Path) -> Self {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| source.join("../../../target"), PathBuf::from);
        let workspace = target.join("mutants");
        fs::create_dir_all(workspace.join("readiness")).expect("the target directory is writable");
        // Nearly all the time goes into compiling the crate and the test; what they run is short, and most of it is loom's.
        let manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"readiness\"]\n\n\
            [profile.release]\ndebug = false\nopt-level = 2\nincremental = true\n\n\
            [profile.release.package.readiness]\nopt-level = 0\n";
        write_if_changed(&workspace.join("Cargo.toml"), manifest);
        for lock in ["../../../Cargo.lock", "../Cargo.lock"] {
            if let Ok(text) = fs::read_to_string(source.join(lock)) {
                write_if_changed(&workspace.join("Cargo.lock"), &text);
                break;
            }
        }
        Self { workspace }
    }

    fn try_mutant(&self, source: &Path, mutant: &Mutant) -> Verdict {
        for part in ["Cargo.toml", "src", "tests", "benches", "mutants/run.rs"] {
            copy(&source.join(part), &self.workspace.join("readiness").join(part));
        }
        for edit in &mutant.edits {
            let path = self.workspace.join("readiness").join(&edit.file);
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text.matches(&edit.old).count() != 1 {
                return Verdict::Broken(format!("{} has not this text exactly once:\n{}", edit.file, edit.old));
            }
            write_if_changed(&path, &text.replace(&edit.old, &edit.new));
        }
        if self.cargo(mutant, &["--no-run"], Duration::MAX) != Some(true) {
            return Verdict::Broken("it does not compile".into());
        }
        let limit = if mutant.is_of_a_model() { MODEL_LIMIT } else { TEST_LIMIT };
        match self.cargo(mutant, &["--", "--exact", &mutant.test], limit) {
            Some(true) => Verdict::Survived,
            Some(false) | None => Verdict::Caught,
        }
    }

    /// Runs the test binary of `mutant`. Returns whether it succeeded; `None` if it took too long.
    fn cargo(&self, mutant: &Mutant, arguments: &[&str], limit: Duration) -> Option<bool> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["test", "--release", "--quiet", "-p", "readiness", "--test", &mutant.binary]).args(arguments);
        let is_model = mutant.is_of_a_model();
        // One for each set of flags, or cargo would build the dependencies anew at every change.
        let target = self.workspace.join(if is_model { "target-loom" } else { "target-host" });
        command.current_dir(&self.workspace).env("CARGO_TARGET_DIR", target);
        command.env("RUSTFLAGS", if is_model { "--cfg loom -A warnings" } else { "-A warnings" });
        if env::var_os("SHOW").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let mut child = command.process_group(0).spawn().expect("cargo runs");
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                return Some(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // The test is a child of cargo; both are in a group of their own.
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = child.wait();
        None
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("the copy is writable");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("a folder entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().expect("a file in a folder")).expect("the copy is writable");
        write_if_changed(to, &fs::read_to_string(from).expect("a text file"));
    }
}

/// Leaves the time stamp alone where it can, so that cargo builds no more than it must.
fn write_if_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).expect("the copy is writable");
    }
}
