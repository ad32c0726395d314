// SPDX-License-Identifier: MPL-2.0

//! What an executable file asks for: its dynamic loader, its shared libraries, or the interpreter of its `#!` line.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use goblin::elf::Elf;
use goblin::elf::header::EM_X86_64;

/// Linux reads this much of a script's first line (`BINPRM_BUF_SIZE`).
const SHEBANG_LIMIT: usize = 256;

/// A file, by what the kernel would make of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Executable {
    /// An ELF file for x86-64.
    Elf(Needs),
    /// A script: the interpreter and its one optional argument.
    Script(PathBuf, Option<String>),
    /// Neither: data.
    Other,
}

/// What an ELF file needs to be loaded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `PT_INTERP`.
    pub interpreter: Option<PathBuf>,
    /// `DT_NEEDED`, in order.
    pub libraries: Vec<String>,
    /// `DT_RPATH`, split at colons; void if there is a `runpath`.
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, split at colons.
    pub runpath: Vec<String>,
}

/// Reads the head of `path`, and all of it if it is ELF.
///
/// # Errors
///
/// The file cannot be read, or is ELF but not for x86-64 or damaged.
pub fn examine(path: &Path) -> Result<Executable> {
    let read = || -> Result<Executable> {
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        file.by_ref().take(SHEBANG_LIMIT as u64).read_to_end(&mut head)?;
        if head.starts_with(b"#!") {
            return Ok(parse_shebang(&head));
        }
        if !head.starts_with(b"\x7fELF") {
            return Ok(Executable::Other);
        }
        file.read_to_end(&mut head)?;
        Ok(Executable::Elf(parse_elf(&head)?))
    };
    read().with_context(|| path.display().to_string())
}

fn parse_shebang(head: &[u8]) -> Executable {
    let line = head[2..].split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let line = line.trim_matches([' ', '\t']);
    match line.split_once([' ', '\t']) {
        _ if line.is_empty() => Executable::Other,
        Some((interpreter, argument)) => {
            Executable::Script(interpreter.into(), Some(argument.trim_matches([' ', '\t']).to_owned()))
        }
        None => Executable::Script(line.into(), None),
    }
}

fn parse_elf(bytes: &[u8]) -> Result<Needs> {
    let elf = Elf::parse(bytes).context("damaged ELF file")?;
    if elf.header.e_machine != EM_X86_64 || !elf.is_64 {
        bail!(
            "an ELF file for another machine ({}), not x86-64",
            goblin::elf::header::machine_to_str(elf.header.e_machine)
        );
    }
    let split = |paths: &[&str]| paths.iter().flat_map(|p| p.split(':')).map(str::to_owned).collect();
    Ok(Needs {
        interpreter: elf.interpreter.map(PathBuf::from),
        libraries: elf.libraries.iter().map(|name| (*name).to_owned()).collect(),
        rpath: split(&elf.rpaths),
        runpath: split(&elf.runpaths),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(interpreter: &str, argument: Option<&str>) -> Executable {
        Executable::Script(interpreter.into(), argument.map(str::to_owned))
    }

    #[test]
    fn shebangs() {
        assert_eq!(parse_shebang(b"#!/bin/sh\necho"), script("/bin/sh", None));
        assert_eq!(parse_shebang(b"#! /usr/bin/env  -S a b \nx"), script("/usr/bin/env", Some("-S a b")));
        assert_eq!(parse_shebang(b"#!/bin/sh"), script("/bin/sh", None));
        assert_eq!(parse_shebang(b"#!\n"), Executable::Other);
    }

    #[test]
    fn a_dynamic_program_names_loader_and_libc() {
        let Executable::Elf(needs) = examine(&std::env::current_exe().unwrap()).unwrap() else {
            panic!("a test is an ELF file");
        };
        assert_eq!(needs.interpreter, Some("/lib64/ld-linux-x86-64.so.2".into()));
        assert!(needs.libraries.contains(&"libc.so.6".to_owned()));
    }

    #[test]
    fn damage_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\x7fELF nonsense").unwrap();
        assert!(examine(file.path()).is_err());
    }
}
