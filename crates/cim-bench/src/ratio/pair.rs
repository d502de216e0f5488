//! Paired slices and their statistics.
//!
//! The ratio of a line is the median of the ratios of its pairs; its interval is the smallest and the largest of them
//! (with five pairs a bootstrap says no more). Pairs alternate which side goes first, so that drift of the machine
//! falls on both sides.

use std::collections::BTreeMap;

use super::rig::Rig;
use crate::error::Result;

/// One measured slice.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The figure of the line.
    pub figure: f64,
    /// Other figures of the slice, by name.
    pub beside: BTreeMap<&'static str, f64>,
}

impl Sample {
    /// A slice with that figure.
    #[must_use]
    pub fn of(figure: f64) -> Self {
        Self { figure, beside: BTreeMap::new() }
    }

    /// Adds another figure.
    #[must_use]
    pub fn with(mut self, name: &'static str, figure: f64) -> Self {
        self.beside.insert(name, figure);
        self
    }
}

/// The slices of a line.
#[derive(Debug, Clone, Default)]
pub struct Pairing {
    /// Slices of CIM.
    pub ours: Vec<Sample>,
    /// Slices of the yardstick, pair by pair.
    pub theirs: Vec<Sample>,
}

/// Runs both sides in turn: A B B A A B B A.
///
/// # Errors
/// The first slice that was not clean.
pub fn paired(
    rig: &Rig,
    mut ours: impl FnMut(&Rig) -> Result<Sample>,
    mut theirs: impl FnMut(&Rig) -> Result<Sample>,
) -> Result<Pairing> {
    let mut pairing = Pairing::default();
    for pair in 0..rig.pairs {
        if pair % 2 == 0 {
            pairing.ours.push(ours(rig)?);
            pairing.theirs.push(theirs(rig)?);
        } else {
            pairing.theirs.push(theirs(rig)?);
            pairing.ours.push(ours(rig)?);
        }
    }
    Ok(pairing)
}

impl Pairing {
    /// Ratios ours / theirs, pair by pair, `scale` applied to theirs.
    #[must_use]
    pub fn ratios(&self, scale: f64) -> Vec<f64> {
        self.ours.iter().zip(&self.theirs).map(|(a, b)| a.figure / (b.figure * scale)).collect()
    }

    /// Median of a figure beside the main one, on our side.
    #[must_use]
    pub fn ours_beside(&self, name: &str) -> Option<f64> {
        beside(&self.ours, name)
    }

    /// The same on the side of the yardstick.
    #[must_use]
    pub fn theirs_beside(&self, name: &str) -> Option<f64> {
        beside(&self.theirs, name)
    }

    /// Main figures of our side.
    #[must_use]
    pub fn our_figures(&self) -> Vec<f64> {
        self.ours.iter().map(|sample| sample.figure).collect()
    }

    /// Main figures of the yardstick.
    #[must_use]
    pub fn their_figures(&self) -> Vec<f64> {
        self.theirs.iter().map(|sample| sample.figure).collect()
    }
}

fn beside(samples: &[Sample], name: &str) -> Option<f64> {
    let figures: Vec<f64> = samples.iter().filter_map(|sample| sample.beside.get(name).copied()).collect();
    (!figures.is_empty()).then(|| median(&figures))
}

/// The middle one, or the mean of the two in the middle; not a number for none.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 {
        return upper;
    }
    let lower = sorted.get((sorted.len() / 2).wrapping_sub(1)).copied().unwrap_or(f64::NAN);
    (lower + upper) / 2.0
}

/// The figure below which that share of the figures lies; not a number for none.
pub(super) fn percentile(mut figures: Vec<f64>, share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let place = (figures.len() as f64 * share) as usize;
    figures.get(place.min(figures.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn medians() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn slices_alternate() {
        let rig = Rig {
            cim: "".into(),
            nats: "".into(),
            dir: "".into(),
            slice: Duration::ZERO,
            pairs: 4,
            kafka: super::super::KafkaRig::default(),
        };
        let order = std::cell::RefCell::new(String::new());
        let side = |name: char| {
            let order = &order;
            move |_: &Rig| {
                order.borrow_mut().push(name);
                Ok(Sample::of(if name == 'A' { 3.0 } else { 2.0 }))
            }
        };
        let pairing = paired(&rig, side('A'), side('B')).unwrap();
        assert_eq!(*order.borrow(), "ABBAABBA");
        assert!(pairing.ratios(1.0).iter().all(|ratio| (ratio - 1.5).abs() < 1e-9));
    }
}
