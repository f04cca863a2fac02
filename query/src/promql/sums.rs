//! Running figures that keep their digits: compensated sums, means, spreads, quantiles.

/// A sum after Kahan and Neumaier.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - total) + value;
        } else {
            self.lost += (value - total) + self.sum;
        }
        self.sum = total;
    }

    fn scale(&mut self, by: f64) {
        self.sum *= by;
        self.lost *= by;
    }

    pub(super) fn total(self) -> f64 {
        match self.sum.is_infinite() {
            true => self.sum,
            false => self.sum + self.lost,
        }
    }
}

/// A mean: the sum by the count until the sum would overflow, then step by step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    sum: Sum,
    count: f64,
    stepwise: bool,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.stepwise {
            let mut next = self.sum;
            next.add(value);
            if self.count == 1.0 || !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.stepwise = true;
            self.sum.scale(1.0 / (self.count - 1.0));
        }
        self.sum.scale((self.count - 1.0) / self.count);
        self.sum.add(value / self.count);
    }

    /// `None` without values.
    pub(super) fn mean(self) -> Option<f64> {
        if self.count == 0.0 {
            return None;
        }
        match self.stepwise {
            true => Some(self.sum.sum + self.sum.lost),
            false => Some(self.sum.sum / self.count + self.sum.lost / self.count),
        }
    }
}

/// A variance after Welford.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    count: f64,
    mean: Sum,
    squares: Sum,
}

impl Spread {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - (self.mean.sum + self.mean.lost);
        self.mean.add(delta / self.count);
        self.squares.add(delta * (value - (self.mean.sum + self.mean.lost)));
    }

    /// Variance of all values (not of a sample); `None` without any.
    pub(super) fn variance(self) -> Option<f64> {
        (self.count > 0.0).then(|| (self.squares.sum + self.squares.lost) / self.count)
    }
}

/// The quantile of values, interpolated; sorts them, NaN first.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a, b) => b.cmp(&a),
    });
    let count = values.len() as f64;
    let rank = q * (count - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(count - 1.0);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = Sum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.total()
    }

    fn mean(values: &[f64]) -> Option<f64> {
        let mut mean = Mean::default();
        values.iter().for_each(|value| mean.add(*value));
        mean.mean()
    }

    #[test]
    fn sums_keep_small_parts() {
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(sum(&[f64::NAN, 1.0]).is_nan());
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0, 2.0, 6.0]), Some(3.0));
        // A plain sum of these is infinite.
        assert_eq!(mean(&[1e308, 1e308, 1e308, 1e308]), Some(1e308));
        assert_eq!(mean(&[f64::INFINITY]), Some(f64::INFINITY));
        assert_eq!(mean(&[f64::INFINITY, 1.0, f64::INFINITY]), Some(f64::INFINITY));
        assert_eq!(mean(&[1.0, 1e100, 1.0, -1e100]), Some(0.5));
    }

    #[test]
    fn spreads_and_quantiles() {
        let mut spread = Spread::default();
        assert_eq!(spread.variance(), None);
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].iter().for_each(|value| spread.add(*value));
        assert_eq!(spread.variance(), Some(4.0));
        let q = |q, values: &[f64]| quantile(q, &mut values.to_vec());
        assert_eq!(q(0.5, &[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(q(0.75, &[1.0, 2.0]), 1.75);
        assert_eq!([q(-0.1, &[1.0]), q(1.1, &[1.0])], [f64::NEG_INFINITY, f64::INFINITY]);
        assert!(q(f64::NAN, &[1.0]).is_nan() && q(0.5, &[]).is_nan());
        assert!(q(0.0, &[1.0, f64::NAN]).is_nan());
        assert_eq!(q(1.0, &[1.0, f64::NAN]), 1.0);
    }
}
