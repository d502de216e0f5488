//! All filters at once: whether any plain one wants a record, and which of those that want answers do.
//!
//! Owns the table that is asked for each record. The invariant: the answer is that of asking every filter, at the cost of at most eight look-ups
//! however many filters there are (those that list more than [`SPREAD`] combinations are asked one by one).

use std::collections::HashMap;

use super::filter::{Filter, Traits};

/// Combinations of the values of one filter that are spread out in the table.
const SPREAD: usize = 256;
/// Ends a value in a key. It is no byte of any UTF-8 text, so a key with as many of them as it has values is unambiguous.
const END: u8 = 0xff;

/// Filters by which lists they have: bit *i* of a shape stands for list *i* of [`Filter::lists`].
const SHAPES: usize = 8;

/// Who wants a combination.
#[derive(Debug, Default)]
struct Hits {
    /// A plain filter does.
    plain: bool,
    /// Numbers of the filters that do and want answers.
    numbers: Vec<u32>,
}

/// The filters that name one event and have the same lists.
#[derive(Debug, Default)]
struct Shape {
    /// The combinations of values that are wanted.
    combinations: HashMap<Box<[u8]>, Hits>,
    /// Some filter wants answers.
    asks: bool,
}

/// The filters that name one event.
#[derive(Debug, Default)]
struct Wanted {
    shapes: [Shape; SHAPES],
    /// Filters with too many combinations, and their numbers.
    others: Vec<(u32, Filter)>,
}

/// The table.
#[derive(Debug, Default)]
pub struct Index {
    events: HashMap<Box<[u8]>, Wanted>,
    filters: u32,
}

impl Index {
    /// A table of these filters.
    #[must_use]
    pub fn of<'f>(filters: impl IntoIterator<Item = &'f Filter>) -> Self {
        let mut index = Self::default();
        filters.into_iter().for_each(|filter| index.add(filter));
        index
    }

    /// Whether there is no filter: nothing needs to be read. One that names no event counts, for it may be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters == 0
    }

    /// Whether any plain filter matches. To `numbers` it adds those of the filters that match and want answers: their places, from 0,
    /// among the filters of this table. `scratch` is room to work in, to be used again.
    #[must_use]
    pub fn matches(&self, traits: &Traits<'_>, scratch: &mut Vec<u8>, numbers: &mut Vec<u32>) -> bool {
        let Some(wanted) = traits.event.and_then(|event| self.events.get(event)) else { return false };
        let mut plain = false;
        for (lists, shape) in wanted.shapes.iter().enumerate() {
            // Once a plain filter matches, other plain ones change nothing.
            if !shape.combinations.is_empty()
                && (shape.asks || !plain)
                && key(lists, traits.others, scratch)
                && let Some(hits) = shape.combinations.get(scratch.as_slice())
            {
                plain |= hits.plain;
                numbers.extend_from_slice(&hits.numbers);
            }
        }
        for (number, filter) in &wanted.others {
            if (filter.acknowledge || !plain) && filter.matches(traits) {
                plain |= !filter.acknowledge;
                numbers.extend(filter.acknowledge.then_some(*number));
            }
        }
        plain
    }

    fn add(&mut self, filter: &Filter) {
        let number = self.filters;
        self.filters += 1;
        let lists = filter.lists();
        let sizes = lists.iter().map(|list| list.len().max(1));
        let spread = sizes.fold(1_usize, usize::saturating_mul) <= SPREAD;
        let keys = if spread { keys(lists) } else { Vec::new() };
        let shape = shape(lists);
        for event in filter.local_event_name.iter().flatten() {
            let wanted = self.events.entry(event.as_bytes().into()).or_default();
            match wanted.shapes.get_mut(shape) {
                Some(shape) if spread => {
                    shape.asks |= filter.acknowledge;
                    for key in &keys {
                        shape.combinations.entry(key.clone()).or_default().add(number, filter.acknowledge);
                    }
                }
                // A filter may name an event twice.
                _ if wanted.others.last().is_some_and(|(last, _)| *last == number) => {}
                _ => wanted.others.push((number, filter.clone())),
            }
        }
    }
}

impl Hits {
    fn add(&mut self, number: u32, acknowledge: bool) {
        self.plain |= !acknowledge;
        // A filter may name a value twice.
        if acknowledge && self.numbers.last() != Some(&number) {
            self.numbers.push(number);
        }
    }
}

fn shape(lists: [&[String]; 3]) -> usize {
    lists.iter().enumerate().map(|(bit, list)| usize::from(!list.is_empty()) << bit).sum()
}

/// Every combination of one value from each list that is not empty.
fn keys(lists: [&[String]; 3]) -> Vec<Box<[u8]>> {
    let mut keys = vec![Vec::new()];
    for list in lists.into_iter().filter(|list| !list.is_empty()) {
        let longer = |key: &Vec<u8>, value: &String| [key.as_slice(), value.as_bytes(), &[END]].concat();
        keys = keys.iter().flat_map(|key| list.iter().map(move |value| longer(key, value))).collect();
    }
    keys.into_iter().map(Vec::into_boxed_slice).collect()
}

/// The combination of a record for a shape; false when the record lacks a header that the shape asks for.
fn key(shape: usize, values: [Option<&[u8]>; 3], key: &mut Vec<u8>) -> bool {
    key.clear();
    for (bit, value) in values.into_iter().enumerate() {
        if shape & (1 << bit) != 0 {
            let Some(value) = value else { return false };
            key.extend_from_slice(value);
            key.push(END);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ab]{0,2}", 0..4)
    }

    /// Few names over a small alphabet, so that filters meet; now and then lists too long to be spread out.
    fn filter() -> impl Strategy<Value = Filter> {
        let long = prop::collection::vec("[a-c]{1,3}", 17..20);
        let lists =
            prop_oneof![9 => (list(), list(), list()).boxed(), 1 => (long.clone(), long, list()).boxed()];
        let events = prop::option::weighted(0.9, prop::collection::vec("[EF]", 0..3));
        (events, lists, any::<bool>()).prop_map(
            |(local_event_name, (nf_naming_code, nfc_naming_code, local_nf_id), acknowledge)| Filter {
                local_event_name,
                nf_naming_code,
                nfc_naming_code,
                local_nf_id,
                acknowledge,
            },
        )
    }

    /// Values of headers are any bytes, those that look like the ends of keys among them.
    fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
        let bytes = prop::sample::select(vec![b'a', b'b', b'c', END]);
        prop::option::weighted(0.8, prop::collection::vec(bytes, 0..3))
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_asking_every_filter(
            filters in prop::collection::vec(filter(), 0..12),
            records in prop::collection::vec((prop::option::of("[EFG]"), value(), value(), value()), 1..20),
        ) {
            let index = Index::of(&filters);
            prop_assert_eq!(index.is_empty(), filters.is_empty());
            let mut scratch = Vec::new();
            for (event, nf, nfc, id) in &records {
                let traits = Traits {
                    event: event.as_ref().map(String::as_bytes),
                    others: [nf.as_deref(), nfc.as_deref(), id.as_deref()],
                    is_replay: false,
                };
                let matching = filters.iter().zip(0_u32..).filter(|(filter, _)| filter.matches(&traits));
                let (asking, plain): (Vec<_>, Vec<_>) = matching.partition(|(filter, _)| filter.acknowledge);
                let mut numbers = Vec::new();
                prop_assert_eq!(index.matches(&traits, &mut scratch, &mut numbers), !plain.is_empty(), "{:?}", traits);
                numbers.sort_unstable();
                prop_assert_eq!(numbers, asking.iter().map(|(_, number)| *number).collect::<Vec<_>>());
            }
        }
    }
}
