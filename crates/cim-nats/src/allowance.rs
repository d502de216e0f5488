//! Memory of the listener, byte by byte against the budget of the process.
//!
//! Owns the float that lets started frames finish when the budget is used up. Leaves out who holds which bytes: each
//! holder keeps its `Grant`. Invariant: what was granted is given back exactly once, to where it came from.

use crate::intake::Intake;

/// Reservations are made in steps of this many bytes.
pub(crate) const STEP: usize = 16 << 10;
/// Largest single call to the budget.
const MAX_CALL: usize = 64 << 10;
/// Kept back so that a started payload can finish.
const FLOAT: usize = 2 << 20;

/// Bytes held by one buffer.
#[derive(Debug, Default)]
pub(crate) struct Grant {
    budget: usize,
    float: usize,
}

impl Grant {
    pub(crate) const fn bytes(&self) -> usize {
        self.budget + self.float
    }
}

/// What the listener may still take.
#[derive(Debug)]
pub(crate) struct Allowance {
    float: usize,
    pressed: bool,
}

impl Allowance {
    /// Takes the float out of the budget, as much of it as there is.
    pub(crate) fn new(intake: &impl Intake) -> Self {
        let mut float = 0;
        while float < FLOAT && intake.reserve(MAX_CALL) {
            float += MAX_CALL;
        }
        Self { float, pressed: false }
    }

    /// True after a refusal, until something is granted from the budget again: read little.
    pub(crate) const fn is_pressed(&self) -> bool {
        self.pressed
    }

    /// Raises `grant` to at least `bytes`; with `float` also from the listener's own reserve.
    pub(crate) fn raise(
        &mut self,
        grant: &mut Grant,
        bytes: usize,
        float: bool,
        intake: &impl Intake,
    ) -> bool {
        while grant.bytes() < bytes {
            let step = (bytes - grant.bytes()).next_multiple_of(STEP).min(MAX_CALL);
            if intake.reserve(step) {
                grant.budget += step;
                self.pressed = false;
            } else if float && self.float >= step {
                self.pressed = true;
                self.float -= step;
                grant.float += step;
            } else {
                self.pressed = true;
                return false;
            }
        }
        true
    }

    /// Gives everything back.
    pub(crate) fn settle(&mut self, grant: &mut Grant, intake: &impl Intake) {
        if grant.budget > 0 {
            intake.release(grant.budget);
        }
        self.float += grant.float;
        *grant = Grant::default();
    }

    /// Ends the listener: the float goes back to the budget.
    pub(crate) fn close(&mut self, intake: &impl Intake) {
        intake.release(std::mem::take(&mut self.float));
    }
}
