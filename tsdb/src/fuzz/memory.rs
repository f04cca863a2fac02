//! Memory that an input may make a decoder take, watched by an allocator that counts.
#![expect(unsafe_code, reason = "an allocator that counts has to hand on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What an input may cost: bytes alive at once, and in one allocation.
pub struct Limits {
    /// Whatever the length of the input.
    pub base: usize,
    /// And for each byte of it.
    pub each: usize,
}

/// Limits on all targets. The base is what a text stream may hold (64 MiB), decoded, with a copy
/// while it grows, and what opening a database takes.
pub const LIMITS: Limits = Limits { base: 256 << 20, each: 4096 };

/// Counts what the threads of a program allocate.
#[derive(Debug)]
pub struct Counting;

#[derive(Clone, Copy)]
struct Count {
    /// Bytes allocated and not freed by this thread since it began to watch.
    live: isize,
    peak: isize,
    largest: usize,
}

const NONE: Count = Count { live: 0, peak: 0, largest: 0 };

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(NONE) };
}

fn add(bytes: usize) {
    // A thread that ends frees its last things when its count is gone.
    let _ = COUNT.try_with(|cell| {
        let mut count = cell.get();
        count.live += bytes as isize;
        count.peak = count.peak.max(count.live);
        count.largest = count.largest.max(bytes);
        cell.set(count);
    });
}

fn sub(bytes: usize) {
    let _ = COUNT.try_with(|cell| {
        let mut count = cell.get();
        count.live -= bytes as isize;
        cell.set(count);
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local
// cell that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as for the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        sub(layout.size());
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        sub(layout.size());
        add(new_size);
        // SAFETY: as for the caller.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Runs `work` and holds what this thread allocated meanwhile against [`LIMITS`]. Counts only in a
/// program whose allocator is [`Counting`].
///
/// # Panics
/// If it took more.
pub fn watched<T>(name: &str, input_bytes: usize, work: impl FnOnce() -> T) -> T {
    COUNT.set(NONE);
    let done = work();
    let count = COUNT.get();
    let most = LIMITS.base + LIMITS.each * input_bytes;
    assert!(
        count.peak <= most as isize && count.largest <= most,
        "{name}: {input_bytes} bytes of input took {} bytes, {} of them at once; allowed are {most}",
        count.peak,
        count.largest
    );
    done
}
