//! What a registration leads to, and what it is answered (wire contract §6.1).
//!
//! Left out: HTTP. The invariant: the answer comes when the registration is remembered and it is known who this pod is.

use std::time::Duration;

use cim_api::{RegistrationAnswer, RegistrationRefusal, RegistrationRequest};
use cim_core::configuration::Registration;
use cim_core::{Configuration, Identity};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::own_document::Wishes;
use crate::settings::RegistrationSettings;

/// How long an application waits for what is not known yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// The configuration engine and the identity it works for; `None` until that is known.
pub type Engine = watch::Receiver<Option<(Configuration, Identity)>>;

/// Takes a registration. What it gives of CIM's own document goes to `wishes`, where that may be kept in a ConfigMap.
///
/// # Errors
/// It is not known in time who this pod is.
///
/// # Cancel safety
/// When dropped, the registration may or may not have been taken.
pub async fn register(
    mut engine: Engine,
    settings: &watch::Receiver<RegistrationSettings>,
    wishes: Option<&Wishes>,
    request: RegistrationRequest,
) -> Result<RegistrationAnswer, RegistrationRefusal> {
    if settings.borrow().mandatory_fields && !request.is_complete() {
        return Err(RegistrationRefusal::incomplete());
    }
    let unknown = || {
        RegistrationRefusal::Unavailable(
            "it is not known yet who this pod is, or where its infrastructure is; try again".to_owned(),
        )
    };
    let known = timeout(PATIENCE, engine.wait_for(Option::is_some)).await;
    let Some((configuration, identity)) = known.ok().and_then(Result::ok).and_then(|known| known.clone())
    else {
        return Err(unknown());
    };
    let RegistrationRequest { container_name, container_id, sections, .. } = request;
    // Before anybody sees that the application registered: then the map is made, with these.
    if let Some(wishes) = wishes {
        wishes.given(sections).await;
    }
    configuration.register(Registration { container_name, container_id }).await;
    // Only now: they may have changed while it was waited.
    Ok(answer(&settings.borrow(), &identity))
}

fn answer(settings: &RegistrationSettings, identity: &Identity) -> RegistrationAnswer {
    let namespace = &identity.namespace;
    let or = |given: &Option<String>, service: &str, port: u16| {
        given.clone().unwrap_or_else(|| format!("{service}.{namespace}.svc.cluster.local:{port}"))
    };
    let tmaas = identity.tmaas.clone();
    RegistrationAnswer {
        tmaas_fqdn: or(&settings.tmaas_fqdn, "topo-gw", 8080),
        apigw_rest_fqdn: or(&settings.apigw_rest_fqdn, "cmaas", 8008),
        apigw_rest_uri_prefix: settings.apigw_rest_uri_prefix.clone(),
        apigw_auth_type: settings.apigw_auth_type.clone(),
        apigw_username: settings.apigw_username.clone(),
        apigw_password: settings
            .apigw_password
            .as_ref()
            .map(|password| password.reveal().to_owned())
            .unwrap_or_default(),
        topo_engine_fqdn: or(&settings.topo_engine_fqdn, "tmaas", 8080),
        tmaas_annotations: vec![
            ("vendorId", tmaas.vendor_id),
            ("xgvelaId", tmaas.xgvela_id),
            ("nfClass", tmaas.nf_class),
            ("nfType", tmaas.nf_type),
            ("nfId", tmaas.nf_id),
            ("nfServiceId", tmaas.nf_service_id),
            ("nfServiceType", tmaas.nf_service_type),
        ],
    }
}
