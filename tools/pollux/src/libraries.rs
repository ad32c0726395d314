// SPDX-License-Identifier: MPL-2.0

//! Where the dynamic loader would look for a shared library on this machine (ld.so(8)).
//!
//! The guest runs the same loader over the same absolute paths, so what is found here is found there. `LD_LIBRARY_PATH`
//! is not consulted: the guest does not get the host's environment.

use std::path::{Path, PathBuf};

use crate::elf::Needs;

/// The directories that glibc searches by itself on Debian and elsewhere.
const DEFAULT_DIRECTORIES: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// The search order for libraries, `ld.so.conf` read once.
#[derive(Debug)]
pub struct Finder {
    configured: Vec<PathBuf>,
}

impl Finder {
    /// Reads `/etc/ld.so.conf`, the list that `/etc/ld.so.cache` is made from.
    pub fn new() -> Self {
        let mut configured = Vec::new();
        read_conf(Path::new("/etc/ld.so.conf"), 8, &mut configured);
        configured.extend(DEFAULT_DIRECTORIES.map(PathBuf::from));
        Self { configured }
    }

    /// Finds `name` for the object `needs`, whose real directory is `origin`. `inherited` is the `DT_RPATH` of the
    /// objects that brought this one in.
    pub fn find(&self, name: &str, needs: &Needs, origin: &Path, inherited: &[PathBuf]) -> Option<PathBuf> {
        if name.contains('/') {
            return Some(expand(name, origin)).filter(|path| path.is_file());
        }
        let rpath = if needs.runpath.is_empty() { own_rpath(needs, origin) } else { Vec::new() };
        let inherited = if needs.runpath.is_empty() { inherited } else { &[] };
        let runpath = needs.runpath.iter().map(|dir| expand(dir, origin));
        rpath
            .into_iter()
            .chain(inherited.iter().cloned())
            .chain(runpath)
            .chain(self.configured.iter().cloned())
            .map(|directory| directory.join(name))
            .find(|path| is_x86_64_elf(path))
    }
}

/// The object's own `DT_RPATH`, ready to search.
pub fn own_rpath(needs: &Needs, origin: &Path) -> Vec<PathBuf> {
    if needs.runpath.is_empty() { needs.rpath.iter().map(|dir| expand(dir, origin)).collect() } else { Vec::new() }
}

fn expand(text: &str, origin: &Path) -> PathBuf {
    let origin = origin.display().to_string();
    let text = text.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
    PathBuf::from(text.replace("${LIB}", "lib/x86_64-linux-gnu").replace("$LIB", "lib/x86_64-linux-gnu"))
}

/// The loader skips files for other machines, such as 32-bit libraries in a shared directory.
fn is_x86_64_elf(path: &Path) -> bool {
    let mut head = [0; 20];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
    // 64-bit class at offset 4; e_machine at 18.
    read.is_ok() && head.starts_with(b"\x7fELF\x02") && head[18..20] == [62, 0]
}

fn read_conf(file: &Path, depth: usize, directories: &mut Vec<PathBuf>) {
    let Ok(text) = std::fs::read_to_string(file) else {
        return;
    };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(pattern) = line.strip_prefix("include") {
            if depth > 0 {
                let included = glob_in_directory(Path::new(pattern.trim()));
                included.iter().for_each(|file| read_conf(file, depth - 1, directories));
            }
        } else if line.starts_with('/') {
            directories.push(PathBuf::from(line));
        }
    }
}

/// The files that `directory/PREFIX*SUFFIX` matches, sorted: all that ld.so.conf files use of globbing.
fn glob_in_directory(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let Some((prefix, suffix)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let entries = pattern.parent().and_then(|directory| std::fs::read_dir(directory).ok());
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            name.len() >= prefix.len() + suffix.len() && name.starts_with(prefix) && name.ends_with(suffix)
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libc_is_found() {
        let finder = Finder::new();
        let path = finder.find("libc.so.6", &Needs::default(), Path::new("/"), &[]).unwrap();
        assert!(path.is_file());
        assert_eq!(finder.find("libnosuch.so.9", &Needs::default(), Path::new("/"), &[]), None);
    }

    #[test]
    fn runpath_silences_rpath() {
        let with = |rpath: &str, runpath: &[&str]| Needs {
            rpath: vec![rpath.to_owned()],
            runpath: runpath.iter().map(|s| (*s).to_owned()).collect(),
            ..Needs::default()
        };
        assert_eq!(own_rpath(&with("$ORIGIN/../lib", &[]), Path::new("/opt/bin")), [PathBuf::from("/opt/bin/../lib")]);
        assert!(own_rpath(&with("$ORIGIN", &["/x"]), Path::new("/opt")).is_empty());
    }

    #[test]
    fn conf_files_include_others() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::write(root.join("ld.so.conf"), format!("include {}/d/*.conf\n# no\n/last\n", root.display())).unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::write(root.join("d/b.conf"), "/second\n").unwrap();
        std::fs::write(root.join("d/a.conf"), "/first # comment\n").unwrap();
        std::fs::write(root.join("d/c.other"), "/never\n").unwrap();
        let mut directories = Vec::new();
        read_conf(&root.join("ld.so.conf"), 8, &mut directories);
        assert_eq!(directories, ["/first", "/second", "/last"].map(PathBuf::from));
    }
}
