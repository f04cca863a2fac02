//! `histogram_quantile` over classic buckets.

use super::elements::is_none;

/// Small dips of counts between buckets that computing floats makes, as a share of the count.
const DIP: f64 = 1e-12;

/// A cumulative bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    /// Its upper bound, `le`.
    pub(super) bound: f64,
    pub(super) count: f64,
}

/// The quantile of the observations that buckets count, interpolated within a bucket; NaN where
/// there is no bucket up to infinity, or no observation. Sorts the buckets.
pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.retain(|bucket| !is_none(bucket.count));
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return f64::NAN;
    }
    // Buckets of one bound are one.
    buckets.dedup_by(|later, first| {
        let same = later.bound == first.bound;
        if same {
            first.count += later.count;
        }
        same
    });
    rise(buckets);
    let [.., before_last, last] = &buckets[..] else { return f64::NAN };
    if last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * last.count;
    let found = buckets[..buckets.len() - 1].partition_point(|bucket| bucket.count < rank);
    if found == buckets.len() - 1 {
        return before_last.bound;
    }
    let Bucket { bound: end, mut count } = buckets[found];
    if found == 0 && end <= 0.0 {
        return end;
    }
    let mut start = 0.0;
    if found > 0 {
        start = buckets[found - 1].bound;
        count -= buckets[found - 1].count;
        rank -= buckets[found - 1].count;
    }
    start + (end - start) * (rank / count)
}

/// Makes counts never fall.
fn rise(buckets: &mut [Bucket]) {
    let mut most = f64::NEG_INFINITY;
    for bucket in buckets {
        let size = most.abs().max(bucket.count.abs());
        if bucket.count < most || (bucket.count - most).abs() <= DIP * size {
            bucket.count = if most.is_finite() { most } else { bucket.count };
        }
        most = bucket.count.max(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(q: f64, buckets: &[(f64, f64)], expected: f64) {
        let mut buckets: Vec<Bucket> =
            buckets.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect();
        let found = quantile(q, &mut buckets);
        assert!(found == expected || (found.is_nan() && expected.is_nan()), "{found}");
    }

    #[test]
    fn quantiles_within_buckets() {
        let inf = f64::INFINITY;
        let all = [(0.1, 10.0), (0.5, 30.0), (1.0, 40.0), (inf, 50.0)];
        check(0.5, &all, 0.4);
        check(0.1, &all, 0.05);
        check(0.6, &all, 0.5);
        check(0.9, &all, 1.0);
        check(1.0, &all, 1.0);
        check(0.0, &all, 0.0);
        check(-1.0, &all, -inf);
        check(2.0, &all, inf);
        check(f64::NAN, &all, f64::NAN);
        // In any order, with a bound twice and a dip.
        check(0.5, &[(inf, 50.0), (0.5, 20.0), (0.1, 10.0), (0.5, 10.0), (1.0, 25.0)], 0.4);
        check(0.5, &[(0.1, 1.0), (1.0, 1.0)], f64::NAN);
        check(0.5, &[(inf, 1.0)], f64::NAN);
        check(0.5, &[(1.0, 0.0), (inf, 0.0)], f64::NAN);
        check(0.1, &[(-1.0, 5.0), (inf, 10.0)], -1.0);
        check(0.5, &[(-2.0, 0.0), (-1.0, 10.0), (inf, 10.0)], -1.5);
    }
}
