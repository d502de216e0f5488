//! What CIM itself tells the world: events of its own (wire contract §7.4).
//!
//! Owns names and members. Left out: delivery, which is that of every event. Invariant: an announcement follows what it
//! announces; nothing waits for one.

use cim_wire::{Event, Pair};

use crate::contract::{ChangeState, ConfigOutcome};

/// An event that CIM raises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    name: &'static str,
    managed_object: Vec<(&'static str, String)>,
    additional_info: Vec<(&'static str, String)>,
}

impl Announcement {
    /// What became of a change; `None` when the contract has no event for it.
    #[must_use]
    pub fn of_result(outcome: &ConfigOutcome) -> Option<Self> {
        let (_, status) = outcome.status.as_ref()?;
        let plain = |name: &'static str, value: &str| (name, value.to_owned());
        let key = outcome.commit.as_ref().map(|commit| commit.key.clone()).unwrap_or_default();
        Some(match status.state {
            ChangeState::Applied => Self {
                name: "CimConfigUpdateSuccess",
                managed_object: vec![
                    plain("Description", "Config update success"),
                    plain("STATUS", "SUCCESS"),
                ],
                additional_info: vec![("Commit_Keys", key)],
            },
            ChangeState::Unused => Self {
                name: "CimConfigUpdateUnused",
                managed_object: vec![plain("Update_Config_Status", "UNUSED")],
                additional_info: vec![
                    plain("Error", "Config patch unused"),
                    plain("Action", "Check Patch Path and Patch Version"),
                ],
            },
            ChangeState::Failed | ChangeState::Refused | ChangeState::RolledBack | ChangeState::Expired => {
                Self {
                    name: "CimConfigUpdateFailure",
                    managed_object: vec![plain("Update_Config_Status", "FAIL")],
                    additional_info: vec![
                        plain("Error", "Config patch failed"),
                        plain("Action", "Update Changes Manually"),
                    ],
                }
            }
            ChangeState::Received | ChangeState::Pushed | ChangeState::Superseded => return None,
        })
    }

    /// A result was stored.
    #[must_use]
    pub fn of_commit(key: &str) -> Self {
        Self {
            name: "CimCommitConfigSuccess",
            managed_object: vec![("Update_Etcd_Commit_Status", "SUCCESS".to_owned())],
            additional_info: vec![("Commit_Keys", key.to_owned())],
        }
    }

    /// A result could not be stored in time.
    #[must_use]
    pub fn of_lost_commit(key: &str, error: &str) -> Self {
        Self {
            name: "CimCommitConfigFailure",
            managed_object: vec![
                ("Update_Etcd_Commit_Status", "FAIL".to_owned()),
                ("Commit_Keys", key.to_owned()),
            ],
            additional_info: vec![("Error", error.to_owned())],
        }
    }

    /// The first configuration was given up.
    #[must_use]
    pub fn of_load_failure(malformed: bool) -> Self {
        let action = if malformed { "Load config failed" } else { "Load Changes Manually" };
        Self {
            name: "LoadConfigRequestFailure",
            managed_object: vec![("Load_Config_Request", "FAIL".to_owned())],
            additional_info: vec![("Error", "Config load failed".to_owned()), ("Action", action.to_owned())],
        }
    }

    /// The store has not been reached since the start.
    #[must_use]
    pub fn of_absent_store(error: &str) -> Self {
        Self {
            name: "CimConnectEtcdFailure",
            managed_object: vec![
                ("Description", "Connect Etcd Failure".to_owned()),
                ("STATUS", "Failure".to_owned()),
            ],
            additional_info: vec![("Error", error.to_owned())],
        }
    }

    /// The receiver of logs over TCP is lost; `action`: what becomes of them meanwhile.
    #[must_use]
    pub fn of_lost_receiver(action: &str) -> Self {
        Self {
            name: "LmaasTCPFailure",
            managed_object: vec![
                ("Description", "TCP connection with fluentbit is DOWN".to_owned()),
                ("STATUS", "FAILURE".to_owned()),
            ],
            // The blank at the end is part of the name.
            additional_info: vec![("ACTION_IN_PROGRESS ", action.to_owned())],
        }
    }

    /// The application was told that the pod ends; `accepted`: it will say when it is done. `signal` is the text that the
    /// system has for it.
    #[must_use]
    pub fn of_shutdown(accepted: bool, signal: &str) -> Self {
        let (status, description) = if accepted {
            ("success", "Application shutdown initiated successfully")
        } else {
            ("failure", "Application shutdown initiation failed")
        };
        let plain = |name: &'static str, value: &str| (name, value.to_owned());
        Self {
            name: "ApplicationShutdownInitiated",
            managed_object: Vec::new(),
            additional_info: vec![
                plain("status", status),
                plain("reason", "cim_termination"),
                plain("signal", signal),
                plain("description", description),
            ],
        }
    }

    /// The event, raised now by the container of that id.
    #[must_use]
    pub fn event(&self, now_ms: u64, container_id: &str) -> Event<'static> {
        let pairs = |list: &[(&'static str, String)]| {
            Some(list.iter().map(|(name, value)| Pair::owned(name, value)).collect())
        };
        Event {
            event_name: self.name.as_bytes().into(),
            event_time: i64::try_from(now_ms).unwrap_or(i64::MAX),
            container_id: container_id.as_bytes().to_vec().into(),
            managed_object: pairs(&self.managed_object),
            additional_info: pairs(&self.additional_info),
            own: true,
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{ChangeStatus, Commit};
    use cim_wire::{EventEncoder, SourceHeaders};
    use serde_json::Value;

    fn outcome(state: ChangeState, key: &str) -> ConfigOutcome {
        let status = ChangeStatus::example(1, state);
        let commit = Some(Commit { key: key.to_owned(), value: 1 });
        ConfigOutcome { commit, status: Some((String::new(), status)) }
    }

    fn announcement(recorded: &Value) -> Option<Announcement> {
        let info = |at: usize| recorded["additionalInfo"][at]["value"].as_str().unwrap_or_default();
        match recorded["eventName"].as_str()? {
            "CimConfigUpdateSuccess" => Announcement::of_result(&outcome(ChangeState::Applied, info(0))),
            "CimConfigUpdateUnused" => Announcement::of_result(&outcome(ChangeState::Unused, "")),
            "CimConfigUpdateFailure" => Announcement::of_result(&outcome(ChangeState::Failed, "")),
            "CimCommitConfigSuccess" => Some(Announcement::of_commit(info(0))),
            "ApplicationShutdownInitiated" => Some(Announcement::of_shutdown(info(0) == "success", info(2))),
            "LoadConfigRequestFailure" => {
                Some(Announcement::of_load_failure(info(1) == "Load config failed"))
            }
            _ => None,
        }
    }

    #[test]
    fn announcements_are_those_that_were_recorded() {
        let document: Value =
            serde_json::from_str(include_str!("../../../tests/vectors/event.json")).unwrap();
        let mut played = 0;
        for case in document["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let Some(text) =
                case["expected"]["value"]["text"].as_str().filter(|_| name.starts_with("own event "))
            else {
                continue;
            };
            let text = text.replace("<now>", "5");
            let recorded: Value = serde_json::from_str(&text).unwrap();
            let Some(announcement) = announcement(&recorded) else { continue };
            let member = |name: &str| recorded["sourceHeaders"][name].as_str().unwrap_or_default().to_owned();
            let headers = SourceHeaders {
                pod_id: member("podId"),
                microservice: member("microservice"),
                nf: member("nf"),
                nf_prefix: member("nfPrefix"),
                nf_type: member("nfType"),
                svc_version: member("svcVersion"),
                ..SourceHeaders::default()
            };
            let encoder = EventEncoder::new(&SourceHeaders::default()).with_own(&headers);
            let event = announcement.event(5, recorded["containerId"].as_str().unwrap());
            let mut json = Vec::new();
            encoder.encode(&event, &mut json);
            assert_eq!(String::from_utf8(json).unwrap(), text, "{name}");
            played += 1;
        }
        assert!(played >= 10, "{played}");
    }
}
