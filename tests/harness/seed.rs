//! Random numbers that a failed test can be repeated with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An xorshift generator. The seed is printed; `PGRELAY_SEED` sets it.
pub struct Seed(u64);

impl Seed {
    /// From `PGRELAY_SEED`, or from the clock.
    pub fn from_env() -> Seed {
        let given = std::env::var("PGRELAY_SEED").ok().map(|v| v.parse().expect("PGRELAY_SEED is a number"));
        let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64));
        println!("PGRELAY_SEED={seed}");
        Seed::new(seed)
    }

    /// From a number.
    pub fn new(seed: u64) -> Seed {
        // Neighbouring seeds shall not give neighbouring numbers, and zero would stay zero.
        Seed((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd) | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// A time between the two.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = (most - least).as_micros() as u64;
        least + Duration::from_micros(self.below(span.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b) = (Seed::new(7), Seed::new(7));
        let first: Vec<u64> = (0..5).map(|_| a.number()).collect();
        assert_eq!(first, (0..5).map(|_| b.number()).collect::<Vec<_>>());
        assert_ne!(first[0], Seed::new(8).number());
    }
}
