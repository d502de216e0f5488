//! What is offered to put CIM into a pod, judged by a real API server: `cim manifest`, the Helm library chart, the kustomize
//! component.
//!
//! The server checks everything but what a kubelet would do; it is asked what it would make of each manifest, and makes
//! nothing. Invariant: the three ways lead to the same pod.

use std::path::{Path, PathBuf};
use std::process::Command;

use cim_services::Kubernetes;
use cim_services::kubernetes::Namespace;
use cim_tests::binary;
use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What the server would make of a manifest.
fn made(namespace: &Namespace<'_>, manifest: &str) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifest).unwrap();
    let path = file.path().to_str().unwrap();
    let arguments = ["apply", "--dry-run=server", "--validate=strict", "-o", "json", "-f", path];
    serde_json::from_str(&namespace.kubectl(&arguments)).unwrap()
}

/// `cim manifest --file` with these arguments.
fn joined(manifest: &str, arguments: &[&str]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifest).unwrap();
    let mut command = Command::new(binary());
    command.env_clear().args(["manifest", "--file"]).arg(file.path()).args(arguments);
    succeeded(&mut command)
}

fn succeeded(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The pod specifications in an answer of the server, by kind and name.
fn pods(answer: &Value) -> Vec<(String, Value)> {
    let items = answer["items"].as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    let of = |item: &Value| {
        let title = format!("{} {}", item["kind"].as_str()?, item["metadata"]["name"].as_str()?);
        let job = &item["spec"]["jobTemplate"];
        let template = if job.is_null() { &item["spec"]["template"] } else { &job["spec"]["template"] };
        let mut pod = template.get("spec")?.clone();
        // What each item of a list is called decides, not where it stands.
        for list in ["containers", "initContainers", "volumes"] {
            if let Some(items) = pod.get_mut(list).and_then(Value::as_array_mut) {
                items.sort_by_key(|item| item["name"].to_string());
            }
        }
        Some((title, pod))
    };
    let mut pods: Vec<_> = items.iter().filter_map(of).collect();
    pods.sort_by(|(title, _), (other, _)| title.cmp(other));
    pods
}

/// CIM is in each pod, as the server understood it.
fn has_cim(answer: &Value, place: &str) {
    let pods = pods(answer);
    assert!(!pods.is_empty(), "{answer:#}");
    for (title, pod) in pods {
        let containers = pod[place].as_array().unwrap_or_else(|| panic!("{title}: no {place}"));
        let cim = containers.iter().find(|container| container["name"] == "cim").unwrap();
        assert_eq!(cim["restartPolicy"] == "Always", place == "initContainers", "{title}: {cim:#}");
        assert_eq!(cim["securityContext"]["readOnlyRootFilesystem"], true, "{title}");
        let variables = cim["env"].as_array().unwrap();
        let namespace = variables.iter().find(|variable| variable["name"] == "K8S_NAMESPACE").unwrap();
        assert_eq!(namespace["valueFrom"]["fieldRef"]["fieldPath"], "metadata.namespace", "{title}");
    }
}

#[test]
fn the_server_takes_every_recorded_manifest() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let namespace = kubernetes.namespace();
    let mut judged = 0;
    for entry in std::fs::read_dir(repository("cim-bin/tests/golden/manifest")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (inputs, expected) = text.split_once("--- expected\n").unwrap();
        if expected.starts_with("exit code ") {
            continue;
        }
        let answer = made(&namespace, expected);
        let native = !inputs.contains("--classic");
        has_cim(&answer, if native { "initContainers" } else { "containers" });
        judged += 1;
    }
    assert!(judged >= 9, "{judged} manifests");
}

#[test]
fn a_chart_with_the_library_is_clean_and_makes_the_pod_that_the_command_makes() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let Some(helm) = Kubernetes::helm() else { return };
    let namespace = kubernetes.namespace();
    let home = tempfile::tempdir().unwrap();
    // Helm puts the library into the chart that uses it: into a copy.
    succeeded(Command::new("cp").arg("-r").arg(repository("deploy/helm")).arg(home.path()));
    let chart = home.path().join("helm/example");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&helm);
        command.env_clear().env("HOME", home.path()).args(arguments).arg(&chart);
        succeeded(&mut command)
    };
    run(&["dependency", "build"]);
    let said = run(&["lint", "--strict"]);
    assert!(said.contains("0 chart(s) failed"), "{said}");
    let rendered = run(&["template", "greeter"]);
    let answer = made(&namespace, &rendered);
    has_cim(&answer, "initContainers");
    let again = made(&namespace, &joined(&rendered, &["--native", "--config-map", "greeter-cim"]));
    assert_eq!(pods(&answer), pods(&again), "the chart lacks what the command adds");

    let more = [
        "template",
        "greeter",
        "--set",
        "cim.image=mirror.example/cim:9,cim.spoolSize=1Gi,cim.resources.limits.memory=1Gi",
    ];
    let answer = made(&namespace, &run(&more));
    let (_, pod) = pods(&answer).pop().unwrap();
    assert_eq!(pod["initContainers"][0]["image"], "mirror.example/cim:9");
    assert_eq!(pod["initContainers"][0]["resources"]["limits"]["memory"], "1Gi");
}

#[test]
fn the_kustomize_component_makes_the_pod_that_the_command_makes() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let namespace = kubernetes.namespace();
    let example = repository("deploy/kustomize/example");
    let rendered = kubernetes.kubectl(&["kustomize", example.to_str().unwrap()]);
    let answer = made(&namespace, &rendered);
    has_cim(&answer, "initContainers");
    assert_eq!(pods(&answer).len(), 3, "a StatefulSet, a Job and a CronJob");
    let again = made(&namespace, &joined(&rendered, &["--native"]));
    assert_eq!(pods(&answer), pods(&again), "the component lacks what the command adds");
    let plain = std::fs::read_to_string(example.join("greeter.yaml")).unwrap();
    let command = joined(&plain, &["--native", "--image", "registry.example/cim:0.1.0"]);
    assert_eq!(pods(&answer), pods(&made(&namespace, &command)), "the component does something else");
}
