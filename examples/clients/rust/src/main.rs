//! An application beside CIM: it greets once a second, and lives on the configuration it is given.
//!
//! It knows only localhost. Over NATS it publishes log lines (LOG), events (EVENT) and the results of changes (CONFIG), and
//! hears of the events of others (EVENT-NOTIFICATION). Over HTTP it registers with CIM, and CIM calls it.
//!
//! Environment, all optional: `NATS_URL`, `CIM_URL`, `PORT` (where CIM calls), `CONTAINER_ID`.

mod messages;

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_nats::ConnectOptions;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

const NAME: &str = "greeter";

struct Application {
    nats: async_nats::Client,
    container_id: String,
    cim: String,
    config: Mutex<Map<String, Value>>,
    ended: Notify,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nats_url = environment("NATS_URL", "nats://localhost:4222");
    let port = environment("PORT", "9999");
    let config = json!({"greeter.json": {"greeting": "nothing"}});
    // For ever, which is the default of this client: the sidecar may be away for a moment.
    let nats = ConnectOptions::new()
        .name(NAME)
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_| Duration::from_millis(200))
        .connect(nats_url)
        .await?;
    let app = Arc::new(Application {
        nats,
        container_id: environment("CONTAINER_ID", ""),
        cim: environment("CIM_URL", "http://localhost:6060"),
        config: Mutex::new(config.as_object().cloned().unwrap_or_default()),
        ended: Notify::new(),
    });
    // Before the registration: CIM calls as soon as it knows the application.
    let calls = Router::new()
        .route("/updateConfig", post(update_config))
        .route("/api/v1/_operations/loadConfig", post(load_config))
        .route("/api/v1/_operations/shutdown", post(shut_down))
        .with_state(Arc::clone(&app));
    let listener = tokio::net::TcpListener::bind(format!("localhost:{port}")).await?;
    tokio::spawn(async move { axum::serve(listener, calls).await });
    app.register().await;
    // In this order: CIM sends as soon as there is a subscription.
    let mut notifications = app.nats.subscribe("EVENT-NOTIFICATION").await?;
    tokio::spawn(async move {
        while let Some(message) = notifications.next().await {
            println!("notified: {}", String::from_utf8_lossy(&message.payload));
        }
    });
    app.subscribe("Greeted").await?;
    // Asks for the configuration; whoever has kept one says "Configured" instead.
    app.event("NotConfigured", &[]).await;

    for number in 1_u64.. {
        app.log("INFO", &format!("{} {number}", app.greeting())).await;
        app.event("Greeted", &[("number", &number.to_string())]).await;
        if tokio::time::timeout(Duration::from_secs(1), app.ended.notified()).await.is_ok() {
            break;
        }
    }
    app.log("INFO", "goodbye").await;
    // The last word: CIM stops waiting for this application.
    app.event("ShutdownSuccess", &[]).await;
    Ok(())
}

/// A change: applied or not, its result is published before the call is answered.
async fn update_config(State(app): State<Arc<Application>>, Json(change): Json<Map<String, Value>>) {
    let (status, remarks) = match app.apply(&change) {
        Ok(()) => ("success", String::new()),
        Err(error) => ("failure", error.to_string()),
    };
    let result = json!({
        "change-set-key": change.get("change-set-key"), "revision": change.get("revision"),
        "status": status, "remarks": remarks,
    });
    let _ = app.nats.publish("CONFIG", result.to_string().into()).await;
    let _ = app.nats.flush().await;
}

/// The first configuration: all documents by name.
async fn load_config(State(app): State<Arc<Application>>, Json(documents): Json<Map<String, Value>>) {
    app.config.lock().expect("nobody panics with it").extend(documents);
    app.event("Configured", &[]).await;
}

async fn shut_down(State(app): State<Arc<Application>>) {
    app.ended.notify_one();
}

impl Application {
    fn greeting(&self) -> String {
        let config = self.config.lock().expect("nobody panics with it");
        config["greeter.json"]["greeting"].as_str().unwrap_or("nothing").to_owned()
    }

    fn apply(&self, change: &Map<String, Value>) -> Result<(), Box<dyn Error>> {
        let text = |name: &str| change.get(name).and_then(Value::as_str).unwrap_or_default();
        let patch: json_patch::Patch = serde_json::from_str(text("config-patch"))?;
        let mut config = self.config.lock().expect("nobody panics with it");
        let document = config.get_mut(text("data-key")).ok_or("no such document")?;
        Ok(json_patch::patch(document, &patch)?)
    }

    /// Returns when CIM knows the application.
    async fn register(&self) {
        let body = json!({"container_name": NAME, "container_id": self.container_id});
        loop {
            match self.post("/api/v1/_operations/xgvela/register", &body).await {
                Ok((200, answer)) => return println!("registered: {}", answer["status"]),
                // It is starting, or does not know yet who the pod is.
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    async fn subscribe(&self, name: &str) -> reqwest::Result<()> {
        let filter = json!({"localEventName": [name]});
        match self.post("/api/v1/_operations/event/subscriptions", &filter).await? {
            (200, answer) => println!("subscribed: {}", answer["subscriptionId"]),
            (status, _) => println!("not subscribed: CIM answered {status}"),
        }
        Ok(())
    }

    async fn log(&self, level: &str, text: &str) {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        let line = format!("[{now}][{level}][-]-{text}");
        self.publish("LOG", messages::log(&self.container_id, NAME, &line)).await;
    }

    async fn event(&self, name: &str, managed_object: &[(&str, &str)]) {
        self.publish("EVENT", messages::event(name, &self.container_id, managed_object)).await;
    }

    /// Returns when CIM has accepted the message, which it answers when it was asked with a reply subject. One that was not
    /// answered is sent again. (The flush of this client empties its buffer and says nothing about the other end.)
    async fn publish(&self, subject: &'static str, message: Vec<u8>) {
        while self.nats.request(subject, message.clone().into()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let answer = reqwest::Client::new().post(format!("{}{path}", self.cim)).json(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or_default()))
    }
}

fn environment(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}
