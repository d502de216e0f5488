//! How a cluster is to be.
//!
//! Owns the choices, the properties files made from them, and the start. Invariant: the data directories are made as
//! `kafka-storage format` would make them, without the seconds that a JVM takes for it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::broker::PROPERTIES_FILE;
use super::{Broker, Kafka, Listener, Version};
use crate::certificate::{Authority, Identity};
use crate::home::Home;
use crate::ports::free_port;

/// Sixteen bytes as base64; every test may have the same.
const CLUSTER_ID: &str = "Y2ltLXRlc3QtY2x1c3RlcQ";
/// As that, for a cluster that is not the same.
const OTHER_CLUSTER_ID: &str = "Y2ltLW90aGVyLWNsdXN0ZQ";
/// As that, without its last three characters: the number of the broker, and an `A` for the bits beyond sixteen bytes.
const DIRECTORY_ID: &str = "Y2ltLWRpcmVjdG9yeS1";

/// Given the address of a broker, starts a proxy before it and returns the address of that.
type Proxy<'a> = Box<dyn FnMut(SocketAddr) -> SocketAddr + 'a>;

/// How a cluster is to be; [`KafkaPlan::start`] makes it so.
pub struct KafkaPlan<'a> {
    cluster: &'static str,
    version: Version,
    brokers: usize,
    heap: String,
    listeners: Vec<Listener>,
    users: Vec<(String, String)>,
    identity: Option<&'a Identity>,
    /// Who signs the certificates of clients, where they have to show one.
    clients: Option<&'a Authority>,
    acls: bool,
    proxy: Option<Proxy<'a>>,
    /// What clients are told in the place of the IP address of the proxy.
    host: Option<String>,
    properties: String,
}

/// The ports of one broker.
struct Ports {
    controller: SocketAddr,
    listeners: Vec<(Listener, SocketAddr, SocketAddr)>,
}

impl Default for KafkaPlan<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> KafkaPlan<'a> {
    /// One broker of the current version with a plain listener, which never creates a topic on its own.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cluster: CLUSTER_ID,
            version: Version::Current,
            brokers: 1,
            heap: "256m".to_owned(),
            listeners: vec![Listener::Plain],
            users: Vec::new(),
            identity: None,
            clients: None,
            acls: false,
            proxy: None,
            host: None,
            properties: String::new(),
        }
    }

    /// Another cluster than those without this, as its clients are told.
    #[must_use]
    pub fn another_cluster(self) -> Self {
        Self { cluster: OTHER_CLUSTER_ID, ..self }
    }

    /// Another version.
    #[must_use]
    pub fn version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// So many brokers, each also a controller.
    #[must_use]
    pub fn brokers(self, brokers: usize) -> Self {
        Self { brokers, ..self }
    }

    /// Heap of each broker, as Java writes it. Default: `256m`.
    #[must_use]
    pub fn heap(self, heap: &str) -> Self {
        Self { heap: heap.to_owned(), ..self }
    }

    /// Adds a listener with SASL. The users can log in by PLAIN; those for SCRAM are made by [`Kafka::set_scram_user`].
    #[must_use]
    pub fn sasl(mut self, users: &[(&str, &str)]) -> Self {
        self.listeners.push(Listener::Sasl);
        self.users =
            users.iter().map(|(name, password)| ((*name).to_owned(), (*password).to_owned())).collect();
        self
    }

    /// Adds a listener with TLS; after [`KafkaPlan::sasl`], also one with both.
    #[must_use]
    pub fn tls(mut self, identity: &'a Identity) -> Self {
        self.identity = Some(identity);
        self.listeners.push(Listener::Tls);
        if !self.users.is_empty() {
            self.listeners.push(Listener::SaslTls);
        }
        self
    }

    /// On the listeners with TLS, clients have to show a certificate of this authority.
    #[must_use]
    pub fn client_certificates(self, authority: &'a Authority) -> Self {
        Self { clients: Some(authority), ..self }
    }

    /// Nothing is allowed unless [`Kafka::allow`] says so; the plain listener may do everything.
    #[must_use]
    pub fn acls(self) -> Self {
        Self { acls: true, ..self }
    }

    /// Adds a listener behind a proxy: `proxy` gets the address of each broker and returns the one that clients are told.
    #[must_use]
    pub fn proxied(mut self, proxy: impl FnMut(SocketAddr) -> SocketAddr + 'a) -> Self {
        self.listeners.push(Listener::Proxied);
        self.proxy = Some(Box::new(proxy));
        self
    }

    /// After [`KafkaPlan::proxied`]: clients are told this name, with the port of the proxy.
    #[must_use]
    pub fn named(self, host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..self }
    }

    /// Adds a property of every broker.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.properties, "{name}={value}");
        self
    }

    /// Starts the brokers and waits until each knows all of them. `None` when something is not installed, after `skipped:`
    /// was said.
    #[must_use]
    pub fn start(mut self) -> Option<Kafka> {
        if let Some(why) = self.version.missing() {
            cim_testkit::skipped(&why);
            return None;
        }
        let home = Arc::new(Home::new());
        std::fs::write(home.path().join("log4j2.properties"), LOGGING).expect("the logging configuration");
        if let Some(identity) = self.identity {
            std::fs::write(keystore(&home), identity.pem()).expect("the keystore");
        }
        let ports: Vec<Ports> = (0..self.brokers).map(|_| self.ports()).collect();
        let voters = (1..).zip(&ports).map(|(id, ports)| format!("{id}@{}", ports.controller));
        let voters = voters.collect::<Vec<_>>().join(",");
        let brokers = (1..).zip(&ports).map(|(id, ports)| self.broker(id, ports, &voters, &home)).collect();
        let kafka = Kafka::new(brokers, home);
        kafka.restart_all();
        Some(kafka)
    }

    fn ports(&mut self) -> Ports {
        let listeners = self.listeners.iter().map(|listener| {
            let bound = free_port().expect("a free port");
            let told = match (&mut self.proxy, listener) {
                (Some(proxy), Listener::Proxied) => proxy(bound),
                _ => bound,
            };
            (*listener, bound, told)
        });
        Ports { listeners: listeners.collect(), controller: free_port().expect("a free port") }
    }

    fn broker(&self, id: u16, ports: &Ports, voters: &str, home: &Arc<Home>) -> Broker {
        let dir = home.path().join(format!("broker-{id}"));
        let data = dir.join("data");
        std::fs::create_dir_all(&data).expect("the data directory");
        let cluster = self.cluster;
        let meta =
            format!("version=1\ncluster.id={cluster}\nnode.id={id}\ndirectory.id={DIRECTORY_ID}{id:02}A\n");
        std::fs::write(data.join("meta.properties"), meta).expect("meta.properties");
        std::fs::write(dir.join(PROPERTIES_FILE), self.server_properties(id, ports, voters, &data, home))
            .expect("server.properties");
        let options = vec![
            format!("-Xmx{}", self.heap),
            "-XX:+UseSerialGC".to_owned(),
            "-XX:TieredStopAtLevel=1".to_owned(),
            format!("-Dlog4j2.configurationFile={}", home.path().join("log4j2.properties").display()),
        ];
        let addresses = ports.listeners.iter().map(|(listener, bound, told)| (*listener, *bound, *told));
        Broker::new(id, addresses.collect(), options, &dir, self.version, Arc::clone(home))
    }

    fn server_properties(&self, id: u16, ports: &Ports, voters: &str, data: &Path, home: &Home) -> String {
        let each = |text: &dyn Fn(&(Listener, SocketAddr, SocketAddr)) -> String| {
            ports.listeners.iter().map(text).collect::<Vec<_>>().join(",")
        };
        let replicas = self.brokers.min(3);
        let mut text = format!(
            "node.id={id}\ncontroller.quorum.voters={voters}\nlog.dirs={}\nlisteners={},CONTROLLER://{}\n\
             advertised.listeners={}\nlistener.security.protocol.map=CONTROLLER:PLAINTEXT,{}\n\
             default.replication.factor={replicas}\noffsets.topic.replication.factor={replicas}\n\
             transaction.state.log.replication.factor={replicas}\nmin.insync.replicas={}\n",
            data.display(),
            each(&|(listener, bound, _)| format!("{}://{bound}", listener.name())),
            ports.controller,
            each(&|(listener, _, told)| match &self.host {
                Some(host) if *listener == Listener::Proxied => {
                    format!("{}://{host}:{}", listener.name(), told.port())
                }
                _ => format!("{}://{told}", listener.name()),
            }),
            each(&|(listener, ..)| format!("{}:{}", listener.name(), listener.protocol())),
            replicas.div_ceil(2),
        );
        text.push_str(PROPERTIES);
        for listener in &self.listeners {
            self.secure(*listener, home, &mut text);
        }
        if self.acls {
            text.push_str(
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 super.users=User:ANONYMOUS\n",
            );
        }
        text.push_str(&self.properties);
        text
    }

    fn secure(&self, listener: Listener, home: &Home, text: &mut String) {
        let prefix = format!("listener.name.{}", listener.name().to_lowercase());
        if listener.authenticates() {
            let users = self.users.iter().map(|(name, password)| format!(" user_{name}=\"{password}\""));
            let module = "org.apache.kafka.common.security";
            let _ = write!(
                text,
                "{prefix}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
                 {prefix}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required{};\n\
                 {prefix}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
                 {prefix}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;\n",
                users.collect::<String>()
            );
        }
        if listener.encrypts() {
            let file = keystore(home);
            let _ = write!(
                text,
                "{prefix}.ssl.keystore.type=PEM\n{prefix}.ssl.keystore.location={}\n",
                file.display()
            );
            if let Some(authority) = self.clients {
                let file = authority.certificate().display();
                let _ = write!(
                    text,
                    "{prefix}.ssl.client.auth=required\n\
                     {prefix}.ssl.truststore.type=PEM\n{prefix}.ssl.truststore.location={file}\n"
                );
            }
        }
    }
}

/// Key and certificate of the brokers.
pub(super) fn keystore(home: &Home) -> PathBuf {
    home.path().join("keystore.pem")
}

/// The same for every broker: small, quick to notice a dead neighbour, and silent about topics it does not know.
const PROPERTIES: &str = "process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
auto.create.topics.enable=false
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=1048577
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
replica.lag.time.max.ms=5000
";

/// Warnings and errors to standard output, which is the log of the process.
const LOGGING: &str = "rootLogger.level=warn
rootLogger.appenderRefs=log
rootLogger.appenderRef.log.ref=log
appender.log.type=Console
appender.log.name=log
appender.log.layout.type=PatternLayout
appender.log.layout.pattern=%d %p %c{1} %m%n
";
