//! The store as the config server uses it, and a plain watcher that does nothing but note when it was told.
//!
//! Left out: starting etcd. Invariant: the watcher is a client like any other, on a connection of its own.

use std::convert::Infallible;
use std::time::Duration;

use etcd_client::{
    Client, PutOptions, Txn, TxnOp, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{change_key, commit_key};
use crate::error::{BenchError, Result};

/// Notes that may wait to be looked at.
const ROOM: usize = 1024;
/// Changes per transaction; the server takes 128.
const BATCH: usize = 100;
/// Length of a patch that is as long as those of people, bytes.
const PATCH: usize = 200;

/// A key that the watcher was told of.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A client that writes.
pub struct Store {
    client: Client,
}

/// A client that watches changes and results.
pub struct Watcher {
    answers: WatchResponseStream,
    /// Kept: the watch ends with it.
    _questions: WatchRequestSender,
    told: mpsc::Sender<Seen>,
}

fn failed(what: &'static str) -> impl FnOnce(etcd_client::Error) -> BenchError {
    move |source| BenchError::Etcd { what, source: Box::new(source) }
}

fn patch(revision: i32) -> String {
    let text = format!("{revision}{}", "x".repeat(PATCH));
    format!(r#"[{{"op":"replace","path":"/n","value":"{}"}}]"#, text.get(..PATCH).unwrap_or(&text))
}

impl Store {
    /// A client of that server.
    ///
    /// # Errors
    /// It does not answer.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn connect(endpoint: &str) -> Result<Self> {
        let client = Client::connect([endpoint], None).await.map_err(failed("connect to etcd"))?;
        Ok(Self { client })
    }

    /// Writes a change, as one put. Returns when that was acknowledged.
    ///
    /// # Errors
    /// It was not.
    ///
    /// # Cancel safety
    /// When dropped, the change may have been written.
    pub async fn change(&mut self, document: &str, revision: i32) -> Result<Instant> {
        let put = self.client.put(change_key(document, revision), patch(revision), None);
        put.await.map_err(failed("put a change"))?;
        Ok(Instant::now())
    }

    /// Writes the changes of these revisions under leases of that length, spread over the documents.
    ///
    /// # Errors
    /// One was not acknowledged.
    ///
    /// # Cancel safety
    /// When dropped, some of them may have been written.
    pub async fn burst(
        &mut self,
        documents: &[String],
        revisions: std::ops::Range<i32>,
        lease: Duration,
    ) -> Result<()> {
        let revisions: Vec<i32> = revisions.collect();
        let seconds = i64::try_from(lease.as_secs()).unwrap_or(i64::MAX);
        for batch in revisions.chunks(BATCH) {
            let lease = self.client.lease_grant(seconds, None).await.map_err(failed("grant a lease"))?.id();
            let puts: Vec<TxnOp> = batch
                .iter()
                .map(|revision| {
                    let place = usize::try_from(*revision).unwrap_or_default() % documents.len().max(1);
                    let document = documents.get(place).map(String::as_str).unwrap_or_default();
                    let options = PutOptions::new().with_lease(lease);
                    TxnOp::put(change_key(document, *revision), patch(*revision), Some(options))
                })
                .collect();
            self.client.txn(Txn::new().and_then(puts)).await.map_err(failed("put changes"))?;
        }
        Ok(())
    }
}

impl Watcher {
    /// A watcher of changes and results, and what it is told.
    ///
    /// # Errors
    /// The server does not answer.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn connect(endpoint: &str) -> Result<(Self, mpsc::Receiver<Seen>)> {
        let client = Client::connect([endpoint], None).await.map_err(failed("connect to etcd"))?;
        let watch = failed("watch etcd");
        let prefix =
            |key: String| key.rsplit_once("/ms/").map(|(prefix, _)| prefix.to_owned()).unwrap_or(key);
        let options = || Some(WatchOptions::new().with_prefix());
        let stream =
            client.watch_client().watch(prefix(change_key("", 0)), options()).await.map_err(watch)?;
        let (mut questions, answers) = stream.split();
        questions.watch(prefix(commit_key()), options()).await.map_err(failed("watch etcd"))?;
        let (told, seen) = mpsc::channel(ROOM);
        Ok((Self { answers, _questions: questions, told }, seen))
    }

    /// Notes what it is told until the watch ends.
    ///
    /// # Errors
    /// The watch ended.
    ///
    /// # Cancel safety
    /// May be dropped and called again; what was being noted is lost.
    pub async fn watch(&mut self) -> Result<Infallible> {
        loop {
            let answer = self.answers.message().await.map_err(failed("watch etcd"))?;
            let at = Instant::now();
            let Some(answer) = answer else {
                return Err(BenchError::Protocol("etcd ended the watch".into()));
            };
            for seen in notes(&answer, at) {
                // Nobody may be interested.
                let _ = self.told.send(seen).await;
            }
        }
    }
}

fn notes(answer: &WatchResponse, at: Instant) -> impl Iterator<Item = Seen> {
    answer.events().iter().filter_map(move |event| {
        let kv = event.kv()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Seen { at, key: text(kv.key()), value: text(kv.value()) })
    })
}
