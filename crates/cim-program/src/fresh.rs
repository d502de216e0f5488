//! A value that is made from files, and made again when one of them changes: a token, a certificate with its key.
//!
//! Left out: what is made. The invariants: the files are looked at when the value is wanted, at most once a second; what
//! cannot be made leaves the value before it in use, and is told once.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::look::{Look, look};

/// How old a look at the files may be.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Makes the value, or says why not.
type Make<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

/// A value made from files.
pub struct Fresh<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    value: Arc<T>,
    looks: Vec<Look>,
    looked: Instant,
}

impl<T> Fresh<T> {
    /// Makes the first value. Blocks.
    ///
    /// # Errors
    /// What `make` says.
    pub fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let looks = files.iter().map(|file| look(file)).collect();
        let held = Held { value: Arc::new(make()?), looks, looked: Instant::now() };
        Ok(Self { files, make: Box::new(make), held: Mutex::new(held) })
    }

    /// The value of the files as they are, or were a second ago. Blocks for as long as small files take.
    pub fn get(&self) -> Arc<T> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK_AGAIN {
            held.looked = Instant::now();
            let looks: Vec<_> = self.files.iter().map(|file| look(file)).collect();
            if looks != held.looks {
                held.looks = looks;
                match (self.make)() {
                    Ok(value) => {
                        held.value = Arc::new(value);
                        tracing::info!(files = ?self.files, "changed files are in use");
                    }
                    Err(why) => tracing::error!("what was read before stays in use: {why}"),
                }
            }
        }
        Arc::clone(&held.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_used_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let path = file.clone();
        let make = move || {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
        };
        assert!(Fresh::new(vec![file.clone()], make.clone()).is_err());
        write("one");
        let begun = Instant::now();
        let fresh = Fresh::new(vec![file.clone()], make).unwrap();
        let looked = |at| std::mem::replace(&mut fresh.held.lock().unwrap().looked, at);
        let later = || looked(Instant::now() - LOOK_AGAIN);
        write("longer");
        // The second of a look that is still to come does not end while this thread is kept waiting.
        assert!(looked(Instant::now() + Duration::from_secs(60)) >= begun);
        assert_eq!(*fresh.get(), "one", "it was looked at just now");
        later();
        assert_eq!(*fresh.get(), "longer");
        write("");
        later();
        assert_eq!(*fresh.get(), "longer");
    }
}
