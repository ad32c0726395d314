// SPDX-License-Identifier: MPL-2.0

//! The last part of the boot: the root file system and the first program.

use alloc::ffi::CString;

use crate::{
    cmdline, device,
    fs::{self, HowToOpen, Start},
    prelude::*,
    process, system, trace,
};

/// Where Linux looks for the first program in an initramfs, then on a root file system.
const DEFAULT_INITS: [&str; 5] = ["/init", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// Mounts the root from the initramfs and starts the first program. Runs in the boot CPU's idle task.
///
/// # Panics
/// If there is no root to mount or no program to run: the boot loader gave the kernel nothing to do.
pub fn run() {
    trace::init();
    device::init();
    system::start_load_average();
    if let Err(error) = fs::init(ostd::boot::boot_info().initramfs) {
        // What came before the damage may still have an init.
        ostd::error!("{error}");
    }
    if let Err(error) = fs::devfs::mount_at_boot() {
        ostd::warn!("cannot mount /dev: {}", error.description());
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

/// Gives the first program `/dev/console` as its standard input, output and error.
pub fn open_console(ctx: &Context) {
    const O_RDWR: u32 = 2;
    let opened = HowToOpen::decode(O_RDWR, 0).and_then(|how| fs::open::open(ctx, Start::Cwd, b"/dev/console", &how));
    match opened {
        Ok(console) => {
            for number in 0..3 {
                let _ = ctx.files().insert(console.clone(), number, usize::MAX, false);
            }
        }
        Err(error) => ostd::warn!("cannot open /dev/console: {}", error.description()),
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
