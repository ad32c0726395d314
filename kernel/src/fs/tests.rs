// SPDX-License-Identifier: MPL-2.0

//! Tests of names over a tmpfs: dentries, renames, mounts, scans.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use ostd::prelude::*;

use super::{
    dentry::{self, RenameEnd},
    tmpfs::{Flavour, Options, TmpFs},
    *,
};
use crate::error::Errno::{self, *};

fn new_tree() -> Path {
    let (_, super_block) = TmpFs::new(Flavour::Tmpfs, "tmpfs", Options::unlimited(0o755));
    let root = super_block.root().clone();
    Mount::new(super_block, root, MountFlags::empty(), "none").root_path()
}

fn make(dir: &Arc<Dentry>, name: &str, kind: NewKind) -> Arc<Dentry> {
    dir.create(name.as_bytes(), &NewInode::of_root(kind, 0o755)).unwrap()
}

fn make_dir(dir: &Arc<Dentry>, name: &str) -> Arc<Dentry> {
    make(dir, name, NewKind::Directory)
}

fn make_file(dir: &Arc<Dentry>, name: &str) -> Arc<Dentry> {
    make(dir, name, NewKind::Regular)
}

fn rename_with(
    (from_dir, from): (&Arc<Dentry>, &str),
    (to_dir, to): (&Arc<Dentry>, &str),
    mode: RenameMode,
    no_replace: bool,
) -> Result<(), Errno> {
    let from = RenameEnd { dir: from_dir, name: from.as_bytes(), wants_dir: false };
    let to = RenameEnd { dir: to_dir, name: to.as_bytes(), wants_dir: false };
    dentry::rename(&from, &to, mode, no_replace, |_, _| Ok(())).map(drop)
}

fn rename(from: (&Arc<Dentry>, &str), to: (&Arc<Dentry>, &str)) -> Result<(), Errno> {
    rename_with(from, to, RenameMode::Replace, false)
}

fn links(dentry: &Arc<Dentry>) -> u32 {
    dentry.inode().metadata().links
}

fn shown(path: &Path, dentry: &Arc<Dentry>) -> String {
    String::from_utf8(path.with_dentry(dentry.clone()).display(path)).unwrap()
}

fn scan(dir: &Arc<Dentry>, from: u64, mut until: usize) -> (Vec<String>, u64) {
    let (mut names, mut next) = (Vec::new(), from);
    let mut emit = |entry: DirEntry<'_>| {
        if until == 0 {
            return false;
        }
        until -= 1;
        names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        next = entry.next;
        true
    };
    dir.inode().readdir(from, &mut emit).unwrap();
    (names, next)
}

#[ktest]
fn a_name_exists_once() {
    let root = new_tree();
    let file = make_file(root.dentry(), "file");
    let again = root.dentry().create(b"file", &NewInode::of_root(NewKind::Regular, 0));
    assert_eq!(again.err(), Some(EEXIST));
    assert!(Arc::ptr_eq(&root.dentry().lookup(b"file").unwrap(), &file));
    assert_eq!(root.dentry().lookup(b"other").err(), Some(ENOENT));
    assert_eq!(file.lookup(b"x").err(), Some(ENOTDIR));
}

#[ktest]
fn removal_fits_the_kind() {
    let root = new_tree();
    let dir = make_dir(root.dentry(), "dir");
    make_file(&dir, "file");
    let remove = |dir: &Arc<Dentry>, name: &str, is_dir| dir.remove(name.as_bytes(), is_dir, |_| Ok(())).map(drop);
    assert_eq!(remove(root.dentry(), "dir", false), Err(EISDIR));
    assert_eq!(remove(&dir, "file", true), Err(ENOTDIR));
    assert_eq!(remove(root.dentry(), "dir", true), Err(ENOTEMPTY));
    assert_eq!(remove(&dir, "file", false), Ok(()));
    assert_eq!(remove(root.dentry(), "dir", true), Ok(()));
    assert!(dir.is_deleted());
    let late = dir.create(b"late", &NewInode::of_root(NewKind::Regular, 0));
    assert_eq!(late.err(), Some(ENOENT));
}

#[ktest]
fn link_counts_follow_names_and_sub_directories() {
    let root = new_tree();
    let dir = make_dir(root.dentry(), "dir");
    assert_eq!((links(root.dentry()), links(&dir)), (3, 2));
    let file = make_file(&dir, "file");
    root.dentry().link(b"second", file.inode()).unwrap();
    assert_eq!(links(&file), 2);
    let sub = make_dir(&dir, "sub");
    rename((&dir, "sub"), (root.dentry(), "sub")).unwrap();
    assert_eq!((links(root.dentry()), links(&dir), links(&sub)), (4, 2, 2));
    dir.remove(b"file", false, |_| Ok(())).unwrap();
    assert_eq!(links(&file), 1);
}

#[ktest]
fn rename_moves_replaces_and_refuses() {
    let root = new_tree();
    let root_dentry = root.dentry();
    let (dir, other) = (make_dir(root_dentry, "dir"), make_dir(root_dentry, "other"));
    let file = make_file(root_dentry, "file");
    let inner = make_dir(&dir, "inner");
    assert_eq!(rename((root_dentry, "none"), (&dir, "x")), Err(ENOENT));
    assert_eq!(rename((root_dentry, "dir"), (&inner, "x")), Err(EINVAL));
    assert_eq!(rename((&dir, "inner"), (root_dentry, "dir")), Err(ENOTEMPTY));
    assert_eq!(rename((root_dentry, "other"), (root_dentry, "dir")), Err(ENOTEMPTY));
    assert_eq!(rename((root_dentry, "file"), (root_dentry, "dir")), Err(EISDIR));
    assert_eq!(rename((root_dentry, "dir"), (root_dentry, "file")), Err(ENOTDIR));
    rename((root_dentry, "dir"), (root_dentry, "other")).unwrap();
    assert!(other.is_deleted());
    assert_eq!(shown(&root, &inner), "/other/inner");
    rename((root_dentry, "file"), (&inner, "moved")).unwrap();
    assert_eq!(shown(&root, &file), "/other/inner/moved");
    assert_eq!(root_dentry.lookup(b"file").err(), Some(ENOENT));
}

#[ktest]
fn rename_keeps_both_names_of_one_file_and_obeys_its_flags() {
    let root = new_tree();
    let root_dentry = root.dentry();
    let file = make_file(root_dentry, "a");
    root_dentry.link(b"b", file.inode()).unwrap();
    rename((root_dentry, "a"), (root_dentry, "b")).unwrap();
    assert!(root_dentry.lookup(b"a").is_ok());
    let dir = make_dir(root_dentry, "d");
    let no_replace = rename_with((root_dentry, "a"), (root_dentry, "d"), RenameMode::Replace, true);
    assert_eq!(no_replace, Err(EEXIST));
    rename_with((root_dentry, "a"), (root_dentry, "d"), RenameMode::Exchange, false).unwrap();
    assert_eq!((shown(&root, &file), shown(&root, &dir)), ("/d".into(), "/a".into()));
    let absent = rename_with((root_dentry, "a"), (root_dentry, "x"), RenameMode::Exchange, false);
    assert_eq!(absent, Err(ENOENT));
}

#[ktest]
fn a_scan_sees_every_entry_that_stays_once() {
    let root = new_tree();
    for number in 0..200 {
        make_file(root.dentry(), &format!("file{number}"));
    }
    let (first, cursor) = scan(root.dentry(), 2, 100);
    assert_eq!(first.len(), 100);
    for name in &first {
        root.dentry().remove(name.as_bytes(), false, |_| Ok(())).unwrap();
    }
    make_file(root.dentry(), "late");
    let (second, _) = scan(root.dentry(), cursor, usize::MAX);
    assert_eq!(second.len(), 101);
    assert!(second.iter().all(|name| !first.contains(name)));
}

#[ktest]
fn deleted_files_say_so() {
    let root = new_tree();
    let dir = make_dir(root.dentry(), "dir");
    let file = make_file(&dir, "file");
    dir.remove(b"file", false, |_| Ok(())).unwrap();
    assert_eq!(shown(&root, &file), "/dir/file (deleted)");
    root.dentry().remove(b"dir", true, |_| Ok(())).unwrap();
    assert_eq!(root.with_dentry(dir).working_directory(&root), Err(ENOENT));
}

#[ktest]
fn mounts_cover_stack_and_come_off() {
    let root = new_tree();
    let place = root.with_dentry(make_dir(root.dentry(), "mnt"));
    make_file(place.dentry(), "below");
    let first = new_tree();
    make_file(first.dentry(), "first");
    namespace().attach(first.mount().clone(), place.clone()).unwrap();
    let second = new_tree();
    namespace().attach(second.mount().clone(), place.clone()).unwrap();
    let top = root.child(b"mnt").unwrap();
    assert!(top.is_same(&second));
    assert!(top.parent(&root).is_same(&root));
    assert_eq!(top.display(&root), b"/mnt");
    assert_eq!(root.dentry().remove(b"mnt", true, |_| Ok(())).map(drop), Err(EBUSY));
    let file = root.with_dentry(make_file(root.dentry(), "file"));
    assert_eq!(namespace().attach(new_tree().mount().clone(), file), Err(ENOTDIR));
    drop((top, second));
    let top = root.child(b"mnt").unwrap().mount().clone();
    namespace().detach(&top, false).unwrap();
    assert!(root.child(b"mnt").unwrap().child(b"first").is_ok());
    let user = root.child(b"mnt").unwrap();
    assert_eq!(namespace().detach(first.mount(), false), Err(EBUSY));
    drop(user);
    namespace().detach(first.mount(), true).unwrap();
    assert_eq!(namespace().detach(first.mount(), true), Err(EINVAL));
    assert!(root.child(b"mnt").unwrap().child(b"below").is_ok());
}

#[ktest]
fn the_limit_of_a_tmpfs_holds_and_is_given_back() {
    use crate::file::IoSrc;
    let options = Options::parse(Flavour::Tmpfs, "size=16k,nr_inodes=3").unwrap();
    let (file_system, super_block) = TmpFs::new(Flavour::Tmpfs, "tmpfs", options);
    let file = make_file(super_block.root(), "file");
    let bytes = alloc::vec![1; 5 * 4096];
    let written = file.inode().write_at(0, &mut IoSrc::from_slice(&bytes), false).unwrap();
    assert_eq!(written.count, 4 * 4096);
    assert_eq!(file.inode().write_at(1 << 20, &mut IoSrc::from_slice(&bytes), false).err(), Some(ENOSPC));
    assert_eq!(file_system.statfs().blocks_free, 0);
    file.inode().truncate(4096).unwrap();
    assert_eq!(file_system.statfs().blocks_free, 3);
    make_file(super_block.root(), "second");
    let third = super_block.root().create(b"third", &NewInode::of_root(NewKind::Regular, 0));
    assert_eq!(third.err(), Some(ENOSPC));
    assert!(Options::parse(Flavour::Tmpfs, "bogus").is_err());
    assert!(Options::parse(Flavour::Ramfs, "bogus").is_ok());
}
