//! The log agent of the own node: found among those of all nodes, and found again when it was rescheduled.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use cim_services::{Kubernetes, until};
use cim_tests::Daemon;
use cim_tests::cluster::{Berth, NODE, PATIENCE};

use crate::{known, says};

/// An agent: a pod's address where lines are taken.
struct Agent {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Agent {
    fn listen(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let agent =
            Self { address: listener.local_addr().unwrap(), lines: Arc::default(), open: Arc::default() };
        let (lines, open) = (Arc::clone(&agent.lines), Arc::clone(&agent.open));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let lines = Arc::clone(&lines);
                std::thread::spawn(move || {
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        lines.lock().unwrap().push(line);
                    }
                });
            }
        });
        agent
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Ends its connections. That it takes new ones does no harm: nobody is told of it any more.
    fn end(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }
}

/// Makes a pod of an agent.
fn pod(berth: &Berth<'_>, name: &str, node: &str, agent: &Agent) {
    berth.namespace.create_pod(name, node, &[("k8s-app", berth.namespace.name())], &[]);
    berth.namespace.set_pod_status(name, "Running", &agent.address.ip().to_string(), true);
}

fn log(daemon: &Daemon, numbers: std::ops::Range<usize>) {
    let mut wire = daemon.connect();
    for number in numbers {
        wire.publish("LOG", format!("line {number}").as_bytes());
    }
    wire.flush();
}

fn listed(berth: &Berth<'_>) -> usize {
    berth.calls().iter().filter(|call| call.verb == "list").count()
}

#[test]
fn logs_go_to_the_agent_of_the_own_node_also_after_it_was_rescheduled() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.create_pod();
    let here = Agent::listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    let at = |last: u8| SocketAddr::from(([127, 0, 0, last], here.address.port()));
    let (elsewhere, later) = (Agent::listen(at(2)), Agent::listen(at(3)));
    pod(&berth, "agent-a", NODE, &here);
    pod(&berth, "agent-b", "node-2", &elsewhere);
    let settings = format!(
        "routes.logs.sink = \"agent\"\n{}[sinks.agent]\ntype = \"tcp\"\n\
         node_agent = {{ selector = \"k8s-app={}\", port = {} }}\n",
        berth.settings(),
        berth.namespace.name(),
        here.address.port()
    );
    let file = berth.file("cim.toml");
    std::fs::write(&file, settings.replace("{home}", "/nowhere")).unwrap();
    let daemon = Daemon::start(&settings);
    log(&daemon, 0..3);
    says(&daemon, "/readyz", "route logs to agent: degraded: ");
    // The configuration says which rights it needs.
    berth.grant(&["--config", &file.display().to_string()]);
    until("the first lines", PATIENCE, || here.lines().len() == 3);
    // Once it is known who the pod is, sinks are replaced, and the new ones connect anew.
    known(&daemon);
    log(&daemon, 3..4);
    until("a line by the last sink", PATIENCE, || here.lines().len() == 4);
    let asked = listed(&berth);
    log(&daemon, 4..1_000);
    until("the other lines", PATIENCE, || here.lines().len() == 1_000);
    assert_eq!(listed(&berth), asked, "a line asked for the agent");
    assert!(here.lines()[999].contains("line 999"));

    berth.namespace.kubectl(&["delete", "pod", "agent-a", "--grace-period=0", "--force"]);
    pod(&berth, "agent-c", NODE, &later);
    here.end();
    log(&daemon, 1_000..1_010);
    until("lines at the new place", PATIENCE, || later.lines().len() == 10);
    assert!(later.lines()[0].contains("line 1000"));
    assert_eq!(listed(&berth), asked + 1);
    assert_eq!((here.lines().len(), elsewhere.lines().len()), (1_000, 0));
    says(&daemon, "/readyz", "route logs to agent: delivering; 0 held");
    until("exact books", PATIENCE, || daemon.books_balance());
}
