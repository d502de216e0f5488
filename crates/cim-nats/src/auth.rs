//! Credentials of the listener and the one place where they are checked.
//!
//! Owns what is expected and the comparison. Leaves out reading them from files, and what happens to a client that
//! fails. Invariants: secrets are never printed and leave memory when dropped; the comparison takes the same time
//! wherever the first difference is.

use crate::connect::ConnectOptions;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A credential that never prints.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Wraps the bytes of a credential.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    fn matches(&self, given: Option<&str>) -> bool {
        given.is_some_and(|given| bool::from(self.0.as_slice().ct_eq(given.as_bytes())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a client must show in CONNECT.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `auth_token`.
    Token(Secret),
    /// `user` and `pass`.
    User {
        /// User name.
        user: Secret,
        /// Password.
        password: Secret,
    },
}

impl Auth {
    /// Whether `options` carry the expected credentials.
    pub(crate) fn admits(&self, options: &ConnectOptions) -> bool {
        match self {
            Self::Token(token) => token.matches(options.auth_token.as_ref().map(|token| token.as_str())),
            Self::User { user, password } => {
                let user = user.matches(options.user.as_deref());
                let password = password.matches(options.pass.as_ref().map(|pass| pass.as_str()));
                user & password
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> ConnectOptions {
        ConnectOptions::parse(json.as_bytes(), &ConnectOptions::default()).unwrap()
    }

    #[test]
    fn admits_only_the_right_kind_and_value() {
        let token = Auth::Token(Secret::new("s3cret"));
        assert!(token.admits(&options(r#"{"auth_token":"s3cret"}"#)));
        for wrong in [
            "{}",
            r#"{"auth_token":""}"#,
            r#"{"auth_token":"s3cre"}"#,
            r#"{"auth_token":"s3cret\u0000"}"#,
            r#"{"user":"s3cret","pass":"s3cret"}"#,
        ] {
            assert!(!token.admits(&options(wrong)), "{wrong}");
        }
        let user = Auth::User { user: Secret::new("u"), password: Secret::new("p") };
        assert!(user.admits(&options(r#"{"user":"u","pass":"p"}"#)));
        for wrong in [r#"{"user":"u"}"#, r#"{"user":"p","pass":"u"}"#, r#"{"auth_token":"u"}"#] {
            assert!(!user.admits(&options(wrong)), "{wrong}");
        }
        assert!(!format!("{token:?}{user:?}").contains("s3cret"));
    }
}
