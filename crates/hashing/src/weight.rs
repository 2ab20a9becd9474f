//! Weights: how large a share of the keys a shard takes, relative to the others.

use crate::Error;

/// The share of a shard relative to the others; a shard of weight 2 takes twice the keys of one of weight 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "f64", into = "f64"))]
pub struct Weight(f64);

impl Weight {
    /// The weight of a shard when nothing is said about it.
    pub const ONE: Self = Self(1.0);

    /// Returns a weight from 2^-64 to 2^20.
    ///
    /// # Errors
    /// [`Error::Weight`] for anything else, not-a-number included.
    pub fn new(weight: f64) -> Result<Self, Error> {
        const MAX: f64 = 1_048_576.0;
        const MIN: f64 = 1.0 / 18_446_744_073_709_551_616.0;
        let valid = (MIN..=MAX).contains(&weight);
        valid
            .then_some(Self(weight))
            .ok_or(Error::Weight { weight })
    }

    /// Returns the number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }

    pub(crate) fn half(self) -> Result<Self, Error> {
        Self::new(self.0 / 2.0)
    }

    pub(crate) fn sum(weights: impl Iterator<Item = Self>) -> f64 {
        weights.map(|weight| weight.0).sum()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl TryFrom<f64> for Weight {
    type Error = Error;

    fn try_from(weight: f64) -> Result<Self, Error> {
        Self::new(weight)
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_positive_and_finite() {
        for weight in [1.0, 0.5, 1e6] {
            assert_eq!(Weight::new(weight).unwrap().value(), weight);
        }
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-20, 1e7] {
            assert!(
                matches!(Weight::new(weight), Err(Error::Weight { .. })),
                "{weight}"
            );
        }
    }
}
