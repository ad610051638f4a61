//! Where does this process's memory come from?
//!
//! A command lives for a millisecond and makes some thousand small pieces. The allocators of C libraries ask the
//! kernel for most of them one by one (musl), or take longer to begin (glibc). Here pieces are powers of two, cut
//! from chunks that the kernel fills in with one call. What is given back is used again for the same size, so that
//! a process that lives on does not grow.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is asked for at once.
const CHUNK: usize = 64 * 1024;
/// The smallest piece; every piece begins at a multiple of it.
const SMALLEST: usize = 16;
/// The largest piece; what is longer is a mapping of its own.
const LARGEST: usize = CHUNK / 4;
const PAGE: usize = 4096;
const CLASSES: usize = (LARGEST / SMALLEST).ilog2() as usize + 1;

struct Heap {
    /// One thread is all that there is, but for tests.
    taken: AtomicBool,
    pieces: UnsafeCell<Pieces>,
}

/// Pieces that are free.
struct Pieces {
    /// The rest of the last chunk.
    next: *mut u8,
    left: usize,
    /// Of each size a list of those given back, each of which begins with a pointer to the next.
    free: [*mut u8; CLASSES],
}

#[global_allocator]
static HEAP: Heap = Heap {
    taken: AtomicBool::new(false),
    pieces: UnsafeCell::new(Pieces { next: null_mut(), left: 0, free: [null_mut(); CLASSES] }),
};

// SAFETY: `pieces` is only reached through `with`, one at a time.
unsafe impl Sync for Heap {}

impl Heap {
    fn with<T>(&self, work: impl FnOnce(&mut Pieces) -> T) -> T {
        while self.taken.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::hint::spin_loop();
        }
        // SAFETY: `taken` was false and is true now: nobody else has a reference, and `work`
        // allocates nothing.
        let result = work(unsafe { &mut *self.pieces.get() });
        self.taken.store(false, Ordering::Release);
        result
    }
}

/// The size of the piece for a layout, or `None` where that is a mapping of its own.
#[inline]
fn piece(layout: Layout) -> Option<usize> {
    let size = layout.size().max(SMALLEST);
    (size <= LARGEST && layout.align() <= SMALLEST).then(|| size.next_power_of_two())
}

#[inline]
fn class(piece: usize) -> usize {
    (piece / SMALLEST).ilog2() as usize
}

/// Memory of the kernel's, all zero; null when there is none.
fn map(size: usize, flags: libc::c_int) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: an anonymous mapping at a place of the kernel's choice disturbs nothing.
    let base = unsafe { libc::mmap(null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if base == libc::MAP_FAILED { null_mut() } else { base.cast() }
}

/// The length of a mapping of its own; no layout is so long that this overflows (`Layout`).
fn whole_pages(size: usize) -> usize {
    size.next_multiple_of(PAGE)
}

impl Pieces {
    fn take(&mut self, piece: usize) -> *mut u8 {
        let list = &mut self.free[class(piece)];
        let first = *list;
        if !first.is_null() {
            // SAFETY: a piece in the list begins with a pointer, put there by `give`.
            *list = unsafe { first.cast::<*mut u8>().read() };
            return first;
        }
        if self.left < piece {
            // The rest is left: no larger than a piece.
            let chunk = map(CHUNK, libc::MAP_POPULATE);
            if chunk.is_null() {
                return chunk;
            }
            (self.next, self.left) = (chunk, CHUNK);
        }
        let taken = self.next;
        // SAFETY: `left` bytes from `next` on are the chunk's, and `piece` is not more.
        self.next = unsafe { taken.add(piece) };
        self.left -= piece;
        taken
    }

    /// # Safety
    /// `at` was taken as a piece of this size and is not used any more.
    unsafe fn give(&mut self, at: *mut u8, piece: usize) {
        let list = &mut self.free[class(piece)];
        // SAFETY: the piece is as long as a pointer, aligned for one, and ours again.
        unsafe { at.cast::<*mut u8>().write(*list) };
        *list = at;
    }

    /// Makes the piece that was cut last longer, where it lies. Not when there is one of that size: a process that
    /// lives on would cut a small one, make it long and give it back long, for ever.
    fn extend(&mut self, at: *mut u8, old: usize, new: usize) -> bool {
        let unused = self.free[class(new)].is_null();
        let last = unused && at.wrapping_add(old) == self.next && new - old <= self.left;
        if last {
            self.next = at.wrapping_add(new);
            self.left -= new - old;
        }
        last
    }
}

// SAFETY: pieces and mappings are as long as asked for and aligned to 16 bytes or a page, which no
// type's alignment exceeds (else null is returned); none is handed out twice before it is given back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match piece(layout) {
            Some(piece) => self.with(|pieces| pieces.take(piece)),
            None if layout.align() > PAGE => null_mut(),
            None => map(whole_pages(layout.size()), 0),
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match piece(layout) {
            // SAFETY: the caller gives back what `alloc` returned for this layout.
            Some(piece) => self.with(|pieces| unsafe { pieces.give(at, piece) }),
            None => {
                // SAFETY: likewise, so it is a mapping of this length.
                unsafe { libc::munmap(at.cast(), whole_pages(layout.size())) };
            }
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller answers for the size, as `Layout` asks.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (piece(layout), piece(wanted)) {
            (Some(old), Some(new)) if old == new => return at,
            (Some(old), Some(new)) if old < new && self.with(|pieces| pieces.extend(at, old, new)) => return at,
            (None, None) => {
                let lengths = (whole_pages(layout.size()), whole_pages(size));
                // SAFETY: it is a mapping of the first length, which the caller gives up for another.
                let moved = unsafe { libc::mremap(at.cast(), lengths.0, lengths.1, libc::MREMAP_MAYMOVE) };
                return if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() };
            }
            _ => {}
        }
        // SAFETY: a layout of the caller's.
        let new = unsafe { self.alloc(wanted) };
        if !new.is_null() {
            // SAFETY: both are as long as the shorter of the two, and the new one is nobody else's.
            unsafe { at.copy_to_nonoverlapping(new, layout.size().min(size)) };
            // SAFETY: the caller's piece, which is not used any more.
            unsafe { self.dealloc(at, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_apart_and_keeps_what_is_in_it_when_it_grows() {
        let mut lists: Vec<Vec<u64>> = (0..50).map(|_| Vec::new()).collect();
        // From the smallest pieces over the largest to mappings, and those moved.
        for round in 0..5000 {
            for (own, list) in (0u64..).zip(&mut lists) {
                list.push(own << 32 | round);
            }
        }
        for (own, list) in (0u64..).zip(&lists) {
            assert!((0..5000).map(|round| own << 32 | round).eq(list.iter().copied()), "list {own}");
            assert_eq!(list.as_ptr().addr() % 16, 0);
        }
    }

    #[test]
    fn memory_that_was_given_back_is_used_again() {
        let seen: std::collections::BTreeSet<usize> =
            (0..10_000).map(|_| Vec::<u8>::with_capacity(3000)).map(|piece| piece.as_ptr().addr()).collect();
        assert!(seen.len() < 1000, "{} places", seen.len());
    }

    #[test]
    fn what_grows_and_is_given_back_again_and_again_takes_no_more() {
        let mut pieces = Pieces { next: null_mut(), left: 0, free: [null_mut(); CLASSES] };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let mut at = pieces.take(2048);
            if !pieces.extend(at, 2048, 8192) {
                let longer = pieces.take(8192);
                // SAFETY: it was taken above with this size.
                unsafe { pieces.give(at, 2048) };
                at = longer;
            }
            // SAFETY: it is as long as that now, however it came to be.
            unsafe { pieces.give(at, 8192) };
            seen.insert(at.addr());
        }
        assert_eq!(seen.len(), 1);
    }
}
