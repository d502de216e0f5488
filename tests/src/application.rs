//! The reference application: what the known applications do when CIM calls them, and worse.
//!
//! Owns a small HTTP server on a thread, and the results it publishes on CONFIG. Left out: what a test expects, and a
//! connection that lasts ([`crate::client`]).
//! Invariant: calls are kept in the order in which their bodies were read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{Wire, publication};

/// When and how an application tells the result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// From inside the handler, before it answers: all known applications.
    Inside,
    /// After it has answered.
    After,
    /// Twice.
    Twice,
    /// Never.
    Never,
}

/// How an application behaves.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Status of the answer; `None` closes the connection without one.
    pub status: Option<u16>,
    /// What it says on CONFIG.
    pub word: &'static str,
    /// When it says so.
    pub told: Told,
    /// How long it thinks before it answers.
    pub thinks: Duration,
}

impl Default for Manners {
    fn default() -> Self {
        Self { status: Some(200), word: "success", told: Told::Inside, thinks: Duration::ZERO }
    }
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Path of the request.
    pub path: String,
    /// Its body.
    pub body: String,
}

impl Called {
    /// A member of the body, which is an object of texts.
    #[must_use]
    pub fn member(&self, name: &str) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body[name].as_str().unwrap().to_owned()
    }
}

/// How a result is published on CONFIG.
type Voice = Arc<dyn Fn(Vec<u8>) -> std::io::Result<()> + Send + Sync>;

struct Shared {
    manners: Mutex<Manners>,
    calls: Mutex<Vec<Called>>,
    voice: Mutex<Option<Voice>>,
    /// Status of the health probe.
    health: Mutex<u16>,
    closed: AtomicBool,
}

/// An application that runs until it is dropped.
pub struct Application {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Application {
    /// Starts it.
    #[must_use]
    pub fn start(manners: Manners) -> Self {
        Self::over(TcpListener::bind("127.0.0.1:0").unwrap(), manners)
    }

    /// Starts it on a port that `cim.json` may name (wire contract §2.1).
    #[must_use]
    pub fn start_where_cim_json_may_say(manners: Manners) -> Self {
        let mut ports = 5_000 + u16::try_from(std::process::id() % 4_000).unwrap()..10_001;
        let listener = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
        Self::over(listener.expect("a free port up to 10000"), manners)
    }

    fn over(listener: TcpListener, manners: Manners) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            manners: Mutex::new(manners),
            calls: Mutex::default(),
            voice: Mutex::default(),
            health: Mutex::new(200),
            closed: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.closed.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&serving)) else { continue };
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// The line of the configuration that names it.
    #[must_use]
    pub fn setting(&self) -> String {
        format!("application.url = \"http://{}\"\n", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Tells it where results are published: over a connection for each.
    pub fn connect(&self, nats: SocketAddr) {
        self.speak(move |result| {
            let mut wire = Wire::try_connect(nats)?;
            wire.try_send(&publication("CONFIG", &result))?;
            wire.try_flush()
        });
    }

    /// Tells it how results are published.
    pub fn speak(&self, voice: impl Fn(Vec<u8>) -> std::io::Result<()> + Send + Sync + 'static) {
        *self.shared.voice.lock().unwrap() = Some(Arc::new(voice));
    }

    /// Changes how it behaves.
    pub fn behave(&self, manners: Manners) {
        *self.shared.manners.lock().unwrap() = manners;
    }

    /// Changes the answer of its health probe, `/health`.
    pub fn health(&self, status: u16) {
        *self.shared.health.lock().unwrap() = status;
    }

    /// Every call so far, probes left out.
    #[must_use]
    pub fn calls(&self) -> Vec<Called> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// The revisions it was handed, in order.
    #[must_use]
    pub fn revisions(&self) -> Vec<i32> {
        let calls = self.calls();
        let updates = calls.iter().filter(|call| call.path == "/updateConfig");
        updates.map(|call| call.member("revision").parse().unwrap()).collect()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some((path, body)) = request(&mut reader) {
            let status = match path.as_str() {
                "/health" => Some(*self.health.lock().unwrap()),
                _ => self.handle(&path, &body),
            };
            let Some(status) = status else { return };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            let after = path == "/updateConfig" && self.manners.lock().unwrap().told == Told::After;
            if after && self.tell(&body).is_err() {
                return;
            }
        }
    }

    fn handle(&self, path: &str, body: &str) -> Option<u16> {
        self.calls.lock().unwrap().push(Called { path: path.to_owned(), body: body.to_owned() });
        let manners = self.manners.lock().unwrap().clone();
        if path == "/updateConfig" && matches!(manners.told, Told::Inside | Told::Twice) {
            self.tell(body).ok()?;
            if manners.told == Told::Twice {
                self.tell(body).ok()?;
            }
        }
        std::thread::sleep(manners.thinks);
        manners.status
    }

    /// Fails where the program is killed: the call it made has ended as well.
    fn tell(&self, body: &str) -> std::io::Result<()> {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let word = self.manners.lock().unwrap().word;
        let result = serde_json::json!({
            "change-set-key": body["change-set-key"],
            "revision": body["revision"],
            "status": word,
            "remarks": "",
        });
        let voice = self.voice.lock().unwrap().clone();
        voice.expect("the application was told where to publish")(result.to_string().into_bytes())
    }
}

/// Reads a request; `None` at the end of the connection.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8(body).unwrap()))
}
