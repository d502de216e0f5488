//! What each error of the client library or of a broker means for delivery.
//!
//! Owns one table: the code below reads it, and the page of the guide shows it. Left out: what the engine does about
//! a kind. Invariant: a code that is in no row is retried; nothing is ever given up for a code nobody thought of.

use cim_core::DeliveryErrorKind;
use rdkafka::error::RDKafkaErrorCode as Code;

/// Codes with one meaning.
#[derive(Debug)]
pub struct Row {
    /// The kind the engine acts on.
    pub kind: DeliveryErrorKind,
    /// What has happened, and what helps.
    pub meaning: &'static str,
    /// The codes.
    pub codes: &'static [Code],
}

/// The whole table, in the order of the guide.
pub const TABLE: &[Row] = &[
    Row {
        kind: DeliveryErrorKind::Unavailable,
        meaning: "No broker can be reached, or it does not answer. Heals by itself.",
        codes: &[
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::Resolve,
            Code::OperationTimedOut,
            Code::MessageTimedOut,
            Code::TimedOutQueue,
            Code::RequestTimedOut,
            Code::NetworkException,
            Code::BrokerNotAvailable,
            Code::ListenerNotFound,
        ],
    },
    Row {
        kind: DeliveryErrorKind::Unavailable,
        meaning: "The partition has no leader at the moment, or too few replicas. Heals by itself when the cluster does.",
        codes: &[
            Code::LeaderNotAvailable,
            Code::NotLeaderForPartition,
            Code::ReplicaNotAvailable,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::CoordinatorLoadInProgress,
            Code::CoordinatorNotAvailable,
            Code::NotCoordinator,
            Code::KafkaStorageError,
            Code::LogDirNotFound,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::StaleBrokerEpoch,
            Code::ReassignmentInProgress,
            Code::UnknownPartition,
        ],
    },
    Row {
        kind: DeliveryErrorKind::Unavailable,
        meaning: "The producer had to be replaced; what it had not delivered is sent again by the next one, and counted \
                  in `cim_kafka_possible_duplicates_total` where the broker may have it already.",
        codes: &[
            Code::Fatal,
            Code::GaplessGuarantee,
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::OutOfOrderSequenceNumber,
            Code::DuplicateSequenceNumber,
            Code::InvalidProducerEpoch,
            Code::InvalidProducerIdMapping,
            Code::UnknownProducerId,
            Code::ProducerFenced,
            Code::BadMessage,
            Code::Underflow,
            Code::Fenced,
            Code::State,
            Code::Retry,
        ],
    },
    Row {
        kind: DeliveryErrorKind::Unavailable,
        meaning: "Another record of the same request was refused; this one is sent again.",
        codes: &[Code::InvalidDifferentRecord],
    },
    Row {
        kind: DeliveryErrorKind::Throttled,
        meaning: "A quota of the broker, or the client's own queue of 8 MiB, is used up. Retried.",
        codes: &[Code::QueueFull, Code::ThrottlingQuotaExceeded],
    },
    Row {
        kind: DeliveryErrorKind::TooLarge,
        meaning: "Above `max_message`, or above `max.message.bytes` of the topic. The batch is split; a single record goes \
                  to the dead letters.",
        codes: &[Code::MessageSizeTooLarge, Code::MessageBatchTooLarge, Code::InvalidMessageSize],
    },
    Row {
        kind: DeliveryErrorKind::Rejected,
        meaning: "The broker refuses a record for what it is. The batch is split; a single record goes to the dead letters, \
                  its neighbours are delivered.",
        codes: &[
            Code::InvalidRecord,
            Code::InvalidTimestamp,
            Code::PolicyViolation,
            Code::UnsupportedForMessageFormat,
        ],
    },
    Row {
        kind: DeliveryErrorKind::Unauthorized,
        meaning: "Credentials, certificates or access rights are not accepted. Tried again slowly; heals when the rights are \
                  granted or the secret file changes.",
        codes: &[
            Code::Authentication,
            Code::SaslAuthenticationFailed,
            Code::SSL,
            Code::TopicAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::GroupAuthorizationFailed,
            Code::TransactionalIdAuthorizationFailed,
            Code::DelegationTokenExpired,
            Code::SecurityDisabled,
        ],
    },
    Row {
        kind: DeliveryErrorKind::Misconfigured,
        meaning: "The topic does not exist, or broker and configuration do not fit together. Tried again slowly; heals when \
                  the topic appears.",
        codes: &[
            Code::UnknownTopic,
            Code::UnknownTopicOrPartition,
            Code::InvalidTopic,
            Code::InvalidRequiredAcks,
            Code::UnsupportedSASLMechanism,
            Code::IllegalSASLState,
            Code::UnsupportedVersion,
            Code::UnsupportedCompressionType,
            Code::UnsupportedFeature,
            Code::NotImplemented,
            Code::InvalidArgument,
            Code::InvalidConfig,
        ],
    },
    Row {
        kind: DeliveryErrorKind::Closed,
        meaning: "The sink is being closed. What it had not delivered stays in the spool.",
        codes: &[Code::BrokerDestroy],
    },
];

/// What the engine is to make of a code.
#[must_use]
pub fn kind(code: Code) -> DeliveryErrorKind {
    let row = TABLE.iter().find(|row| row.codes.contains(&code));
    row.map_or(DeliveryErrorKind::Unavailable, |row| row.kind)
}

/// How much a failure explains: of several, the one that others follow from is told.
fn weight(kind: DeliveryErrorKind) -> u8 {
    match kind {
        DeliveryErrorKind::Unavailable => 0,
        DeliveryErrorKind::Closed => 1,
        DeliveryErrorKind::Throttled => 2,
        DeliveryErrorKind::TooLarge | DeliveryErrorKind::Rejected => 3,
        DeliveryErrorKind::Misconfigured => 4,
        DeliveryErrorKind::Unauthorized => 5,
    }
}

/// Whether the first code tells more of what went wrong than the second.
pub(crate) fn explains_more(code: Code, than: Code) -> bool {
    weight(kind(code)) > weight(kind(than))
}

/// The table as the guide shows it.
#[must_use]
pub fn page() -> String {
    use std::fmt::Write as _;
    let mut page = String::from("| kind | meaning | codes of librdkafka |\n|---|---|---|\n");
    for Row { kind, meaning, codes } in TABLE {
        let codes: Vec<_> = codes.iter().map(|code| format!("`{code:?}`")).collect();
        let _ = writeln!(page, "| `{}` | {meaning} | {} |", kind.as_str(), codes.join(" "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_and_every_kind_has_a_row() {
        let mut codes: Vec<_> = TABLE.iter().flat_map(|row| row.codes).map(|code| *code as i32).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all, "a code stands in two rows");
        for (row, code) in TABLE.iter().flat_map(|row| row.codes.iter().map(move |code| (row, code))) {
            assert_eq!(kind(*code), row.kind, "{code:?}");
        }
    }

    /// Written down a second time on purpose: a code that slips into one of these rows costs records.
    #[test]
    fn nothing_but_these_codes_gives_a_record_up() {
        let gives_up = |kind| matches!(kind, DeliveryErrorKind::TooLarge | DeliveryErrorKind::Rejected);
        let codes: Vec<_> =
            TABLE.iter().filter(|row| gives_up(row.kind)).flat_map(|row| row.codes).copied().collect();
        let of_size = [Code::MessageSizeTooLarge, Code::MessageBatchTooLarge, Code::InvalidMessageSize];
        let of_content = [
            Code::InvalidRecord,
            Code::InvalidTimestamp,
            Code::PolicyViolation,
            Code::UnsupportedForMessageFormat,
        ];
        assert_eq!(codes, [&of_size[..], &of_content].concat());
    }

    /// What an operator is told first in the outages that end only when somebody does something.
    #[test]
    fn what_needs_a_hand_is_told_apart_from_what_heals_by_itself() {
        use DeliveryErrorKind::{Misconfigured, Throttled, Unauthorized, Unavailable};
        for (code, expected) in [
            (Code::AllBrokersDown, Unavailable),
            (Code::BrokerTransportFailure, Unavailable),
            (Code::Resolve, Unavailable),
            (Code::NotEnoughReplicas, Unavailable),
            (Code::OutOfOrderSequenceNumber, Unavailable),
            (Code::ProducerFenced, Unavailable),
            (Code::Authentication, Unauthorized),
            (Code::SSL, Unauthorized),
            (Code::TopicAuthorizationFailed, Unauthorized),
            (Code::ClusterAuthorizationFailed, Unauthorized),
            (Code::UnknownTopicOrPartition, Misconfigured),
            (Code::UnsupportedSASLMechanism, Misconfigured),
            (Code::QueueFull, Throttled),
            (Code::ThrottlingQuotaExceeded, Throttled),
        ] {
            assert_eq!(kind(code), expected, "{code:?}");
        }
    }

    #[test]
    fn an_unknown_code_is_retried() {
        assert_eq!(kind(Code::Unknown), DeliveryErrorKind::Unavailable);
        assert_eq!(kind(Code::NonEmptyGroup), DeliveryErrorKind::Unavailable);
    }

    #[test]
    fn a_record_is_not_given_up_for_another_one_of_its_request() {
        assert_eq!(kind(Code::InvalidDifferentRecord), DeliveryErrorKind::Unavailable);
        let refused = weight(kind(Code::InvalidRecord));
        assert!(
            refused > weight(kind(Code::InvalidDifferentRecord)),
            "the reason is told, not what follows from it"
        );
    }

    /// The guide shows this table and no other.
    #[test]
    fn the_guide_shows_the_table() {
        let guide = include_str!("../../../docs/guide/kafka.md");
        for line in page().lines() {
            assert!(guide.contains(line), "docs/guide/kafka.md lacks the line\n{line}");
        }
    }
}
