//! A table of kinds by name, with stand-ins for those that were compiled out.

use std::collections::BTreeMap;

use super::{Problem, suggest};

/// Something that is selected by its name.
pub trait Kind {
    /// What it is called in messages, for example `sink type`.
    const WHAT: &'static str;

    /// What selects it.
    fn name(&self) -> &'static str;
}

#[derive(Debug, Clone, Copy)]
enum Entry<K> {
    Present(K),
    CompiledOut { feature: &'static str },
}

/// All kinds of one sort.
#[derive(Debug, Clone)]
pub struct Kinds<K>(BTreeMap<&'static str, Entry<K>>);

impl<K> Default for Kinds<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Kind> Kinds<K> {
    /// Adds a kind; a later one of the same name replaces it.
    pub fn add(&mut self, kind: K) {
        self.0.insert(kind.name(), Entry::Present(kind));
    }

    /// Notes a kind that exists but was compiled out.
    pub fn compiled_out(&mut self, name: &'static str, feature: &'static str) {
        self.0.insert(name, Entry::CompiledOut { feature });
    }

    /// The kinds that can be built, by name.
    pub fn iter(&self) -> impl Iterator<Item = &K> {
        self.0.values().filter_map(|entry| match entry {
            Entry::Present(kind) => Some(kind),
            Entry::CompiledOut { .. } => None,
        })
    }

    /// The kind of that name; `path` is where the name stands, for the error.
    ///
    /// # Errors
    /// [`Problem`] for an unknown kind (with the list and a suggestion) and for one that was compiled out (with the
    /// feature to build with).
    pub fn find(&self, name: &str, path: &str) -> Result<&K, Problem> {
        let what = K::WHAT;
        match self.0.get(name) {
            Some(Entry::Present(kind)) => Ok(kind),
            Some(Entry::CompiledOut { feature }) => Err(Problem::new(
                path,
                format!("{what} `{name}` is not part of this build; build with `--features {feature}`"),
            )),
            None => {
                let known: Vec<_> = self.iter().map(Kind::name).collect();
                let hint = suggest(name, known.iter().copied())
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default();
                let message = format!("unknown {what} `{name}`{hint} (this build has: {})", known.join(", "));
                Err(Problem::new(path, message))
            }
        }
    }
}
