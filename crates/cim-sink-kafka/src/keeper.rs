//! The thread that owns the client: makes it, serves its events, and ends it.
//!
//! One thread for all of that, because each of these calls may block, and because a client must be gone, with a report
//! for everything it held, before the next one may take records: that is what keeps the order. Left out: deliveries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_core::Class;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{Producer as _, PurgeConfig};

use crate::client_config::Recipe;
use crate::flush;
use crate::reports::{Client, Reports};
use crate::shared::{End, Live, Shared, Slot};

/// How long the thread listens for events before it looks at its orders.
const SLICE: Duration = Duration::from_millis(50);
/// The same while the client holds nothing. The library listens for whole milliseconds and spins for the last one of each slice.
const IDLE_SLICE: Duration = Duration::from_millis(500);
/// The same for a client in the place of one that a refusal has stopped: another refusal is likely, and each is waited for.
const WARY_SLICE: Duration = Duration::from_millis(10);
/// How long such a client is looked at so often.
const WARY_TIME: Duration = Duration::from_secs(2);
/// How long the library waits between two questions for the number of a producer.
const NUMBER_TIME: Duration = Duration::from_millis(500);
/// How long a client that ends may take to get acknowledgements for what it has sent.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How often secret files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Starts the thread.
///
/// # Errors
/// When the system has no thread to give.
pub(crate) fn start(shared: Arc<Shared>, recipe: Recipe) -> std::io::Result<()> {
    std::thread::Builder::new().name("cim-kafka".to_owned()).spawn(move || run(&shared, recipe)).map(drop)
}

fn run(shared: &Arc<Shared>, mut recipe: Recipe) {
    flush::start(&shared.flusher, &shared.name);
    // The client before could not go on.
    let mut wary = false;
    loop {
        let wanted = shared.wait_for(|orders| match orders {
            orders if orders.closed => Some(false),
            orders if orders.wanted => {
                (orders.wanted, orders.end) = (false, None);
                Some(true)
            }
            _ => None,
        });
        if !wanted {
            break;
        }
        match make(shared, &mut recipe) {
            Ok(client) => {
                shared.link.begin();
                shared.put(Slot::Live(Live { client: Arc::clone(&client), life: shared.rebuilds() + 1 }));
                let end = serve(shared, &client, &mut recipe, wary);
                wary = client.client().fatal_error().is_some();
                shared.put(Slot::Vacant);
                wind_down(shared, client, end);
                shared.rebuilt();
                // Who waits for the end of the client is told now.
                shared.put(Slot::Vacant);
            }
            Err(why) => shared.put(Slot::Broken(why)),
        }
    }
    shared.flusher.end();
    // Another sink may get the rest of a batch that was acknowledged in part, and with it the whole batch.
    let unsettled = shared.lanes().map(|lane| lane.ledger().unsettled() as u64);
    shared.may_be_doubled(unsettled.into_iter().sum());
    shared.show(0);
    shared.ended.notify_one();
}

fn make(shared: &Arc<Shared>, recipe: &mut Recipe) -> Result<Arc<Client>, String> {
    let config = recipe.client_config()?;
    let reports = Reports::new(Arc::clone(shared));
    let client = Client::from_config_and_context(&config, reports);
    let client = client.map_err(|error| recipe.in_other_words(&error))?;
    let client = Arc::new(client);
    client.context().belong_to(&client);
    Ok(client)
}

/// A client sends nothing before it has a number, for which it asks with its start, when no broker is connected yet, then after
/// [`NUMBER_TIME`], and with each answer about topics: so it is made to ask for those. What they say is not needed. Returns whether
/// there was an answer.
fn hasten(shared: &Shared, client: &Client) -> bool {
    client.client().fetch_metadata(Some(shared.lane(Class::Log).topic.name()), WARY_SLICE).is_ok()
}

/// Serves the client until it has to end.
fn serve(shared: &Shared, client: &Client, recipe: &mut Recipe, wary: bool) -> End {
    let begun = Instant::now();
    let (mut looked, mut ask_at, mut asks) = (begun, WARY_SLICE, wary);
    loop {
        if asks && begun.elapsed() >= ask_at {
            ask_at *= 2;
            asks = !hasten(shared, client) && ask_at < NUMBER_TIME;
        }
        client.poll(match shared.held() {
            _ if wary && begun.elapsed() < WARY_TIME => WARY_SLICE,
            0 => IDLE_SLICE,
            _ => SLICE,
        });
        if let Some(end) = shared.end() {
            return end;
        }
        if let Some((code, why)) = client.client().fatal_error() {
            tracing::warn!(sink = %shared.name, ?code, error = %why, "the producer is replaced; records are sent again");
            return End::Drain;
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            if recipe.changed() {
                tracing::info!(sink = %shared.name, "a secret file has changed; the producer is replaced");
                return End::Drain;
            }
        }
    }
}

/// Ends a client: what it has sent may still be acknowledged, the rest is given back.
fn wind_down(shared: &Shared, client: Arc<Client>, end: End) {
    let until = Instant::now() + DRAIN_TIME;
    let may_send = client.client().fatal_error().is_none();
    while end == End::Drain
        && client.in_flight_count() > 0
        && shared.link.is_up()
        && Instant::now() < until
        && shared.end() != Some(End::Purge)
    {
        if !may_send {
            // What waits in the queue goes with the next client; only what is on the wire is worth a wait. Never while it sends:
            // a request that is cut off in the middle takes those before it with it, which a broker may have.
            client.purge(PurgeConfig::default().queue());
        }
        client.poll(if may_send { SLICE } else { WARY_SLICE });
    }
    client.purge(PurgeConfig::default().queue().inflight());
    // A delivery or a question to the cluster may still use it for a moment.
    let mut client = client;
    loop {
        match Arc::try_unwrap(client) {
            // Its end gives back everything it holds, each with a report.
            Ok(client) => break drop(client),
            Err(shared) => {
                client = shared;
                client.poll(Duration::from_millis(5));
            }
        }
    }
    for lane in shared.lanes() {
        let lost = lane.ledger().lose_all(RDKafkaErrorCode::PurgeInflight);
        shared.may_be_doubled(lost as u64);
    }
}
