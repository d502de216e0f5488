//! A NATS server in operator mode: who trusts whom is said by signed documents (JWT), and a user proves its key by signing.
//!
//! Owns an operator, one account and its users, with fresh keys. Left out: the server. Invariant: what is made here is what `nsc`
//! makes, so a server takes it without any tool of its own.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator with one account, and one for the servers themselves.
pub struct NatsAccounts {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl std::fmt::Debug for NatsAccounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsAccounts").field("account", &self.account.public_key()).finish_non_exhaustive()
    }
}

impl Default for NatsAccounts {
    fn default() -> Self {
        let [account, system] = [(); 2].map(|()| KeyPair::new_account());
        Self { operator: KeyPair::new_operator(), account, system }
    }
}

impl NatsAccounts {
    /// What the configuration of a server says, so that it trusts this operator and knows its account.
    #[must_use]
    pub fn configuration(&self) -> String {
        let operator = signed(&self.operator, &self.operator, json!({ "type": "operator" }));
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1, "wildcards": true,
        });
        let [account, system] = [&self.account, &self.system].map(|account| {
            let claims = json!({ "type": "account", "limits": unlimited });
            (account.public_key(), signed(&self.operator, account, claims))
        });
        format!(
            "operator: {operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}: {}\n{}: {}\n}}\n",
            system.0, account.0, account.1, system.0, system.1
        )
    }

    /// Writes the credentials of a fresh user of the account, as `nsc` writes them: its JWT, and the seed of its key.
    pub fn write_user(&self, file: &Path) {
        let user = KeyPair::new_user();
        let claims = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
        let token = signed(&self.account, &user, claims);
        let seed = user.seed().expect("a seed");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(file, text).expect("the credentials");
    }
}

/// What the issuer says of the subject, signed.
fn signed(issuer: &KeyPair, subject: &KeyPair, mut claims: Value) -> String {
    claims["version"] = 2.into();
    let body = json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test",
        "nats": claims,
    });
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), encode(&body));
    let signature = issuer.sign(text.as_bytes()).expect("a signature");
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
