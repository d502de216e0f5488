//! One line of the result table, for people and as JSON.
//!
//! Leaves out how it was measured. A line without clean slices has no figures but a reason.

use std::collections::BTreeMap;

use serde::Serialize;

use super::pair::{Pairing, median};
use crate::error::BenchError;

/// Median and range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Spread {
    /// Of those figures.
    #[must_use]
    pub fn of(figures: &[f64]) -> Self {
        Self {
            median: median(figures),
            low: figures.iter().copied().fold(f64::INFINITY, f64::min),
            high: figures.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// What a line has to reach. Applies to the ratio if the line has one, else to its own figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl Goal {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {}", short(bound)),
            Self::AtMost(bound) => format!("<= {}", short(bound)),
        }
    }
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// Unit of the figures.
    pub unit: &'static str,
    /// CIM.
    pub ours: Option<Spread>,
    /// The yardstick.
    pub theirs: Option<Spread>,
    /// Ours / theirs, pair by pair: median, smallest, largest.
    pub ratio: Option<Spread>,
    /// What to reach.
    pub goal: Option<Goal>,
    /// Whether it was reached.
    pub met: Option<bool>,
    /// Medians of other figures of the slices.
    pub beside: BTreeMap<String, f64>,
    /// What the yardstick is, and anything else a reader needs.
    pub note: String,
    /// Why there is no figure.
    pub void: Option<String>,
}

impl Line {
    /// A line from paired slices. `scale` multiplies the yardstick (1 for a direct comparison).
    #[must_use]
    pub fn ratio(
        name: impl Into<String>,
        unit: &'static str,
        pairing: &Pairing,
        scale: f64,
        goal: Option<Goal>,
    ) -> Self {
        let ratio = Spread::of(&pairing.ratios(scale));
        let theirs: Vec<f64> = pairing.their_figures().iter().map(|figure| figure * scale).collect();
        Self {
            name: name.into(),
            unit,
            ours: Some(Spread::of(&pairing.our_figures())),
            theirs: Some(Spread::of(&theirs)),
            ratio: Some(ratio),
            goal,
            met: goal.map(|goal| goal.met(ratio.median)),
            beside: BTreeMap::new(),
            note: String::new(),
            void: None,
        }
    }

    /// A line with figures of CIM alone.
    #[must_use]
    pub fn figure(name: impl Into<String>, unit: &'static str, figures: &[f64], goal: Option<Goal>) -> Self {
        let ours = Spread::of(figures);
        Self {
            name: name.into(),
            unit,
            ours: Some(ours),
            theirs: None,
            ratio: None,
            goal,
            met: goal.map(|goal| goal.met(ours.median)),
            beside: BTreeMap::new(),
            note: String::new(),
            void: None,
        }
    }

    /// A line without a figure.
    #[must_use]
    pub fn void(name: impl Into<String>, reason: &BenchError) -> Self {
        Self {
            name: name.into(),
            unit: "",
            ours: None,
            theirs: None,
            ratio: None,
            goal: None,
            met: None,
            beside: BTreeMap::new(),
            note: String::new(),
            void: Some(reason.chain()),
        }
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Adds another figure.
    #[must_use]
    pub fn with(mut self, name: &str, figure: Option<f64>) -> Self {
        if let Some(figure) = figure {
            self.beside.insert(name.to_owned(), figure);
        }
        self
    }

    /// The heading of the table.
    #[must_use]
    pub fn heading() -> String {
        "| what | CIM | yardstick | ratio (smallest-largest) | goal | met | beside |\n|---|---|---|---|---|---|---|".into()
    }

    /// The line as a row of a Markdown table.
    #[must_use]
    pub fn row(&self) -> String {
        if let Some(reason) = &self.void {
            return format!("| {} | no figure: {} | | | | | |", self.name, reason.replace('|', "/"));
        }
        let figure = |spread: Option<Spread>| {
            spread.map_or_else(String::new, |spread| format!("{} {}", short(spread.median), self.unit))
        };
        let ratio = self.ratio.map_or_else(String::new, |ratio| {
            format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.low, ratio.high)
        });
        let met = self.met.map_or("", |met| if met { "yes" } else { "NO" });
        let mut beside: Vec<String> =
            self.beside.iter().map(|(name, figure)| format!("{name} {}", short(*figure))).collect();
        if !self.note.is_empty() {
            beside.push(self.note.clone());
        }
        format!(
            "| {} | {} | {} | {ratio} | {} | {met} | {} |",
            self.name,
            figure(self.ours),
            figure(self.theirs),
            self.goal.map_or_else(String::new, Goal::text),
            beside.join("; ")
        )
    }

    /// The line as one JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"void\":{:?}}}", error.to_string()))
    }
}

/// A figure with three digits and k, M, G.
#[must_use]
pub fn short(figure: f64) -> String {
    let (scaled, suffix) = match figure.abs() {
        size if size >= 1e9 => (figure / 1e9, "G"),
        size if size >= 1e6 => (figure / 1e6, "M"),
        size if size >= 1e4 => (figure / 1e3, "k"),
        _ => (figure, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    format!("{scaled:.digits$}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_whether_the_goal_is_met() {
        let line = Line::figure("x", "MiB", &[7.0, 9.0, 8.0], Some(Goal::AtMost(8.0)));
        assert_eq!(line.row(), "| x | 8.00 MiB |  |  | <= 8.00 | yes |  |");
        let void = Line::void("y", &BenchError::Unclean("3 lost".into()));
        assert_eq!(void.row(), "| y | no figure: unclean run: 3 lost | | | | | |");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [short(1_234_567.0), short(12_345.0), short(1_234.0), short(0.25)],
            ["1.23M", "12.3k", "1234", "0.25"]
        );
    }
}
