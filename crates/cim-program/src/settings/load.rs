//! From files and environment to settings, or to everything that is wrong with them.
//!
//! Layers, each over the ones before: defaults, the variables of wire contract §1.1, the files of wire contract §1.2, the files
//! of the operator in the order given, the variables `CIM__…`; gaps that are left are filled with what a cluster gives its pods
//! (`cluster`). The invariant: either the whole configuration is valid, or all of its problems are told.

use std::path::PathBuf;

use cim_core::settings::MASK;
use cim_core::{Problem, Registry};
use figment::providers::Serialized;
use figment::value::{Dict, Map as Profiles};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::check::check;
use super::cluster;
use super::credentials::{self, Credentials};
use super::document::Layer;
use super::environment::{Variables, of_cim, of_contract};
use super::place::{Located, Place, Places, Problems};
use super::relations;
use super::root::Settings;
use super::schema::{Schema, complete, of_structs};
use super::sources::Sources;
use super::{name, original, path, usual_spool};

/// Name of the sink that exists without being defined.
const CONSOLE: &str = "console";

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Files, a later one over the earlier ones.
    pub files: Vec<PathBuf>,
    /// The variables of the process.
    pub environment: Variables,
    /// Name of this host: the pod, unless something else names it.
    pub host: Option<String>,
    /// Directory below which the files of the original are looked for; `None`: nowhere.
    pub root: Option<PathBuf>,
    /// Started under the name of the original, and to behave as its pods expect.
    pub as_original: bool,
}

impl Request {
    /// These files, with environment and host name of this process, and the files of the original that are there.
    #[must_use]
    pub fn of_process(files: Vec<PathBuf>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = host.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let environment = super::environment::of_process();
        let root = Some(original::root(&environment));
        let as_original = std::env::args_os().next().is_some_and(|program| name::is_original(&program));
        Self { files, environment, host, root, as_original }
    }
}

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What NATS clients must present.
    pub credentials: Option<Credentials>,
    /// What works but deserves a word.
    pub warnings: Vec<Located>,
    /// Under the name of the original, no file tells where the infrastructure is: the cluster is asked.
    pub lacks_infra: bool,
    /// Every file that was read: a change of one of them is a reason to load again.
    pub files: Vec<PathBuf>,
    merged: Value,
    places: Places,
}

/// Loads and judges a configuration.
///
/// # Errors
/// [`Problems`], all of them.
pub fn load(request: &Request, registry: &Registry) -> Result<Loaded, Problems> {
    Sources::read(request).load(registry)
}

impl Sources {
    /// Judges what was read.
    ///
    /// # Errors
    /// [`Problems`], all of them.
    pub fn load(&self, registry: &Registry) -> Result<Loaded, Problems> {
        let (stack, mut warnings, mut problems) = self.stack(registry);
        let mut merged = stack.merged();
        console(&mut merged);
        let mut places = stack.places;
        warnings.extend(cluster::complete(&mut merged, &mut places, &self.environment, registry));
        usual_spool::complete(&mut merged, &mut places);
        let structs = of_structs();
        let mut found = check(Schema::new(&structs), &merged, "");
        found.extend(relations::problems(&merged, registry));
        problems.extend(located(found, &places));
        if !problems.is_empty() {
            return Err(Problems::new(problems));
        }
        // What the schema takes, the structs take; if they ever differ, the message is still a message.
        let settings = Settings::deserialize(&merged)
            .map_err(|error| Problems::new(vec![Located::new(Place::Default, "", error.to_string())]))?;
        let credentials = settings.nats.auth.as_ref().map(Credentials::load).transpose();
        let credentials = credentials.map_err(|found| Problems::new(located(found, &places).collect()))?;
        warnings.extend(advice(&settings, &merged, &places, registry));
        let mut files = self.files.clone();
        files.extend(settings.nats.auth.iter().flat_map(credentials::files));
        let lacks_infra = self.lack_infra();
        Ok(Loaded { settings, credentials, warnings, lacks_infra, files, merged, places })
    }

    /// All layers, with warnings and problems that are known before the values are looked at.
    fn stack(&self, registry: &Registry) -> (Stack, Vec<Located>, Vec<Located>) {
        let mut stack = Stack::new(self.host.as_deref());
        let (contract, mut warnings) = of_contract(&self.environment, self.as_original);
        if self.as_original {
            stack.push(name::layer(&self.environment, self.root.as_deref(), registry));
        }
        stack.push(contract);
        let mut problems = self.problems.clone();
        if let Some(original) = &self.original {
            let orchestrator = ["orchestrator", "type"];
            let around = original::Surroundings {
                as_original: self.as_original,
                knows_nodes: self.operator_gives(&orchestrator) || stack.places.names("orchestrator.type"),
            };
            let mapped = original.map(&|keys| self.operator_gives(keys), registry, around);
            warnings.extend(mapped.warnings);
            problems.extend(mapped.problems);
            stack.push(mapped.layer);
        }
        self.layers.iter().for_each(|layer| stack.push(layer.clone()));
        let (environment, found) = of_cim(&self.environment, &stack.merged(), registry);
        problems.extend(found);
        stack.push(environment);
        (stack, warnings, problems)
    }
}

fn located(problems: Vec<Problem>, places: &Places) -> impl Iterator<Item = Located> {
    problems.into_iter().map(|problem| Located { place: places.of(&problem.path).clone(), problem })
}

impl Loaded {
    /// The configuration as it is in force, secrets masked.
    #[must_use]
    pub fn masked(&self, registry: &Registry) -> Value {
        let schema = complete(registry);
        let mut shown = self.merged.clone();
        mask(Schema::new(&schema), &mut shown);
        shown
    }

    /// Problems that were found with these settings in use, each with the place it comes from.
    #[must_use]
    pub fn located(&self, problems: Vec<Problem>) -> Problems {
        Problems::new(located(problems, &self.places).collect())
    }

    /// Where the value at `path` came from.
    #[must_use]
    pub fn place(&self, path: &str) -> &Place {
        self.places.of_value(path)
    }
}

/// Replaces every secret by a mask.
fn mask(schema: Schema<'_>, value: &mut Value) {
    match value {
        Value::String(text) if schema.secret() => MASK.clone_into(text),
        Value::Object(members) => {
            let tables = schema.alternatives();
            for (key, value) in members {
                tables.iter().filter_map(|schema| schema.member(key)).for_each(|schema| mask(schema, value));
            }
        }
        Value::Array(items) => {
            let lists = schema.alternatives();
            for item in items {
                lists.iter().filter_map(|schema| schema.items()).for_each(|schema| mask(schema, item));
            }
        }
        _ => {}
    }
}

/// Adds the sink that needs no definition, when a route wants it.
fn console(merged: &mut Value) {
    let wanted = |key: &str| {
        let sink = merged.pointer(&format!("/routes/{key}/sink"));
        sink.is_some_and(|sink| match sink {
            Value::Array(sinks) => sinks.iter().any(|sink| sink == CONSOLE),
            sink => sink == CONSOLE,
        })
    };
    if !wanted("logs") && !wanted("events") {
        return;
    }
    if let Some(sinks) = merged.get_mut("sinks").and_then(Value::as_object_mut) {
        sinks.entry(CONSOLE).or_insert_with(|| json!({ "type": "stdout" }));
    }
}

/// What works but deserves a word.
fn advice(settings: &Settings, merged: &Value, places: &Places, registry: &Registry) -> Vec<Located> {
    let mut advice = Vec::new();
    for secret in ["nats.auth.token", "nats.auth.password"] {
        let given = merged.pointer(&format!("/{}", secret.replace('.', "/"))).is_some_and(Value::is_string);
        if given && let place @ Place::Environment(_) = places.of(secret) {
            let message =
                format!("a secret in the environment shows in process listings; use `{secret}_file`");
            advice.push(Located::new(place.clone(), secret, message));
        }
    }
    let routes = [&settings.routes.logs, &settings.routes.events];
    let feed = crate::subscriptions::chosen(settings, registry);
    for sink in settings.sinks.keys() {
        let uses = |route: &&cim_core::settings::RouteSettings| {
            route.sink.names().contains(&sink.as_str()) || route.fallback.as_ref() == Some(sink)
        };
        if !routes.iter().any(uses) && feed != Some(sink) {
            let at = path::member("sinks", sink);
            advice.push(Located::new(
                places.of(&at).clone(),
                at,
                "no route uses this sink; it is not opened",
            ));
        }
    }
    let outside = settings.nats.listen.list().iter().find(|address| !address.ip().is_loopback());
    if let Some(address) = outside {
        let message = format!("{address} is open to other hosts, and NATS traffic is not encrypted");
        advice.push(Located::new(places.of("nats.listen").clone(), "nats.listen", message));
    }
    advice
}

/// The layers, merged by figment, and where each value came from.
struct Stack {
    figment: Figment,
    places: Places,
}

impl Stack {
    fn new(host: Option<&str>) -> Self {
        let mut defaults = Settings::default();
        if let Some(host) = host {
            host.clone_into(&mut defaults.identity.pod);
        }
        Self { figment: Figment::from(Serialized::defaults(defaults)), places: Places::default() }
    }

    fn push(&mut self, layer: Layer) {
        self.places.overlay(layer.places.clone());
        self.figment = std::mem::take(&mut self.figment).merge(&layer);
    }

    fn merged(&self) -> Value {
        // Each layer is a table of plain values, so reading them back cannot fail.
        self.figment.extract().unwrap_or_else(|_| Value::Object(Map::new()))
    }
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Profiles<Profile, Dict>, figment::Error> {
        let value = figment::value::Value::serialize(&self.value)?;
        Ok(Profile::Default.collect(value.into_dict().unwrap_or_default()))
    }
}
