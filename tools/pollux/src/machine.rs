// SPDX-License-Identifier: MPL-2.0

//! QEMU: its command line, and its process.
//!
//! The machine has four serial ports, each wired to one end of a socket pair:
//!
//! | port  | address, IRQ | carries                                            |
//! |-------|--------------|----------------------------------------------------|
//! | ttyS0 | 0x3f8, 4     | the kernel's log                                   |
//! | ttyS1 | 0x2f8, 3     | the program's standard input and output            |
//! | ttyS2 | 0x3e8, 5     | the program's standard error                       |
//! | ttyS3 | 0x2e8, 7     | init's control channel (see `test/init/pump.c`)    |

use std::fs::File;
use std::io::Seek;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use crate::cli::{Kernel, MachineOptions};
use crate::image::Image;

/// (I/O address, IRQ) of the ports: those of a PC's COM1 to COM4, but an IRQ for each.
const PORTS: [(u16, u8); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 5), (0x2e8, 7)];

/// The host's ends of the four wires.
#[derive(Debug)]
pub struct Wires {
    /// ttyS0.
    pub console: UnixStream,
    /// ttyS1.
    pub data: UnixStream,
    /// ttyS2.
    pub error: UnixStream,
    /// ttyS3.
    pub control: UnixStream,
}

/// A running QEMU; dropping it ends it.
#[derive(Debug)]
pub struct Machine {
    /// The process. Its standard error is a pipe.
    pub process: Child,
    /// The image: QEMU opens it by this process's descriptor.
    _initramfs: File,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail harmlessly if the process is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The words for the kernel.
pub fn kernel_command_line(kernel: Kernel, options: &MachineOptions, trace: bool) -> String {
    let level = if options.verbose { 7 } else { 3 };
    let mut words = vec!["console=ttyS0".to_owned(), format!("loglevel={level}")];
    match kernel {
        Kernel::Pollux => {
            words.push("init=/init".to_owned());
            if trace {
                words.push("pollux.trace=1".to_owned());
            }
        }
        Kernel::Linux => {
            // A panic reboots at once, which ends QEMU. No mitigations: the comparison is of kernels, not of errata.
            words.extend(["rdinit=/init", "panic=-1", "mitigations=off"].map(String::from));
            if !options.verbose {
                words.push("quiet".to_owned());
            }
        }
    }
    words.extend(options.kernel_args.iter().cloned());
    words.join(" ")
}

/// The CPU: all that QEMU can emulate, changed by `options`.
fn cpu_model(options: &MachineOptions) -> String {
    let mut model = vec!["max"];
    if options.icount {
        // All entropy must be the guest's own.
        model.push("-rdrand,-rdseed");
    }
    if !options.cpu.is_empty() {
        model.push(&options.cpu);
    }
    model.join(",")
}

fn qemu_command(kernel_image: &Path, initramfs: &Path, command_line: &str, options: &MachineOptions) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-machine", "q35", "-accel", "tcg", "-cpu", &cpu_model(options)])
        .args(["-m", &format!("{}K", options.mem >> 10), "-smp", &options.smp.to_string()])
        .args(["-display", "none", "-vga", "none", "-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
        .arg("-kernel")
        .arg(kernel_image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", command_line]);
    if options.icount {
        // All time must be the guest's own, too.
        command.args(["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
    }
    command.args(&options.qemu_args);
    command
}

/// The archive in a memory file, which needs no cleaning up.
fn memory_file(image: &Image, gzip: bool) -> Result<File> {
    let mut file = File::from(memfd_create("initramfs", MFdFlags::MFD_CLOEXEC).context("memfd_create")?);
    image.write_archive(&mut file, gzip)?;
    file.rewind()?;
    Ok(file)
}

/// Starts QEMU on `kernel_image` with `image` as its root file system.
///
/// # Errors
///
/// The image cannot be made, or QEMU cannot be started.
pub fn start(
    kernel_image: &Path,
    image: &Image,
    command_line: &str,
    options: &MachineOptions,
) -> Result<(Machine, Wires)> {
    let initramfs = memory_file(image, options.gzip).context("cannot write the guest's image")?;
    let initramfs_path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), initramfs.as_raw_fd()));
    let mut command = qemu_command(kernel_image, &initramfs_path, command_line, options);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for (index, (address, irq)) in PORTS.iter().enumerate() {
        let (near, far) = UnixStream::pair().context("socketpair")?;
        // QEMU inherits this end and no other.
        fcntl(far.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        command
            .args(["-chardev", &format!("socket,id=wire{index},fd={}", far.as_raw_fd())])
            .args(["-device", &format!("isa-serial,chardev=wire{index},index={index},iobase={address:#x},irq={irq}")]);
        ours.push(near);
        theirs.push(far);
    }
    let process = spawn(&mut command)?;
    drop(theirs);
    let mut ours = ours.into_iter();
    let mut next = || ours.next().context("four wires");
    let wires = Wires { console: next()?, data: next()?, error: next()?, control: next()? };
    Ok((Machine { process, _initramfs: initramfs }, wires))
}

fn spawn(command: &mut Command) -> Result<Child> {
    let parent = nix::unistd::getpid();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A group of its own: the terminal's Ctrl-C is for us alone.
    command.process_group(0);
    // SAFETY: Between fork and exec only async-signal-safe calls are made: prctl, getppid and sigprocmask.
    unsafe {
        command.pre_exec(move || {
            // If we are killed outright, so is QEMU; unless we were gone before this call.
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            if nix::unistd::getppid() != parent {
                return Err(std::io::Error::other("the parent is gone"));
            }
            pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            Ok(())
        });
    }
    command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow::anyhow!("qemu-system-x86_64 is not on the PATH; make setup installs it")
        }
        _ => anyhow::Error::new(error).context("cannot start QEMU"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> MachineOptions {
        MachineOptions {
            smp: 1,
            mem: 4 << 30,
            timeout: None,
            icount: false,
            verbose: false,
            kernel_args: vec!["x=y".into()],
            cpu: String::new(),
            qemu_args: Vec::new(),
            gzip: false,
        }
    }

    #[test]
    fn command_lines_differ_by_kernel() {
        let pollux = kernel_command_line(Kernel::Pollux, &options(), true);
        assert_eq!(pollux, "console=ttyS0 loglevel=3 init=/init pollux.trace=1 x=y");
        let linux = kernel_command_line(Kernel::Linux, &options(), true);
        assert!(linux.contains("rdinit=/init") && !linux.contains("pollux"));
    }

    fn qemu_words(options: &MachineOptions) -> String {
        let command = qemu_command(Path::new("k"), Path::new("i"), "", options);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn the_cpu_and_the_machine_can_be_changed() {
        let with = MachineOptions { cpu: "-erms,-fsrm".into(), qemu_args: vec!["-S".into()], ..options() };
        assert!(qemu_words(&with).contains("-cpu max,-erms,-fsrm "));
        assert!(qemu_words(&with).ends_with(" -S"));
        assert!(qemu_words(&options()).contains("-cpu max "));
    }

    #[test]
    fn instruction_counting_makes_time_virtual() {
        let with = MachineOptions { icount: true, ..options() };
        let text = qemu_words(&with);
        assert!(text.contains("-icount shift=0,sleep=off") && text.contains("clock=vm") && text.contains("-rdrand"));
        assert!(text.contains("-m 4194304K"));
    }

    #[test]
    fn compressed_images_are_gzip() {
        use std::io::Read;
        let mut image = Image::default();
        image.put(Path::new("/x"), crate::image::Node::Directory(0o755)).unwrap();
        let mut head = [0; 6];
        memory_file(&image, true).unwrap().read_exact(&mut head).unwrap();
        assert_eq!(head[..2], [0x1f, 0x8b]);
        memory_file(&image, false).unwrap().read_exact(&mut head).unwrap();
        assert_eq!(&head, b"070701");
    }
}
