//! Installing a system call filter.

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;

/// One instruction of classic BPF, as `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub if_true: u8,
    /// How many instructions to skip when it does not.
    pub if_false: u8,
    /// Operand.
    pub operand: u32,
}

/// The `struct sock_fprog` of seccomp(2).
#[repr(C)]
pub(super) struct Program {
    length: libc::c_ushort,
    filter: *const Instruction,
}

impl Program {
    /// Points to `instructions`, which must outlive it.
    pub(super) fn new(instructions: &[Instruction]) -> io::Result<Self> {
        let Ok(length) = libc::c_ushort::try_from(instructions.len()) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        Ok(Self {
            length,
            filter: instructions.as_ptr(),
        })
    }
}

/// Installs `program` for the calling thread and what it starts, without setting no_new_privs:
/// that needs CAP_SYS_ADMIN in the user namespace, or no_new_privs set before.
pub fn install(program: &[Instruction]) -> io::Result<()> {
    let program = Program::new(program)?;
    // SAFETY: `program` has the layout of struct sock_fprog and points to instructions that live
    // until the call returns; the kernel copies and checks them.
    let code = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    super::process::check(code)
}
