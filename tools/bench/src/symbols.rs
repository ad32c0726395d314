// SPDX-License-Identifier: MPL-2.0

//! Which function an address of a kernel belongs to.

use std::collections::BTreeMap;
use std::path::Path;

use addr2line::Loader;
use anyhow::{Context, Result, anyhow};
use object::{Object, ObjectSymbol, SymbolKind};

/// Addresses from here on are the kernel's.
pub const KERNEL: u64 = 1 << 63;

/// The functions of a kernel, and what was inlined into them.
pub struct Symbols {
    /// By their first address.
    functions: BTreeMap<u64, String>,
    /// Debugging information, where there is some.
    lines: Option<Loader>,
}

/// A function and its place in the sources, as far as they are known.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Frame {
    /// Its name.
    pub function: String,
    /// `FILE:LINE`, or nothing.
    pub place: String,
}

impl Symbols {
    /// Those of an ELF file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no ELF file.
    pub fn of_elf(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let file = object::File::parse(&*bytes).with_context(|| path.display().to_string())?;
        let functions = file
            .symbols()
            .filter(|symbol| symbol.address() >= KERNEL && is_code(&file, symbol))
            .filter_map(|symbol| Some((symbol.address(), demangled(symbol.name().ok()?))))
            .collect();
        let lines = Loader::new(path).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        Ok(Self { functions, lines: Some(lines) })
    }

    /// Those of `/proc/kallsyms`: `ADDRESS TYPE NAME [MODULE]`.
    pub fn of_kallsyms(text: &str) -> Self {
        let functions = text.lines().filter_map(kallsyms_line).collect();
        Self { functions, lines: None }
    }

    /// The function that `address` lies in, with its first address.
    pub fn function(&self, address: u64) -> Option<(u64, &str)> {
        self.functions.range(..=address).next_back().map(|(start, name)| (*start, name.as_str()))
    }

    /// The functions that were inlined to what is at `address`, innermost first; the last is a function of its own.
    pub fn frames(&self, address: u64) -> Vec<Frame> {
        let mut found = Vec::new();
        if let Some(lines) = &self.lines
            && let Ok(mut frames) = lines.find_frames(address)
        {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.and_then(|name| name.demangle().ok().map(|name| shortened(&name)));
                let place =
                    frame.location.and_then(|place| Some(format!("{}:{}", short_path(place.file?), place.line?)));
                found.push(Frame { function: name.unwrap_or_default(), place: place.unwrap_or_default() });
            }
        }
        found.retain(|frame| !frame.function.is_empty());
        if found.is_empty() {
            let function = self.function(address).map_or("?", |(_, name)| name).to_owned();
            found.push(Frame { function, place: String::new() });
        }
        found
    }
}

/// Assembly's labels have no type; what lies in a code section counts.
fn is_code<'data>(file: &object::File<'data>, symbol: &impl ObjectSymbol<'data>) -> bool {
    use object::{ObjectSection, SectionKind};
    let in_text = || {
        let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
        section.is_some_and(|section| section.kind() == SectionKind::Text)
    };
    match symbol.kind() {
        SymbolKind::Text => true,
        SymbolKind::Unknown | SymbolKind::Label => in_text() && symbol.name().is_ok_and(|name| !name.starts_with(".L")),
        _ => false,
    }
}

fn kallsyms_line(line: &str) -> Option<(u64, String)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next()?;
    let name = words.next()?.to_owned();
    (address >= KERNEL && kind.eq_ignore_ascii_case("t") || kind.eq_ignore_ascii_case("w")).then_some((address, name))
}

fn demangled(name: &str) -> String {
    shortened(&format!("{:#}", rustc_demangle::demangle(name)))
}

/// Names of Rust without what tells nothing here: the last two parts of each path are enough.
fn shortened(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut path = String::new();
    for character in name.chars() {
        if character.is_alphanumeric() || matches!(character, '_' | ':' | '{' | '}' | '#') {
            path.push(character);
        } else {
            out.push_str(last_two(&path));
            path.clear();
            out.push(character);
        }
    }
    out.push_str(last_two(&path));
    out
}

fn last_two(path: &str) -> &str {
    match path.rmatch_indices("::").nth(1) {
        Some((at, _)) => &path[at + 2..],
        None => path,
    }
}

/// The file's path from its crate on.
fn short_path(path: &str) -> &str {
    for mark in ["/kernel/", "/registry/src/", "/library/"] {
        if let Some(at) = path.rfind(mark) {
            let rest = &path[at + 1..];
            return match mark {
                "/registry/src/" => rest.splitn(4, '/').nth(3).unwrap_or(rest),
                _ => rest,
            };
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = Symbols::of_kallsyms(
            "ffffffff81000000 T first\nffffffff81000010 t second\nffffffff81000020 D data\n0000000000000000 A fixed\n",
        );
        assert_eq!(symbols.function(0xffff_ffff_8100_000f), Some((0xffff_ffff_8100_0000, "first")));
        assert_eq!(symbols.function(0xffff_ffff_8100_0030).unwrap().1, "second");
        assert_eq!(symbols.function(5), None);
        assert_eq!(symbols.frames(0xffff_ffff_8100_0011)[0].function, "second");
    }

    #[test]
    fn names_are_short_but_keep_their_types() {
        assert_eq!(shortened("<a::b::C as core::d::E<f::g::H>>::poll"), "<b::C as d::E<g::H>>::poll");
        assert_eq!(shortened("memcpy"), "memcpy");
        assert_eq!(short_path("/x/registry/src/index-1/ostd-0.18.0/src/a.rs"), "ostd-0.18.0/src/a.rs");
        assert_eq!(short_path("/home/me/kernel/src/b.rs"), "kernel/src/b.rs");
    }
}
