//! The client of a NATS server that somebody else runs.

use std::sync::Arc;

use cim_core::intake::Lane;
use cim_core::{Problem, async_trait};
use cim_intake_nats::{Credentials, Durable, ExternalConfig, ExternalNats, Subjects};

use crate::external::{ExternalIntake, ExternalStatus};
use crate::settings::{self, ExternalNatsSettings};

struct Intake(ExternalNats);

#[async_trait]
impl ExternalIntake for Intake {
    fn leave(&self) {
        self.0.leave();
    }

    async fn run(&self, lane: &(dyn Fn() -> Lane + Send + Sync)) {
        self.0.run(lane).await;
    }

    fn status(&self) -> ExternalStatus {
        let condition = self.0.condition();
        ExternalStatus { trouble: condition.trouble, lost: condition.dropped }
    }
}

/// Opens nothing.
pub fn build(settings: &ExternalNatsSettings) -> Result<Arc<dyn ExternalIntake>, Problem> {
    let secrets = settings.credentials().transpose();
    let secrets = secrets.map_err(|problems| {
        problems.into_iter().next().unwrap_or_else(|| Problem::new("nats.external.auth", "cannot be read"))
    })?;
    let credentials = match (secrets, &settings.credentials_file) {
        (Some(settings::Credentials::Token(token)), _) => Credentials::Token(token.reveal().to_owned()),
        (Some(settings::Credentials::User { name, password }), _) => {
            Credentials::User { name, password: password.reveal().to_owned() }
        }
        (None, Some(file)) => Credentials::File(file.clone()),
        (None, None) => Credentials::None,
    };
    let durable = settings.jetstream.as_ref();
    Ok(Arc::new(Intake(ExternalNats::new(ExternalConfig {
        servers: settings.servers.clone(),
        credentials,
        ca_file: settings.ca_file.clone(),
        subjects: Subjects {
            logs: settings.logs_subject.clone(),
            events: settings.events_subject.clone(),
            config: settings.config_subject.clone(),
        },
        queue_group: settings.queue_group.clone(),
        durable: durable.map(|kept| Durable { stream: kept.stream.clone(), consumer: kept.consumer.clone() }),
        capacity: settings.capacity,
    }))))
}
