// SPDX-License-Identifier: MPL-2.0

//! The root file system of the guest, as a tree in memory that becomes a cpio archive (format `newc`).
//!
//! Paths are absolute guest paths. Symbolic links in the image are followed when something is put behind them, as the
//! guest would: once `/bin` is a link to `usr/bin`, adding `/bin/sh` adds `/usr/bin/sh`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use cpio::newc;
use flate2::Compression;
use flate2::write::GzEncoder;

/// As many links as Linux follows before it says `ELOOP`.
const MAX_LINKS: usize = 40;

/// One file of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory with these permission bits.
    Directory(u32),
    /// A regular file whose contents are those of a host file, read when the archive is written.
    HostFile(PathBuf),
    /// A regular file with these contents and permission bits.
    Bytes(Vec<u8>, u32),
    /// A symbolic link to this target.
    Symlink(PathBuf),
    /// A character device: major, minor, permission bits.
    CharDevice(u32, u32, u32),
}

/// The tree.
#[derive(Debug, Default)]
pub struct Image {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Image {
    /// All files, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = (&PathBuf, &Node)> {
        self.nodes.iter()
    }

    /// Whether `path` leads to something, links followed in all but the last component.
    pub fn contains(&self, path: &Path) -> bool {
        self.place(path).is_ok_and(|place| self.nodes.contains_key(&place))
    }

    /// Whether there is anything of that name in any directory.
    pub fn has_file_named(&self, name: &str) -> bool {
        self.nodes.keys().any(|path| path.file_name().is_some_and(|last| last == name))
    }

    /// Puts `node` at `path`, with its parent directories; replaces what is there, except that a directory stays.
    pub fn put(&mut self, path: &Path, node: Node) -> Result<()> {
        let place = self.place(path)?;
        if place == Path::new("/") {
            return Ok(());
        }
        self.make_parents(&place)?;
        if let (Some(Node::Directory(_)), Node::Directory(_)) = (self.nodes.get(&place), &node) {
            return Ok(());
        }
        self.nodes.insert(place, node);
        Ok(())
    }

    /// Puts `node` at `path` unless something is there.
    pub fn put_if_absent(&mut self, path: &Path, node: Node) -> Result<()> {
        if self.contains(path) { Ok(()) } else { self.put(path, node) }
    }

    /// Puts the host's file `path` at the same place, with every symbolic link on the way kept as a link. Returns the
    /// host's real path. A directory is made, but not filled.
    pub fn put_host_path(&mut self, path: &Path) -> Result<PathBuf> {
        self.put_host_path_counted(path, MAX_LINKS)
    }

    fn put_host_path_counted(&mut self, path: &Path, links_left: usize) -> Result<PathBuf> {
        if links_left == 0 {
            bail!("too many symbolic links in {}", path.display());
        }
        let mut walked = PathBuf::from("/");
        let mut rest = path.components();
        while let Some(component) = rest.next() {
            match component {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
                Component::ParentDir => {
                    walked.pop();
                    continue;
                }
                Component::Normal(name) => walked.push(name),
            }
            let metadata = fs::symlink_metadata(&walked).with_context(|| walked.display().to_string())?;
            if metadata.is_symlink() {
                let target = fs::read_link(&walked)?;
                self.put(&walked, Node::Symlink(target.clone()))?;
                let parent = walked.parent().unwrap_or(Path::new("/"));
                return self.put_host_path_counted(&parent.join(target).join(rest.as_path()), links_left - 1);
            }
            if metadata.is_dir() {
                self.put(&walked, Node::Directory(metadata.mode() & 0o7777))?;
            } else if metadata.is_file() {
                self.put(&walked, Node::HostFile(walked.clone()))?;
            } else {
                bail!("{} is neither a file nor a directory", walked.display());
            }
        }
        Ok(walked)
    }

    /// The place that `path` means: links followed in all components but the last.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let mut pending: Vec<std::ffi::OsString> = reversed_names(path);
        let mut place = PathBuf::from("/");
        let mut links_left = MAX_LINKS;
        while let Some(name) = pending.pop() {
            if name == OsStr::new("..") {
                place.pop();
                continue;
            }
            place.push(&name);
            if pending.is_empty() {
                break;
            }
            if let Some(Node::Symlink(target)) = self.nodes.get(&place) {
                links_left = links_left
                    .checked_sub(1)
                    .with_context(|| format!("symbolic links go round in {}", path.display()))?;
                place.pop();
                if target.is_absolute() {
                    place = PathBuf::from("/");
                }
                pending.extend(reversed_names(target));
            }
        }
        Ok(place)
    }

    fn make_parents(&mut self, place: &Path) -> Result<()> {
        for parent in place.ancestors().skip(1).filter(|p| *p != Path::new("/")) {
            match self.nodes.get(parent) {
                Some(Node::Directory(_)) => break,
                None => {
                    self.nodes.insert(parent.to_owned(), Node::Directory(0o755));
                }
                Some(_) => bail!("{} is in the way of {}: not a directory", parent.display(), place.display()),
            }
        }
        Ok(())
    }

    /// Writes the archive, compressed if `gzip`, through a buffer.
    pub fn write_archive(&self, out: impl Write, gzip: bool) -> Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, out);
        if gzip {
            let mut encoder = GzEncoder::new(&mut out, Compression::fast());
            self.write_to(&mut encoder)?;
            encoder.finish()?;
        } else {
            self.write_to(&mut out)?;
        }
        Ok(out.flush()?)
    }

    /// Writes the archive. Modification times are kept: CPython compares them with its compiled files.
    pub fn write_to(&self, out: &mut impl Write) -> Result<()> {
        for (number, (path, node)) in self.nodes.iter().enumerate() {
            write_node(out, u32::try_from(number)? + 1, path, node).with_context(|| path.display().to_string())?;
        }
        newc::trailer(out)?;
        Ok(())
    }
}

fn reversed_names(path: &Path) -> Vec<std::ffi::OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

const S_IFCHR: u32 = 0o020_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

fn write_node(out: &mut impl Write, number: u32, path: &Path, node: &Node) -> Result<()> {
    let name = path.strip_prefix("/")?.to_str().context("a name that is not UTF-8 cannot be packed")?;
    let header = newc::Builder::new(name).ino(number).uid(0).gid(0);
    match node {
        Node::Directory(mode) => write_bytes(out, header.mode(S_IFDIR | mode).nlink(2), &[]),
        Node::Symlink(target) => write_bytes(out, header.mode(S_IFLNK | 0o777), target.as_os_str().as_bytes()),
        Node::Bytes(bytes, mode) => write_bytes(out, header.mode(S_IFREG | mode), bytes),
        Node::CharDevice(major, minor, mode) => {
            write_bytes(out, header.mode(S_IFCHR | mode).rdev_major(*major).rdev_minor(*minor), &[])
        }
        Node::HostFile(host) => {
            let mut file = File::open(host)?;
            let metadata = file.metadata()?;
            let size = u32::try_from(metadata.len()).context("too large for a cpio archive (4 GiB)")?;
            let mtime = u32::try_from(metadata.mtime()).unwrap_or(0);
            let mut entry = header.mode(S_IFREG | metadata.mode() & 0o7777).mtime(mtime).write(&mut *out, size);
            let copied = io::copy(&mut file, &mut entry)?;
            if copied != u64::from(size) {
                bail!("changed while it was read");
            }
            entry.finish()?;
            Ok(())
        }
    }
}

fn write_bytes(out: &mut impl Write, header: newc::Builder, bytes: &[u8]) -> Result<()> {
    let mut entry = header.write(out, u32::try_from(bytes.len())?);
    entry.write_all(bytes)?;
    entry.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(image: &Image) -> Vec<String> {
        image.nodes().map(|(path, _)| path.display().to_string()).collect()
    }

    #[test]
    fn parents_appear_before_children() {
        let mut image = Image::default();
        image.put(Path::new("/a/b/c"), Node::Bytes(vec![], 0o644)).unwrap();
        assert_eq!(names(&image), ["/a", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn links_in_the_image_are_followed() {
        let mut image = Image::default();
        image.put(Path::new("/bin"), Node::Symlink("usr/bin".into())).unwrap();
        image.put(Path::new("/bin/sh"), Node::Bytes(vec![], 0o755)).unwrap();
        assert_eq!(names(&image), ["/bin", "/usr", "/usr/bin", "/usr/bin/sh"]);
        assert!(image.contains(Path::new("/bin/../bin/sh")));
    }

    #[test]
    fn a_file_is_no_parent() {
        let mut image = Image::default();
        image.put(Path::new("/a"), Node::Bytes(vec![], 0o644)).unwrap();
        assert!(image.put(Path::new("/a/b"), Node::Bytes(vec![], 0o644)).is_err());
    }

    #[test]
    fn host_links_are_kept() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/file.1.2"), "x").unwrap();
        symlink("file.1.2", root.join("real/file.1")).unwrap();
        symlink("real", root.join("alias")).unwrap();
        let mut image = Image::default();
        let real = image.put_host_path(&root.join("alias/file.1")).unwrap();
        assert_eq!(real, root.join("real/file.1.2"));
        for name in ["alias", "real", "real/file.1", "real/file.1.2"] {
            assert!(image.nodes.contains_key(&root.join(name)), "{name}");
        }
    }

    #[test]
    fn the_archive_reads_back() {
        let mut image = Image::default();
        image.put(Path::new("/etc/motd"), Node::Bytes(b"hello\n".to_vec(), 0o644)).unwrap();
        image.put(Path::new("/dev/console"), Node::CharDevice(5, 1, 0o600)).unwrap();
        image.put(Path::new("/l"), Node::Symlink("etc/motd".into())).unwrap();
        let mut archive = Vec::new();
        image.write_to(&mut archive).unwrap();
        let mut rest = io::Cursor::new(archive);
        let mut seen = Vec::new();
        loop {
            let mut entry = newc::Reader::new(rest).unwrap();
            if entry.entry().is_trailer() {
                break;
            }
            let mut contents = Vec::new();
            io::Read::read_to_end(&mut entry, &mut contents).unwrap();
            seen.push((entry.entry().name().to_owned(), entry.entry().mode(), contents));
            rest = entry.finish().unwrap();
        }
        assert_eq!(
            seen,
            [
                ("dev".to_owned(), S_IFDIR | 0o755, vec![]),
                ("dev/console".to_owned(), S_IFCHR | 0o600, vec![]),
                ("etc".to_owned(), S_IFDIR | 0o755, vec![]),
                ("etc/motd".to_owned(), S_IFREG | 0o644, b"hello\n".to_vec()),
                ("l".to_owned(), S_IFLNK | 0o777, b"etc/motd".to_vec()),
            ]
        );
    }
}
