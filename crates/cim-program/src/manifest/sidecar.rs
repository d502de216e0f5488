//! What CIM needs in a pod: its container, the volume of its spool, the volume of its configuration.
//!
//! Owns `sidecar.yaml` and how it goes into a pod. The invariant: what somebody has set for the container of CIM stands, only
//! what is missing is added; other containers, init containers and volumes are not touched.

use super::{Tree, tree};

/// The container.
const CONTAINER: &str = include_str!("sidecar.yaml");
/// What it is called, and how it is found again.
const NAME: &str = "cim";
/// Tells the program where it stands, for which it would otherwise need the rights to read the object of its pod.
const MODE: &str = "CIM__LIFECYCLE__MODE";
/// Tells it where its spool is.
const SPOOL_DIR: &str = "CIM__SPOOL__DIR";
/// Tells it whether its spool ends with the pod.
const EPHEMERAL: &str = "CIM__SPOOL__EPHEMERAL";
/// Lists of the container whose items are known by name: missing ones are added.
const NAMED: [&str; 3] = ["env", "ports", "volumeMounts"];

/// Where CIM stands in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among the init containers, always restarted: it starts before the application and ends after it.
    Native,
    /// Beside the application, for clusters older than 1.29.
    Classic,
}

impl Place {
    /// A container that may have stood elsewhere learns that it stands here.
    fn tell(self, container: &mut Tree) {
        let mode = match self {
            Self::Native => "native",
            Self::Classic => "classic",
        };
        if self == Self::Classic {
            container.take("restartPolicy");
        }
        set_variable(container, MODE, mode);
    }
}

/// The sidecar that is wanted.
#[derive(Debug, Clone)]
pub struct Sidecar {
    /// Where it stands.
    pub place: Place,
    /// Its image; `None` leaves the one that is there, else it is `cim` of this version.
    pub image: Option<String>,
    /// ConfigMap with its `cim.toml`.
    pub config_map: Option<String>,
    /// Largest size of the spool volume, as Kubernetes writes it.
    pub spool_size: String,
}

impl Sidecar {
    /// Puts it into a pod.
    ///
    /// # Errors
    /// Why it cannot work there.
    pub(super) fn join(&self, kind: &str, pod: &mut Tree) -> Result<(), String> {
        if self.place == Place::Classic && matches!(kind, "Job" | "CronJob") {
            return Err("a classic sidecar never ends, so the job would not either; use --native".to_owned());
        }
        let (here, elsewhere) = match self.place {
            Place::Native => ("initContainers", "containers"),
            Place::Classic => ("containers", "initContainers"),
        };
        let there = list(pod, here)?;
        let at = match there.iter().position(|container| container.name() == Some(NAME)) {
            Some(at) => at,
            None => {
                // The first of the init containers: everything after it may use it, and it ends last.
                let at = if self.place == Place::Native { 0 } else { there.len() };
                let container = take(pod, elsewhere)?.unwrap_or(Tree::Table(Vec::new()));
                list(pod, here)?.insert(at, container);
                at
            }
        };
        if let Some(container) = list(pod, here)?.get_mut(at) {
            self.mend(container)?;
        }
        self.volumes(pod)?;
        let is_ephemeral = spool_is_ephemeral(pod, items(pod, here).get(at));
        if let Some(container) = list(pod, here)?.get_mut(at) {
            set_variable(container, EPHEMERAL, if is_ephemeral { "true" } else { "false" });
        }
        Ok(())
    }

    fn container(&self) -> Result<Tree, String> {
        let mut container = tree::read(CONTAINER)?.pop().ok_or("the sidecar is empty")?;
        let image = format!("{NAME}:{}", env!("CARGO_PKG_VERSION"));
        container.set("image", Tree::Text(self.image.clone().unwrap_or(image)));
        self.place.tell(&mut container);
        if self.config_map.is_some() {
            let config = "env: [{name: CIM_CONFIG, value: /etc/cim/cim.toml}]\n\
                volumeMounts: [{name: cim-config, mountPath: /etc/cim, readOnly: true}]\n";
            let more = tree::read(config)?.pop().ok_or("the sidecar is empty")?;
            add_named(&mut container, &more);
        }
        Ok(container)
    }

    /// Adds to a container what it lacks.
    fn mend(&self, container: &mut Tree) -> Result<(), String> {
        if runs_the_old_command(container) {
            let advice = "change its image only, or remove it and run this again";
            return Err(format!("its container {NAME} runs the old command line; {advice}"));
        }
        let wanted = self.container()?;
        self.place.tell(container);
        if container.name().is_some() {
            add_named(container, &wanted);
        }
        let Tree::Table(members) = wanted else { return Ok(()) };
        for (name, value) in members {
            let insists = name == "restartPolicy" || (name == "image" && self.image.is_some());
            if insists || container.get(&name).is_none() {
                container.set(&name, value);
            }
        }
        Ok(())
    }

    fn volumes(&self, pod: &mut Tree) -> Result<(), String> {
        let mut wanted = vec![volume("cim-spool", "emptyDir", "sizeLimit", &self.spool_size)];
        wanted.extend(self.config_map.as_ref().map(|map| volume("cim-config", "configMap", "name", map)));
        let there = list(pod, "volumes")?;
        for wanted in wanted {
            if there.iter().all(|volume| volume.name() != wanted.name()) {
                there.push(wanted);
            }
        }
        Ok(())
    }
}

/// A volume of that kind, whose source has one member.
fn volume(name: &str, kind: &str, member: &str, value: &str) -> Tree {
    let source = Tree::Table(vec![(member.to_owned(), Tree::text(value))]);
    Tree::Table(vec![("name".to_owned(), Tree::text(name)), (kind.to_owned(), source)])
}

/// Whether the container has its spool in an `emptyDir` of the pod, which ends with it.
fn spool_is_ephemeral(pod: &Tree, container: Option<&Tree>) -> bool {
    let Some(container) = container else { return false };
    let dir = items(container, "env").iter().find(|variable| variable.name() == Some(SPOOL_DIR));
    let Some(dir) = dir.and_then(|variable| variable.get("value")) else { return false };
    let mount = items(container, "volumeMounts").iter().find(|mount| mount.get("mountPath") == Some(dir));
    let Some(name) = mount.and_then(Tree::name) else { return false };
    let volume = items(pod, "volumes").iter().find(|volume| volume.name() == Some(name));
    volume.is_some_and(|volume| volume.get("emptyDir").is_some())
}

/// The items of a list that may be absent.
fn items<'t>(tree: &'t Tree, name: &str) -> &'t [Tree] {
    if let Some(Tree::List(items)) = tree.get(name) { items } else { &[] }
}

/// Changes a variable of a container that has it.
fn set_variable(container: &mut Tree, name: &str, value: &str) {
    let Some(Tree::List(variables)) = container.get_mut("env") else { return };
    for variable in variables.iter_mut().filter(|variable| variable.name() == Some(name)) {
        variable.set("value", Tree::text(value));
    }
}

/// Adds what the lists of named items lack.
fn add_named(container: &mut Tree, more: &Tree) {
    for name in NAMED {
        let Some(Tree::List(wanted)) = more.get(name) else { continue };
        let Some(there) = container.list_mut(name) else { continue };
        for item in wanted {
            if there.iter().all(|known| known.name() != item.name()) {
                there.push(item.clone());
            }
        }
    }
}

/// Takes the container of CIM out of a list of a pod; a list that is empty then goes as well.
fn take(pod: &mut Tree, list_name: &str) -> Result<Option<Tree>, String> {
    if pod.get(list_name).is_none() {
        return Ok(None);
    }
    let containers = list(pod, list_name)?;
    let at = containers.iter().position(|container| container.name() == Some(NAME));
    let found = at.map(|at| containers.remove(at));
    if found.is_some() && containers.is_empty() {
        pod.take(list_name);
    }
    Ok(found)
}

/// A list of a pod. A new one of init containers stands before the containers, as people write it.
fn list<'t>(pod: &'t mut Tree, name: &str) -> Result<&'t mut Vec<Tree>, String> {
    if name == "initContainers" {
        pod.list_before(name, "containers");
    }
    pod.list_mut(name).ok_or_else(|| format!("{name} of its pod is no list"))
}

/// Whether the container is started as the charts of the original do.
fn runs_the_old_command(container: &Tree) -> bool {
    let Some(Tree::List(words)) = container.get("command") else { return false };
    words.iter().filter_map(Tree::as_text).any(|word| word.contains("NatsSubFb"))
}
