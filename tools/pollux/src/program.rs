// SPDX-License-Identifier: MPL-2.0

//! From the words of the command line to a file on this machine.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};

/// A program, found.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Its absolute path, here and in the guest; links are not resolved.
    pub path: PathBuf,
    /// `argv`, with the name as it was typed.
    pub argv: Vec<String>,
}

/// Finds the program that `words` name, as a shell would: a word with a slash is a path, else `search_path` is tried.
///
/// # Errors
///
/// There is no such file, or it is not an executable file.
pub fn find(words: &[String], search_path: &OsStr, cwd: &Path) -> Result<Program> {
    let name = &words[0];
    let path = if name.contains('/') {
        let path = normalize(&cwd.join(name));
        if !path.exists() {
            bail!("{name}: no such file");
        }
        path
    } else {
        match search(name, search_path, cwd) {
            Some(path) => path,
            None if cwd.join(name).is_file() => bail!("{name} is not on the PATH; did you mean ./{name}?"),
            None => bail!("{name} is not on the PATH"),
        }
    };
    if !path.is_file() {
        bail!("{name}: not a regular file");
    }
    if !is_executable(&path) {
        bail!("{name}: not executable; try chmod +x {}", path.display());
    }
    Ok(Program { path, argv: words.to_vec() })
}

/// The first executable file called `name` in `search_path`.
pub fn search(name: &str, search_path: &OsStr, cwd: &Path) -> Option<PathBuf> {
    std::env::split_paths(search_path)
        .filter(|directory| !is_shim_directory(directory))
        .map(|directory| normalize(&cwd.join(directory).join(name)))
        .find(|path| is_executable(path))
}

/// Version managers (pyenv and its like) put scripts of a program's name into such directories; those need the manager
/// itself to run, so the real program further along the PATH is a better choice.
fn is_shim_directory(directory: &Path) -> bool {
    directory.file_name() == Some(OsStr::new("shims"))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// `path` without `.` and `..`, by words alone: links keep their names.
pub fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::Normal(name) => normal.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn names_are_looked_up_and_kept_as_argv() {
        let program = find(&words("sh -c x"), OsStr::new("/nowhere:/bin"), Path::new("/")).unwrap();
        assert_eq!(program.path, Path::new("/bin/sh"));
        assert_eq!(program.argv, ["sh", "-c", "x"]);
    }

    #[test]
    fn paths_are_relative_to_the_working_directory() {
        let program = find(&words("./../bin/sh"), OsStr::new(""), Path::new("/usr")).unwrap();
        assert_eq!(program.path, Path::new("/bin/sh"));
    }

    #[test]
    fn mistakes_are_explained() {
        let explain = |name: &str| find(&words(name), OsStr::new("/bin"), Path::new("/etc")).unwrap_err().to_string();
        assert!(explain("no-such-program").contains("not on the PATH"));
        assert!(explain("passwd-not/x").contains("no such file"));
        assert!(explain("hosts").contains("./hosts"));
        assert!(explain("/etc").contains("not a regular file"));
        assert!(explain("/etc/passwd").contains("chmod"));
    }

    #[test]
    fn shims_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let shims = directory.path().join("shims");
        std::fs::create_dir(&shims).unwrap();
        std::fs::copy("/bin/sh", shims.join("sh")).unwrap();
        let path = std::env::join_paths([shims, "/bin".into()]).unwrap();
        assert_eq!(search("sh", &path, Path::new("/")), Some("/bin/sh".into()));
    }
}
