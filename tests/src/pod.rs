//! A pod: the program with files as the source of configuration, and the reference application.
//!
//! Owns where things are in the store. Left out: what a test expects.

use std::path::PathBuf;

use crate::application::{Application, Manners};
use crate::{Daemon, until};

/// A patch with characters that are escaped on their way.
pub const PATCH: &str = r#"[{"op":"replace","path":"/a/b","value":"<x>&"}]"#;

const IDENTITY: &str = "[identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"svc\"\nversion = \"v1\"\n\
    tmaas = { nf_type = \"amf\", xgvela_id = \"xgvela1\", nf_id = \"amf1\" }\n";
const SOURCE: &str =
    "[spool]\ndir = \"{home}/spool\"\n[configuration]\nsource = \"file\"\nfile.dir = \"{home}/store\"\n";

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
        let app = Application::start(manners);
        let daemon = Daemon::start(&format!("{}{SOURCE}{more}{IDENTITY}", app.setting()));
        app.connect(daemon.nats());
        std::fs::create_dir_all(daemon.home().join("store")).unwrap();
        Self { daemon, app }
    }

    /// Starts both and registers.
    #[must_use]
    pub fn registered(more: &str) -> Self {
        let pod = Self::start(more);
        pod.register();
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
    pub fn status(&self, revision: i32) -> serde_json::Value {
        let read = || -> Option<serde_json::Value> {
            let text = std::fs::read_to_string(self.path("cim-status/ns1/svc/pod-1/app.json")).ok()?;
            serde_json::from_str(&text)
                .ok()
                .filter(|status: &serde_json::Value| status["revision"] == revision)
        };
        until("the story", || read().is_some());
        read().unwrap()
    }

    /// The application publishes an event of that name.
    pub fn event(&self, name: &str) {
        let mut wire = self.daemon.connect();
        wire.publish("EVENT", format!(r#"{{"eventName":"{name}"}}"#).as_bytes());
        wire.flush();
    }
}
