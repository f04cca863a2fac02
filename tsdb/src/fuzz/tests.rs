//! The smoke run of every target, bounded by count.

mod seeds;

use super::*;

#[global_allocator]
static COUNTING: memory::Counting = memory::Counting;

macro_rules! smoke {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            smoke::check(stringify!($name), |input| run(stringify!($name), input));
        })*

        #[test]
        fn every_target_is_run() {
            let run = [$(stringify!($name)),*];
            let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(run[..], known[..]);
        }
    };
}

smoke! { backup index log part record rows sealed series version }

#[test]
#[should_panic(expected = "bytes of input took")]
fn too_much_memory_is_seen() {
    let bytes = memory::LIMITS.base + 1;
    memory::watched("canary", 0, || drop(std::hint::black_box(vec![1u8; bytes])));
}
