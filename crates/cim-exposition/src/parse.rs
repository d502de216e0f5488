//! A page taken apart.
//!
//! Owns which family a sample belongs to, and which lines count for nothing. Left out: the characters of a line (`line`).
//! The invariant: a page is read whole or not at all, because half a page would say that the rest is gone.

use std::borrow::Cow;
use std::collections::HashMap;

use thiserror::Error;

use crate::family::{Family, Kind, Sample};
use crate::line::{Line, is_name, unescaped};

/// A page that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: {fault}")]
pub struct ParseError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: &'static str,
}

/// Takes a page apart, families in the order in which they are first spoken of.
///
/// A comment never makes a page unreadable. Where a type or a help is told twice, the first counts; a type that is told after samples
/// of that name counts for those that follow.
///
/// # Errors
/// [`ParseError`] for a line that is neither empty, nor a comment, nor a sample.
pub fn parse(text: &str) -> Result<Vec<Family<'_>>, ParseError> {
    let mut families = Families::default();
    for (at, text) in text.split('\n').enumerate() {
        let mut line = Line::new(text);
        if line.is_empty() {
            continue;
        }
        if line.is_comment() {
            if line.word() == "#" {
                families.comment(line);
            }
            continue;
        }
        match line.sample() {
            Ok(sample) => families.sample(sample),
            Err(fault) => return Err(ParseError { line: at + 1, fault }),
        }
    }
    Ok(families.list)
}

/// The families so far.
#[derive(Default)]
struct Families<'t> {
    list: Vec<Family<'t>>,
    /// Places in the list.
    places: HashMap<&'t str, usize>,
    /// Name and family of the sample before: the next one is usually of the same.
    last: Option<(&'t str, usize)>,
}

impl<'t> Families<'t> {
    /// `HELP` and `TYPE`; any other comment is for people.
    fn comment(&mut self, mut line: Line<'t>) {
        let keyword = line.word();
        if !matches!(keyword, "HELP" | "TYPE") {
            return;
        }
        let name = line.word();
        if !is_name(name) {
            return;
        }
        let text = line.rest();
        let place = self.place(name);
        let Some(family) = self.list.get_mut(place) else { return };
        if keyword == "TYPE" && family.kind == Kind::Untyped {
            family.kind = Kind::of(text);
        } else if keyword == "HELP" && family.help.is_empty() {
            family.help = unescaped(text);
        }
        self.last = None;
    }

    fn sample(&mut self, sample: Sample<'t>) {
        let place = match self.last {
            Some((name, place)) if name == sample.name => place,
            _ => self.place_of_sample(sample.name),
        };
        self.last = Some((sample.name, place));
        if let Some(family) = self.list.get_mut(place) {
            family.samples.push(sample);
        }
    }

    /// The family of that name; else the histogram or summary whose part it is; else a new one.
    fn place_of_sample(&mut self, name: &'t str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let stem_of = |kind: Kind| {
            let stems = kind.endings().iter().filter_map(move |ending| name.strip_suffix(ending));
            let mut places = stems.filter_map(|stem| self.places.get(stem).copied());
            places.find(|place| self.list.get(*place).is_some_and(|family| family.kind == kind))
        };
        let whole = stem_of(Kind::Summary).or_else(|| stem_of(Kind::Histogram));
        whole.unwrap_or_else(|| self.place(name))
    }

    fn place(&mut self, name: &'t str) -> usize {
        *self.places.entry(name).or_insert_with(|| {
            self.list.push(Family { name, help: Cow::default(), kind: Kind::default(), samples: Vec::new() });
            self.list.len() - 1
        })
    }
}
