//! The backends of this build. The only file that looks at cargo features.
//!
//! A backend that was left out registers a stand-in, so that its error names the feature to build with.

#[cfg(feature = "tls")]
mod api_tls;
#[cfg(feature = "config-etcd")]
mod config_etcd;
#[cfg(feature = "config-file")]
mod config_file;
#[cfg(feature = "tls")]
mod exporter_tls;
#[cfg(feature = "nats-external")]
mod nats_external;
#[cfg(feature = "orchestrator-kubernetes")]
mod orchestrator_kubernetes;
#[cfg(feature = "config-schemas")]
mod schema_check;
#[cfg(all(feature = "sink-tcp", feature = "tls"))]
mod tcp_tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cim_api::Security;
use cim_core::configuration::Check;
use cim_core::{Document, Identity, Problem, Registry};
use cim_verify::{Checker, TopicRange};
use serde_json::Value;

use crate::cluster_needs::ClusterNeeds;
use crate::doctor::ClusterReport;
use crate::external::ExternalIntake;
use crate::settings::{ApiTls, ExporterTls, ExternalNatsSettings, Settings};

/// The way in from a NATS server that somebody else runs. Opens nothing.
///
/// # Errors
/// What cannot be used of the settings, or that this build has no client.
pub fn external_nats(settings: &ExternalNatsSettings) -> Result<Arc<dyn ExternalIntake>, Problem> {
    #[cfg(feature = "nats-external")]
    return nats_external::build(settings);
    #[cfg(not(feature = "nats-external"))]
    {
        let _ = settings;
        let text = "is not part of this build; build with `--features nats-external`";
        Err(Problem::new("nats.external", text))
    }
}

/// All kinds this build knows.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::new();

    #[cfg(feature = "sink-stdout")]
    registry.sink(cim_sink_stdout::KIND);
    #[cfg(not(feature = "sink-stdout"))]
    registry.compiled_out("stdout", "sink-stdout");

    #[cfg(feature = "sink-file")]
    registry.sink(cim_sink_file::KIND);
    #[cfg(not(feature = "sink-file"))]
    registry.compiled_out("file", "sink-file");

    #[cfg(feature = "sink-kafka")]
    {
        registry.sink(cim_sink_kafka::KIND);
        registry.feeds_mut().add(cim_sink_kafka::FEED);
    }
    #[cfg(not(feature = "sink-kafka"))]
    registry.compiled_out("kafka", "sink-kafka");

    #[cfg(all(feature = "sink-tcp", feature = "tls"))]
    registry.sink(cim_sink_tcp::kind::<tcp_tls::Tls>());
    #[cfg(all(feature = "sink-tcp", not(feature = "tls")))]
    registry.sink(cim_sink_tcp::kind::<cim_sink_tcp::NoSecurity>());
    #[cfg(not(feature = "sink-tcp"))]
    registry.compiled_out("tcp", "sink-tcp");

    #[cfg(feature = "config-etcd")]
    registry.sources_mut().add(config_etcd::KIND);
    #[cfg(not(feature = "config-etcd"))]
    registry.sources_mut().compiled_out("etcd", "config-etcd");

    #[cfg(feature = "config-file")]
    registry.sources_mut().add(config_file::KIND);
    #[cfg(not(feature = "config-file"))]
    registry.sources_mut().compiled_out("file", "config-file");

    #[cfg(feature = "orchestrator-kubernetes")]
    registry.orchestrators_mut().add(orchestrator_kubernetes::KIND);
    #[cfg(not(feature = "orchestrator-kubernetes"))]
    registry.orchestrators_mut().compiled_out("kubernetes", "orchestrator-kubernetes");

    registry
}

/// Feeds the records of a Kafka topic to a checker.
///
/// # Errors
/// What went wrong, for people; always in a build without the Kafka client.
#[cfg(feature = "sink-kafka")]
pub fn read_topic(range: TopicRange, checker: &mut Checker) -> Result<(), String> {
    let TopicRange { brokers, topic, from, to, properties } = range;
    let request = cim_sink_kafka::ReadBack { brokers, topic, from, to, properties };
    cim_sink_kafka::read_back(&request, |found| {
        let numbers = found.epoch.zip(found.seq).map(|(epoch, seq)| cim_verify::Numbers { epoch, seq });
        checker.record(&cim_verify::Received {
            partition: Some(found.partition),
            numbers,
            id: found.id,
            ..cim_verify::Received::bare(found.value)
        });
    })
    .map_err(|error| crate::exit::chain(&error))
}

/// As above, in a build without the Kafka client.
///
/// # Errors
/// Always.
#[cfg(not(feature = "sink-kafka"))]
pub fn read_topic(_: TopicRange, _: &mut Checker) -> Result<(), String> {
    Err("reading Kafka is not part of this build; build with `--features sink-kafka`".to_owned())
}

/// What judges documents by their JSON Schemas; `None` when there are none.
///
/// # Errors
/// What is wrong with them; always in a build that cannot judge, if there are any.
pub fn schema_check(files: &BTreeMap<String, PathBuf>) -> Result<Option<Arc<dyn Check>>, Problem> {
    #[cfg(feature = "config-schemas")]
    return schema_check::read(files);
    #[cfg(not(feature = "config-schemas"))]
    if files.is_empty() {
        Ok(None)
    } else {
        let what = "JSON Schema is not part of this build; build with `--features config-schemas`";
        Err(Problem::new("configuration.schemas", what))
    }
}

/// Name of the ConfigMap with CIM's own document; `None` when the pod belongs to no service.
#[cfg(feature = "orchestrator-kubernetes")]
#[must_use]
pub fn own_map_name(identity: &Identity) -> Option<String> {
    let service = &identity.tmaas.nf_service_type;
    (!service.is_empty()).then(|| cim_core::configuration::own_map_name(service, &identity.version))
}

/// As above, in a build without the orchestrator that keeps it.
#[cfg(not(feature = "orchestrator-kubernetes"))]
#[must_use]
pub fn own_map_name(_: &Identity) -> Option<String> {
    None
}

/// The ConfigMap with that document of CIM's own.
#[cfg(feature = "orchestrator-kubernetes")]
#[must_use]
pub fn own_map(identity: &Identity, cim_json: &Value) -> Option<Document> {
    Some(cim_orchestrator_kubernetes::config_map(identity, cim_json))
}

/// As above, in a build without the orchestrator that keeps it.
#[cfg(not(feature = "orchestrator-kubernetes"))]
#[must_use]
pub fn own_map(_: &Identity, _: &Value) -> Option<Document> {
    None
}

/// The rights that the orchestrator needs, as a manifest.
///
/// # Errors
/// In a build without it.
#[cfg(feature = "orchestrator-kubernetes")]
pub fn rbac(namespace: &str, service_account: &str, needs: ClusterNeeds) -> Result<String, String> {
    use cim_orchestrator_kubernetes::Subject;
    let subject = Subject { namespace: namespace.to_owned(), service_account: service_account.to_owned() };
    Ok(cim_orchestrator_kubernetes::rbac(&subject, orchestrator_kubernetes::features(needs)))
}

/// As above, in a build without the orchestrator.
///
/// # Errors
/// Always.
#[cfg(not(feature = "orchestrator-kubernetes"))]
pub fn rbac(_: &str, _: &str, _: ClusterNeeds) -> Result<String, String> {
    Err("Kubernetes is not part of this build; build with `--features orchestrator-kubernetes`".to_owned())
}

/// What the API server of the cluster grants and what time it has; `None` where the settings name no cluster.
///
/// # Cancel safety
/// May be dropped at any await point.
#[cfg(feature = "orchestrator-kubernetes")]
pub async fn cluster_report(
    settings: &Settings,
    needs: ClusterNeeds,
) -> Option<Result<ClusterReport, String>> {
    if settings.orchestrator.kind != orchestrator_kubernetes::KIND.name {
        return None;
    }
    Some(orchestrator_kubernetes::report(settings, needs).await)
}

/// As above, in a build without the orchestrator: `None`.
///
/// # Cancel safety
/// May be dropped at any await point.
#[cfg(not(feature = "orchestrator-kubernetes"))]
pub async fn cluster_report(_: &Settings, _: ClusterNeeds) -> Option<Result<ClusterReport, String>> {
    None
}

/// TLS of the HTTP server; `None` where it is not wanted.
///
/// # Errors
/// Files that cannot be used; always in a build without TLS, if it is wanted.
pub fn api_security(tls: Option<&ApiTls>) -> Result<Option<Arc<dyn Security>>, Problem> {
    #[cfg(feature = "tls")]
    return tls.map(api_tls::open).transpose();
    #[cfg(not(feature = "tls"))]
    match tls {
        None => Ok(None),
        Some(_) => Err(Problem::new("api.tls", "TLS is not part of this build; build with `--features tls`")),
    }
}

/// TLS towards exporters of metrics; `None` where it is not wanted.
///
/// # Errors
/// In a build without TLS, if it is wanted.
pub fn exporter_security(tls: Option<&ExporterTls>) -> Result<Option<Arc<dyn cim_app::Security>>, Problem> {
    #[cfg(feature = "tls")]
    return Ok(tls.map(exporter_tls::open));
    #[cfg(not(feature = "tls"))]
    match tls {
        None => Ok(None),
        Some(_) => {
            Err(Problem::new("metrics.tls", "TLS is not part of this build; build with `--features tls`"))
        }
    }
}

/// A certificate in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Whose it is.
    pub subject: String,
    /// It counts from then.
    pub not_before: SystemTime,
    /// And until then.
    pub not_after: SystemTime,
}

/// The certificates in a file, or why they cannot be read; `None` in a build that cannot read any.
#[cfg(feature = "tls")]
#[must_use]
pub fn certificates(file: &Path) -> Option<Result<Vec<Validity>, String>> {
    let found = cim_tls::Validity::read(file).map_err(|error| crate::exit::chain(&error));
    let plain =
        |cim_tls::Validity { subject, not_before, not_after }| Validity { subject, not_before, not_after };
    Some(found.map(|found| found.into_iter().map(plain).collect()))
}

/// As above, in a build without TLS: `None`.
#[cfg(not(feature = "tls"))]
#[must_use]
pub fn certificates(_: &Path) -> Option<Result<Vec<Validity>, String>> {
    None
}
