//! Delays after many failed log-ins of one user from one source.
//!
//! The first `failures_free` failures cost nothing; each further one doubles the time in which
//! every attempt of that pair is refused unchecked: 1 s, 2 s, 4 s … up to `delay_max`. A success
//! clears the count, and so does a quarter of an hour without a failure. Counting by source keeps
//! a stranger from locking a user out. IPv6 sources count by their /64, which one host owns whole.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A pair without a failure for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// Bytes of a name that count; longer ones cannot be users anyway.
const NAME_BYTES_MAX: usize = 64;

type Key = (Vec<u8>, Option<IpAddr>);

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

pub(crate) struct Throttle {
    map: Mutex<HashMap<Key, Failures>>,
    free: u32,
    delay_max: Duration,
    entries_max: usize,
}

impl Throttle {
    pub fn new(free: u32, delay_max: Duration, entries_max: usize) -> Throttle {
        Throttle { map: Mutex::new(HashMap::new()), free, delay_max, entries_max }
    }

    /// How long this pair must still wait; None: it may try now.
    pub fn wait(&self, user: &str, source: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let map = self.map.lock();
        let failures = map.get(&key(user, source))?;
        let until = failures.last + self.delay(failures.count);
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    pub fn failed(&self, user: &str, source: Option<IpAddr>, now: Instant) {
        let mut map = self.map.lock();
        let key = key(user, source);
        if !map.contains_key(&key) && map.len() >= self.entries_max {
            make_room(&mut map, now);
        }
        let failures = map.entry(key).or_insert(Failures { count: 0, last: now });
        if now.saturating_duration_since(failures.last) > FORGET_AFTER {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    pub fn succeeded(&self, user: &str, source: Option<IpAddr>) {
        self.map.lock().remove(&key(user, source));
    }

    fn delay(&self, count: u32) -> Duration {
        match count.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(over) => Duration::from_secs(1 << over.min(20)).min(self.delay_max),
        }
    }
}

/// Drops what is forgotten, and if that frees too little, the older half.
fn make_room(map: &mut HashMap<Key, Failures>, now: Instant) {
    let before = map.len();
    map.retain(|_, f| now.saturating_duration_since(f.last) <= FORGET_AFTER);
    if map.len() > before / 2 {
        let mut times: Vec<Instant> = map.values().map(|f| f.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        map.retain(|_, f| f.last > median);
    }
}

fn key(user: &str, source: Option<IpAddr>) -> Key {
    let name = &user.as_bytes()[..user.len().min(NAME_BYTES_MAX)];
    let source = source.map(|ip| match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[8..].fill(0);
            IpAddr::from(octets)
        }
        v4 => v4,
    });
    (name.to_vec(), source)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY_MAX: Duration = Duration::from_secs(60);

    #[test]
    fn delays_begin_after_the_free_failures_and_double() {
        let throttle = Throttle::new(10, DELAY_MAX, 100);
        let start = Instant::now();
        for _ in 0..9 {
            throttle.failed("ann", None, start);
            assert_eq!(throttle.wait("ann", None, start), None);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            throttle.failed("ann", None, start);
            assert_eq!(throttle.wait("ann", None, start), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(throttle.wait("ann", None, start + DELAY_MAX), None);
        assert_eq!(throttle.wait("bob", None, start), None);
        throttle.succeeded("ann", None);
        assert_eq!(throttle.wait("ann", None, start), None);
    }

    #[test]
    fn sources_count_apart_and_a_v6_network_as_one() {
        let throttle = Throttle::new(0, DELAY_MAX, 100);
        let now = Instant::now();
        let ip = |text: &str| Some(text.parse().expect("an address"));
        throttle.failed("ann", ip("2001:db8::1"), now);
        assert!(throttle.wait("ann", ip("2001:db8::2"), now).is_some());
        assert!(throttle.wait("ann", ip("2001:db8:0:1::2"), now).is_none());
        throttle.failed("ann", ip("::ffff:10.0.0.1"), now);
        assert!(throttle.wait("ann", ip("10.0.0.1"), now).is_some());
        assert!(throttle.wait("ann", None, now).is_none());
    }

    #[test]
    fn a_quiet_quarter_of_an_hour_clears() {
        let throttle = Throttle::new(1, DELAY_MAX, 100);
        let start = Instant::now();
        throttle.failed("ann", None, start);
        throttle.failed("ann", None, start);
        let later = start + FORGET_AFTER + Duration::from_secs(1);
        throttle.failed("ann", None, later);
        assert_eq!(throttle.wait("ann", None, later), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_map_is_bounded_and_keeps_the_newest() {
        let throttle = Throttle::new(0, DELAY_MAX, 100);
        let start = Instant::now();
        for n in 0..1000 {
            throttle.failed(&format!("u{n}"), None, start + Duration::from_millis(n));
        }
        assert!(throttle.map.lock().len() <= 100);
        let end = start + Duration::from_millis(999);
        assert!(throttle.wait("u999", None, end).is_some());
    }
}
