// SPDX-License-Identifier: MPL-2.0

//! The initial stack of a program: strings, auxiliary vector, environment, arguments (System V ABI for x86-64, 3.4.1).

use alloc::ffi::CString;

use crate::{prelude::*, vm::AddressSpace};

/// What goes onto the stack.
pub struct StackContents<'a> {
    /// The arguments.
    pub argv: &'a [CString],
    /// The environment.
    pub envp: &'a [CString],
    /// The name that was executed, for `AT_EXECFN`.
    pub name: &'a CString,
    /// The auxiliary vector, without what points into the stack itself.
    pub auxv: Vec<[usize; 2]>,
}

/// Where things ended up.
pub struct StackLayout {
    /// The initial stack pointer, 16-byte aligned; `argc` lies there.
    pub pointer: Vaddr,
    /// The argument strings.
    pub arguments: core::ops::Range<Vaddr>,
    /// The environment strings.
    pub environment: core::ops::Range<Vaddr>,
    /// The complete auxiliary vector.
    pub auxv: Vec<[usize; 2]>,
}

const AT_NULL: usize = 0;
const AT_PLATFORM: usize = 15;
const AT_RANDOM: usize = 25;
const AT_EXECFN: usize = 31;

/// Writes `contents` below `top` in the memory of a program that does not run yet.
///
/// # Errors
/// `EFAULT` or `ENOMEM` if the stack cannot hold it.
pub fn build(vm: &AddressSpace, top: Vaddr, contents: StackContents<'_>) -> Result<StackLayout> {
    let mut pusher = Pusher { vm, at: top - 8 };
    let name = pusher.push_string(contents.name)?;
    let (envp, environment) = pusher.push_strings(contents.envp)?;
    let (argv, arguments) = pusher.push_strings(contents.argv)?;
    let platform = pusher.push(b"x86_64\0")?;
    pusher.at &= !15;
    let mut random = [0; 16];
    crate::random::fill(&mut random);
    let random = pusher.push(&random)?;
    let mut auxv = contents.auxv;
    auxv.extend([[AT_RANDOM, random], [AT_EXECFN, name], [AT_PLATFORM, platform], [AT_NULL, 0]]);

    let mut words = Vec::with_capacity(3 + argv.len() + envp.len() + auxv.len() * 2);
    words.push(argv.len());
    words.extend(argv.into_iter().chain([0]));
    words.extend(envp.into_iter().chain([0]));
    words.extend(auxv.iter().flatten());
    pusher.at = (pusher.at - words.len() * 8) & !15;
    let pointer = pusher.at;
    vm.write_remote(pointer, words.as_slice().as_bytes())?;
    Ok(StackLayout { pointer, arguments, environment, auxv })
}

struct Pusher<'a> {
    vm: &'a AddressSpace,
    at: Vaddr,
}

impl Pusher<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<Vaddr> {
        self.at -= bytes.len();
        self.vm.write_remote(self.at, bytes)?;
        Ok(self.at)
    }

    fn push_string(&mut self, string: &CString) -> Result<Vaddr> {
        self.push(string.as_bytes_with_nul())
    }

    /// Pushes strings so that the first has the lowest address, as programs that rewrite their title expect.
    fn push_strings(&mut self, strings: &[CString]) -> Result<(Vec<Vaddr>, core::ops::Range<Vaddr>)> {
        let end = self.at;
        let bytes = strings.iter().flat_map(|string| string.as_bytes_with_nul()).copied();
        let start = self.push(&bytes.collect::<Vec<_>>())?;
        let addresses = strings.iter().scan(start, |next, string| {
            let address = *next;
            *next += string.as_bytes_with_nul().len();
            Some(address)
        });
        Ok((addresses.collect(), start..end))
    }
}
