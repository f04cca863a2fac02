//! Random numbers: xoshiro256++ (Blackman and Vigna) and normal deviates by the ziggurat of
//! Marsaglia and Tsang in Doornik's form. Own code, so that a seed means the same data with
//! every version of every library.

/// Layers of the ziggurat.
const LAYERS: usize = 128;
/// Where the tail starts, and the area of each layer.
const TAIL: f64 = 3.442619855899;
const AREA: f64 = 9.91256303526217e-3;

/// A generator and its tables.
#[derive(Clone)]
pub struct Random {
    state: [u64; 4],
    edges: Box<[f64; LAYERS + 1]>,
    ratios: Box<[f64; LAYERS]>,
}

impl Random {
    /// A generator for a seed; every seed is good.
    pub fn new(seed: u64) -> Random {
        // SplitMix64 spreads the seed over the state, as the authors advise.
        let mut mix = seed;
        let state = std::array::from_fn(|_| {
            mix = mix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mix;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        });
        let mut edges = Box::new([0.0; LAYERS + 1]);
        let density = |x: f64| (-0.5 * x * x).exp();
        edges[0] = AREA / density(TAIL);
        edges[1] = TAIL;
        for layer in 2..LAYERS {
            let before = edges[layer - 1];
            edges[layer] = (-2.0 * (AREA / before + density(before)).ln()).sqrt();
        }
        let ratios = Box::new(std::array::from_fn(|layer| edges[layer + 1] / edges[layer]));
        Random { state, edges, ratios }
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ b << 17, d.rotate_left(45)];
        result
    }

    /// Uniform in 0 (included) to 1 (not).
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform between two bounds.
    #[inline]
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    /// True with a probability.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..count`.
    #[inline]
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    /// One of the choices.
    pub fn choice<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Normal with mean 0 and deviation 1.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        loop {
            // The low bits choose the layer, the high ones the place: they do not overlap.
            let bits = self.bits();
            let layer = (bits & 127) as usize;
            let place = (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
            if place.abs() < self.ratios[layer] {
                return place * self.edges[layer];
            }
            if let Some(value) = self.normal_rarely(layer, place) {
                return value;
            }
        }
    }

    #[cold]
    fn normal_rarely(&mut self, layer: usize, place: f64) -> Option<f64> {
        if layer == 0 {
            loop {
                let x = (1.0 - self.unit()).ln() / TAIL;
                let y = (1.0 - self.unit()).ln();
                if -2.0 * y >= x * x {
                    return Some(if place < 0.0 { x - TAIL } else { TAIL - x });
                }
            }
        }
        let x = place * self.edges[layer];
        let lower = (-0.5 * (self.edges[layer].powi(2) - x * x)).exp();
        let upper = (-0.5 * (self.edges[layer + 1].powi(2) - x * x)).exp();
        (upper + self.unit() * (lower - upper) < 1.0).then_some(x)
    }
}
