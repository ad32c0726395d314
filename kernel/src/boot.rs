// SPDX-License-Identifier: MPL-2.0

//! The last part of the boot: the root file system and the first program.

use alloc::ffi::CString;

use crate::{cmdline, fs, prelude::*, process};

/// Where Linux looks for the first program in an initramfs, then on a root file system.
const DEFAULT_INITS: [&str; 5] = ["/init", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// Mounts the root from the initramfs and starts the first program. Runs in the boot CPU's idle task.
///
/// # Panics
/// If there is no root to mount or no program to run: the boot loader gave the kernel nothing to do.
pub fn run() {
    if let Err(error) = fs::init(ostd::boot::boot_info().initramfs) {
        // What came before the damage may still have an init.
        ostd::error!("{error}");
    }
    let command_line = cmdline::get();
    let candidates = match &command_line.init {
        Some(init) => alloc::vec![init.clone()],
        None => DEFAULT_INITS.map(String::from).to_vec(),
    };
    let argv = to_strings(&command_line.init_args);
    let mut envp = to_strings(&["HOME=/".into(), "TERM=linux".into()]);
    envp.extend(to_strings(&command_line.init_env));
    if let Err(error) = process::clone::start_init(candidates, argv, envp) {
        panic!("cannot start the first program: {}", error.description());
    }
}

/// The first program ended, which nothing in the system survives.
///
/// # Panics
/// Always.
pub fn on_init_exit(status: process::ExitStatus) {
    panic!("Attempted to kill init! {status:?}");
}

fn to_strings(words: &[String]) -> Vec<CString> {
    // The command line ends at its first zero byte, so no word has one.
    words.iter().filter_map(|word| CString::new(word.as_str()).ok()).collect()
}
