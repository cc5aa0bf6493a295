//! How large a Dockerfile may be. Beyond a limit there is a diagnostic, never a hang.

/// Bytes of a file. The largest generated Dockerfiles known are some hundred KiB.
pub const FILE_BYTES: usize = 16 << 20;

/// Bytes of one physical line without its line end; BuildKit's limit.
pub const PHYSICAL_LINE_BYTES: usize = 65_535;

/// Bytes of one instruction with its continuations joined, here-documents not counted. Linux takes
/// no more than 128 KiB as one argument, so no shell could be given this much.
pub const INSTRUCTION_BYTES: usize = 1 << 20;

/// Instructions of a file.
pub const INSTRUCTIONS: usize = 65_536;

/// Words, flags and here-documents of a file, all instructions together.
pub const WORDS: usize = 1 << 20;

/// Errors after which parsing stops.
pub const ERRORS: usize = 100;
