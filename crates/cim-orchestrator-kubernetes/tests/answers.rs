//! Answers that a real API server cannot be made to give: prepared ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cim_core::settings::Period;
use cim_core::{Document, Orchestrator as _, OrchestratorError, OrchestratorErrorKind};
use cim_orchestrator_kubernetes::{KubernetesOrchestrator, KubernetesSettings};
use cim_testkit::CannedHttp;
use tempfile::TempDir;

const MAP: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"any"},"data":{"a":"b"}}"#;

/// An orchestrator, and the server that gives it these answers.
struct Rig {
    orchestrator: KubernetesOrchestrator,
    server: CannedHttp,
    _home: TempDir,
}

impl Rig {
    fn new(limit: Period, answers: &[(&str, &[&str], &str)]) -> Self {
        let answers = answers.iter().map(|(status, headers, body)| CannedHttp::answer(status, headers, body));
        let server = CannedHttp::start(answers.collect()).unwrap();
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: c, user: {{token: hidden}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n",
            server.address()
        );
        std::fs::write(&file, text).unwrap();
        let settings = KubernetesSettings {
            kubeconfig: Some(file),
            request_timeout: limit,
            ..KubernetesSettings::default()
        };
        let orchestrator = KubernetesOrchestrator::new("cluster", settings, "ns1", "pod-1");
        Self { orchestrator, server, _home: home }
    }

    async fn ask(&self) -> Result<Option<Document>, OrchestratorError> {
        self.orchestrator.document("any").await
    }
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_kept() {
    let rig = Rig::new(
        Period::seconds(5),
        &[("429 Too Many Requests", &["Retry-After: 1"], "Too many requests"), ("200 OK", &[], MAP)],
    );
    let begun = Instant::now();
    let error = rig.ask().await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Unavailable);
    assert!(error.to_string().contains("asks for fewer calls (429); the next call is made in 1s"), "{error}");
    rig.ask().await.unwrap().expect("the second answer");
    assert!(begun.elapsed() >= Duration::from_millis(900), "after {:?}", begun.elapsed());
    assert_eq!(rig.server.requests().len(), 2);
}

#[tokio::test]
async fn a_pause_that_is_longer_than_a_call_may_take_ends_the_call_at_once_and_unsent() {
    let rig = Rig::new(Period::seconds(5), &[("503 Service Unavailable", &["Retry-After: 100"], "")]);
    rig.ask().await.unwrap_err();
    let begun = Instant::now();
    for _ in 0..100 {
        let error = rig.ask().await.unwrap_err();
        assert_eq!(error.kind(), OrchestratorErrorKind::Unavailable);
        assert!(error.to_string().contains("is not called for another"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(rig.server.requests().len(), 1);
}

#[tokio::test]
async fn a_caller_in_a_loop_is_slowed_down() {
    let rig = Rig::new(Period::seconds(5), &[("200 OK", &[], MAP)]);
    let begun = Instant::now();
    for _ in 0..13 {
        rig.ask().await.unwrap();
    }
    assert!(begun.elapsed() >= Duration::from_millis(550), "13 calls took {:?}", begun.elapsed());
}

#[tokio::test]
async fn each_answer_has_its_kind_and_a_text_that_names_the_call() {
    use OrchestratorErrorKind::{Forbidden, Misconfigured, Unavailable};
    let status = r#"{"kind":"Status","status":"Failure","message":"the words\nof the server","code":500}"#;
    let page = format!("<html>{}</html>", "x".repeat(10_000));
    for (answer, body, kind, part) in [
        ("500 Internal Server Error", status, Unavailable, "cannot do it now (500: the words of the server)"),
        ("502 Bad Gateway", page.as_str(), Unavailable, "cannot do it now (502: <html>"),
        ("504 Gateway Timeout", "", Unavailable, "cannot do it now (504: )"),
        ("409 Conflict", status, Unavailable, "(409: the words"),
        ("400 Bad Request", status, Misconfigured, "refuses it (400: the words"),
        ("401 Unauthorized", "", Forbidden, "does not accept the credentials (401); check "),
        (
            "403 Forbidden",
            status,
            Forbidden,
            "no right to `get configmaps` in its namespace; `cim manifest --rbac`",
        ),
        ("302 Found", "", Unavailable, "cannot do it now (302"),
        ("200 OK", "<html>log in</html>", Unavailable, "cannot be read"),
        ("200 OK", "", Unavailable, "cannot be read"),
    ] {
        let rig = Rig::new(Period::seconds(5), &[(answer, &[], body)]);
        let error = rig.ask().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}: {error}");
        let text = error.to_string();
        assert!(
            text.starts_with("cannot get ConfigMap ns1/any: ") && text.contains(part),
            "{answer}: {text}"
        );
        assert!(text.len() < 700 && !text.contains('\n') && !text.contains("hidden"), "{answer}: {text}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_taken_whole() {
    let body = format!(r#"{{"metadata":{{"name":"any"}},"data":{{"a":"{}"}}}}"#, "x".repeat(9 << 20));
    let rig = Rig::new(Period::seconds(5), &[("200 OK", &[], &body)]);
    let error = rig.ask().await.unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn failures_are_returned_and_not_logged_and_no_answer_is() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(move || sink.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    for (status, body) in
        [("200 OK", "secret of an object"), ("500 Internal Server Error", "secret of an object")]
    {
        let rig = Rig::new(Period::seconds(5), &[(status, &[], body)]);
        rig.ask().await.unwrap_err();
    }
    tracing::error!("the log is read");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("the log is read") && text.lines().count() == 1, "{text}");
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_named_and_its_contents_are_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("kubeconfig");
    let settings = KubernetesSettings { kubeconfig: Some(file.clone()), ..KubernetesSettings::default() };
    for text in [
        None,
        Some("users:\n- name: c\n  user: {token: hidden\n"),
        Some("users: [{name: c, user: {token: [hidden]}}]\n"),
        Some("current-context: c\nusers: [{name: c, user: {token: hidden}}]\n"),
        Some(
            "current-context: c\nclusters: [{name: c, cluster: {server: ' hidden '}}]\nusers: [{name: c, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: c}}]\n",
        ),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let orchestrator = KubernetesOrchestrator::new("cluster", settings.clone(), "ns1", "pod-1");
        let error = orchestrator.identity().await.unwrap_err();
        assert_eq!(error.kind(), OrchestratorErrorKind::Misconfigured);
        let words = cim_core::chain(&error);
        assert!(
            words.contains(&file.display().to_string()) && !words.contains("hidden"),
            "{text:?}: {words}"
        );
    }
}
