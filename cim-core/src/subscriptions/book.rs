//! The subscriptions of the application, by id, kept in one small file of the spool directory.
//!
//! Owns ids, limits and the file. Left out: what a filter means. Invariants: no id is given out twice at a time; what a call
//! has answered is in the file; a file that cannot be read costs the subscriptions, never the start.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use crate::contract::Level;

/// Its name in the spool directory.
pub const FILE: &str = "subscriptions.json";
const FORMAT: u32 = 1;
/// Most subscriptions.
pub const MAX_SUBSCRIPTIONS: usize = 4_096;
/// Most bytes of all of them as JSON.
pub const MAX_BYTES: usize = 4 << 20;
/// Ids are numbers of six digits, from the first to the last.
const IDS: std::ops::RangeInclusive<u64> = 100_000..=999_998;

/// Why a subscription was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// There is none of that id.
    #[error("there is no subscription of that id")]
    Unknown,
    /// There are too many, or they are too large.
    #[error("more than {MAX_SUBSCRIPTIONS} subscriptions, or more than {} MiB of them", MAX_BYTES >> 20)]
    Full,
    /// It could not be remembered.
    #[error("the subscription cannot be stored")]
    Store(#[source] io::Error),
}

/// All subscriptions.
#[derive(Debug, Default)]
pub struct Book {
    filters: BTreeMap<String, Filter>,
    file: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Page<'b> {
    format: u32,
    subscriptions: std::borrow::Cow<'b, BTreeMap<String, Filter>>,
}

impl Book {
    /// What an earlier run left in that directory; without one nothing is kept.
    #[must_use]
    pub fn open(dir: Option<&Path>) -> Self {
        let Some(dir) = dir else { return Self::default() };
        let file = dir.join(FILE);
        let filters = match read(&file) {
            Ok(filters) => filters,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                let aside = dir.join(format!("{FILE}.unreadable"));
                tracing::error!(
                    file = %file.display(), %error, aside = %aside.display(),
                    "the subscriptions of an earlier run cannot be read; the application has to subscribe again"
                );
                let _ = std::fs::rename(&file, aside);
                BTreeMap::new()
            }
        };
        Self { filters, file: Some(file) }
    }

    /// All of them, by id.
    #[must_use]
    pub fn filters(&self) -> &BTreeMap<String, Filter> {
        &self.filters
    }

    /// Adds a subscription and returns its id.
    ///
    /// # Errors
    /// [`BookError`]; nothing changed then.
    pub fn create(&mut self, filter: Filter) -> Result<String, BookError> {
        let id = self.free_id();
        self.change(|filters| filters.insert(id.clone(), filter))?;
        Ok(id)
    }

    /// Replaces the filter of a subscription.
    ///
    /// # Errors
    /// [`BookError`]; nothing changed then.
    pub fn replace(&mut self, id: &str, filter: Filter) -> Result<(), BookError> {
        self.known(id)?;
        self.change(|filters| filters.insert(id.to_owned(), filter))
    }

    /// Removes a subscription.
    ///
    /// # Errors
    /// [`BookError`]; nothing changed then.
    pub fn remove(&mut self, id: &str) -> Result<(), BookError> {
        self.known(id)?;
        self.change(|filters| filters.remove(id))
    }

    /// Whether there is one of that id.
    ///
    /// # Errors
    /// [`BookError::Unknown`] when there is none.
    pub fn known(&self, id: &str) -> Result<(), BookError> {
        if self.filters.contains_key(id) { Ok(()) } else { Err(BookError::Unknown) }
    }

    /// Changes the book when the changed one could be stored.
    fn change<T>(&mut self, make: impl FnOnce(&mut BTreeMap<String, Filter>) -> T) -> Result<(), BookError> {
        let before = self.filters.len();
        let mut filters = self.filters.clone();
        make(&mut filters);
        let page = Page { format: FORMAT, subscriptions: std::borrow::Cow::Borrowed(&filters) };
        let text = serde_json::to_vec(&page).map_err(|error| BookError::Store(error.into()))?;
        // Whoever is full already may still remove.
        if filters.len() >= before && (filters.len() > MAX_SUBSCRIPTIONS || text.len() > MAX_BYTES) {
            return Err(BookError::Full);
        }
        if let Some(file) = &self.file {
            crate::replace_file(file, &text, Level::Written).map_err(BookError::Store)?;
        }
        self.filters = filters;
        Ok(())
    }

    /// An id that nobody can guess from others and that no subscription has. There are far more of them than subscriptions.
    fn free_id(&self) -> String {
        self.free_id_from(RandomState::new().hash_one(self.filters.len()))
    }

    fn free_id_from(&self, mut number: u64) -> String {
        let span = IDS.end() - IDS.start() + 1;
        loop {
            number %= span;
            let id = (IDS.start() + number).to_string();
            if !self.filters.contains_key(&id) {
                return id;
            }
            number += 1;
        }
    }
}

fn read(file: &Path) -> io::Result<BTreeMap<String, Filter>> {
    if std::fs::metadata(file)?.len() > 2 * MAX_BYTES as u64 {
        return Err(io::Error::other("the file is too large"));
    }
    let page: Page<'_> = serde_json::from_slice(&std::fs::read(file)?)?;
    if page.format != FORMAT {
        return Err(io::Error::other(format!("format {} is not known here", page.format)));
    }
    Ok(page.subscriptions.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(name: &str) -> Filter {
        Filter { local_event_name: Some(vec![name.to_owned()]), ..Filter::default() }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Create(String),
        Replace(usize, String),
        Remove(usize),
        Unknown,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => "[a-c]".prop_map(Step::Create),
            2 => (any::<usize>(), "[a-c]").prop_map(|(at, name)| Step::Replace(at, name)),
            2 => any::<usize>().prop_map(Step::Remove),
            1 => Just(Step::Unknown),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_book_is_a_map_that_outlives_restarts(steps in prop::collection::vec(step(), 1..40)) {
            let dir = tempfile::tempdir().unwrap();
            let mut book = Book::open(Some(dir.path()));
            let mut model = BTreeMap::new();
            for step in steps {
                let at = |number: usize| model.keys().nth(number % model.len().max(1)).cloned();
                match step {
                    Step::Create(name) => {
                        let id = book.create(filter(&name)).unwrap();
                        prop_assert!(IDS.contains(&id.parse().unwrap()));
                        prop_assert!(model.insert(id, filter(&name)).is_none(), "an id was given out twice");
                    }
                    Step::Replace(number, name) => if let Some(id) = at(number) {
                        book.replace(&id, filter(&name)).unwrap();
                        model.insert(id, filter(&name));
                    },
                    Step::Remove(number) => if let Some(id) = at(number) {
                        book.remove(&id).unwrap();
                        model.remove(&id);
                    },
                    Step::Unknown => {
                        prop_assert!(matches!(book.remove("1"), Err(BookError::Unknown)));
                        prop_assert!(matches!(book.replace("1", filter("a")), Err(BookError::Unknown)));
                    }
                    Step::Restart => book = Book::open(Some(dir.path())),
                }
                prop_assert_eq!(book.filters(), &model);
            }
        }
    }

    #[test]
    fn ids_that_are_taken_are_passed_over() {
        let mut book = Book::default();
        for id in ["999996", "999997", "999998", "100000"] {
            book.filters.insert(id.to_owned(), Filter::default());
        }
        assert_eq!(book.free_id_from(999_996 - 100_000), "100001");
        assert!(IDS.contains(&book.free_id_from(u64::MAX).parse().unwrap()));
    }

    #[test]
    fn what_is_too_much_or_cannot_be_stored_changes_nothing() {
        let mut book = Book::default();
        let large = "x".repeat(MAX_BYTES);
        assert!(matches!(book.create(filter(&large)), Err(BookError::Full)));
        assert!(book.filters().is_empty());
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::open(Some(&dir.path().join("absent")));
        assert!(matches!(book.create(filter("a")), Err(BookError::Store(_))));
        assert!(book.filters().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        for content in
            ["", "{", "[]", r#"{"format":2,"subscriptions":{}}"#, r#"{"format":1,"subscriptions":7}"#]
        {
            std::fs::write(dir.path().join(FILE), content).unwrap();
            assert!(Book::open(Some(dir.path())).filters().is_empty(), "{content}");
            assert!(!dir.path().join(FILE).exists(), "{content}");
        }
    }
}
