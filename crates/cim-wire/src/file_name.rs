//! The name of a container's log file (wire contract §8.1, §8.3).
//!
//! Owns the name; leaves out directories and rotation. Names in messages are hostile: the invariant is that
//! a name never leaves its directory, never opens with a dot or a dash, always leaves room for the suffix of a
//! rotated file, and that two different `<name>-<id>` texts never get the same file.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Longest file name given out, in bytes: 255, which file systems allow, less the 28 that rotation adds
/// (`-yyyy-MM-ddTHH-mm-ss.SSS` and `_bkp`).
pub const MAX_LOG_FILE_NAME: usize = 255 - 28;

const EXTENSION: &str = ".log";

/// Stands before the hash of a name that was too long. No escape looks like it: those are `%` and two digits.
const HASH_MARK: &str = "%_";

/// Digits of the hash: 160 bits of SHA-256.
const HASH_DIGITS: usize = 40;

/// `<pod>_<namespace>_<container_name>-<container_id>.log`.
///
/// Equal to the original's name when all parts are made of ASCII letters, digits, `.`, `_` and `-`. Any other byte
/// becomes `%XX`, and so does a dot or dash at the very start. A name beyond [`MAX_LOG_FILE_NAME`] is cut and
/// ends in a hash of the whole.
///
/// The dash between name and id is the original's: container `a-b` with id `c` and container `a` with id `b-c`
/// share a file here as they did there.
#[must_use]
pub fn log_file_name(pod: &str, namespace: &str, container_name: &[u8], container_id: &[u8]) -> String {
    let parts: [&[u8]; 7] =
        [pod.as_bytes(), b"_", namespace.as_bytes(), b"_", container_name, b"-", container_id];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut name = String::with_capacity(length + EXTENSION.len());
    for byte in parts.into_iter().flatten() {
        push_safe(*byte, &mut name);
    }
    if name.len() + EXTENSION.len() > MAX_LOG_FILE_NAME {
        shorten(&mut name);
    }
    name.push_str(EXTENSION);
    name
}

/// What the name of a log file says (wire contract §8.1, §8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFileName<'n> {
    /// Name of the container: up to the last dash, because names have dashes and identifiers rarely do.
    pub container_name: &'n str,
    /// Identifier of the container; may be empty.
    pub container_id: &'n str,
    /// The file was rotated: it is not written any more.
    pub is_rotated: bool,
}

impl<'n> LogFileName<'n> {
    /// Reads the name of a current or rotated file of exactly this pod and namespace; `None` for any other name.
    #[must_use]
    pub fn parse(name: &'n str, pod: &str, namespace: &str) -> Option<Self> {
        let rest = name.strip_prefix(pod)?.strip_prefix('_')?.strip_prefix(namespace)?.strip_prefix('_')?;
        let (container, is_rotated) = match rest.strip_suffix(".log_bkp") {
            Some(rotated) => {
                let (container, stamp) = rotated.split_at_checked(rotated.len().checked_sub(STAMP.len())?)?;
                (container.strip_suffix('-').filter(|_| is_stamp(stamp))?, true)
            }
            None => (rest.strip_suffix(EXTENSION)?, false),
        };
        let (container_name, container_id) = container.rsplit_once('-')?;
        Some(Self { container_name, container_id, is_rotated })
    }
}

/// Shape of the time in the name of a rotated file; `0` stands for any digit.
const STAMP: &str = "0000-00-00T00-00-00.000";

fn is_stamp(text: &str) -> bool {
    text.len() == STAMP.len()
        && text
            .bytes()
            .zip(STAMP.bytes())
            .all(|(byte, shape)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape })
}

fn push_safe(byte: u8, name: &mut String) {
    let safe = match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => true,
        b'.' | b'-' => !name.is_empty(),
        _ => false,
    };
    if safe {
        name.push(char::from(byte));
    } else {
        // Writing to a string cannot fail.
        let _ = write!(name, "%{byte:02X}");
    }
}

fn shorten(name: &mut String) {
    let digest = Sha256::digest(name.as_bytes());
    name.truncate(MAX_LOG_FILE_NAME - EXTENSION.len() - HASH_MARK.len() - HASH_DIGITS);
    name.push_str(HASH_MARK);
    for byte in digest.iter().take(HASH_DIGITS / 2) {
        let _ = write!(name, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(container_name: &[u8], container_id: &[u8]) -> String {
        log_file_name("p", "n", container_name, container_id)
    }

    #[test]
    fn safe_names_are_the_originals() {
        assert_eq!(name(b"cmaas", b"null"), "p_n_cmaas-null.log");
        assert_eq!(name(b"", b""), "p_n_-.log");
        assert_eq!(name(b"topo-engine_2.0", b"5A1f"), "p_n_topo-engine_2.0-5A1f.log");
    }

    #[test]
    fn hostile_names_stay_in_the_directory() {
        assert_eq!(name(b"a/../../evil", b"x"), "p_n_a%2F..%2F..%2Fevil-x.log");
        assert_eq!(name(b"\0\n%s\"\xff", b"-"), "p_n_%00%0A%25s%22%FF--.log");
        assert_eq!(name("\u{202e}".as_bytes(), b" "), "p_n_%E2%80%AE-%20.log");
        assert_eq!(log_file_name(".", "n", b"a", b"b"), "%2E_n_a-b.log");
        assert_eq!(log_file_name("..", "n", b"a", b"b"), "%2E._n_a-b.log");
        assert_eq!(log_file_name("-rf", "n", b"a", b"b"), "%2Drf_n_a-b.log");
        assert_eq!(log_file_name("", "", b"", b""), "__-.log");
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let fits = MAX_LOG_FILE_NAME - "p_n_-i.log".len();
        assert_eq!(name(&vec![b'a'; fits], b"i").len(), MAX_LOG_FILE_NAME);
        assert!(!name(&vec![b'a'; fits], b"i").contains('%'));
        assert!(name(&vec![b'a'; fits + 1], b"i").contains(HASH_MARK));
        assert_eq!(name(&vec![b'a'; fits + 1], b"i").len(), MAX_LOG_FILE_NAME);
        let first = name(b"a", &[b'1'; 4096]);
        assert_eq!(first.len(), MAX_LOG_FILE_NAME);
        assert_ne!(first, name(b"a", &[b'1'; 4097]));
        assert!(first.starts_with("p_n_a-111") && first.contains(HASH_MARK) && first.ends_with(EXTENSION));
    }

    #[test]
    fn a_name_that_spells_a_cut_name_lands_elsewhere() {
        let cut = name(b"a", &[b'1'; 4096]);
        let (container, id) =
            cut.strip_prefix("p_n_").unwrap().strip_suffix(EXTENSION).unwrap().split_once('-').unwrap();
        assert_ne!(name(container.as_bytes(), id.as_bytes()), cut);
    }

    #[test]
    fn names_are_read_back_for_this_pod_only() {
        let parse = |name| {
            LogFileName::parse(name, "pod-1", "ns1").map(|n| (n.container_name, n.container_id, n.is_rotated))
        };
        assert_eq!(parse("pod-1_ns1_topo-engine-c1.log"), Some(("topo-engine", "c1", false)));
        assert_eq!(parse("pod-1_ns1_cim-.log"), Some(("cim", "", false)));
        assert_eq!(parse("pod-1_ns1_app-c1-2021-03-01T00-00-00.123.log_bkp"), Some(("app", "c1", true)));
        for other in [
            "pod-12_ns1_app-c1.log",
            "pod-1_ns12_app-c1.log",
            "xpod-1_ns1_app-c1.log",
            "pod-1_ns1_app.log",
            "pod-1_ns1_app-c1.txt",
            "pod-1_ns1_app-c1.log_bkp",
            "pod-1_ns1_app-c1-2021-03-01T00:00:00.123.log_bkp",
            "pod-1_ns1_.log",
            "",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    fn joined(parts: &(Vec<u8>, Vec<u8>)) -> Vec<u8> {
        [parts.0.as_slice(), b"-", parts.1.as_slice()].concat()
    }

    proptest! {
        #[test]
        fn contained_and_one_file_per_name(
            one in (hostile(), hostile()),
            two in (hostile(), hostile()),
        ) {
            let first = name(&one.0, &one.1);
            prop_assert!(first.len() <= MAX_LOG_FILE_NAME);
            prop_assert!(first.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%".contains(&b)));
            prop_assert!(first.starts_with("p_n_") && first.ends_with(".log"));
            prop_assert_eq!(first == name(&two.0, &two.1), joined(&one) == joined(&two));
        }
    }

    /// Short names of few letters, so that equal and nearly equal ones are common; now and then a long one.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let letters = proptest::sample::select(b"a-%2F/.\x00\xff_".to_vec());
        prop_oneof![
            8 => proptest::collection::vec(letters.clone(), 0..4),
            1 => proptest::collection::vec(letters, 190..260),
        ]
    }
}
