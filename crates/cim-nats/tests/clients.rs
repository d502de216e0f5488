//! The official Rust client against a real listener thread and the real engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use async_nats::{Client, ConnectOptions, HeaderMap};
use cim_core::null::NullSink;
use cim_core::{Cim, Sink};
use cim_nats::{Auth, Listener, ListenerControl, NatsConfig, Secret};
use futures_util::{FutureExt, StreamExt};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use support::Server;

const PATIENCE: Duration = Duration::from_secs(10);

struct Pod {
    cim: Cim,
    _spool: tempfile::TempDir,
    address: SocketAddr,
    control: ListenerControl,
    thread: JoinHandle<std::io::Result<()>>,
}

fn start(config: NatsConfig) -> Pod {
    let spool = tempfile::tempdir().unwrap();
    let cim = Cim::builder()
        .spool_dir(spool.path())
        .sink("null", Sink::both(Arc::new(NullSink::new("null"))))
        .start()
        .unwrap();
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let listener = Listener::bind(NatsConfig { listen, ..config }).unwrap();
    let (address, control) = (listener.local_addrs()[0], listener.control());
    let lane = cim.lane();
    let thread = std::thread::spawn(move || listener.run(lane));
    Pod { cim, _spool: spool, address, control, thread }
}

impl Pod {
    async fn stop(self) -> cim_core::StopReport {
        self.control.close();
        tokio::task::spawn_blocking(move || self.thread.join()).await.unwrap().unwrap().unwrap();
        self.cim.stop(Duration::from_secs(5)).await
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// Returns when the server has worked on everything that `client` sent before.
async fn settle(client: &Client) {
    let inbox = client.new_inbox();
    let mut own = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, "".into()).await.unwrap();
    within(own.next()).await.unwrap();
}

async fn connect(pod: &Pod) -> Client {
    within(ConnectOptions::new().name("app").connect(pod.address.to_string())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_events_are_accepted_at_flush_and_delivered() {
    let pod = start(NatsConfig::default());
    let client = connect(&pod).await;
    for n in 0..1_000 {
        client.publish("LOG", format!("line {n}").into()).await.unwrap();
    }
    settle(&client).await;
    let ack = within(client.request("EVENT", r#"{"eventName":"Started"}"#.into())).await.unwrap();
    assert_eq!(&ack.payload[..], br#"{"stream":"EVENT","seq":1,"level":"synced"}"#);
    let refused = within(client.request("EVENT", r#"{"no":"name"}"#.into())).await.unwrap();
    let text = String::from_utf8(refused.payload.to_vec()).unwrap();
    assert!(
        text.starts_with("{\"error\":{\"code\":400,") && text.ends_with("\"stream\":\"EVENT\"}"),
        "{text}"
    );
    let ack = within(client.request("LOG", "one more".into())).await.unwrap();
    assert_eq!(&ack.payload[..], br#"{"stream":"LOG","seq":1001,"level":"written"}"#);
    let report = pod.stop().await;
    assert_eq!((report.held, report.dropped), (0, 0));
    assert!(report.delivered >= 1_001, "{}", report.delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_subscribe_request_reply_headers() {
    let pod = start(NatsConfig::default());
    let (one, two) = (connect(&pod).await, connect(&pod).await);
    let mut all = one.subscribe("orders.>").await.unwrap();
    settle(&one).await;
    let mut headers = HeaderMap::new();
    headers.insert("Kind", "test");
    two.publish_with_headers("orders.new.1", headers, "hello".into()).await.unwrap();
    let message = within(all.next()).await.unwrap();
    assert_eq!(&message.payload[..], b"hello");
    assert_eq!(message.headers.unwrap().get("Kind").unwrap().as_str(), "test");

    let mut service = one.queue_subscribe("help", "workers".into()).await.unwrap();
    settle(&one).await;
    let worker = one.clone();
    let serve = async {
        let request = service.next().await.unwrap();
        worker.publish(request.reply.unwrap(), "done".into()).await.unwrap();
    };
    let (answer, ()) = within(futures_util::future::join(two.request("help", "please".into()), serve)).await;
    assert_eq!(&answer.unwrap().payload[..], b"done");

    let nobody = within(two.request("nobody", "there".into())).await.unwrap_err();
    assert_eq!(nobody.kind(), async_nats::RequestErrorKind::NoResponders);
    pod.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_group_gets_each_message_once() {
    let pod = start(NatsConfig::default());
    let mut members = Vec::new();
    for _ in 0..3 {
        let client = connect(&pod).await;
        let subscription = client.queue_subscribe("work", "group".into()).await.unwrap();
        settle(&client).await;
        members.push((client, subscription));
    }
    let publisher = connect(&pod).await;
    for n in 0..3_000_u32 {
        publisher.publish("work", n.to_be_bytes().to_vec().into()).await.unwrap();
    }
    settle(&publisher).await;
    let (clients, subscriptions): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    let tagged = subscriptions.into_iter().enumerate();
    let mut arriving = futures_util::stream::select_all(
        tagged.map(|(member, subscription)| subscription.map(move |message| (member, message))),
    );
    let (mut shares, mut all) = ([0; 3], Vec::new());
    while all.len() < 3_000 {
        let (member, message) = within(arriving.next()).await.unwrap();
        shares[member] += 1;
        all.push(u32::from_be_bytes(message.payload[..].try_into().unwrap()));
    }
    // What a member was sent before the answer to this is there by then.
    for client in &clients {
        settle(client).await;
    }
    assert!(arriving.next().now_or_never().is_none(), "a message came twice");
    assert!(shares.iter().all(|share| *share > 500), "{shares:?}");
    all.sort_unstable();
    assert_eq!(all, (0..3_000).collect::<Vec<_>>());
    pod.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_client_library() {
    let auth = Auth::User { user: Secret::new("app"), password: Secret::new("pw") };
    let pod = start(NatsConfig { auth: Some(auth), ..NatsConfig::default() });
    let wrong = ConnectOptions::with_user_and_password("app".into(), "no".into());
    let error = within(wrong.connect(pod.address.to_string())).await.unwrap_err();
    assert!(error.to_string().contains("uthorization"), "{error}");
    let right = ConnectOptions::with_user_and_password("app".into(), "pw".into());
    let client = within(right.connect(pod.address.to_string())).await.unwrap();
    within(client.flush()).await.unwrap();
    pod.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_comes_back_after_a_plain_close() {
    let server = Server::with(NatsConfig { hold_limit: Duration::from_millis(200), ..support::config() });
    let client = within(async_nats::connect(server.address.to_string())).await.unwrap();
    settle(&client).await;
    server.engine.change(|state| state.logs_full = true);
    client.publish("LOG", "x".into()).await.unwrap();
    within(client.flush()).await.unwrap();
    server.wait_for("the close", |counts| counts.backpressure_closes == 1);
    server.wait_for("the reconnect", |counts| counts.accepted == 2 && counts.connections == 1);
    server.engine.change(|state| state.logs_full = false);
    client.publish("LOG", "y".into()).await.unwrap();
    settle(&client).await;
    assert_eq!(server.engine.lock().logs.last().unwrap(), b"y");
}

/// Takes events only while the test lets it.
struct Gate(tokio::sync::watch::Receiver<bool>, std::sync::atomic::AtomicU64);

#[cim_core::async_trait]
impl cim_core::Component for Gate {
    fn name(&self) -> &str {
        "gate"
    }
}

#[cim_core::async_trait]
impl cim_core::EventSink for Gate {
    fn profile(&self) -> cim_core::SinkProfile {
        cim_core::SinkProfile::default()
    }

    async fn deliver(
        &self,
        batch: &cim_core::Batch<cim_core::Event<'_>>,
    ) -> Result<(), cim_core::DeliveryError> {
        let mut open = self.0.clone();
        let _ = open.wait_for(|open| *open).await;
        self.1.fetch_add(batch.iter().count() as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_event_class_holds_its_publishers_only_and_loses_nothing() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let gate = Arc::new(Gate(gate, Default::default()));
    let memory = cim_core::settings::MemorySettings { budget: cim_core::settings::ByteSize::mib(8) };
    let cim = Cim::builder()
        .memory(memory)
        .sink("gate", Sink::events(Arc::clone(&gate) as Arc<dyn cim_core::EventSink>))
        .start()
        .unwrap();
    let listener = Listener::bind(support::config()).unwrap();
    let (address, control, stats) = (listener.local_addrs()[0], listener.control(), listener.stats());
    let lane = cim.lane();
    let thread = std::thread::spawn(move || listener.run(lane));

    let body = format!(r#"{{"eventName":"{}","eventTime":1}}"#, "x".repeat(1_000));
    let frame = format!("PUB EVENT {}\r\n{body}\r\n", body.len());
    let producer = std::thread::spawn(move || {
        let mut peer = support::Peer { stream: std::net::TcpStream::connect(address).unwrap() };
        peer.line();
        peer.send("CONNECT {\"verbose\":false}\r\nSUB ack 1\r\n");
        for _ in 0..150 {
            peer.send(frame.repeat(100));
        }
        peer.send(frame.replace("EVENT", "EVENT ack"));
        let answers = peer.flush();
        assert!(answers.contains("\"stream\":\"EVENT\",\"seq\":15001,"), "{answers}");
    });
    let held = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while stats.snapshot().holds == 0 {
            looks.tick().await;
        }
    };
    within(held).await;
    let client = within(async_nats::connect(address.to_string())).await.unwrap();
    client.publish("LOG", "still alive".into()).await.unwrap();
    settle(&client).await;
    open.send(true).unwrap();
    tokio::task::spawn_blocking(move || producer.join().unwrap()).await.unwrap();
    control.close();
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap().unwrap();
    let report = cim.stop(Duration::from_secs(5)).await;
    assert_eq!(gate.1.load(std::sync::atomic::Ordering::Relaxed), 15_001, "{report:?}");
}
