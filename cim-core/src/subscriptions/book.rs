//! The subscriptions of the application, by id, kept in one small file of the spool directory.
//!
//! Owns ids, limits and the file. Left out: what a filter means. Invariants: no id is given out twice at a time; what a call
//! has answered is in the file; a file that cannot be read costs the subscriptions, never the start; what was subscribed to in
//! one pod is not subscribed to in another one of its name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use crate::contract::{Identity, Level};

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
    pod_uid: String,
    file: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Page<'b> {
    format: u32,
    /// `metadata.uid` of the pod they were made in; empty when unknown.
    #[serde(default)]
    pod_uid: Cow<'b, str>,
    subscriptions: Cow<'b, BTreeMap<String, Filter>>,
}

impl Book {
    /// What an earlier run left in that directory, if that was in the pod of that uid; empty: nobody knows it. Without a directory
    /// nothing is kept.
    #[must_use]
    pub fn open(dir: Option<&Path>, pod_uid: &str) -> Self {
        let Some(dir) = dir else { return Self::default() };
        let file = dir.join(FILE);
        let (found, before) = match read(&file) {
            Ok(page) => (page.subscriptions.into_owned(), page.pod_uid.into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Default::default(),
            Err(error) => {
                let aside = dir.join(format!("{FILE}.unreadable"));
                tracing::error!(
                    file = %file.display(), %error, aside = %aside.display(),
                    "the subscriptions of an earlier run cannot be read; the application has to subscribe again"
                );
                let _ = std::fs::rename(&file, aside);
                Default::default()
            }
        };
        let is_another = Identity::are_of_two_pods(&before, pod_uid);
        if is_another && !found.is_empty() {
            tracing::info!(
                subscriptions = found.len(),
                uid = before,
                "what another pod of this name had subscribed to is left out; the application of this one subscribes itself"
            );
        }
        let filters = if is_another { BTreeMap::new() } else { found };
        let pod_uid = if pod_uid.is_empty() { before } else { pod_uid.to_owned() };
        Self { filters, pod_uid, file: Some(file) }
    }

    /// All of them, by id.
    #[must_use]
    pub fn filters(&self) -> &BTreeMap<String, Filter> {
        &self.filters
    }

    /// Adds a subscription and returns its id. An application that asks for answers and posts the same again, at each start perhaps,
    /// gets the one it has: with two of them it would get every event twice.
    ///
    /// # Errors
    /// [`BookError`]; nothing changed then.
    pub fn create(&mut self, filter: Filter) -> Result<String, BookError> {
        let is_same = |(_, known): &(&String, &Filter)| filter.acknowledge && **known == filter;
        if let Some((id, _)) = self.filters.iter().find(is_same) {
            return Ok(id.clone());
        }
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
        let (pod_uid, subscriptions) = (Cow::Borrowed(&*self.pod_uid), Cow::Borrowed(&filters));
        let page = Page { format: FORMAT, pod_uid, subscriptions };
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

fn read(file: &Path) -> io::Result<Page<'static>> {
    if std::fs::metadata(file)?.len() > 2 * MAX_BYTES as u64 {
        return Err(io::Error::other("the file is too large"));
    }
    let page: Page<'static> = serde_json::from_slice(&std::fs::read(file)?)?;
    if page.format != FORMAT {
        return Err(io::Error::other(format!("format {} is not known here", page.format)));
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    const UID: &str = "uid-1";

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
            let mut book = Book::open(Some(dir.path()), UID);
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
                    Step::Restart => book = Book::open(Some(dir.path()), UID),
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
        let mut book = Book::open(Some(&dir.path().join("absent")), UID);
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
            assert!(Book::open(Some(dir.path()), UID).filters().is_empty(), "{content}");
            assert!(!dir.path().join(FILE).exists(), "{content}");
        }
    }

    #[test]
    fn subscriptions_are_those_of_their_own_pod() {
        let dir = tempfile::tempdir().unwrap();
        let open = |uid| Book::open(Some(dir.path()), uid);
        let id = open("").create(filter("a")).unwrap();
        assert_eq!(open("uid-1").filters().len(), 1, "nobody knows where they were made");
        let other = open("uid-1").create(filter("b")).unwrap();
        assert_eq!(open("").filters().keys().collect::<BTreeSet<_>>(), BTreeSet::from([&id, &other]));
        assert_eq!(
            open("").pod_uid,
            "uid-1",
            "what is known is not forgotten for a start that does not know it"
        );
        assert_eq!(open("uid-2").filters().len(), 0);
        assert_eq!(open("uid-1").filters().len(), 2, "looking takes nothing away");
        open("uid-2").create(filter("c")).unwrap();
        assert_eq!((open("uid-1").filters().len(), open("uid-2").filters().len()), (0, 1));
    }

    #[test]
    fn the_same_with_answers_is_one_subscription_however_often_it_is_posted() {
        let mut book = Book::default();
        let with_answers = |name| Filter { acknowledge: true, ..filter(name) };
        let id = book.create(with_answers("a")).unwrap();
        assert_eq!(book.create(with_answers("a")).unwrap(), id);
        assert_ne!(book.create(with_answers("b")).unwrap(), id);
        let plain = book.create(filter("a")).unwrap();
        assert_ne!(book.create(filter("a")).unwrap(), plain, "as recorded");
        assert_eq!(book.filters().len(), 4);
    }
}
