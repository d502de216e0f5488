//! What every client is told, and why.
//!
//! Owns the properties of producers, of consumers and of both. Left out: what the settings say (`client_config`). Invariant: the
//! fixed ones are those on which order and safety rest.

/// What is never left to chance of a producer: property and value.
pub(crate) const PRODUCER: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    // A refused record stops the producer before anything behind it can overtake its neighbours.
    ("enable.gapless.guarantee", "true"),
    // The client never gives a record up: the spool decides.
    ("message.timeout.ms", "0"),
    // Never waited for: the client is told when a batch is complete (`flush`).
    ("linger.ms", "5"),
    ("queue.buffering.max.kbytes", "8192"),
    ("queue.buffering.max.messages", "0"),
];

/// The longest answer that a producer takes, unless `properties` say otherwise. None brings records, and that about a topic has some
/// fifty bytes for each partition; with the library's own 100 MB, whoever answers could have more memory than the whole budget.
pub(crate) const LONGEST_ANSWER: (&str, &str) = ("receive.message.max.bytes", "8388608");

/// What a consumer holds at most of what it has fetched, in KiB; a fetch asks for as much.
const FETCHED_KBYTES: &str = "4096";
/// The shortest bound of an answer with which the library makes a consumer: such a fetch, and 512 bytes around it.
pub(crate) const SHORTEST_FETCH: u64 = (4_096 << 10) + 512;

/// And of a consumer.
pub(crate) const CONSUMER: &[(&str, &str)] = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Where reading begins is fixed before it does. What is not known then, a partition that was added or a place that the
    // topic does not keep any longer, is read from its oldest record: nothing that is still there is passed over.
    ("auto.offset.reset", "earliest"),
    // A single record does not wait for company.
    ("fetch.min.bytes", "1"),
    ("queued.max.messages.kbytes", FETCHED_KBYTES),
    // The next fetch when so much is there; the default of 1 s would make of the bound above a rate.
    ("fetch.queue.backoff.ms", "10"),
    // A process that was killed is waited for so long by a group that does not know it again.
    ("session.timeout.ms", "10000"),
    ("check.crcs", "true"),
];

/// Of both.
pub(crate) const FIXED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    // Health page and metrics read them; the client says in no other way that a connection is back.
    ("statistics.interval.ms", "1000"),
];

/// What `properties` may change.
pub(crate) const USUAL: &[(&str, &str)] = &[
    ("max.in.flight", "5"),
    ("batch.num.messages", "50000"),
    ("batch.size", "1000000"),
    ("socket.nagle.disable", "true"),
    ("socket.keepalive.enable", "true"),
    ("request.timeout.ms", "8000"),
    // A connection that swallows everything is given up when the request is: within ten seconds, as the library looks once a second.
    ("socket.timeout.ms", "8000"),
    // An address that swallows the first packet is left for the next one of its name; the library's own 30 s are long.
    ("socket.connection.setup.timeout.ms", "10000"),
    // The next address of a name is tried before they are all asked for anew and shuffled: also after one that swallows everything,
    // which takes ten of these seconds. A name that moves while it is tried is noticed as much later.
    ("broker.address.ttl", "12000"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "10000"),
];
