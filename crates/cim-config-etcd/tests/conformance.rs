//! The contract of sources, against a real member that asks for a password, of the current and of the oldest version.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::sync::Arc;
use std::time::Duration;

use cim_config_etcd::{EtcdSettings, EtcdSource, Pace};
use cim_core::settings::Secret;
use cim_core::{ConfigSource, async_trait};
use cim_services::{Etcd, EtcdPlan, EtcdVersion};
use cim_testkit::{CannotExpress, SourceFault, SourceHarness, SourceProperty, check_source_in_test};
use etcd_client::{Client, ConnectOptions, PutOptions};
use tokio::time::timeout;

const ROOT: &str = "root-password";
const PASSWORD: &str = "canary-password";

/// A cluster of its own for each test.
struct Store {
    etcd: Etcd,
    settings: EtcdSettings,
}

impl Store {
    fn start(version: EtcdVersion) -> Option<Self> {
        let etcd = EtcdPlan::new().version(version).start()?;
        etcd.enable_auth(
            ROOT,
            "cim",
            PASSWORD,
            &["change-set/", "config/", "commit-config", "cim-status/", "nothing/"],
        );
        let settings = EtcdSettings {
            user: Some("cim".to_owned()),
            password: Some(Secret::new(PASSWORD)),
            request_timeout: rig::CALL_LIMIT.into(),
            ..rig::settings(&etcd.endpoints())
        };
        Some(Self { etcd, settings })
    }

    fn source(&self) -> EtcdSource {
        // An absent member refuses, and calls to one that stalls are dropped: nothing waits for the end of a silence.
        let pace = Pace { silence: Duration::from_secs(10), ..rig::pace() };
        EtcdSource::paced("etcd", &self.settings, pace).unwrap()
    }

    /// Somebody who may do everything.
    async fn other(&self) -> Client {
        self.connect().await.unwrap()
    }

    async fn connect(&self) -> Result<Client, etcd_client::Error> {
        let options = ConnectOptions::new().with_user("root", ROOT);
        Client::connect(self.etcd.endpoints(), Some(options)).await
    }
}

#[async_trait]
impl SourceHarness for Store {
    fn build(&self) -> Arc<dyn ConfigSource> {
        Arc::new(self.source())
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), CannotExpress> {
        self.other().await.put(key, value, None).await.unwrap();
        Ok(())
    }

    async fn put_leased(&self, key: &[u8], value: &[u8], time: Duration) -> Result<(), CannotExpress> {
        let mut other = self.other().await;
        let lease = other.lease_grant(time.as_secs().cast_signed(), None).await.unwrap().id();
        other.put(key, value, Some(PutOptions::new().with_lease(lease))).await.unwrap();
        Ok(())
    }

    async fn delete(&self, key: &[u8]) {
        self.other().await.delete(key, None).await.unwrap();
    }

    async fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        let answer = self.other().await.get(key, None).await.unwrap();
        answer.kvs().first().map(|kv| kv.value().to_vec())
    }

    async fn forget_history(&self) -> Result<(), CannotExpress> {
        let mut other = self.other().await;
        let revision = other.get("any", None).await.unwrap().header().unwrap().revision();
        other.compact(revision, None).await.unwrap();
        Ok(())
    }

    async fn fail(&self, fault: SourceFault) -> Result<(), CannotExpress> {
        match fault {
            SourceFault::Absent => self.etcd.member(0).kill(),
            SourceFault::Stalled => self.etcd.member(0).pause(),
        }
        Ok(())
    }

    async fn heal(&self) {
        self.etcd.member(0).launch();
        self.etcd.member(0).resume();
        let ready = async {
            // It answers for its users once it has read what was there.
            while !matches!(timeout(Duration::from_millis(500), self.connect()).await, Ok(Ok(_))) {}
        };
        timeout(rig::PATIENCE, ready).await.unwrap();
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned(), ROOT.to_owned()]
    }

    fn texts(&self) -> Vec<String> {
        vec![
            format!("{:?} {:?}", self.source(), self.settings),
            serde_json::to_string(&self.settings).unwrap(),
        ]
    }
}

/// One test per property and version.
macro_rules! properties {
    ($($test:ident $property:ident),* $(,)?) => {
        properties!(@ current Current, $($test $property),*);
        properties!(@ oldest Oldest, $($test $property),*);

        #[test]
        fn every_property_is_checked() {
            assert_eq!([$(SourceProperty::$property),*], SourceProperty::ALL);
        }
    };
    (@ $name:ident $version:ident, $($test:ident $property:ident),*) => {
        mod $name {
            use super::*;
            $(#[test]
            fn $test() {
                let Some(store) = Store::start(EtcdVersion::$version) else { return };
                check_source_in_test(SourceProperty::$property, || store);
            })*
        }
    };
}

properties!(
    first_reset FirstReset,
    listed Listed,
    follows Follows,
    ordered Ordered,
    scope Scope,
    exact_bytes ExactBytes,
    resume Resume,
    history_gone HistoryGone,
    reported Reported,
    idempotent Idempotent,
    monotonic Monotonic,
    final_words FinalWords,
    read_back ReadBack,
    swapped Swapped,
    report_while_watching ReportWhileWatching,
    lease Lease,
    absent_store AbsentStore,
    recovery Recovery,
    cancellation Cancellation,
    close_twice CloseTwice,
    secrets_hidden SecretsHidden,
);
