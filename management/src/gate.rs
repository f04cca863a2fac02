//! A gate before slow hashes: few at a time, a bounded queue before it. Each argon2id hash takes
//! 19 MiB, so without a gate a flood of log-ins would take all memory.

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct Inside {
    running: usize,
    waiting: usize,
}

pub(crate) struct Gate {
    inside: Mutex<Inside>,
    freed: Condvar,
    running_max: usize,
    waiting_max: usize,
}

/// The right to compute one hash; given back on drop.
pub(crate) struct Permit<'a> {
    gate: &'a Gate,
}

impl Gate {
    pub fn new(running_max: usize, waiting_max: usize) -> Gate {
        Gate {
            inside: Mutex::new(Inside::default()),
            freed: Condvar::new(),
            running_max,
            waiting_max,
        }
    }

    /// Waits for a place; None if too many wait already.
    pub fn enter(&self) -> Option<Permit<'_>> {
        let mut inside = self.inside.lock();
        if inside.running >= self.running_max {
            if inside.waiting >= self.waiting_max {
                return None;
            }
            inside.waiting += 1;
            while inside.running >= self.running_max {
                self.freed.wait(&mut inside);
            }
            inside.waiting -= 1;
        }
        inside.running += 1;
        Some(Permit { gate: self })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.gate.inside.lock().running -= 1;
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_a_freed_place_is_taken() {
        let gate = Gate::new(1, 0);
        let first = gate.enter().expect("the gate is empty");
        assert!(gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn never_more_inside_than_allowed() {
        let gate = Gate::new(3, 100);
        let peak = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let permit = gate.enter().expect("the queue has room for all");
                    let running = gate.inside.lock().running;
                    let mut peak = peak.lock();
                    *peak = running.max(*peak);
                    drop(peak);
                    drop(permit);
                });
            }
        });
        assert!((1..=3).contains(&*peak.lock()));
        assert_eq!(gate.inside.lock().running, 0);
        assert_eq!(gate.inside.lock().waiting, 0);
    }
}
