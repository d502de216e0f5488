//! What the client library tells: the fate of each record, the state of its connections, its own log lines.
//!
//! Owns the translation of its events. Left out: acting on them. Invariant: no call blocks; they run on the thread that
//! serves the client.

use std::sync::{Arc, OnceLock, Weak};

use cim_core::Class;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use crate::error_table;
use crate::shared::{End, Shared, Slot};
use crate::stored::may_be_stored;

/// A client of the library, with the way its reports take.
pub(crate) type Client = BaseProducer<Reports>;

/// The library's name for the news that brokers belong to another cluster than before. What a producer is there, and which
/// numbers it has used, is another's: it must not go on.
const ANOTHER_CLUSTER: &str = "CLUSTERID";

/// Takes the events of one client.
pub(crate) struct Reports {
    shared: Arc<Shared>,
    /// The client itself, once it is made.
    client: OnceLock<Weak<Client>>,
}

impl Reports {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, client: OnceLock::new() }
    }

    /// Names the client whose events these are.
    pub(crate) fn belong_to(&self, client: &Arc<Client>) {
        self.client.get_or_init(|| Arc::downgrade(client));
    }

    /// Why a record was given back or not taken with that code: a client that cannot go on says so of its records, and why
    /// of itself.
    pub(crate) fn cause(&self, code: RDKafkaErrorCode) -> RDKafkaErrorCode {
        explained(code, self.fatal())
    }

    /// Why the client cannot go on, when it cannot.
    fn fatal(&self) -> Option<RDKafkaErrorCode> {
        let client = self.client.get().and_then(Weak::upgrade);
        client.and_then(|client| client.client().fatal_error()).map(|(fatal, _)| fatal)
    }

    /// A client that cannot go on is offered nothing more: who has a record for it waits for the next one, instead of being told
    /// that this one takes none, and pausing for that. Only before the report of what failed, which brings such offers.
    fn leave(&self) {
        if self.shared.is_live() {
            self.shared.put(Slot::Vacant);
        }
    }
}

fn explained(code: RDKafkaErrorCode, fatal: Option<RDKafkaErrorCode>) -> RDKafkaErrorCode {
    fatal.filter(|fatal| error_table::explains_more(*fatal, code)).unwrap_or(code)
}

/// What the client hands back with a report: class and number of a record in one word.
pub(crate) fn ticket(class: Class, seq: u64) -> usize {
    let word = seq << 1 | u64::from(class == Class::Event);
    // 64-bit targets; on smaller ones the numbers of 2^31 records are enough to tell those in flight apart.
    word as usize
}

fn of_ticket(ticket: usize) -> (Class, u64) {
    let class = if ticket & 1 == 1 { Class::Event } else { Class::Log };
    (class, (ticket >> 1) as u64)
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let (class, seq) = of_ticket(ticket);
        let code = |error: &KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let cause = result.as_ref().err().map(|(error, message)| {
            let code = code(error);
            self.shared.failed(class, code, may_be_stored(message));
            let fatal = self.fatal();
            if fatal.is_some() {
                self.leave();
            }
            explained(code, fatal)
        });
        self.shared.lane(class).ledger().report(seq, cause);
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let sink = self.shared.name.as_str();
        // A first cluster is told too, for those who look for faults.
        if facility == ANOTHER_CLUSTER && is_warning(level) {
            tracing::warn!(
                sink,
                "the brokers belong to another cluster now; the producer is replaced: {text}"
            );
            self.shared.put(Slot::Vacant);
            self.shared.order(|orders| orders.end = Some(End::Purge));
        }
        // Lost connections are told by the delivery that suffers from them, once.
        tracing::debug!(sink, facility, ?level, "librdkafka: {text}");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Some((connected, doubtful)) = self.shared.link.statistics(statistics) else { return };
        if doubtful > 0 {
            tracing::warn!(
                sink = self.shared.name,
                records = doubtful,
                "the client began a new epoch; so many records at most may be there twice"
            );
            self.shared.may_be_doubled(doubtful);
        }
        self.shared.show(connected);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        self.shared.link.trouble(code, reason);
    }
}

fn is_warning(level: RDKafkaLogLevel) -> bool {
    use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Warning};
    matches!(level, Emerg | Alert | Critical | Error | Warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_names_its_record() {
        for record in
            [(Class::Log, 0), (Class::Event, 1), (Class::Log, 1 << 40), (Class::Event, u64::MAX >> 1)]
        {
            assert_eq!(of_ticket(ticket(record.0, record.1)), record);
        }
    }
}
