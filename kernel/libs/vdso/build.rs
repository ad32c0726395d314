// SPDX-License-Identifier: MPL-2.0

//! Builds the vDSO with the C compiler that the build has anyway (as a linker).

use std::{env, path::PathBuf, process::Command};

/// A shared object that needs nobody: no C library, no SSE (callers may be anywhere), no relocations (text is all there is).
const FLAGS: &[&str] = &[
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-shared",
    "-fPIC",
    "-nostdlib",
    "-ffreestanding",
    "-mgeneral-regs-only",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fno-builtin",
    "-fno-jump-tables",
    "-fasynchronous-unwind-tables",
    "-Wl,-soname,linux-vdso.so.1",
    "-Wl,--hash-style=both",
    "-Wl,--build-id=sha1",
    "-Wl,--eh-frame-hdr",
    "-Wl,-Bsymbolic",
    "-Wl,--no-undefined",
    "-Wl,-z,max-page-size=4096",
    "-Wl,-z,noexecstack",
    "-Wl,-T,vdso.lds",
];

fn main() {
    println!("cargo::rerun-if-changed=vdso.c");
    println!("cargo::rerun-if-changed=vdso.lds");
    println!("cargo::rerun-if-env-changed=CC");
    let image = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("vdso.so");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(&compiler);
    command.args(FLAGS).arg("-o").arg(&image).arg("vdso.c");
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(_) => panic!("the vDSO does not compile: {command:?}"),
        Err(error) => {
            panic!("no C compiler to build the vDSO ({}: {error}); run 'make setup', or set CC", compiler.display())
        }
    }
}
