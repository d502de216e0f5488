//! Storing what became of a change (wire contract §4.2).
//!
//! Owns the decision what is written and the transactions, that of a note as well. Left out: the connection. Invariants: commit and status are
//! written together; neither over a value that was not looked at; what is stored already is not written again, because the
//! config server acts on every write it sees.

use cim_core::{ConfigOutcome, Reported};
use etcd_client::{Client, Compare, CompareOp, Error, GetOptions, Txn, TxnOp, TxnOpResponse};

/// How often a transaction is tried while others write the same keys.
const ATTEMPTS: u32 = 10;

/// What is to be written under a key.
struct Line {
    key: String,
    value: Vec<u8>,
}

/// What is stored under a key.
struct Stored {
    value: Vec<u8>,
    /// The change that wrote it; 0: the key does not exist.
    revision: i64,
}

/// Stores an outcome.
pub(crate) async fn store(client: Client, outcome: &ConfigOutcome) -> Result<Reported, Error> {
    let status = outcome.status.as_ref().map(|(key, status)| {
        let value = serde_json::to_vec(status).map_err(|error| Error::InvalidArgs(error.to_string()))?;
        Ok::<Line, Error>(Line { key: key.clone(), value })
    });
    let status = status.transpose()?;
    let commit = outcome.commit.as_ref();
    let commit_line =
        commit.map(|commit| Line { key: commit.key.clone(), value: commit.value.to_string().into_bytes() });
    let mut kv = client.kv_client();
    for _ in 0..ATTEMPTS {
        let mut writes = Vec::new();
        let mut reported = Reported::Stored;
        let lines: Vec<&Line> = commit_line.iter().chain(&status).collect();
        let stored = look(&mut kv, &lines).await?;
        for (line, stored) in lines.iter().zip(&stored) {
            let superseded = commit
                .filter(|commit| commit.key == line.key)
                .and_then(|c| c.is_superseded_by(&stored.value));
            if let Some(stored) = superseded {
                reported = Reported::Superseded { stored };
            } else if stored.revision == 0 || stored.value != line.value {
                writes.push(TxnOp::put(line.key.as_str(), line.value.as_slice(), None));
            }
        }
        if writes.is_empty() {
            return Ok(reported);
        }
        let unchanged: Vec<Compare> = lines
            .iter()
            .zip(&stored)
            .map(|(line, stored)| Compare::mod_revision(line.key.as_str(), CompareOp::Equal, stored.revision))
            .collect();
        if kv.txn(Txn::new().when(unchanged).and_then(writes)).await?.succeeded() {
            return Ok(reported);
        }
    }
    Err(Error::GRpcStatus(tonic::Status::aborted("others write the same keys all the time")))
}

/// Writes a key that still holds `old`; `None`: that does not exist.
pub(crate) async fn swap(client: Client, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, Error> {
    let unchanged = match old {
        Some(old) => Compare::value(key, CompareOp::Equal, old),
        None => Compare::version(key, CompareOp::Equal, 0),
    };
    let write = Txn::new().when([unchanged]).and_then([TxnOp::put(key, new, None)]);
    Ok(client.kv_client().txn(write).await?.succeeded())
}

/// What is stored under each key, at one moment.
async fn look(kv: &mut etcd_client::KvClient, lines: &[&Line]) -> Result<Vec<Stored>, Error> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let reads: Vec<TxnOp> =
        lines.iter().map(|line| TxnOp::get(line.key.as_str(), Some(GetOptions::new()))).collect();
    let answers = kv.txn(Txn::new().and_then(reads)).await?.op_responses();
    let stored = answers.into_iter().map(|answer| match answer {
        TxnOpResponse::Get(mut answer) => {
            let found = answer.take_kvs().into_iter().next();
            found.map_or(Stored { value: Vec::new(), revision: 0 }, |kv| {
                let revision = kv.mod_revision();
                Stored { value: kv.into_key_value().1, revision }
            })
        }
        _ => Stored { value: Vec::new(), revision: 0 },
    });
    Ok(stored.collect())
}
