//! etcd v3: one member or several, each a process of its own.
//!
//! Owns the cluster as a test sees it. Left out: how it is started ([`EtcdPlan`]), what one member can do ([`Member`]).
//! Invariant: a method that changes the cluster returns when the cluster answers accordingly.

mod ctl;
mod member;
mod plan;
mod version;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ctl::Ctl;
pub use member::Member;
pub use plan::EtcdPlan;
pub use version::EtcdVersion;

use crate::home::Home;
use crate::process::Process;
use crate::until;

/// Longest wait for a member.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running cluster.
#[derive(Debug)]
pub struct Etcd {
    /// Processes before their directory: fields are dropped in this order.
    members: Vec<Member>,
    ctl: Ctl,
    version: EtcdVersion,
    peers: String,
    scheme: &'static str,
    home: Arc<Home>,
}

impl Etcd {
    /// One member of the current version. `None` when etcd is not installed, after `skipped:` was said.
    #[must_use]
    pub fn single() -> Option<Self> {
        EtcdPlan::new().start()
    }

    /// So many members.
    #[must_use]
    pub fn cluster(members: usize) -> Option<Self> {
        EtcdPlan::new().members(members).start()
    }

    /// One member for all tests of a program, started by the first that asks. Tests use keys of their own, compact
    /// nothing, and do not make this member fail.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Etcd>> = OnceLock::new();
        SHARED.get_or_init(Self::single).as_ref()
    }

    /// Member number `index`, from 0.
    #[must_use]
    pub fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    /// All members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// URLs for clients, one per member.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("{}://{}", self.scheme, member.address())).collect()
    }

    /// The directory of data and logs.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Which member leads, once there is one.
    #[must_use]
    pub fn leader(&self) -> usize {
        let mut leader = None;
        until("a leader", PATIENCE, || {
            leader = self.members.iter().position(Member::is_leader);
            leader.is_some()
        });
        leader.expect("a leader")
    }

    /// Makes another member the leader.
    ///
    /// # Panics
    /// It does not lead in time; with what was said last.
    pub fn move_leader(&self, to: usize) {
        let target = format!("{:x}", self.member(to).id());
        let deadline = Instant::now() + PATIENCE;
        let mut said = String::new();
        // Again where another one leads by the time of the call, or the cluster gives the transfer up.
        loop {
            let from = self.leader();
            if from == to {
                return;
            }
            assert!(Instant::now() < deadline, "member {to} does not lead: {said}");
            said = self.member(from).etcdctl(&["move-leader", &target]).unwrap_or_else(|error| error);
        }
    }

    /// Calls etcdctl with every endpoint; its output.
    ///
    /// # Panics
    /// It failed.
    #[must_use]
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        self.ctl.run(arguments).expect("etcdctl")
    }

    /// A call of etcdctl with every endpoint, for what this crate has no method for.
    #[must_use]
    pub fn command(&self) -> Command {
        self.ctl.command()
    }

    /// Writes a key.
    pub fn put(&self, key: &str, value: &str) {
        self.put_bytes(key.as_bytes(), value.as_bytes());
    }

    /// Writes a key of any bytes but zero, with any value.
    pub fn put_bytes(&self, key: &[u8], value: &[u8]) {
        self.ctl.put(key, value, &[]).expect("etcdctl put");
    }

    /// Writes a key under a fresh lease of so many seconds; its number.
    pub fn put_for(&self, key: &str, value: &str, seconds: u64) -> i64 {
        let granted = self.etcdctl(&["lease", "grant", &seconds.to_string()]);
        let lease = granted.split(' ').nth(1).expect("lease <id> granted");
        self.ctl.put(key.as_bytes(), value.as_bytes(), &[&format!("--lease={lease}")]).expect("etcdctl put");
        i64::from_str_radix(lease, 16).expect("a lease in hex")
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.try_get(key).expect("etcdctl")
    }

    /// The value of a key.
    ///
    /// # Errors
    /// What etcdctl said: nobody answers, for example.
    pub fn try_get(&self, key: &str) -> Result<Option<String>, String> {
        let text = self.ctl.run(&["get", key, "-w", "simple"])?;
        let value = text.split_once('\n').map(|(_, value)| value.strip_suffix('\n').unwrap_or(value));
        Ok(value.map(ToOwned::to_owned))
    }

    /// Follows the keys from one to another with everything that happened to them, into a file that `etcdctl` writes in its
    /// form `fields`.
    #[must_use]
    pub fn watch(&self, from: &str, to: &str, file: &Path) -> Process {
        let mut arguments = vec![format!("--endpoints={}", self.ctl.endpoints)];
        arguments.extend(self.ctl.flags.iter().cloned());
        arguments.extend(["watch", "--rev=1", "-w", "fields", from, to].map(str::to_owned));
        Process::start("etcdctl watch", &self.ctl.program, &arguments, file)
    }

    /// Removes a key.
    pub fn delete(&self, key: &str) {
        self.try_delete(key).expect("etcdctl");
    }

    /// Removes a key.
    ///
    /// # Errors
    /// What etcdctl said: nobody answers, for example.
    pub fn try_delete(&self, key: &str) -> Result<(), String> {
        self.ctl.run(&["del", key]).map(drop)
    }

    /// The revision of the store.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let text = self.etcdctl(&["get", "any", "-w", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        answer["header"]["revision"].as_u64().expect("a revision")
    }

    /// Forgets the history before that revision.
    pub fn compact(&self, revision: u64) {
        let _ = self.etcdctl(&["compact", &revision.to_string()]);
    }

    /// Stores a snapshot of the first member.
    pub fn save(&self, file: &Path) {
        self.member(0).etcdctl(&["snapshot", "save", &file.display().to_string()]).expect("a snapshot");
    }

    /// Kills every member, replaces its data by those of the snapshot, starts all again and waits until each serves.
    /// `flags` are those of `snapshot restore`.
    pub fn restore(&self, file: &Path, flags: &[&str]) {
        for member in &self.members {
            member.kill();
            let data = member.dir().join("data");
            std::fs::remove_dir_all(&data).expect("the old data");
            let mut command = Command::new(self.version.restorer());
            command.env_clear().args(["snapshot", "restore"]).arg(file);
            command.arg(format!("--data-dir={}", data.display())).arg(format!("--name={}", member.name));
            command.arg(format!("--initial-cluster={}", self.peers));
            command.arg(format!("--initial-advertise-peer-urls=http://{}", member.peer)).args(flags);
            ctl::text(&["snapshot", "restore"], command.output().expect("the restorer")).expect("restored");
        }
        self.launch_all();
    }

    /// Starts every member that does not run, and waits until each serves.
    pub fn launch_all(&self) {
        self.members.iter().for_each(Member::launch);
        self.members.iter().for_each(Member::wait_ready);
    }

    /// Turns authentication on, with the user `root` and one more that may do everything below the prefixes.
    pub fn enable_auth(&self, root: &str, user: &str, password: &str, prefixes: &[&str]) -> EtcdAuth {
        let run = |arguments: &[&str]| drop(self.etcdctl(arguments));
        run(&["user", "add", &format!("root:{root}")]);
        run(&["user", "grant-role", "root", "root"]);
        run(&["role", "add", "some"]);
        for prefix in prefixes {
            run(&["role", "grant-permission", "--prefix=true", "some", "readwrite", prefix]);
        }
        run(&["user", "add", &format!("{user}:{password}")]);
        run(&["user", "grant-role", user, "some"]);
        run(&["auth", "enable"]);
        let mut ctl = self.ctl.clone();
        ctl.flags.push(format!("--user=root:{root}"));
        EtcdAuth { ctl }
    }
}

/// The cluster as its administrator, once authentication is on.
#[derive(Debug)]
pub struct EtcdAuth {
    ctl: Ctl,
}

impl EtcdAuth {
    /// Calls etcdctl as `root`; its output.
    ///
    /// # Panics
    /// It failed.
    #[must_use]
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        self.ctl.run(arguments).expect("etcdctl")
    }

    /// Changes the password of a user.
    pub fn set_password(&self, user: &str, password: &str) {
        let arguments = ["user", "passwd", user, "--interactive=false"];
        let line = format!("{password}\n");
        ctl::run_with(self.ctl.command().args(arguments), line.as_bytes()).expect("etcdctl user passwd");
    }
}
