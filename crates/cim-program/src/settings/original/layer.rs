//! What the files of the original mean here: a layer of settings below those of the operator.
//!
//! Pure. Owns the mapping, member by member. Left out: reading, and judging whether an address can work. The invariants: a
//! value knows the member it came from; what the operator decides is not touched, and a route whose sink the operator names
//! is the operator's altogether.

use cim_core::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::check::check;
use super::super::document::Layer;
use super::super::environment::put;
use super::super::name::ORIGINAL;
use super::super::path;
use super::super::place::{Located, Place, Places};
use super::super::schema::Schema;
use super::Original;
use super::document::{Document, Lmaas, LogLevel, LoggingMode};
use super::infra::{CommonInfra, given};

/// Names of the sinks that are made here.
const FILES: &str = "xgvela-file";
const AGENT: &str = "xgvela-tcp";
const BROKER: &str = "xgvela-kafka";
/// The agents that take logs of their node (wire contract §8.4).
const NODE_AGENT: &str = "k8s-app=fluent-bit";
const NODE_AGENT_PORT: u16 = 5170;
/// The sink that exists without being defined.
const CONSOLE: &str = "console";

/// Tells whether the operator gives a value at that path.
pub type Operator<'o> = &'o dyn Fn(&[&str]) -> bool;

/// What the meaning of a member depends on besides the files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings {
    /// Readers of what is delivered are those of the original.
    pub as_original: bool,
    /// There is an orchestrator that knows which agents run on a node.
    pub knows_nodes: bool,
}

/// What came of the files.
#[derive(Debug, Default)]
pub struct Mapped {
    /// The settings.
    pub layer: Layer,
    /// What is wrong with the files.
    pub problems: Vec<Located>,
    /// What works but deserves a word.
    pub warnings: Vec<Located>,
}

impl Original {
    /// The settings that the files stand for.
    #[must_use]
    pub fn map(&self, operator: Operator<'_>, registry: &Registry, around: Surroundings) -> Mapped {
        let mut mapped = Mapped::default();
        "files of the original".clone_into(&mut mapped.layer.name);
        let document = self.document.as_ref();
        let (document, known) = match document {
            Some(own) => (parsed::<Document>(&own.value, &own.places, &own.name, &mut mapped.problems), true),
            None => (Some(Document::default()), false),
        };
        let infra = match &self.infra {
            Some(infra) => {
                let value = Value::Object(infra.value.clone());
                parsed(&value, &infra.places, &infra.name, &mut mapped.problems)
            }
            None => Some(CommonInfra::default()),
        };
        // A file with problems is told about; half of it is not put into force.
        let (Some(document), Some(infra)) = (document, infra) else { return mapped };
        let mut mapping = Mapping { original: self, operator, around, infra: &infra, mapped };
        if known {
            mapping.logs(&document.config.lmaas);
            mapping.own_log(document.config.cim_settings.log_level);
            mapping.metrics(document.config.cim_settings.enable_kpi);
            mapping.application(&document);
        }
        mapping.spool();
        mapping.events();
        mapping.broker(given(document.config.cim_settings.kafka_client_id.as_ref()));
        mapping.source(registry);
        mapping.registration();
        mapping.mapped
    }
}

/// The typed form of a file; `None` when there are problems.
fn parsed<T: DeserializeOwned + schemars::JsonSchema>(
    value: &Value,
    places: &Places,
    name: &str,
    problems: &mut Vec<Located>,
) -> Option<T> {
    let schema = schemars::schema_for!(T).to_value();
    let whole = Place::Document(name.to_owned());
    let place = |path: &str| match places.of(path) {
        Place::Default => whole.clone(),
        place => place.clone(),
    };
    let found = check(Schema::new(&schema), value, "");
    let found: Vec<_> =
        found.into_iter().map(|problem| Located { place: place(&problem.path), problem }).collect();
    if !found.is_empty() {
        problems.extend(found);
        return None;
    }
    // What the schema takes, the structs take; if they ever differ, the message is still a message.
    match T::deserialize(value) {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(Located::new(whole, "", error.to_string()));
            None
        }
    }
}

/// What is to be said about a member.
fn about(place: Place, message: impl Into<String>) -> Located {
    match place {
        Place::Member { file, member } => Located::new(Place::Document(file), member, message),
        place => Located::new(place, "", message),
    }
}

/// A mapping under way.
struct Mapping<'m> {
    original: &'m Original,
    operator: Operator<'m>,
    around: Surroundings,
    infra: &'m CommonInfra,
    mapped: Mapped,
}

impl Mapping<'_> {
    /// Sets a value that came from there.
    fn set(&mut self, keys: &[&str], value: impl Into<Value>, from: Place) {
        let at = keys.iter().fold(String::new(), |at, key| path::member(&at, key));
        self.mapped.layer.places.note(at, from);
        put(&mut self.mapped.layer.value, keys, value.into());
    }

    /// Sets a value, if a member gives one.
    fn set_given(&mut self, keys: &[&str], value: Option<impl Into<Value>>, from: Place) {
        if let Some(value) = value {
            self.set(keys, value, from);
        }
    }

    /// The place of a member of `cim.json`.
    fn own(&self, member: &str) -> Place {
        let Some(document) = &self.original.document else { return Place::Default };
        let member = format!("cimConfig.{member}");
        let file = match document.places.of(&member) {
            Place::Default => document.name.clone(),
            place => place.to_string(),
        };
        Place::Member { file, member }
    }

    /// The place of a member of `common-infra.json`.
    fn infra(&self, member: &str) -> Place {
        let file = self.original.infra.as_ref().map(|infra| infra.places.of(member).to_string());
        Place::Member { file: file.unwrap_or_default(), member: member.to_owned() }
    }

    /// `logging_mode` and the limits of log files (wire contract §8.1).
    fn logs(&mut self, lmaas: &Lmaas) {
        if (self.operator)(&["routes", "logs", "sink"]) {
            return;
        }
        let mode = lmaas.logging_mode.unwrap_or_default();
        let from = self.own("lmaas.logging_mode");
        let needs = |member: &str| {
            let file = self.original.infra_file.display();
            format!("needs `{member}` in {file}; give it there, or set `sink` in [routes.logs]")
        };
        let missing = match mode {
            LoggingMode::Tcp
                if !(lmaas.prefer_local_daemonset == Some(true) && self.around.knows_nodes)
                    && given(self.infra.logging_svc_url.as_ref()).is_none() =>
            {
                Some(needs("logging_svc_url"))
            }
            LoggingMode::Kafka if self.infra.brokers().is_none() => Some(needs("kafka_brokers")),
            _ => None,
        };
        let mode = match missing {
            // It is asked for; the files that stand in for the receiver later take the logs until then.
            Some(_) if self.around.as_original && self.original.lacks_infra() => LoggingMode::File,
            Some(missing) => return self.mapped.problems.push(about(from, missing)),
            None => mode,
        };
        let sink = match mode {
            LoggingMode::File => json!(FILES),
            LoggingMode::Stdout => json!(CONSOLE),
            LoggingMode::FileAndStdout => json!([CONSOLE, FILES]),
            LoggingMode::Tcp => json!(AGENT),
            LoggingMode::Kafka => json!(BROKER),
        };
        self.set(&["routes", "logs", "sink"], sink, from.clone());
        let format = self.infra.is_text().then_some("text");
        self.set_given(&["routes", "logs", "format"], format, self.infra("log_format"));
        if mode != LoggingMode::Stdout {
            self.files(lmaas, from.clone());
        }
        if matches!(mode, LoggingMode::Tcp | LoggingMode::Kafka) {
            self.fallback(from.clone());
        }
        if mode == LoggingMode::Tcp {
            self.agent(lmaas, from);
        }
    }

    /// The one place of such a pod that outlives its containers.
    fn spool(&mut self) {
        let logs = self.original.logs.display().to_string();
        let files = Place::Document(self.mapped.layer.name.clone());
        self.set(&["spool", "shared_dir"], logs, files);
    }

    /// The sink for files.
    fn files(&mut self, lmaas: &Lmaas, from: Place) {
        let table = |key| ["sinks", FILES, key];
        let logs = self.original.logs.display().to_string();
        self.set(&table("type"), "file", from.clone());
        self.set(&table("dir"), logs, from);
        let size = lmaas.max_file_size_in_mb.map(|mib| format!("{mib}MiB"));
        self.set_given(&table("max_size"), size, self.own("lmaas.max_file_size_in_mb"));
        self.set_given(&table("max_files"), lmaas.max_backup_files, self.own("lmaas.max_backup_files"));
        let age = lmaas.max_age.map(|days| format!("{days}d"));
        self.set_given(&table("max_age"), age, self.own("lmaas.max_age"));
        let buffer = lmaas.buffer_size.map(|bytes| format!("{bytes}B"));
        self.set_given(&table("buffer"), buffer, self.own("lmaas.buffer_size"));
        let flush = lmaas.flush_timeout.map(|seconds| format!("{seconds}s"));
        self.set_given(&table("flush"), flush, self.own("lmaas.flush_timeout"));
    }

    /// Files stand in for what is away (wire contract §8.1, §8.6).
    fn fallback(&mut self, from: Place) {
        self.set(&["routes", "logs", "fallback"], FILES, from);
        if self.infra.sends_again() {
            let from = self.infra("enable_retrx");
            self.set(&["routes", "logs", "fallback_mode"], "copy", from.clone());
            let logs = self.original.logs.display().to_string();
            self.set(&["leftovers", "dir"], logs, from);
        }
    }

    /// The sink for the agent that takes logs over TCP (wire contract §8.4).
    fn agent(&mut self, lmaas: &Lmaas, from: Place) {
        self.set(&["sinks", AGENT, "type"], "tcp", from);
        if lmaas.prefer_local_daemonset == Some(true) && self.around.knows_nodes {
            // As there, a port that is none is the usual one, and the service is not asked.
            let port = given(self.infra.logging_svc_tcp_port.as_ref());
            let port = port.and_then(|port| port.trim().parse::<u16>().ok()).filter(|port| *port != 0);
            let agent = json!({ "selector": NODE_AGENT, "port": port.unwrap_or(NODE_AGENT_PORT) });
            return self.set(
                &["sinks", AGENT, "node_agent"],
                agent,
                self.own("lmaas.prefer_local_daemonset"),
            );
        }
        let address = given(self.infra.logging_svc_url.as_ref());
        self.set_given(&["sinks", AGENT, "address"], address, self.infra("logging_svc_url"));
        if lmaas.prefer_local_daemonset == Some(true) {
            let message = "needs an orchestrator that knows nodes; logs go to `logging_svc_url`";
            let place = self.own("lmaas.prefer_local_daemonset");
            self.mapped.warnings.push(about(place, message));
        }
    }

    /// `log_level`, that of CIM's own messages.
    fn own_log(&mut self, level: Option<LogLevel>) {
        let level = level.map(|level| match level {
            LogLevel::All | LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warning => "warn",
            LogLevel::Error | LogLevel::Exception => "error",
        });
        self.set_given(&["log", "level"], level, self.own("cim_settings.log_level"));
    }

    /// `enable_kpi`, whether `/metrics` tells anything.
    fn metrics(&mut self, enabled: Option<bool>) {
        self.set_given(&["metrics", "enabled"], enabled, self.own("cim_settings.enable_kpi"));
    }

    /// How the application is called.
    fn application(&mut self, document: &Document) {
        let settings = &document.config.app_settings;
        let url = settings.app_port.map(|port| format!("http://localhost:{port}"));
        self.set_given(&["application", "url"], url, self.own("app_settings.app_port"));
        let http2 = settings.http2_enabled;
        self.set_given(&["application", "http2"], http2, self.own("app_settings.http2_enabled"));
    }

    /// Events go to Kafka where brokers are known (wire contract §7).
    fn events(&mut self) {
        if self.infra.brokers().is_some() && !(self.operator)(&["routes", "events", "sink"]) {
            self.set(&["routes", "events", "sink"], BROKER, self.infra("kafka_brokers"));
        }
    }

    /// The sink for Kafka, if a route goes there.
    fn broker(&mut self, client_id: Option<&str>) {
        let routes = self.mapped.layer.value.get("routes");
        let wanted =
            |route: &str| routes.and_then(|routes| routes.get(route)?.get("sink")) == Some(&json!(BROKER));
        if !wanted("logs") && !wanted("events") {
            return;
        }
        let from = self.infra("kafka_brokers");
        self.set(&["sinks", BROKER, "type"], "kafka", from.clone());
        self.set_given(&["sinks", BROKER, "brokers"], self.infra.brokers().map(|list| json!(list)), from);
        if self.around.as_original {
            self.set(&["sinks", BROKER, "headers"], false, Place::Name(ORIGINAL));
        }
        let from = self.own("cim_settings.kafka_client_id");
        self.set_given(
            &["sinks", BROKER, "properties"],
            client_id.map(|id| json!({ "client.id": id })),
            from,
        );
    }

    /// Changes come from etcd, if this build has it.
    fn source(&mut self, registry: &Registry) {
        let Some(url) = given(self.infra.etcd_url.as_ref()) else { return };
        if (self.operator)(&["configuration", "source"]) {
            return;
        }
        let from = self.infra("etcd_url");
        if let Err(problem) = registry.sources().find("etcd", "etcd_url") {
            let message = format!("changes of the configuration do not arrive: {}", problem.message);
            return self.mapped.warnings.push(about(from, message));
        }
        self.set(&["configuration", "source"], "etcd", from.clone());
        self.set(&["configuration", "etcd", "endpoints"], json!([url]), from);
    }

    /// What an application that registers is told (wire contract §6.1).
    fn registration(&mut self) {
        let told = self.original.gateway.as_deref();
        self.set_given(&["registration", "tmaas_fqdn"], told, self.infra("tmaas_fqdn"));
        let gateway = given(self.infra.apigw_rest_fqdn.as_ref());
        self.set_given(&["registration", "apigw_rest_fqdn"], gateway, self.infra("apigw_rest_fqdn"));
        let topology = given(self.infra.topoengine_fqdn.as_ref());
        self.set_given(&["registration", "topo_engine_fqdn"], topology, self.infra("topoengine_fqdn"));
    }
}

#[cfg(test)]
mod tests;
