//! The log agent of the own node: found when a connection is made, found again when it moved, and never asked for by a record.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use cim_core::{
    Class, DeliveryErrorKind, Identity, LogFormat, Neighbours, OrchestratorErrorKind, Peer, PeerQuery, Sink,
    SinkContext,
};
use cim_sink_tcp::{NodeAgentSettings, TcpSettings, TcpSink};
use cim_testkit::{FakeOrchestrator, Sample, Subject};
use support::{PATIENCE, Receiver, context, wait_for};

/// A sink that looks for its agent, and who tells it.
struct Rig {
    orchestrator: Arc<FakeOrchestrator>,
    subject: Subject,
    next: u64,
}

impl Rig {
    fn new(address: Option<SocketAddr>) -> Self {
        let orchestrator = FakeOrchestrator::new(Identity::default());
        let neighbours = Neighbours::of(Arc::clone(&orchestrator) as Arc<dyn cim_core::Orchestrator>);
        let settings = TcpSettings {
            address: address.map(|address| address.to_string()),
            node_agent: Some(NodeAgentSettings::default()),
            ..TcpSettings::default()
        };
        let context = SinkContext { neighbours, ..context(LogFormat::Text) };
        let sink = Arc::new(TcpSink::new(&context, &settings, None).unwrap());
        let subject = Subject::of(Sink::both(sink), Class::Log, PATIENCE).unwrap();
        Self { orchestrator, subject, next: 0 }
    }

    /// The agents that are there from now on.
    fn agents(&self, addresses: &[SocketAddr]) {
        let query = PeerQuery::NodeAgent { selector: "k8s-app=fluent-bit".to_owned(), port: 5170 };
        let peer = |address: &SocketAddr| Peer { name: "logging/fluent-bit".to_owned(), address: *address };
        self.orchestrator.set_peers(query, addresses.iter().map(peer).collect());
    }

    /// Delivers one record; the kind and the whole text of what went wrong.
    async fn deliver(&mut self) -> Result<(), (DeliveryErrorKind, String)> {
        self.next += 1;
        let delivered = self.subject.deliver(&[Sample::numbered(self.next, "app")]).await;
        delivered.map_err(|error| (error.kind(), cim_core::chain(&error)))
    }
}

/// Waits until a receiver has seen that many connections: its kernel takes records before it looks.
fn connected(receiver: &Receiver, count: usize) {
    wait_for(&format!("{count} connections"), || receiver.connects() == count);
}

#[tokio::test]
async fn the_agent_is_asked_for_once_for_many_records_and_preferred_to_an_address() {
    let (agent, other) = (Receiver::start(None), Receiver::start(None));
    let mut rig = Rig::new(Some(other.address));
    rig.agents(&[agent.address]);
    assert_eq!(rig.orchestrator.located(), 0, "nothing is asked before there is a record");
    for _ in 0..100 {
        rig.deliver().await.unwrap();
    }
    connected(&agent, 1);
    assert_eq!((rig.orchestrator.located(), other.connects()), (1, 0));
}

#[tokio::test]
async fn an_agent_that_moved_is_found_again() {
    let (before, after) = (Receiver::start(None), Receiver::start(None));
    let mut rig = Rig::new(None);
    rig.agents(&[before.address]);
    rig.deliver().await.unwrap();
    rig.agents(&[after.address]);
    rig.deliver().await.unwrap();
    assert_eq!(rig.orchestrator.located(), 1, "a connection that works is kept");
    connected(&before, 1);
    before.vanish();
    rig.deliver().await.unwrap();
    connected(&after, 1);
    assert_eq!(rig.orchestrator.located(), 2);
}

#[tokio::test]
async fn the_address_is_used_while_no_agent_takes_records() {
    let (gone, other) = (Receiver::start(None), Receiver::start(None));
    gone.vanish();
    for agents in [&[][..], &[gone.address]] {
        let mut rig = Rig::new(Some(other.address));
        rig.agents(agents);
        rig.deliver().await.unwrap();
    }
    let mut rig = Rig::new(Some(other.address));
    rig.orchestrator.set_down(Some(OrchestratorErrorKind::Unavailable));
    rig.deliver().await.unwrap();
    connected(&other, 3);
}

#[tokio::test]
async fn without_agent_and_address_the_error_says_what_was_looked_for_and_what_came_of_it() {
    let mut rig = Rig::new(None);
    let agent = "cannot connect to a receiver: node agent k8s-app=fluent-bit:5170: ";
    let (kind, text) = rig.deliver().await.unwrap_err();
    assert_eq!(kind, DeliveryErrorKind::Unavailable);
    assert_eq!(text, format!("{agent}no pod of this node with that label has an address"));

    rig.orchestrator.set_down(Some(OrchestratorErrorKind::Unavailable));
    let (kind, text) = rig.deliver().await.unwrap_err();
    assert_eq!(kind, DeliveryErrorKind::Unavailable);
    assert!(text.starts_with(agent) && text.contains("script"), "{text}");

    // A right that is missing is granted by a person: no reason to ask all the time.
    rig.orchestrator.set_down(Some(OrchestratorErrorKind::Forbidden));
    assert_eq!(rig.deliver().await.unwrap_err().0, DeliveryErrorKind::Misconfigured);

    rig.orchestrator.set_down(None);
    let gone = Receiver::start(None);
    gone.vanish();
    rig.agents(&[gone.address]);
    let (kind, text) = rig.deliver().await.unwrap_err();
    assert_eq!(kind, DeliveryErrorKind::Unavailable);
    assert!(text.contains(&format!("logging/fluent-bit ({}): ", gone.address)), "{text}");
}

#[tokio::test]
async fn without_anybody_to_ask_the_error_says_what_to_set() {
    let settings = TcpSettings { node_agent: Some(NodeAgentSettings::default()), ..TcpSettings::default() };
    let sink = Arc::new(TcpSink::new(&context(LogFormat::Text), &settings, None).unwrap());
    let subject = Subject::of(Sink::both(sink), Class::Log, PATIENCE).unwrap();
    let error = subject.deliver(&[Sample::numbered(1, "app")]).await.unwrap_err();
    assert_eq!(error.kind(), DeliveryErrorKind::Misconfigured);
    assert!(cim_core::chain(&error).contains("set `type` in [orchestrator]"));
}

#[test]
fn settings_need_a_label_and_a_port() {
    let judged = |agent: NodeAgentSettings| {
        let problems = TcpSettings { node_agent: Some(agent), ..TcpSettings::default() }.problems();
        problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    assert!(judged(NodeAgentSettings::default()).is_empty());
    let nothing = NodeAgentSettings { selector: " ".to_owned(), port: 0 };
    assert_eq!(judged(nothing), ["node_agent.selector", "node_agent.port"]);
}
