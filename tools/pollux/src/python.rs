// SPDX-License-Identifier: MPL-2.0

//! What CPython opens by itself: its standard library, found relative to the program as CPython's `getpath` does.

use std::path::{Path, PathBuf};

/// The directories and files of one Python installation.
#[derive(Debug, PartialEq, Eq)]
pub struct Library {
    /// To be packed with their contents.
    pub directories: Vec<PathBuf>,
    /// To be packed as they are.
    pub files: Vec<PathBuf>,
}

/// Parts of the standard library that programs in a small machine do without: about half of it.
const UNWANTED: [&str; 6] = ["ensurepip", "idlelib", "lib2to3", "pydoc_data", "tkinter", "turtledemo"];

/// The library that belongs to the program at the real path `program`, if that is a CPython.
pub fn standard_library(program: &Path) -> Option<Library> {
    let name = program.file_name()?.to_str()?;
    let version = name.strip_prefix("python")?;
    if version.is_empty() || !version.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let prefix = program.parent()?.parent()?;
    let library = prefix.join("lib").join(name);
    if !library.join("os.py").is_file() {
        return None;
    }
    let mut found = Library { directories: vec![library.clone()], files: Vec::new() };
    // Debian: sitecustomize.py is a link to /etc, and pure Python packages live beside.
    let site = PathBuf::from(format!("/etc/{name}/sitecustomize.py"));
    if site.is_file() {
        found.files.push(site);
    }
    Some(found)
}

/// Whether this file or directory of the library is worth packing.
pub fn is_wanted(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return true;
    };
    let parent_is_library = path.parent().is_some_and(|parent| parent.join("os.py").is_file());
    if !parent_is_library {
        return !(name == "test" || name == "tests") || path.extension().is_some();
    }
    let is_config = name.starts_with("config-");
    !(UNWANTED.contains(&name) || name == "test" || is_config || name == "site-packages" || name == "dist-packages")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pythons_with_a_library_count() {
        assert_eq!(standard_library(Path::new("/usr/bin/python-config")), None);
        assert_eq!(standard_library(Path::new("/nowhere/bin/python3.11")), None);
        assert_eq!(standard_library(Path::new("/bin/ls")), None);
    }

    #[test]
    fn a_library_is_found_beside_bin() {
        let directory = tempfile::tempdir().unwrap();
        let lib = directory.path().join("lib/python3.99");
        std::fs::create_dir_all(lib.join("test")).unwrap();
        std::fs::write(lib.join("os.py"), "").unwrap();
        let found = standard_library(&directory.path().join("bin/python3.99")).unwrap();
        assert_eq!(found.directories, std::slice::from_ref(&lib));
        assert!(is_wanted(&lib) && is_wanted(&lib.join("os.py")) && is_wanted(&lib.join("json")));
        assert!(!is_wanted(&lib.join("test")) && !is_wanted(&lib.join("config-3.99-x86_64-linux-gnu")));
    }
}
