//! What a NATS client must present, with the secrets read from their files.
//!
//! Left out: comparing. The invariant: a secret file that is missing, empty or unreadable is a problem of the
//! configuration, never an open door.

use std::path::{Path, PathBuf};

use cim_core::Problem;

use super::listen::NatsAuth;
use cim_core::settings::Secret;

/// What a client must present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token.
    Token(Secret),
    /// A user name and its password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: Secret,
    },
}

impl Credentials {
    /// Reads what `[nats.auth]` says.
    ///
    /// # Errors
    /// Everything that is wrong with the section or its files.
    pub fn load(auth: &NatsAuth) -> Result<Self, Vec<Problem>> {
        Self::load_at("nats.auth", auth)
    }

    /// The same for a table of that form at another place.
    ///
    /// # Errors
    /// As for [`Credentials::load`].
    pub fn load_at(at: &str, auth: &NatsAuth) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let (at_token, at_password) = (format!("{at}.token"), format!("{at}.password"));
        let token = pick(&at_token, auth.token.as_ref(), auth.token_file.as_deref(), &mut problems);
        let password =
            pick(&at_password, auth.password.as_ref(), auth.password_file.as_deref(), &mut problems);
        let chosen = match (token, auth.user.clone().filter(|user| !user.is_empty()), password) {
            _ if !problems.is_empty() => None,
            (Some(token), None, None) => Some(Self::Token(token)),
            (None, Some(name), Some(password)) => Some(Self::User { name, password }),
            (None, Some(_), None) => {
                problems.push(Problem::new(at, "`user` needs `password_file` or `password`"));
                None
            }
            (None, None, Some(_)) => {
                problems.push(Problem::new(at, "a password needs `user`"));
                None
            }
            (None, None, None) => {
                let message =
                    "needs `token_file`, or `user` and `password_file`; without auth leave the section out";
                problems.push(Problem::new(at, message));
                None
            }
            (Some(_), _, _) => {
                problems.push(Problem::new(at, "takes a token, or a user and a password, not both"));
                None
            }
        };
        chosen.ok_or(problems)
    }
}

/// The files a section names, for the watch on changes.
#[must_use]
pub fn files(auth: &NatsAuth) -> Vec<PathBuf> {
    [&auth.token_file, &auth.password_file].into_iter().flatten().cloned().collect()
}

fn pick(
    path: &str,
    given: Option<&Secret>,
    file: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Option<Secret> {
    let in_file = format!("{path}_file");
    match (given, file) {
        (Some(_), Some(_)) => {
            problems
                .push(Problem::new(in_file, "is given a second time beside the value itself; keep the file"));
            None
        }
        (Some(secret), None) => Some(secret.clone()),
        (None, Some(file)) => {
            Secret::read(file).map_err(|message| problems.push(Problem::new(in_file, message))).ok()
        }
        (None, None) => None,
    }
}
