// SPDX-License-Identifier: MPL-2.0

//! gzip members (RFC 1952): the frame around what `miniz_oxide` decompresses.

use alloc::vec::Vec;

use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
};

const HEADER_SIZE: usize = 10;
const TRAILER_SIZE: usize = 8;

/// Whether a gzip member starts here: the magic number and method 8, "deflate".
pub(super) fn is_member(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 8])
}

/// Decompresses the member at the start of `bytes`, and tells how long it is.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decompress_member(bytes: &[u8]) -> Result<(Vec<u8>, usize), &'static str> {
    let start = header_size(bytes).ok_or("the header breaks off")?;
    let input = &bytes[start..];
    let mut state = DecompressorOxide::new();
    let mut output = alloc::vec![0; initial_size(bytes)];
    let (mut read, mut written) = (0, 0);
    loop {
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, taken, given) = decompress(&mut state, &input[read..], &mut output, written, flags);
        read += taken;
        written += given;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput => {
                let size = output.len().checked_mul(2).ok_or("too large")?;
                output.resize(size, 0);
            }
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => return Err("the data breaks off"),
            _ => return Err("the data is no deflate stream"),
        }
    }
    output.truncate(written);
    let trailer = input.get(read..read + TRAILER_SIZE).ok_or("the trailer breaks off")?;
    check_trailer(trailer, &output)?;
    Ok((output, start + read + TRAILER_SIZE))
}

/// The size of the header with its optional fields: extra data, name, comment, checksum.
fn header_size(bytes: &[u8]) -> Option<usize> {
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let flags = *bytes.get(3)?;
    let mut size = HEADER_SIZE;
    if flags & EXTRA != 0 {
        let low = *bytes.get(size)?;
        let high = *bytes.get(size + 1)?;
        size += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            size += bytes.get(size..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & HEADER_CRC != 0 {
        size += 2;
    }
    (size <= bytes.len()).then_some(size)
}

/// A guess at the size of the output: the last four bytes tell it if the member is all there is.
fn initial_size(bytes: &[u8]) -> usize {
    let told = bytes.last_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    // Deflate does not get beyond a factor of 1032.
    told.clamp(4096, bytes.len().saturating_mul(1032).max(4096))
}

fn check_trailer(trailer: &[u8], output: &[u8]) -> Result<(), &'static str> {
    let (crc, size) = trailer.split_at(4);
    if (output.len() as u32).to_le_bytes() != size {
        return Err("the size is not the one promised");
    }
    if crc32fast::hash(output).to_le_bytes() != crc {
        return Err("the checksum does not match");
    }
    Ok(())
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    /// `printf hello | gzip -n`
    const HELLO: [u8; 25] =
        [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0];

    #[ktest]
    fn a_member_decompresses() {
        let (output, len) = decompress_member(&HELLO).unwrap();
        assert_eq!((&output[..], len), (&b"hello"[..], HELLO.len()));
    }

    #[ktest]
    fn damage_is_found() {
        for len in 0..HELLO.len() {
            assert!(decompress_member(&HELLO[..len]).is_err());
        }
        let mut flipped = HELLO;
        flipped[11] ^= 4;
        assert!(decompress_member(&flipped).is_err());
    }
}
