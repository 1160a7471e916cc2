//! What the C library's allocator is told, so that a recorder which runs for months holds what it uses. Elsewhere than on
//! glibc it is left alone.

#![allow(unsafe_code, reason = "glibc has no other doors for it")]

/// glibc begins a pool of memory (an arena) for up to eight threads a core, and each holds on to the most that it ever needed.
/// Two are enough: what is on a hot path takes memory seldom. Whoever sets `MALLOC_ARENA_MAX` has decided otherwise.
///
/// To be called before there are threads.
pub fn keep_two_pools() {
    #[cfg(target_env = "gnu")]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: it takes two numbers.
        let _took_it = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
}

/// Gives whole pages that hold nothing back to the system: of itself glibc does so at the end of a pool only. Whoever wants
/// memory waits meanwhile, for as long as it takes to look through a pool.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and may be called at any time by any thread.
    let _gave = unsafe { libc::malloc_trim(0) };
}
