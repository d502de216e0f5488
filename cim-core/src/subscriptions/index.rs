//! All filters at once: whether any of them wants a record.
//!
//! Owns the table that is asked for each record. The invariant: the answer is that of asking every filter, at the cost of at most eight look-ups
//! however many filters there are (those that list more than [`SPREAD`] combinations are asked one by one).

use std::collections::{HashMap, HashSet};

use super::filter::{Filter, Traits};

/// Combinations of the values of one filter that are spread out in the table.
const SPREAD: usize = 256;
/// Ends a value in a key. It is no byte of any UTF-8 text, so a key with as many of them as it has values is unambiguous.
const END: u8 = 0xff;

/// Filters by which lists they have: bit *i* of a shape stands for list *i* of [`Filter::lists`].
const SHAPES: usize = 8;

/// The filters that name one event.
#[derive(Debug, Default)]
struct Wanted {
    /// For each shape, the combinations of values that are wanted.
    combinations: [HashSet<Box<[u8]>>; SHAPES],
    /// Filters with too many combinations.
    others: Vec<Filter>,
}

/// The table.
#[derive(Debug, Default)]
pub struct Index {
    events: HashMap<Box<[u8]>, Wanted>,
    filters: usize,
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

    /// Whether any filter matches. `scratch` is room to work in, to be used again.
    #[must_use]
    pub fn matches(&self, traits: &Traits<'_>, scratch: &mut Vec<u8>) -> bool {
        let Some(wanted) = traits.event.and_then(|event| self.events.get(event)) else { return false };
        wanted.combinations.iter().enumerate().any(|(shape, combinations)| {
            !combinations.is_empty()
                && key(shape, traits.others, scratch)
                && combinations.contains(scratch.as_slice())
        }) || wanted.others.iter().any(|filter| filter.matches(traits))
    }

    fn add(&mut self, filter: &Filter) {
        self.filters += 1;
        let lists = filter.lists();
        let sizes = lists.iter().map(|list| list.len().max(1));
        let spread = sizes.fold(1_usize, usize::saturating_mul) <= SPREAD;
        let keys = if spread { keys(lists) } else { Vec::new() };
        let shape = shape(lists);
        for event in filter.local_event_name.iter().flatten() {
            let wanted = self.events.entry(event.as_bytes().into()).or_default();
            match wanted.combinations.get_mut(shape) {
                Some(combinations) if spread => combinations.extend(keys.iter().cloned()),
                _ => wanted.others.push(filter.clone()),
            }
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
        (prop::option::weighted(0.9, prop::collection::vec("[EF]", 0..3)), lists).prop_map(
            |(local_event_name, (nf_naming_code, nfc_naming_code, local_nf_id))| Filter {
                local_event_name,
                nf_naming_code,
                nfc_naming_code,
                local_nf_id,
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
                let naive = filters.iter().any(|filter| filter.matches(&traits));
                prop_assert_eq!(index.matches(&traits, &mut scratch), naive, "{:?}", traits);
            }
        }
    }
}
