//! Users, passwords and certificates.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use cim_config_etcd::{EtcdSettings, EtcdSource};
use cim_core::settings::Secret;
use cim_core::{Commit, ConfigOutcome, ConfigSource as _, Reported, SourceErrorKind, chain};
#[cfg(feature = "tls")]
use cim_services::{Authority, Home};
use cim_services::{EtcdPlan, EtcdVersion};
use rig::{Tail, change, scope};

const PREFIXES: [&str; 3] = ["change-set/", "config/", "commit-config/"];

fn commit(value: i32) -> ConfigOutcome {
    let key = "commit-config/ns/amf/v1/ms/pod".to_owned();
    ConfigOutcome { commit: Some(Commit { key, value }), status: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_valid_any_more_is_replaced_without_an_error() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let root = etcd.enable_auth("root secret", "cim", "secret", &PREFIXES);
        let settings = EtcdSettings {
            user: Some("cim".to_owned()),
            password: Some(Secret::new("secret")),
            ..rig::settings(&etcd.endpoints())
        };
        let source = EtcdSource::new("etcd", &settings).unwrap();
        let mut tail = Tail::new(&source, &scope("amf"), None);
        tail.reset().await;
        assert_eq!(source.report(&commit(1)).await.unwrap(), Reported::Stored);
        // Every token is forgotten.
        let _ = root.etcdctl(&["auth", "disable"]);
        let _ = etcd.etcdctl(&["auth", "enable"]);
        assert_eq!(source.report(&commit(2)).await.unwrap(), Reported::Stored);
        let _ = root.etcdctl(&["put", &change("amf", 1), "1"]);
        tail.put().await;
        // What is open to another user only is not read.
        let error = source.read("stateActive/nf").await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unauthorized, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_changed_in_its_file_is_used_by_the_next_connection() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let root = etcd.enable_auth("root secret", "cim", "first-canary", &PREFIXES);
        let file = etcd.home().join("password");
        std::fs::write(&file, "wrong-canary\n").unwrap();
        let settings = EtcdSettings {
            user: Some("cim".to_owned()),
            password_file: Some(file.clone()),
            ..rig::settings(&etcd.endpoints())
        };
        let source = EtcdSource::new("etcd", &settings).unwrap();
        let refused = source.report(&commit(1)).await.unwrap_err();
        assert_eq!(refused.kind(), SourceErrorKind::Unauthorized, "{}", chain(&refused));
        assert!(!format!("{refused:?} {}", chain(&refused)).contains("canary"));
        let ended = Tail::new(&source, &scope("amf"), None).error().await;
        assert_eq!(ended.kind(), SourceErrorKind::Unauthorized);
        std::fs::write(&file, "first-canary\n").unwrap();
        assert_eq!(source.report(&commit(1)).await.unwrap(), Reported::Stored);
        root.set_password("cim", "second-canary");
        std::fs::write(&file, "second-canary\n").unwrap();
        assert_eq!(source.report(&commit(2)).await.unwrap(), Reported::Stored, "{version:?}");
        Tail::new(&source, &scope("amf"), None).reset().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_towards_a_store_without_users_is_a_mistake_in_the_settings() {
    let Some(etcd) = cim_services::Etcd::shared() else { return };
    let settings = EtcdSettings {
        user: Some("cim".to_owned()),
        password: Some(Secret::new("secret")),
        ..rig::settings(&etcd.endpoints())
    };
    let source = EtcdSource::new("etcd", &settings).unwrap();
    let error = source.read("any").await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Misconfigured, "{}", chain(&error));
    assert!(error.to_string().contains("authentication is not enabled"), "{error}");
}

#[test]
#[cfg(not(feature = "tls"))]
fn certificates_are_verified_on_both_sides() {
    cim_testkit::skipped("built without the feature `tls` of cim-config-etcd");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(feature = "tls")]
async fn certificates_are_verified_on_both_sides_and_read_again_when_they_change() {
    let home = Home::new();
    let Some(authority) = Authority::new(&home.path().join("ours")) else { return };
    let stranger = Authority::new(&home.path().join("strange")).unwrap();
    let (server, client) = (authority.issue("server", 2), authority.issue("client", 2));
    for version in EtcdVersion::ALL {
        let plan = EtcdPlan::new().version(version).tls(&authority, &server, &client);
        let Some(etcd) = plan.start() else { return };
        let file = |name: &str| home.path().join(name);
        let copy = |from: &std::path::Path, to: &str| assert!(std::fs::copy(from, file(to)).is_ok());
        let strange = stranger.issue("client", 2);
        copy(stranger.certificate(), "ca.pem");
        copy(&strange.certificate, "cert.pem");
        copy(&strange.key, "key.pem");
        let settings = EtcdSettings {
            ca_file: Some(file("ca.pem")),
            client_cert_file: Some(file("cert.pem")),
            client_key_file: Some(file("key.pem")),
            ..rig::settings(&etcd.endpoints())
        };
        let source = EtcdSource::new("etcd", &settings).unwrap();
        let error = source.read("any").await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unauthorized, "the server's: {}", chain(&error));
        copy(authority.certificate(), "ca.pem");
        // The refusal comes after the handshake, and is lost now and then when the server closes right behind it.
        let refused =
            async { while source.read("any").await.unwrap_err().kind() != SourceErrorKind::Unauthorized {} };
        tokio::time::timeout(rig::PATIENCE, refused).await.expect("the server refuses our certificate");
        copy(&client.certificate, "cert.pem");
        copy(&client.key, "key.pem");
        assert_eq!(source.read("any").await.unwrap(), None);
        let mut tail = Tail::new(&source, &scope("amf"), None);
        tail.reset().await;
        etcd.put(&change("amf", 1), "1");
        tail.put().await;

        let named = EtcdSettings { server_name: Some("elsewhere".to_owned()), ..settings.clone() };
        let error = EtcdSource::new("etcd", &named).unwrap().read("any").await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unauthorized, "{}", chain(&error));
        let named = EtcdSettings { server_name: Some("localhost".to_owned()), ..settings };
        EtcdSource::new("etcd", &named).unwrap().read("any").await.unwrap();
    }
}
