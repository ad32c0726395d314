// SPDX-License-Identifier: MPL-2.0

//! What goes into the image: a program with all it needs, a few basic tools, and init with its job.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cli::{Addition, PackOptions};
use crate::elf::{self, Executable, Needs};
use crate::image::{Image, Node};
use crate::job::Job;
use crate::libraries::{Finder, own_rpath};
use crate::program::{self, Program};
use crate::python;

/// How deep `#!` lines may refer to scripts, as on Linux.
const MAX_SCRIPTS: usize = 5;

/// Files named by arguments are packed up to this size each.
const AUTO_ADD_LIMIT: u64 = 256 << 20;

/// An image under construction.
pub struct Packer {
    /// The tree so far.
    pub image: Image,
    finder: Finder,
    /// Real paths of the objects whose libraries have been seen to.
    seen: HashSet<PathBuf>,
    search_path: OsString,
    cwd: PathBuf,
    /// Libraries that are not on this machine, with the object that wants each. An addition may bring them yet.
    missing: Vec<(PathBuf, String)>,
    /// Things worth telling the user.
    pub warnings: Vec<String>,
}

impl Packer {
    /// Starts with the bare skeleton of a root file system. `search_path` is the PATH to look names up in.
    pub fn new(search_path: OsString, cwd: PathBuf) -> Result<Self> {
        let mut packer = Self {
            image: Image::default(),
            finder: Finder::new(),
            seen: HashSet::new(),
            search_path,
            cwd,
            missing: Vec::new(),
            warnings: Vec::new(),
        };
        packer.put_skeleton()?;
        Ok(packer)
    }

    /// Packs `program`, the files it is given and the user's additions, and the basic tools.
    pub fn pack(&mut self, program: &Program, options: &PackOptions) -> Result<()> {
        self.add_program(&program.path, MAX_SCRIPTS)?;
        if !options.no_auto_add {
            self.add_named_files(&program.argv[1..])?;
        }
        for addition in &options.add {
            self.add(addition)?;
        }
        self.add_basic_tools()?;
        self.warn_of_missing();
        let cwd = self.cwd.clone();
        self.image.put(&cwd, Node::Directory(0o755))
    }

    fn put_skeleton(&mut self) -> Result<()> {
        // On a merged-/usr system these are links; keep the host's shape, so that its paths mean the same.
        for directory in ["/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib"] {
            if Path::new(directory).exists() {
                self.image.put_host_path(Path::new(directory))?;
            }
        }
        for (directory, mode) in [
            ("/bin", 0o755),
            ("/dev", 0o755),
            ("/etc", 0o755),
            ("/home", 0o755),
            ("/proc", 0o555),
            ("/root", 0o700),
            ("/run", 0o755),
            ("/sys", 0o555),
            ("/tmp", 0o1777),
            ("/var/tmp", 0o1777),
        ] {
            self.image.put_if_absent(Path::new(directory), Node::Directory(mode))?;
        }
        // Before init has mounted anything the kernel opens the one, and a C library may want the other.
        self.image.put(Path::new("/dev/console"), Node::CharDevice(5, 1, 0o600))?;
        self.image.put(Path::new("/dev/null"), Node::CharDevice(1, 3, 0o666))?;
        for (name, text) in [
            ("passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
            ("group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
            ("hosts", "127.0.0.1 localhost pollux\n::1 localhost\n"),
            ("hostname", "pollux\n"),
            ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"),
            ("resolv.conf", ""),
        ] {
            self.put_text(&Path::new("/etc").join(name), text)?;
        }
        // Lets the loader find libraries outside its default directories; names of files not packed do no harm.
        for name in ["/etc/ld.so.cache", "/etc/services", "/etc/protocols"] {
            if Path::new(name).is_file() {
                self.image.put_host_path(Path::new(name))?;
            }
        }
        Ok(())
    }

    fn put_text(&mut self, path: &Path, text: &str) -> Result<()> {
        self.image.put(path, Node::Bytes(text.as_bytes().to_vec(), 0o644))
    }

    /// Packs the program at `path` with its interpreter or its libraries.
    fn add_program(&mut self, path: &Path, scripts_left: usize) -> Result<()> {
        let real = self.image.put_host_path(path)?;
        match elf::examine(&real)? {
            Executable::Elf(needs) => {
                if let Some(library) = python::standard_library(&real) {
                    self.add_python_library(&library)?;
                }
                self.add_needs(&real, &needs, &[])
            }
            Executable::Script(interpreter, argument) => {
                if scripts_left == 0 {
                    bail!("{}: too many interpreters of interpreters", path.display());
                }
                self.add_interpreter(&real, &interpreter, argument.as_deref(), scripts_left - 1)
            }
            Executable::Other => bail!("{}: neither an ELF program nor a script with a #! line", path.display()),
        }
    }

    fn add_interpreter(
        &mut self,
        script: &Path,
        interpreter: &Path,
        argument: Option<&str>,
        left: usize,
    ) -> Result<()> {
        self.add_program(interpreter, left)
            .with_context(|| format!("the interpreter of {} cannot be packed", script.display()))?;
        // `#!/usr/bin/env [-S] NAME` means NAME, looked up in the PATH.
        if interpreter.file_name().is_some_and(|name| name == "env") {
            let name = argument
                .unwrap_or_default()
                .split_whitespace()
                .find(|word| !word.starts_with('-') && !word.contains('='));
            if let Some(name) = name {
                let found = program::search(name, &self.search_path, &self.cwd)
                    .with_context(|| format!("{} wants {name}, which is not on the PATH", script.display()))?;
                self.add_program(&found, left)?;
                self.link_into_guest_path(name, &found)?;
            }
        }
        Ok(())
    }

    /// `env NAME` searches the guest's PATH, which is plain; a program from elsewhere gets a link there.
    fn link_into_guest_path(&mut self, name: &str, found: &Path) -> Result<()> {
        let is_on_path =
            crate::job::GUEST_PATH.split(':').any(|directory| found.parent() == Some(Path::new(directory)));
        if is_on_path {
            return Ok(());
        }
        self.image.put_if_absent(&Path::new("/usr/local/bin").join(name), Node::Symlink(found.to_owned()))
    }

    /// Packs the loader and the libraries of the object at the real path `real`, and theirs.
    fn add_needs(&mut self, real: &Path, needs: &Needs, inherited: &[PathBuf]) -> Result<()> {
        if !self.seen.insert(real.to_owned()) {
            return Ok(());
        }
        if let Some(interpreter) = &needs.interpreter {
            self.image
                .put_host_path(interpreter)
                .with_context(|| format!("{}: its dynamic loader cannot be packed", real.display()))?;
        }
        let origin = real.parent().unwrap_or(Path::new("/"));
        let mut passed_on = own_rpath(needs, origin);
        passed_on.extend_from_slice(inherited);
        for name in &needs.libraries {
            match self.finder.find(name, needs, origin, inherited) {
                Some(library) => self.add_library(&library, &passed_on)?,
                None => self.missing.push((real.to_owned(), name.clone())),
            }
            // glibc loads it by itself, for pthread_exit() and thread cancellation.
            if name == "libc.so.6"
                && let Some(library) = self.finder.find("libgcc_s.so.1", needs, origin, inherited)
            {
                self.add_library(&library, &[])?;
            }
        }
        Ok(())
    }

    /// Tells which libraries are neither on this machine nor among the additions, wherever: the program may know where to look.
    fn warn_of_missing(&mut self) {
        let mut users: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (object, name) in std::mem::take(&mut self.missing) {
            if !self.image.has_file_named(&name) {
                users.entry(name).or_default().push(object);
            }
        }
        for (name, objects) in users {
            let others = match objects.len() {
                1 => String::new(),
                2 => " and another file".to_owned(),
                count => format!(" and {} other files", count - 1),
            };
            let first = objects[0].display();
            self.warnings.push(format!("{first}{others}: the library {name} is not on this machine"));
        }
    }

    fn add_library(&mut self, path: &Path, inherited: &[PathBuf]) -> Result<()> {
        let real = self.image.put_host_path(path)?;
        match elf::examine(&real)? {
            Executable::Elf(needs) => self.add_needs(&real, &needs, inherited),
            _ => Ok(()),
        }
    }

    /// `--add`.
    fn add(&mut self, addition: &Addition) -> Result<()> {
        let host = program::normalize(&self.cwd.join(&addition.host));
        let guest = addition.guest.clone().unwrap_or_else(|| host.clone());
        if guest == host {
            self.image.put_host_path(&host)?;
        }
        let root = host.canonicalize().with_context(|| host.display().to_string())?;
        self.add_tree(&root, &guest, |_| true)
    }

    /// Packs the file or directory `root` as `guest`; `wanted` says which directories and files below it to take.
    fn add_tree(&mut self, root: &Path, guest: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        let walk = walkdir::WalkDir::new(root).sort_by_file_name().into_iter();
        for entry in walk.filter_entry(|entry| wanted(entry.path())) {
            let entry = entry.with_context(|| format!("cannot pack {}", root.display()))?;
            let below = entry.path().strip_prefix(root)?;
            let place = if below.as_os_str().is_empty() { guest.to_owned() } else { guest.join(below) };
            let kind = entry.file_type();
            if kind.is_dir() {
                self.image.put(&place, Node::Directory(0o755))?;
            } else if kind.is_symlink() {
                self.image.put(&place, Node::Symlink(std::fs::read_link(entry.path())?))?;
            } else if kind.is_file() {
                self.image.put(&place, Node::HostFile(entry.path().to_owned()))?;
                self.add_needs_of(entry.path())?;
            }
        }
        Ok(())
    }

    /// Libraries of a file that may or may not be a program. Damaged or foreign ELF files are data to us.
    fn add_needs_of(&mut self, file: &Path) -> Result<()> {
        let Ok(Executable::Elf(needs)) = elf::examine(file) else {
            return Ok(());
        };
        if let Some(library) = python::standard_library(file) {
            self.add_python_library(&library)?;
        }
        self.add_needs(file, &needs, &[])
    }

    /// Regular files that arguments name, so that `run python3 script.py` does what it says.
    fn add_named_files(&mut self, arguments: &[String]) -> Result<()> {
        for argument in arguments {
            let host = program::normalize(&self.cwd.join(argument));
            let Ok(metadata) = std::fs::metadata(&host) else {
                continue;
            };
            if self.image.contains(&host)
                || host.starts_with("/proc")
                || host.starts_with("/sys")
                || host.starts_with("/dev")
            {
                continue;
            }
            if metadata.is_dir() {
                self.warnings.push(format!("the directory {argument} stays here; --add {argument} would pack it"));
            } else if metadata.len() > AUTO_ADD_LIMIT {
                self.warnings.push(format!("{argument} is large and stays here; --add {argument} would pack it"));
            } else if metadata.is_file() {
                match elf::examine(&host)? {
                    Executable::Other => drop(self.image.put_host_path(&host)?),
                    _ => self.add_program(&host, MAX_SCRIPTS)?,
                }
            }
        }
        Ok(())
    }

    fn add_python_library(&mut self, library: &python::Library) -> Result<()> {
        for directory in &library.directories {
            self.image.put_host_path(directory)?;
            let root = directory.canonicalize()?;
            self.add_tree(&root, &root, python::is_wanted)?;
        }
        for file in &library.files {
            self.image.put_host_path(file)?;
        }
        Ok(())
    }

    /// `/bin/sh` as it is here, and busybox under the names of its applets wherever nothing else was packed.
    fn add_basic_tools(&mut self) -> Result<()> {
        if Path::new("/bin/sh").exists() {
            self.add_program(Path::new("/bin/sh"), 0)?;
        }
        let Some(busybox) = program::search("busybox", &self.search_path, &self.cwd) else {
            self.warnings.push("busybox is not on the PATH: the guest has no basic tools".to_owned());
            return Ok(());
        };
        self.add_program(&busybox, 0)?;
        let listing = Command::new(&busybox).arg("--list-full").output().context("busybox --list-full")?;
        for applet in String::from_utf8_lossy(&listing.stdout).lines().filter(|line| !line.starts_with("linuxrc")) {
            self.image.put_if_absent(&Path::new("/").join(applet), Node::Symlink(busybox.clone()))?;
        }
        Ok(())
    }

    /// Packs strace for `--trace` on Linux; returns its path.
    pub fn add_tracer(&mut self) -> Result<PathBuf> {
        let strace = program::search("strace", &self.search_path, &self.cwd)
            .context("--trace on Linux needs strace on this machine: apt-get install strace")?;
        self.add_program(&strace, 0)?;
        Ok(strace)
    }

    /// Puts init and what it is to do.
    pub fn put_init(&mut self, init: &Path, job: &Job) -> Result<()> {
        self.image.put(Path::new("/init"), Node::HostFile(init.to_owned()))?;
        self.image.put(Path::new("/etc/pollux/job"), Node::Bytes(job.encode(), 0o600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packer() -> Packer {
        Packer::new("/usr/bin:/bin".into(), "/nonexistent/cwd".into()).unwrap()
    }

    fn has(packer: &Packer, path: &str) -> bool {
        packer.image.contains(Path::new(path))
    }

    fn options() -> PackOptions {
        PackOptions { add: vec![], no_auto_add: false, env: vec![] }
    }

    #[test]
    fn a_dynamic_program_brings_loader_and_libraries() {
        let mut packer = packer();
        packer.add_program(Path::new("/bin/ls"), 0).unwrap();
        for path in [
            "/bin/ls",
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib/x86_64-linux-gnu/libselinux.so.1",
        ] {
            assert!(has(&packer, path), "{path}");
        }
        assert!(packer.warnings.is_empty(), "{:?}", packer.warnings);
    }

    #[test]
    fn a_script_brings_its_interpreter() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("s");
        std::fs::write(&script, "#!/usr/bin/env dash\n").unwrap();
        let mut packer = packer();
        packer.add_program(&script, MAX_SCRIPTS).unwrap();
        assert!(
            has(&packer, "/usr/bin/env") && has(&packer, "/usr/bin/dash") && has(&packer, script.to_str().unwrap())
        );
    }

    #[test]
    fn scripts_that_interpret_each_other_end_somewhere() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("s");
        std::fs::write(&script, format!("#!{}\n", script.display())).unwrap();
        let error = packer().add_program(&script, MAX_SCRIPTS).unwrap_err();
        assert!(format!("{error:#}").contains("too many interpreters"), "{error:#}");
    }

    #[test]
    fn text_is_no_program() {
        let error = packer().add_program(Path::new("/etc/passwd"), 0).unwrap_err();
        assert!(error.to_string().contains("neither an ELF program"));
    }

    #[test]
    fn named_files_and_the_working_directory_come_along() {
        let directory = tempfile::tempdir().unwrap();
        let cwd = directory.path().canonicalize().unwrap();
        std::fs::write(cwd.join("data"), "x").unwrap();
        std::fs::create_dir(cwd.join("dir")).unwrap();
        let mut packer = Packer::new("/usr/bin:/bin".into(), cwd.clone()).unwrap();
        let words: Vec<String> = ["cat", "data", "dir", "nothing"].map(String::from).into();
        let program = program::find(&words, "/usr/bin:/bin".as_ref(), &cwd).unwrap();
        packer.pack(&program, &options()).unwrap();
        assert!(packer.image.contains(&cwd.join("data")));
        assert!(!packer.image.contains(&cwd.join("dir")) && !packer.image.contains(&cwd.join("nothing")));
        assert!(packer.warnings.iter().any(|w| w.contains("--add dir")), "{:?}", packer.warnings);
        assert!(has(&packer, "/bin/sh") && has(&packer, "/bin/seq") || has(&packer, "/usr/bin/seq"));
    }

    #[test]
    fn additions_can_move() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("sub")).unwrap();
        std::fs::write(directory.path().join("sub/file"), "x").unwrap();
        let mut packer = packer();
        packer.add(&Addition { host: directory.path().into(), guest: Some("/data".into()) }).unwrap();
        packer.add(&Addition { host: "/bin/ls".into(), guest: Some("/opt/list".into()) }).unwrap();
        assert!(has(&packer, "/data/sub/file") && has(&packer, "/opt/list"));
        assert!(has(&packer, "/lib/x86_64-linux-gnu/libc.so.6"), "an added program brings its libraries");
    }

    #[test]
    fn an_addition_can_bring_a_missing_library() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("opt/own")).unwrap();
        std::fs::write(directory.path().join("opt/own/libbrought.so.1"), "x").unwrap();
        let mut packer = packer();
        packer.add(&Addition { host: directory.path().into(), guest: Some("/".into()) }).unwrap();
        let missing = [
            ("/p", "libbrought.so.1"),
            ("/p", "libnowhere.so.1"),
            ("/q", "libnowhere.so.1"),
            ("/r", "libnowhere.so.1"),
        ];
        packer.missing = missing.map(|(user, name)| (user.into(), name.to_owned())).into();
        packer.warn_of_missing();
        assert_eq!(packer.warnings, ["/p and 2 other files: the library libnowhere.so.1 is not on this machine"]);
    }
}
