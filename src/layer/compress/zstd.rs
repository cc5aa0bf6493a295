//! zstd on several threads, with bytes that do not depend on how many.
//!
//! The library cuts the input into jobs of a fixed size as soon as it has at least one worker
//! (`zstd.h`, `ZSTD_c_jobSize`), whatever their number; without workers the bytes differ. So there
//! is always at least one, and the job size is ours, not the library's.

use std::io::{self, Write};

use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

/// Input bytes of a job. Part of what decides the bytes. Higher levels have windows larger than
/// it; then the library raises it by a rule of its own that depends on the level only.
const JOB_BYTES: u32 = 4 << 20;

/// An encoder of `level` with `workers` threads (at least one), writing to `out`.
pub(in super::super) fn encoder<W: Write>(
    out: W,
    level: u8,
    workers: usize,
) -> io::Result<Encoder<'static, W>> {
    let mut encoder = Encoder::new(out, i32::from(level))?;
    // The highest levels take hundreds of MiB a worker.
    let workers = if level > 15 { 1 } else { workers.clamp(1, 8) };
    encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
    encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
    Ok(encoder)
}
