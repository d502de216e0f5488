//! Who the pod is, from its object to the events it sends.

use cim_services::Kubernetes;
use cim_tests::Daemon;
use cim_tests::cluster::{ACCOUNT, Berth, POD};

use crate::{delivered, events, known, publish, register};

#[test]
fn a_pod_finds_the_api_server_by_what_every_pod_is_given_and_its_events_say_who_it_is() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let address = kubernetes.address();
    let settings = format!("spool.dir = \"{{home}}/spool\"\n{}[identity]\n", berth.account_settings());
    let host = format!("KUBERNETES_SERVICE_HOST={}", address.ip());
    let port = format!("KUBERNETES_SERVICE_PORT={}", address.port());
    let pod = format!("K8S_POD_ID={POD}");
    let daemon = Daemon::start_in(tempfile::tempdir().unwrap(), &settings, |home| {
        Daemon::spawn_under(home, &["env", &host, &port, &pod])
    });
    publish(&daemon, 0..3);
    known(&daemon);
    delivered(&daemon, 3);
    let headers = events(&daemon)[0]["sourceHeaders"].clone();
    let uid = berth.namespace.pod_uid(POD).unwrap();
    for (name, value) in [
        ("pod_uuid", uid.as_str()),
        ("podId", POD),
        ("microservice", "shop"),
        ("nfPrefix", berth.namespace.name()),
        ("svcVersion", "v1"),
        ("uhn", "u"),
        ("cnfc_uuid", "c"),
        ("vendorId", "acme"),
        ("xgvelaId", "x1"),
        ("nfClass", "core"),
        ("nfType", "amf"),
        ("nfServiceType", "shop"),
    ] {
        assert_eq!(headers[name], value, "{name} in {headers:#}");
    }
    let status = daemon.get("/statusz").unwrap();
    for part in [&uid, "\"microservice\": \"shop\"", "\"node\": \"node-1\"", "\"trouble\": null"] {
        assert!(status.contains(part), "{part}: {status}");
    }
}

#[test]
fn a_registration_is_answered_with_the_identity_and_waits_for_it() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    let daemon = Daemon::start(&berth.settings());
    crate::says(&daemon, "/readyz", "orchestrator: degraded: cannot get pod");
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| daemon.register());
        berth.create_pod();
        asked.join().unwrap()
    });
    // The program may look again only after the application has lost its patience; then it is told to try again.
    let answer = if answer.starts_with("HTTP/1.1 503") {
        assert!(answer.contains("try again"), "{answer}");
        known(&daemon);
        daemon.register()
    } else {
        answer
    };
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for part in
        ["acme", "amf1", "shop-1", &format!("topo-gw.{}.svc.cluster.local:8080", berth.namespace.name())]
    {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    crate::says(&daemon, "/readyz", "[+] orchestrator: kubernetes\n");
}

#[test]
fn outside_a_cluster_a_kubeconfig_does_the_same() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let file = berth.file("kubeconfig");
    std::fs::write(&file, kubernetes.kubeconfig(&berth.file("token"), berth.namespace.name())).unwrap();
    let settings = format!(
        "spool.dir = \"{{home}}/spool\"\n[orchestrator]\ntype = \"kubernetes\"\nkubeconfig = \"{}\"\n\
         [identity]\nnamespace = \"{}\"\npod = \"{POD}\"\n",
        file.display(),
        berth.namespace.name()
    );
    let daemon = Daemon::start(&settings);
    known(&daemon);
    publish(&daemon, 0..2);
    delivered(&daemon, 2);
    register(&daemon);
    let calls = kubernetes.calls(berth.namespace.name(), ACCOUNT);
    assert!(calls.iter().all(|call| call.status < 400 || call.status == 404), "{calls:?}");
}
