//! The size of a terminal.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Columns and rows of the terminal behind `fd`; `None` if it is not one or does not know.
pub fn size(fd: BorrowedFd<'_>) -> Option<(usize, usize)> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    #[expect(
        unsafe_code,
        reason = "neither nix nor rustix without termios has this request"
    )]
    // SAFETY: TIOCGWINSZ writes one `winsize`, which `size` is, and keeps no pointer to it.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    let known = result == 0 && size.ws_col > 0 && size.ws_row > 0;
    known.then(|| (usize::from(size.ws_col), usize::from(size.ws_row)))
}
