//! The allocator of the static binary.

/// `mi_option_purge_delay` of mimalloc 3 (`mimalloc.h`): milliseconds until freed memory goes back.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Gives freed memory back to the kernel at once instead of after a while. A build frees as much as it
/// takes all the time, so that what waits to be given back is most of its peak.
pub fn give_back_at_once() {
    #[expect(unsafe_code, reason = "mimalloc has no safe wrapper for its options")]
    // SAFETY: sets a number of the allocator that it reads whenever it frees; any thread may.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, 0);
    }
}
