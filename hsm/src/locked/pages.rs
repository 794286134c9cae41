//! Pages that the system neither swaps out, nor dumps, nor gives to a child. The one place of this package with
//! `unsafe` in it: the calls that map, lock and unmap, and the slices into what they mapped.
//!
//! A [`Run`] is the only owner of its bytes: runs come out of a map of what is free, never overlap, cannot be copied,
//! and keep their pages mapped. So a shared run is only read, and only its owner writes it.

#![expect(unsafe_code, reason = "mapping memory is a matter of pointers; all of it is in this file")]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use zeroize::Zeroize;

/// What is mapped at a time, in bytes.
pub(super) const PAGES_LEN: usize = 64 * 1024;
/// What is handed out at least, in bytes: a key of 32 bytes takes one slot.
const SLOT: usize = 64;
const SLOTS: usize = PAGES_LEN / SLOT;

/// Some pages of this process.
pub(super) struct Pages {
    start: NonNull<u8>,
    /// Why they are not locked, if they are not.
    refused: Option<io::Error>,
    taken: Mutex<[bool; SLOTS]>,
}

// SAFETY: the pointer is to a mapping which this value owns alone; what is reached through it is divided into runs,
// each with one owner, by `taken`, which is locked.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps new pages and locks them, if the system allows.
    pub(super) fn map() -> io::Result<Arc<Self>> {
        // SAFETY: no address is asked for, so that no existing mapping is touched.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                PAGES_LEN,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let Some(owned) = NonNull::new(start.cast::<u8>()) else {
            return Err(io::Error::other("memory was mapped at address zero"));
        };
        // SAFETY: the range is the mapping just made, and none of these changes what is in it.
        let guarded = unsafe {
            rustix::mm::madvise(start, PAGES_LEN, Advice::LinuxDontDump)
                .and_then(|()| rustix::mm::madvise(start, PAGES_LEN, Advice::LinuxDontFork))
                .and_then(|()| rustix::mm::mlock(start, PAGES_LEN))
        };
        let refused = guarded.err().map(io::Error::from);
        Ok(Arc::new(Self { start: owned, refused, taken: Mutex::new([false; SLOTS]) }))
    }

    pub(super) fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }

    /// Zeroed bytes of one's own; `None` if there is no room for them here.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Option<Run> {
        let slots = length.div_ceil(SLOT).max(1);
        let mut taken = self.taken.lock();
        let first = taken.windows(slots).position(|window| window.iter().all(|slot| !slot))?;
        taken.get_mut(first..first + slots)?.fill(true);
        Some(Run { pages: Arc::clone(self), first, length })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: every run holds these pages, so that none is left; unmapping also unlocks.
        let _unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), PAGES_LEN) };
    }
}

/// Bytes in such pages, zeroed when they are given back.
pub(super) struct Run {
    pages: Arc<Pages>,
    first: usize,
    length: usize,
}

impl Run {
    fn start(&self) -> *mut u8 {
        // SAFETY: `take` found `first` and all of `length` inside the mapping.
        unsafe { self.pages.start.as_ptr().add(self.first * SLOT) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped as long as `pages` is held, zeroed by the system when new, and written only through
        // `bytes_mut`, which needs this run alone.
        unsafe { std::slice::from_raw_parts(self.start(), self.length) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; runs do not overlap, and this one is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.length) }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        let slots = self.length.div_ceil(SLOT).max(1);
        if let Some(taken) = self.pages.taken.lock().get_mut(self.first..self.first + slots) {
            taken.fill(false);
        }
    }
}
