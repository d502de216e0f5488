//! Paths of settings as people read them: `sinks.broker.brokers[1]`.
//!
//! The invariant: a key with other than plain characters is quoted and escaped, so no file can forge a line of output.

use std::fmt::Write;

/// The path of `key` inside the table at `parent`.
#[must_use]
pub fn member(parent: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '$');
    let mut path = parent.to_owned();
    if !path.is_empty() {
        path.push('.');
    }
    if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
        path.push_str(key);
    } else {
        let _ = write!(path, "{:?}", key.chars().take(64).collect::<String>());
    }
    path
}

/// The path of the item at `index` inside the list at `parent`.
#[must_use]
pub fn item(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The path of the table or list around `path`, if there is one.
#[must_use]
pub fn around(path: &str) -> Option<&str> {
    path.rfind(['.', '[']).and_then(|end| path.get(..end))
}
