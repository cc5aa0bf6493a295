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
struct Program {
    length: libc::c_ushort,
    filter: *const Instruction,
}

/// Installs `program` for the calling thread and what it starts, without setting no_new_privs:
/// that needs CAP_SYS_ADMIN in the user namespace.
pub fn install(program: &[Instruction]) -> io::Result<()> {
    let Ok(length) = libc::c_ushort::try_from(program.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let program = Program {
        length,
        filter: program.as_ptr(),
    };
    // SAFETY: `program` has the layout of struct sock_fprog and points to `length` instructions
    // that live until the call returns; the kernel copies and checks them.
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
