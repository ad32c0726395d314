// SPDX-License-Identifier: MPL-2.0

//! `pollux-lint DIR...`: finds `unsafe` in Rust sources, and attributes that would let it in.
//!
//! The kernel promises to have no `unsafe` of its own. The compiler's lint `unsafe_code` checks that, but only where it
//! is switched on and for the code that the current configuration compiles; this program reads every token of every
//! file, so neither a forgotten crate attribute nor a `cfg` hides anything. Comments and strings are not tokens and do not
//! count.
//!
//! Exit status: 0 nothing found, 1 something found (each on a line `file:line: what`), 2 a file could not be read.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

/// Lint levels under which `unsafe_code` would compile.
const PERMISSIVE: [&str; 3] = ["allow", "expect", "warn"];

fn main() -> ExitCode {
    let roots: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match scan_all(&roots) {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            findings.iter().for_each(|finding| println!("{finding}"));
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("pollux-lint: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn scan_all(roots: &[PathBuf]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for root in roots {
        for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
            let entry = entry?;
            if entry.file_type().is_file() && entry.path().extension().is_some_and(|e| e == "rs") {
                findings.extend(scan_file(entry.path())?);
            }
        }
    }
    Ok(findings)
}

fn scan_file(path: &Path) -> Result<Vec<String>> {
    let source = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let found = scan_source(&source).with_context(|| path.display().to_string())?;
    Ok(found.into_iter().map(|(line, what)| format!("{}:{line}: {what}", path.display())).collect())
}

/// The (line, description) of every finding in one file's text.
fn scan_source(source: &str) -> Result<Vec<(usize, String)>> {
    // A shebang line is not Rust; `#![...]` is.
    let text = match source.strip_prefix("#!") {
        Some(rest) if !rest.trim_start().starts_with('[') => &source[source.find('\n').unwrap_or(source.len())..],
        _ => source,
    };
    let tokens = TokenStream::from_str(text).map_err(|error| anyhow!("not Rust: {error}"))?;
    let mut findings = Vec::new();
    scan_tokens(tokens, None, &mut findings);
    findings.sort();
    Ok(findings)
}

/// `list_of` is the identifier before the parenthesis we are in, as in `allow(...)`.
fn scan_tokens(tokens: TokenStream, list_of: Option<&str>, findings: &mut Vec<(usize, String)>) {
    let mut last_word: Option<String> = None;
    for token in tokens {
        let line = token.span().start().line;
        match token {
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                if word == "unsafe" {
                    findings.push((line, "`unsafe`".to_owned()));
                }
                if let Some(level) = list_of
                    && word == "unsafe_code"
                    && PERMISSIVE.contains(&level)
                {
                    findings.push((line, format!("`{level}(unsafe_code)`")));
                }
                last_word = Some(word);
            }
            TokenTree::Group(group) => {
                scan_tokens(group.stream(), last_word.take().as_deref(), findings);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => last_word = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scan_source;

    fn lines(source: &str) -> Vec<usize> {
        scan_source(source).unwrap().into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn finds_blocks_functions_impls_and_attributes() {
        let source = "fn f() {\n    unsafe { g() }\n}\nunsafe fn g() {}\nunsafe impl S for T {}\n#[unsafe(no_mangle)]\nfn h() {}\n";
        assert_eq!(lines(source), [2, 4, 5, 6]);
    }

    #[test]
    fn finds_inside_macros_and_disabled_code() {
        assert_eq!(lines("m! {\n  unsafe { 1 }\n}\n#[cfg(never)]\nmod x { unsafe fn y() {} }"), [2, 5]);
    }

    #[test]
    fn comments_and_strings_do_not_count() {
        let source =
            "//! unsafe\n/* unsafe */\n/// unsafe\nconst S: &str = \"unsafe\";\nconst R: &str = r#\"unsafe\"#;\n";
        assert!(lines(source).is_empty());
    }

    #[test]
    fn forbidding_is_fine_and_allowing_is_not() {
        assert!(lines("#![deny(unsafe_code)]\n#![forbid(unsafe_code)]").is_empty());
        assert_eq!(lines("#![allow(unsafe_code)]\n#[expect(dead_code, unsafe_code)]\nfn f() {}"), [1, 2]);
    }
}
