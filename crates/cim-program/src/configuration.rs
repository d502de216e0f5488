//! From settings to a running configuration engine.
//!
//! Left out: the engine. The invariant: nothing here opens a connection.

use std::sync::Arc;
use std::time::Duration;

use cim_core::configuration::{Confirmation, DayOneRules, OnExhausted, OnFailure, Plan, Rules};
use cim_core::{Cim, ConfigSource, Configuration, Identity, Orchestrator, PartContext, Problem, Registry};
use serde_json::Value;
use tokio::sync::watch;

use crate::application::CurrentApplication;
use crate::backends;
use crate::registration::Engine;
use crate::settings::{self, ConfigurationSettings, Settings};

/// The orchestrator that the settings choose.
///
/// # Errors
/// What is wrong with its section.
pub fn orchestrator(settings: &Settings, registry: &Registry) -> Result<Arc<dyn Orchestrator>, Problem> {
    let table = &settings.orchestrator;
    let kind = registry.orchestrators().find(&table.kind, "orchestrator.type")?;
    let members = table.members.clone().into_iter().collect::<Value>();
    (kind.build)(context("orchestrator", settings), &members)
        .map_err(|problem| problem.beneath("orchestrator"))
}

/// The source that the settings choose; `None` for none.
///
/// # Errors
/// What is wrong with its section.
pub fn source(settings: &Settings, registry: &Registry) -> Result<Option<Arc<dyn ConfigSource>>, Problem> {
    let chosen = &settings.configuration;
    if chosen.source == ConfigurationSettings::NONE {
        return Ok(None);
    }
    let kind = registry.sources().find(&chosen.source, "configuration.source")?;
    let at = format!("configuration.{}", chosen.source);
    let built = (kind.build)(context("configuration", settings), &chosen.members());
    built.map(Some).map_err(|problem| problem.beneath(&at))
}

/// Everything the engine needs.
///
/// # Errors
/// What is wrong with the sections it comes from.
pub fn plan(
    settings: &Settings,
    registry: &Registry,
    identity: Identity,
    orchestrator: Arc<dyn Orchestrator>,
    application: Arc<CurrentApplication>,
) -> Result<Plan, Problem> {
    let chosen = &settings.configuration;
    let mut plan = Plan::new(identity, application, orchestrator);
    plan.source = source(settings, registry)?;
    plan.announce_absence = chosen.source == "etcd";
    plan.dir.clone_from(&settings.spool.dir);
    plan.rules = Rules {
        patience: chosen.patience.get(),
        result_within: chosen.result_within.get(),
        ..Rules::default()
    };
    plan.on_failure = match chosen.on_failure {
        settings::OnFailure::Report => OnFailure::Report,
        settings::OnFailure::Tolerate => OnFailure::Tolerate,
    };
    plan.dry_run = chosen.dry_run;
    plan.check = backends::schema_check(&chosen.schemas)?;
    plan.confirmation = chosen.confirm.as_ref().map(|confirm| Confirmation {
        probe: confirm.probe.clone(),
        window: confirm.window.get(),
        interval: confirm.interval.get(),
        failures: confirm.failures,
        read_back: confirm.read_back.clone(),
    });
    plan.day_one = DayOneRules { attempts: chosen.day_one.attempts, ..DayOneRules::default() };
    plan.on_exhausted = match chosen.day_one.on_exhausted {
        settings::OnExhausted::Restart => OnExhausted::Restart,
        settings::OnExhausted::Hold => OnExhausted::Hold,
        settings::OnExhausted::LastGood => OnExhausted::LastGood,
    };
    plan.restart_budget = chosen.day_one.restart_budget;
    plan.ms_revision.clone_from(&chosen.ms_revision);
    plan.nf_revision.clone_from(&chosen.nf_revision);
    Ok(plan)
}

fn context(name: &str, settings: &Settings) -> PartContext {
    PartContext { name: name.to_owned(), identity: Arc::new(Identity::from(&settings.identity)) }
}

/// Starts the configuration engine and tells whoever waits for it.
pub fn start(engine: &watch::Sender<Option<(Configuration, Identity)>>, cim: &Cim, plan: Plan) {
    let identity = plan.identity.clone();
    if let Some(configuration) = Configuration::start(cim, plan) {
        let _ = engine.send_replace(Some((configuration, identity)));
    }
}

/// Takes the last results and announcements within `limit`, before delivery ends.
///
/// # Cancel safety
/// When dropped, the engine ends nevertheless.
pub async fn stop(engine: &Engine, limit: Duration) {
    let configuration = engine.borrow().as_ref().map(|(configuration, _)| configuration.clone());
    if let Some(configuration) = configuration {
        configuration.stop(limit).await;
    }
}
