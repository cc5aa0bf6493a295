//! Limits of other processes.

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;

/// How long a process with real-time priority may compute, in microseconds: the soft limit and the
/// hard one (`RLIMIT_RTTIME` of getrlimit(2)). ESRCH if there is no such process.
pub fn real_time_limit(process: rustix::process::Pid) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: nothing is set (a null pointer), and `limit` is valid for the kernel's write.
    let code = unsafe {
        libc::prlimit64(
            process.as_raw_nonzero().get(),
            libc::RLIMIT_RTTIME,
            std::ptr::null(),
            &raw mut limit,
        )
    };
    super::process::check(i64::from(code))?;
    Ok((limit.rlim_cur, limit.rlim_max))
}
