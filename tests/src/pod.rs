//! A pod: the program with files or an etcd as the source of configuration, and the reference application.
//!
//! Owns where things are in the store. Left out: what a test expects.

use std::path::PathBuf;

use serde_json::Value;

use crate::application::{Application, Manners};
use crate::{Daemon, publication, until};

/// A patch with characters that are escaped on their way.
pub const PATCH: &str = r#"[{"op":"replace","path":"/a/b","value":"<x>&"}]"#;

const IDENTITY: &str = "[identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"svc\"\nversion = \"v1\"\n\
    tmaas = { nf_type = \"amf\", xgvela_id = \"xgvela1\", nf_id = \"amf1\" }\n";
const SOURCE: &str =
    "[spool]\ndir = \"{home}/spool\"\n[configuration]\nsource = \"file\"\nfile.dir = \"{home}/store\"\n";

/// Where the files of the original are, below the directory of the program.
const CIM_JSON: &str = "opt/conf/cim.json";
const COMMON_INFRA: &str = "opt/conf/static/common-infra.json";

/// The program and its application.
pub struct Pod {
    /// The program.
    pub daemon: Daemon,
    /// The application.
    pub app: Application,
}

impl Pod {
    /// Starts both; the application has not registered. `more` follows `[configuration]`.
    #[must_use]
    pub fn start(more: &str) -> Self {
        Self::with(Manners::default(), more)
    }

    /// The same with another application.
    #[must_use]
    pub fn with(manners: Manners, more: &str) -> Self {
        Self::as_told(manners, more, IDENTITY)
    }

    /// The same as another pod: `identity` is that section.
    #[must_use]
    pub fn as_told(manners: Manners, more: &str, identity: &str) -> Self {
        let app = Application::start(manners);
        let daemon = Daemon::start(&format!("{}{SOURCE}{more}{identity}", app.setting()));
        app.connect(daemon.nats());
        std::fs::create_dir_all(daemon.home().join("store")).unwrap();
        Self { daemon, app }
    }

    /// Starts both with an etcd as the source; the application has not registered. `more` follows `[configuration]`.
    #[must_use]
    pub fn of_etcd(endpoints: &[String], more: &str) -> Self {
        let app = Application::start(Manners::default());
        let daemon = Daemon::start(&format!(
            "{}[spool]\ndir = \"{{home}}/spool\"\n[configuration]\nsource = \"etcd\"\netcd.endpoints = {endpoints:?}\n{more}{IDENTITY}",
            app.setting()
        ));
        app.connect(daemon.nats());
        Self { daemon, app }
    }

    /// Starts both with `cim.json`, to which the port of the application is added, and with `common-infra.json` unless that
    /// is empty.
    #[must_use]
    pub fn of_files(mut cim_json: Value, infra: &str, more: &str) -> Self {
        let app = Application::start_where_cim_json_may_say(Manners::default());
        cim_json["cimConfig"]["app_settings"]["app_port"] = app.port().into();
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("opt/conf/static")).unwrap();
        std::fs::write(home.path().join(CIM_JSON), cim_json.to_string()).unwrap();
        if !infra.is_empty() {
            std::fs::write(home.path().join(COMMON_INFRA), infra).unwrap();
        }
        let daemon = Daemon::start_in(home, &format!("{SOURCE}{more}{IDENTITY}"), Daemon::spawn);
        app.connect(daemon.nats());
        std::fs::create_dir_all(daemon.home().join("store")).unwrap();
        let pod = Self { daemon, app };
        pod.register();
        pod
    }

    /// Writes the file `cim.json` as the kubelet does: another file in its place.
    pub fn refresh(&self, cim_json: &Value) {
        let path = self.daemon.home().join(CIM_JSON);
        let fresh = path.with_file_name(".fresh");
        std::fs::write(&fresh, cim_json.to_string()).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }

    /// What the file `cim.json` says.
    #[must_use]
    pub fn file(&self) -> Value {
        let text = std::fs::read(self.daemon.home().join(CIM_JSON)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// What CIM remembers as the `cim.json` in force.
    #[must_use]
    pub fn remembered(&self) -> Value {
        let path = self.daemon.home().join("spool/own-document.json");
        until("it is remembered", || path.exists());
        let text = std::fs::read(path).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["held"]["lineage"]["current"].clone()
    }

    /// Writes a change of `cim.json`.
    pub fn change_own(&self, revision: i32, patch: &Value) {
        self.change_document("cim.json", revision, patch);
    }

    /// Starts both and registers.
    #[must_use]
    pub fn registered(more: &str) -> Self {
        let pod = Self::start(more);
        pod.register();
        pod
    }

    /// Starts both, and the application has its first configuration: an object of documents by name.
    #[must_use]
    pub fn loaded(more: &str, documents: &Value) -> Self {
        let pod = Self::registered(&format!("{more}nf_revision = \"0\"\n"));
        pod.put("config/ns1/svc/0", &documents.to_string());
        pod.event("NotConfigured");
        let is_loaded = || pod.daemon.get("/statusz").unwrap().contains("\"day_one\": \"loaded\"");
        until("the first configuration", is_loaded);
        pod
    }

    /// Registers the application.
    pub fn register(&self) {
        let answer = self.daemon.register();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Where a key is.
    #[must_use]
    pub fn path(&self, key: &str) -> PathBuf {
        self.daemon.home().join("store").join(key)
    }

    /// Writes a key.
    pub fn put(&self, key: &str, value: &str) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let fresh = path.with_file_name(".fresh");
        std::fs::write(&fresh, value).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }

    /// Writes a change of `app.json`.
    pub fn change(&self, revision: i32) {
        self.put(&format!("change-set/ns1/svc/v1/ms/app.json/{revision}"), PATCH);
    }

    /// Writes a change of a document.
    pub fn change_document(&self, document: &str, revision: i32, patch: &Value) {
        self.put(&format!("change-set/ns1/svc/v1/ms/{document}/{revision}"), &patch.to_string());
    }

    /// What the config server reads of a level.
    #[must_use]
    pub fn committed(&self, level: &str) -> Option<String> {
        std::fs::read_to_string(self.path(&format!("commit-config/ns1/svc/v1/{level}/pod-1"))).ok()
    }

    /// Waits for that value of level `ms`.
    pub fn commits(&self, value: &str) {
        until(&format!("commit of {value}"), || self.committed("ms").as_deref() == Some(value));
    }

    /// The story of that change of `app.json`, once it is stored.
    #[must_use]
    pub fn status(&self, revision: i32) -> Value {
        self.story("app.json", revision)
    }

    /// The story of that change of a document, once it is stored.
    #[must_use]
    pub fn story(&self, document: &str, revision: i32) -> Value {
        let path = self.path(&format!("cim-status/ns1/svc/pod-1/{document}"));
        let read = || -> Option<Value> {
            let text = std::fs::read_to_string(&path).ok()?;
            serde_json::from_str(&text).ok().filter(|status: &Value| status["revision"] == revision)
        };
        until("the story", || read().is_some());
        read().unwrap()
    }

    /// The application publishes an event of that name.
    pub fn event(&self, name: &str) {
        let mut wire = self.daemon.connect();
        let event = format!(r#"{{"eventName":"{name}"}}"#);
        // In one write: a program that was told farewell reads nothing that comes much later.
        wire.send(&[&publication("EVENT", event.as_bytes())[..], b"PING\r\n"].concat());
        wire.pong();
    }
}
