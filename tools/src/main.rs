//! The `millrace` program.

use std::process::ExitCode;

/// Many threads allocate and free at high rates: the system's allocator keeps twice the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tools::cli::main()
}
