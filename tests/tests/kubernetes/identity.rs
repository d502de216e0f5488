//! Who the pod is, from its object to the events it sends.

use std::time::{Duration, Instant};

use cim_services::Kubernetes;
use cim_tests::cluster::{ACCOUNT, Berth, PATIENCE, POD};
use cim_tests::{Daemon, has_time};
use serde_json::Value;

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

/// As recorded but for what every object of a real cluster has: its uid, and a namespace of the test.
#[test]
fn a_pod_with_few_labels_says_of_itself_what_was_recorded() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let vectors: Value = serde_json::from_str(include_str!("../../vectors/event.json")).unwrap();
    let named = |case: &&Value| case["name"] == "pod with few labels and annotation members";
    let case = vectors["cases"].as_array().unwrap().iter().find(named).unwrap();
    let hex = case["input"]["hex"].as_str().unwrap();
    let event: Vec<_> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let recorded = case["expected"]["value"]["text"].as_str().unwrap();

    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    let annotation = "{\n  \"nfType\": \"amf\",\n  \"xgvelaId\": \"xgvela1\",\n  \"nfId\": \"amf1\"\n}\n";
    let annotations = [("xgvela.com/tmaas", annotation)];
    berth.namespace.create_pod(POD, "node-1", &[("microSvcName", "svc")], &annotations);
    let daemon = Daemon::start_in(tempfile::tempdir().unwrap(), &berth.settings(), |home| {
        Daemon::spawn_under(home, &["env", "NF=NFENV", "NF_TYPE=NFTYPEENV"])
    });
    known(&daemon);
    let mut wire = daemon.connect();
    wire.publish("EVENT", &event);
    wire.flush();
    cim_services::until("the event", PATIENCE, || !events(&daemon).is_empty());
    let mut found = events(&daemon)[0].clone();
    let headers = found["sourceHeaders"].as_object_mut().unwrap();
    let uid = headers.remove("pod_uuid");
    assert_eq!(uid, berth.namespace.pod_uid(POD).map(Value::from));
    let namespace = headers.insert("nfPrefix".to_owned(), "ns1".into());
    assert_eq!(namespace, Some(berth.namespace.name().into()));
    assert_eq!(found, serde_json::from_str::<Value>(recorded).unwrap());
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
fn a_registration_without_an_identity_is_told_after_ten_seconds_to_try_again() {
    if !has_time("a registration waits for the identity for as long as it may") {
        return;
    }
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    let daemon = Daemon::start(&berth.settings());
    crate::says(&daemon, "/readyz", "orchestrator: degraded: cannot get pod");
    let asked = Instant::now();
    let answer = daemon.register();
    let waited = asked.elapsed();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("it is not known yet who this pod is, or where its infrastructure is; try again"),
        "{answer}"
    );
    assert!((Duration::from_secs(10)..Duration::from_secs(12)).contains(&waited), "{waited:?}");
    let status = daemon.get("/statusz").unwrap();
    assert!(status.contains("\"known\": false"), "{status}");
    // The application does so: it registers until the answer is 200.
    berth.create_pod();
    cim_services::until("the registration", PATIENCE, || daemon.register().starts_with("HTTP/1.1 200"));
    known(&daemon);
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

/// What a cluster takes and no chart writes: each pod is told apart, and its events and keys are whole.
#[test]
fn hostile_annotations_and_labels_of_a_real_object_are_told_or_kept_and_harm_nobody() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    let large = format!(r#"{{"nfId":"{}"}}"#, "n".repeat(100 << 10));
    let deep = format!(r#"{{"nfId":"amf1","later":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    // Control characters and quotes as JSON may hold them.
    let odd = r#"{"nfId":"a\u0000b\n\"c\"\u001b[31m","nfType":"\ud83d\ude00"}"#;
    let service = [("microSvcName", "svc")];
    let pods = [
        ("large", large.as_str(), "v1", None),
        ("deep", deep.as_str(), "v1", Some("recursion limit exceeded")),
        ("twice", r#"{"nfId":"a","nfId":"b"}"#, "v1", None),
        ("odd", odd, "v1", None),
        ("slash", r#"{"nfId":"amf1"}"#, "v1/other\n", Some("must hold neither `/`")),
    ];
    for (pod, annotation, version, trouble) in pods {
        berth.namespace.create_pod(
            pod,
            "node-1",
            &service,
            &[("svcVersion", version), ("xgvela.com/tmaas", annotation)],
        );
        let settings = berth.settings().replace(&format!("pod = \"{POD}\""), &format!("pod = \"{pod}\""));
        let daemon = Daemon::start(&settings);
        publish(&daemon, 0..1);
        if let Some(why) = trouble {
            crate::says(&daemon, "/readyz", why);
        } else {
            known(&daemon);
            cim_services::until("the event", PATIENCE, || !events(&daemon).is_empty());
            let headers = events(&daemon)[0]["sourceHeaders"].clone();
            let given: Value = serde_json::from_str(annotation).unwrap();
            assert_eq!(
                (&headers["nfId"], &headers["svcVersion"]),
                (&given["nfId"], &version.into()),
                "{pod}"
            );
        }
        assert!(daemon.get("/livez").unwrap().starts_with("HTTP/1.1 200"), "{pod}");
        assert!(!daemon.stderr().contains('\u{1b}'), "{pod}: a terminal would obey");
        assert!(!daemon.stderr().contains("panicked"), "{pod}");
    }
}
