//! Source `file`: configuration from a directory of the same shape as the store (wire contract §4.1).
//!
//! | file in the directory | key |
//! |---|---|
//! | `change-set/<ns>/<microservice>/<version>/<level>/<document>/<revision>` | the same; `<document>` is a directory |
//! | `config/<ns>/<microservice>/<revision>` | the same |
//! | `config/<ns>/<microservice>`, or with `.json` at its end | `config/<ns>/<microservice>`; with `.json` a directory of revisions may stand beside it |
//! | `commit-config/…`, `cim-status/…` | written by CIM: results, and the stories of changes |
//!
//! A file that is removed is a key that is removed. What begins with a dot is no key.
//!
//! | what somebody does | what is seen |
//! |---|---|
//! | writes a file elsewhere and renames it, as it should be done | one change |
//! | writes in place | the file as it is once it has not changed for 200 ms |
//! | swaps the data of a ConfigMap volume | the keys whose content changed; the volume may be mounted at any level below the directory |
//! | removes or renames the directory | the watch ends with an error, and nothing counts as removed; a new one begins with everything |
//!
//! The directory is looked through when the kernel says that something changed, and every `poll_interval` in any case, but
//! at most a twentieth of the time.
//!
//! Bounds: a file above 1 MiB is left out and said once; 20,000 files or 64 MiB together are an error. Links are followed
//! only as ConfigMap volumes make them, `name -> ..data/name` and `..data -> ..<one name>`, and nothing outside the directory
//! is read or written. There are no leases: a change lasts as long as its file.
//!
//! Left out: what keys mean. Invariant: nothing counts as removed unless the directory was read whole without it.

mod alarm;
mod census;
mod fault;
mod folder;
mod listing;
mod results;
mod settings;
mod source;
mod watch;

pub use settings::FileSettings;
pub use source::FileSource;
