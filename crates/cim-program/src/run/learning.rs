//! What a process learns after its start: who the pod is, and where the infrastructure is.
//!
//! Left out: asking (`who`, `infra`). The invariant: intake never waits for either; delivery of events and configuration begin
//! when both are known.

use cim_core::configuration::Plan;
use cim_core::{Identity, Registry};

use super::Process;
use crate::reload::Reload;
use crate::settings::Infra;
use crate::{configuration, infra, who};

impl Process {
    /// Begins what could not begin before, if nothing is waited for any more.
    pub(super) async fn settle(&mut self, reload: &mut Reload, registry: &Registry) {
        if !self.awaits_infra
            && let Some(identity) = self.told.take()
        {
            self.known(identity, reload, registry).await;
        }
    }

    /// It is known now where the infrastructure is, or that nobody tells.
    pub(super) async fn learn(&mut self, told: Option<Infra>, reload: &mut Reload, registry: &Registry) {
        if let Some(told) = told {
            if let Some(dir) = &self.plan.dir
                && let Err(error) = infra::remember(&told, dir)
            {
                tracing::warn!(%error, "where the infrastructure is cannot be remembered; the next start waits for it again");
            }
            reload.learn(told, &self.cim, registry).await;
            if self.awaits_infra {
                match reload.plan(registry, &self.plan) {
                    Ok(plan) => self.plan = plan,
                    Err(problem) => tracing::error!("changes of the configuration do not arrive: {problem}"),
                }
            }
        }
        self.awaits_infra = false;
    }

    /// It is known now who this pod is.
    async fn known(&mut self, identity: Identity, reload: &mut Reload, registry: &Registry) {
        tracing::info!(namespace = %identity.namespace, pod = %identity.pod, microservice = %identity.microservice, "identity");
        if let Some(dir) = &self.plan.dir {
            who::remember(&identity, dir);
        }
        self.face.aligned.known(&identity);
        reload.known(identity.clone(), &self.cim, registry).await;
        self.follow_events(reload.in_force(), &identity, registry);
        if self.engine.borrow().is_none() {
            configuration::start(&self.engine, &self.cim, Plan { identity, ..self.plan.clone() });
            reload.source_is_chosen();
        }
    }
}
