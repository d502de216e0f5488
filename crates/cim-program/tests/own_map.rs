//! The ConfigMap of CIM's own document: read, made at the first registration, and what the config server is told of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code: a failed step is the failure"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_core::configuration::{OwnChange, Plan, Registration};
use cim_core::{Cim, Configuration, Document, Identity, OrchestratorErrorKind, Sink};
use cim_program::application::CurrentApplication;
use cim_program::backends;
use cim_program::own_document::{Map, Wish, wishes};
use cim_testkit::{FakeOrchestrator, MemorySource};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const NAME: &str = "svc-cim-v1-mgmt-cfg";
const COMMIT: &[u8] = b"commit-config/ns1/svc/v1/ms/cim/pod-1";

fn identity() -> Identity {
    let mut identity = Identity {
        namespace: "ns1".to_owned(),
        pod: "pod-1".to_owned(),
        microservice: "svc".to_owned(),
        version: "v1".to_owned(),
        ..Identity::default()
    };
    identity.tmaas.nf_service_type = "svc".to_owned();
    identity
}

fn map_of(document: &str, revision: &str) -> Document {
    let data = [("cim.json", document), ("revision", revision)];
    let data = data.map(|(key, text)| (key.to_owned(), text.to_owned())).to_vec();
    Document { name: NAME.to_owned(), data, ..Document::default() }
}

/// A pod in virtual time, without the loop of the process.
struct Pod {
    orchestrator: Arc<FakeOrchestrator>,
    store: Arc<MemorySource>,
    registered: watch::Sender<bool>,
    /// What the map was heard to say.
    heard: Mutex<Vec<Value>>,
}

impl Pod {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            orchestrator: FakeOrchestrator::new(identity()),
            store: MemorySource::new("store"),
            registered: watch::Sender::new(false),
            heard: Mutex::default(),
        })
    }

    /// Lives for a while; the application registers after `registers`.
    async fn live(&self, registers: Duration, length: Duration) {
        let cim = Cim::builder()
            .identity(identity())
            .sink("console", Sink::both(Arc::new(cim_core::null::NullSink::new("console"))))
            .start()
            .unwrap();
        let application = Arc::new(CurrentApplication::new(&Default::default()).unwrap());
        let mut plan = Plan::new(identity(), application, self.orchestrator.clone());
        plan.source = Some(self.store.clone());
        let (wishes, mut wished) = wishes();
        plan.own = Some(Arc::new(wishes.clone()));
        let configuration = Configuration::start(&cim, plan).unwrap();
        let engine = watch::Sender::new(Some((configuration.clone(), identity())));
        let map = Map {
            orchestrator: self.orchestrator.clone(),
            engine: engine.subscribe(),
            registered: self.registered.subscribe(),
            wishes,
        };
        let registering = async {
            sleep(registers).await;
            configuration.register(Registration::default()).await;
            self.registered.send_replace(true);
            std::future::pending::<()>().await;
        };
        let serving = async {
            while let Some(wish) = wished.recv().await {
                match wish {
                    Wish::Current(tell) => drop(tell.send(Some(json!({"in": "force"})))),
                    Wish::Map(document) => self.heard.lock().unwrap().push(document),
                    Wish::Given(_) => {}
                    Wish::Change { done, .. } => drop(done.send(Ok(OwnChange::InForce))),
                }
            }
        };
        let settling = async {
            map.settle().await;
            std::future::pending::<()>().await;
        };
        let _ = timeout(length, async { tokio::join!(registering, serving, settling) }).await;
    }

    fn committed(&self) -> Option<String> {
        self.store.value(COMMIT).map(|value| String::from_utf8(value).unwrap())
    }
}

/// Whether this build has the orchestrator that keeps the map.
fn has_map() -> bool {
    let has = backends::own_map_name(&identity()).is_some();
    if !has {
        println!("skipped: this build has no orchestrator that keeps a map");
    }
    has
}

#[tokio::test(start_paused = true)]
async fn a_map_that_exists_is_heard_and_its_revision_is_committed_at_the_registration() {
    let pod = Pod::new();
    pod.orchestrator.put_document(map_of(r#"{"cimConfig":{}}"#, "7"));
    if !has_map() {
        return;
    }
    let looking = async {
        sleep(Duration::from_secs(2)).await;
        assert_eq!(pod.committed(), None, "not before the registration");
        assert_eq!(*pod.heard.lock().unwrap(), [json!({"cimConfig": {}})]);
    };
    tokio::join!(pod.live(Duration::from_secs(3), Duration::from_secs(9)), looking);
    assert_eq!(pod.committed().as_deref(), Some("7"));
    assert_eq!(pod.orchestrator.documents(), [map_of(r#"{"cimConfig":{}}"#, "7")], "it is let be");
}

#[tokio::test(start_paused = true)]
async fn a_map_is_made_at_the_registration_and_results_have_their_own_key_from_then_on() {
    let pod = Pod::new();
    if !has_map() {
        return;
    }
    pod.store.put_leased("change-set/ns1/svc/v1/ms/cim.json/4", "[]", Duration::from_secs(180));
    let looking = async {
        sleep(Duration::from_secs(2)).await;
        assert_eq!(pod.orchestrator.documents(), []);
        assert_eq!(pod.store.value(b"commit-config/ns1/svc/v1/ms/pod-1").as_deref(), Some(&b"4"[..]));
        sleep(Duration::from_secs(3)).await;
        assert_eq!(pod.committed().as_deref(), Some("0"));
        pod.store.put_leased("change-set/ns1/svc/v1/ms/cim.json/5", "[]", Duration::from_secs(180));
    };
    tokio::join!(pod.live(Duration::from_secs(3), Duration::from_secs(9)), looking);
    let made = pod.orchestrator.documents();
    let data: std::collections::BTreeMap<_, _> = made[0].data.iter().cloned().collect();
    assert_eq!((made[0].name.as_str(), data["revision"].as_str()), (NAME, "0"));
    assert_eq!(serde_json::from_str::<Value>(&data["cim.json"]).unwrap(), json!({"in": "force"}));
    assert_eq!(pod.committed().as_deref(), Some("5"));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_delays_the_map_and_nothing_else() {
    let pod = Pod::new();
    if !has_map() {
        return;
    }
    pod.orchestrator.set_down(Some(OrchestratorErrorKind::Unavailable));
    let living = pod.live(Duration::ZERO, Duration::from_secs(200));
    let returning = async {
        sleep(Duration::from_secs(100)).await;
        assert!(*pod.registered.borrow(), "the registration did not wait");
        pod.orchestrator.set_down(None);
    };
    tokio::join!(living, returning);
    assert_eq!(pod.orchestrator.documents().len(), 1);
    assert_eq!(pod.committed().as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn a_map_that_makes_no_sense_is_let_be() {
    for text in ["", "{", "nope"] {
        let pod = Pod::new();
        if !has_map() {
            return;
        }
        pod.orchestrator.put_document(map_of(text, "x"));
        pod.live(Duration::ZERO, Duration::from_secs(9)).await;
        assert_eq!(pod.heard.lock().unwrap().len(), 0);
        assert_eq!(pod.committed(), None);
    }
}
