//! The config server's auditor (wire contract §4.6) on a real etcd and a real API server: it does delete pods.
//!
//! Owns its watch, its thread, and what it has ruled. Left out: the rules ([`Ruling`]), results of pods that are gone, and the
//! kubelet, who ends what is deleted. Invariants: it knows nothing but what etcd and the API server tell it; one that is away is
//! asked again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cim_services::{Etcd, Kubernetes, Process};
use cim_testkit::{Death, Ruling};
use serde_json::Value;

/// What was ruled, of which pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The change whose lease had ended; `None`: the pod had just written its result.
    pub change: Option<i32>,
    /// The pod.
    pub pod: String,
    /// What followed.
    pub ruling: Ruling,
}

/// An auditor of one namespace, at work until it is dropped.
pub struct Auditor {
    bench: Arc<Bench>,
    thread: Option<JoinHandle<()>>,
    /// Dropped behind the thread that reads what it writes.
    _watch: Process,
    _home: tempfile::TempDir,
}

/// What its thread has before it.
struct Bench {
    etcd: &'static Etcd,
    kubernetes: &'static Kubernetes,
    namespace: String,
    /// What the watch has written.
    file: PathBuf,
    sentences: Mutex<Vec<Sentence>>,
    closed: AtomicBool,
}

impl Auditor {
    /// Begins to judge the pods of a namespace.
    #[must_use]
    pub fn start(etcd: &'static Etcd, kubernetes: &'static Kubernetes, namespace: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("watch");
        // Both prefixes, and what lies between them.
        let (from, to) = (format!("change-set/{namespace}/"), format!("commit-config/{namespace}0"));
        let watch = etcd.watch(&from, &to, &file);
        let bench = Arc::new(Bench {
            etcd,
            kubernetes,
            namespace: namespace.to_owned(),
            file,
            sentences: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let thread = {
            let bench = Arc::clone(&bench);
            std::thread::spawn(move || bench.judge())
        };
        Self { bench, thread: Some(thread), _watch: watch, _home: home }
    }

    /// Everything it has ruled.
    #[must_use]
    pub fn sentences(&self) -> Vec<Sentence> {
        assert!(!self.thread.as_ref().unwrap().is_finished(), "the auditor has failed");
        self.bench.sentences.lock().unwrap().clone()
    }

    /// What it ruled when the lease of a change ended, once it has.
    #[must_use]
    pub fn audited(&self, change: i32) -> Option<Ruling> {
        let sentence = self.sentences().into_iter().find(|sentence| sentence.change == Some(change));
        sentence.map(|sentence| sentence.ruling)
    }

    /// Why it had pods deleted.
    #[must_use]
    pub fn deaths(&self) -> Vec<Death> {
        let rulings = self.sentences().into_iter().map(|sentence| sentence.ruling);
        rulings
            .filter_map(|ruling| if let Ruling::Deleted(death) = ruling { Some(death) } else { None })
            .collect()
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.bench.closed.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Bench {
    fn judge(&self) {
        let mut judged = 0;
        while !self.closed.load(Ordering::Relaxed) {
            let text = std::fs::read_to_string(&self.file).unwrap_or_default();
            let happened = Happened::all(&text);
            for one in &happened[judged..] {
                self.consider(one);
            }
            judged = happened.len();
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a server answers in the end; `None` when the auditor is closed before.
    fn ask<T>(&self, question: impl Fn() -> Result<T, String>) -> Option<T> {
        while !self.closed.load(Ordering::Relaxed) {
            if let Ok(answer) = question() {
                return Some(answer);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }

    fn consider(&self, happened: &Happened) {
        let parts: Vec<&str> = happened.key.split('/').collect();
        match parts[..] {
            ["commit-config", namespace, _, _, .., pod] if happened.put && namespace == self.namespace => {
                let ruling = Ruling::at_once(happened.value.as_bytes());
                if ruling != Ruling::Nothing {
                    self.carry_out(Sentence { change: None, pod: pod.to_owned(), ruling }, &happened.key);
                }
            }
            ["change-set", namespace, microservice, version, level, _, revision]
                if !happened.put && namespace == self.namespace =>
            {
                let change = revision.parse().unwrap();
                let prefix = format!("commit-config/{namespace}/{microservice}/{version}/{level}/");
                for pod in self.pods(microservice, version) {
                    let key = format!("{prefix}{pod}");
                    let Some(result) = self.ask(|| self.etcd.try_get(&key)) else { return };
                    let ruling = Ruling::at_the_end_of(change, result.as_deref().map(str::as_bytes));
                    self.carry_out(Sentence { change: Some(change), pod, ruling }, &key);
                }
            }
            _ => {}
        }
    }

    /// The pods of a microservice in that version whose containers are ready.
    fn pods(&self, microservice: &str, version: &str) -> Vec<String> {
        let label = format!("microSvcName={microservice}");
        let question = ["-n", &self.namespace, "get", "pods", "-l", &label, "-o", "json"];
        let Some(list) = self.ask(|| self.kubernetes.try_kubectl(&question)) else { return Vec::new() };
        let list: Value = serde_json::from_str(&list).unwrap();
        let considered = list["items"].as_array().unwrap().iter().filter(|pod| {
            let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
            let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
            let own = pod["metadata"]["annotations"]["svcVersion"].as_str().unwrap_or("v0");
            own == version && conditions.iter().any(ready)
        });
        considered.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    fn carry_out(&self, sentence: Sentence, key: &str) {
        match &sentence.ruling {
            Ruling::Nothing | Ruling::Satisfied => {}
            Ruling::Removed => drop(self.ask(|| self.etcd.try_delete(key))),
            Ruling::Deleted(_) => {
                let order = ["-n", &self.namespace, "delete", "pod", &sentence.pod, "--wait=false"];
                drop(self.ask(|| self.kubernetes.try_kubectl(&order)));
            }
        }
        self.sentences.lock().unwrap().push(sentence);
    }
}

/// What happened to a key.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Happened {
    /// It was written, not removed.
    put: bool,
    key: String,
    value: String,
}

impl Happened {
    /// Everything that the watch has written whole: lines of a name and a value.
    fn all(text: &str) -> Vec<Self> {
        let text = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let (mut all, mut one) = (Vec::new(), Self::default());
        for (name, value) in text.lines().filter_map(|line| line.split_once(" : ")) {
            let quoted = || serde_json::from_str(value).unwrap_or_else(|_| value.to_owned());
            match name {
                "\"Type\"" => one = Self { put: value == "PUT", ..Self::default() },
                "\"Key\"" => one.key = quoted(),
                "\"Value\"" => {
                    one.value = quoted();
                    all.push(one.clone());
                }
                _ => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_watch_writes_is_read_once_it_is_whole() {
        let text = "\"Revision\" : 3\n\"Type\" : PUT\n\"Key\" : \"a/1\"\n\"Value\" : \"[\\\"x\\\"]\"\n\"Lease\" : 7\n\
            \"Type\" : DELETE\n\"Key\" : \"a/1\"\n\"Value\" : \"\"\n\"Type\" : PUT\n\"Key\" : \"a/2\"\n\"Val";
        let one = |put, value: &str| Happened { put, key: "a/1".to_owned(), value: value.to_owned() };
        assert_eq!(Happened::all(text), [one(true, "[\"x\"]"), one(false, "")]);
    }
}
