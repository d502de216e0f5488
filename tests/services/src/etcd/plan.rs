//! How a cluster is to be.
//!
//! Owns the choices, the arguments made from them, and the start. Left out: what happens afterwards. Invariant: every
//! address is on loopback, and every file in the directory of the cluster.

use std::sync::{Arc, Mutex};

use super::ctl::Ctl;
use super::{Etcd, EtcdVersion, Member};
use crate::certificate::{Authority, Identity};
use crate::home::Home;
use crate::ports::free_port;

/// How a cluster is to be; [`EtcdPlan::start`] makes it so.
#[derive(Debug)]
pub struct EtcdPlan<'a> {
    version: EtcdVersion,
    members: usize,
    arguments: Vec<String>,
    tls: Option<Tls<'a>>,
}

/// Certificates of clients and servers.
#[derive(Debug)]
struct Tls<'a> {
    authority: &'a Authority,
    server: &'a Identity,
    client: &'a Identity,
}

impl Default for EtcdPlan<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> EtcdPlan<'a> {
    /// One member of the current version.
    #[must_use]
    pub fn new() -> Self {
        Self { version: EtcdVersion::Current, members: 1, arguments: Vec::new(), tls: None }
    }

    /// Another version.
    #[must_use]
    pub fn version(self, version: EtcdVersion) -> Self {
        Self { version, ..self }
    }

    /// So many members.
    #[must_use]
    pub fn members(self, members: usize) -> Self {
        Self { members, ..self }
    }

    /// A flag of every member.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Clients use TLS and show a certificate of that authority; etcdctl shows `client`.
    #[must_use]
    pub fn tls(self, authority: &'a Authority, server: &'a Identity, client: &'a Identity) -> Self {
        Self { tls: Some(Tls { authority, server, client }), ..self }
    }

    /// Starts the members and waits until each serves. `None` when etcd is not installed, after `skipped:` was said.
    #[must_use]
    pub fn start(self) -> Option<Etcd> {
        if let Some(why) = self.version.missing() {
            cim_testkit::skipped(&why);
            return None;
        }
        let home = Arc::new(Home::new());
        let names: Vec<String> = (0..self.members).map(|index| format!("m{index}")).collect();
        let addresses: Vec<_> = names
            .iter()
            .map(|_| (free_port().expect("a free port"), free_port().expect("a free port")))
            .collect();
        let peers = names.iter().zip(&addresses).map(|(name, (_, peer))| format!("{name}=http://{peer}"));
        let peers = peers.collect::<Vec<_>>().join(",");
        let members = names.iter().zip(&addresses).map(|(name, (client, peer))| {
            let dir = home.path().join(name);
            std::fs::create_dir_all(&dir).expect("the directory of a member");
            Member {
                name: name.clone(),
                client: *client,
                peer: *peer,
                program: self.version.program("etcd"),
                arguments: self.arguments(
                    name,
                    &format!("{client}"),
                    &format!("http://{peer}"),
                    &peers,
                    &home,
                ),
                ctl: self.ctl(&client.to_string()),
                dir,
                process: Mutex::default(),
                _home: Arc::clone(&home),
            }
        });
        let members: Vec<Member> = members.collect();
        let all: Vec<String> = members.iter().map(|member| member.client.to_string()).collect();
        let etcd = Etcd {
            ctl: self.ctl(&all.join(",")),
            version: self.version,
            peers,
            scheme: self.scheme(),
            members,
            home,
        };
        etcd.launch_all();
        Some(etcd)
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    fn ctl(&self, addresses: &str) -> Ctl {
        let scheme = self.scheme();
        let endpoints: Vec<String> =
            addresses.split(',').map(|address| format!("{scheme}://{address}")).collect();
        let flags = self.tls.as_ref().map(|tls| {
            vec![
                format!("--cacert={}", tls.authority.certificate().display()),
                format!("--cert={}", tls.client.certificate.display()),
                format!("--key={}", tls.client.key.display()),
            ]
        });
        Ctl {
            program: self.version.program("etcdctl"),
            endpoints: endpoints.join(","),
            flags: flags.unwrap_or_default(),
        }
    }

    fn arguments(&self, name: &str, client: &str, peer: &str, peers: &str, home: &Home) -> Vec<String> {
        let client = format!("{}://{client}", self.scheme());
        let mut arguments = vec![
            format!("--name={name}"),
            format!("--data-dir={}", home.path().join(name).join("data").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={peers}"),
            // Small ticks: a leader that is gone is noticed within half a second.
            "--heartbeat-interval=50".to_owned(),
            "--election-timeout=500".to_owned(),
            "--log-level=warn".to_owned(),
            "--logger=zap".to_owned(),
            "--unsafe-no-fsync".to_owned(),
        ];
        if self.version == EtcdVersion::Oldest {
            arguments.retain(|argument| argument != "--unsafe-no-fsync");
        }
        if let Some(tls) = &self.tls {
            arguments.extend([
                "--client-cert-auth".to_owned(),
                format!("--trusted-ca-file={}", tls.authority.certificate().display()),
                format!("--cert-file={}", tls.server.certificate.display()),
                format!("--key-file={}", tls.server.key.display()),
            ]);
        }
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }
}
