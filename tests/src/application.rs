//! The reference application: what the known applications do when CIM calls them, and worse.
//!
//! Owns a small HTTP server on a thread, and the results it publishes on CONFIG. Left out: what a test expects, what it has
//! in force ([`crate::documents`]), and a connection that lasts ([`crate::client`]).
//! Invariant: calls are kept in the order in which their bodies were read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::documents::{Documents, Fit};
use crate::{Wire, publication};

/// Where the first configuration goes (wire contract §5.2).
const LOAD: &str = "/api/v1/_operations/loadConfig";
/// Where a document is read back, before its name.
const READ_BACK: &str = "/config/";

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

/// What an application does about a patch that it cannot apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Hides it: answers and tells what it does of any other.
    Hidden,
    /// Lets it end the handler: 500, and not a word on CONFIG.
    Thrown,
    /// Tells it: `failure`, or `unused` of a document that it does not have.
    Told,
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
    /// It changes nothing, whatever it says.
    pub lies: bool,
    /// What it does about a patch that it cannot apply.
    pub unfit: Unfit,
    /// It takes a first configuration; otherwise there is nothing at that path.
    pub loads: bool,
    /// It answers 500 to a first configuration with this text in it.
    pub refuses: Option<&'static str>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            status: Some(200),
            word: "success",
            told: Told::Inside,
            thinks: Duration::ZERO,
            lies: false,
            unfit: Unfit::Hidden,
            loads: true,
            refuses: None,
        }
    }
}

impl Manners {
    /// vesgw: always says `success`, and has its configuration mounted.
    #[must_use]
    pub fn vesgw() -> Self {
        Self { unfit: Unfit::Hidden, loads: false, ..Self::default() }
    }

    /// The Java applications: what goes wrong is an exception; their configuration is mounted.
    #[must_use]
    pub fn java() -> Self {
        Self { unfit: Unfit::Thrown, loads: false, ..Self::default() }
    }

    /// A network function as the guide for developers has it: every call and every word of the contract.
    #[must_use]
    pub fn of_the_guide() -> Self {
        Self { unfit: Unfit::Told, loads: true, ..Self::default() }
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

/// What it answers, and what it still says on CONFIG then.
struct Reply {
    /// `None` closes the connection.
    status: Option<u16>,
    word: Option<&'static str>,
}

impl Reply {
    fn of(status: u16) -> Self {
        Self { status: Some(status), word: None }
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
    /// What it has in force.
    documents: Mutex<Documents>,
    /// What it answers when a document is read back; what it has, unless told otherwise.
    shown: Mutex<Option<(u16, String)>>,
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
            documents: Mutex::default(),
            shown: Mutex::default(),
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

    /// Answers whoever reads a document back, below `/config/`, like this from now on, whatever it has.
    pub fn shows(&self, status: u16, body: &str) {
        *self.shared.shown.lock().unwrap() = Some((status, body.to_owned()));
    }

    /// Has these documents, as one whose configuration is mounted: an object by name.
    pub fn mounts(&self, documents: &Value) {
        self.shared.documents.lock().unwrap().load(&documents.to_string());
    }

    /// What it has in force of a document.
    #[must_use]
    pub fn document(&self, name: &str) -> Option<Value> {
        self.shared.documents.lock().unwrap().get(name).cloned()
    }

    /// Every call so far, probes and readings left out.
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
            let (reply, page) = match path.strip_prefix(READ_BACK) {
                Some(name) => self.show(name),
                None if path == "/health" => (Reply::of(*self.health.lock().unwrap()), String::new()),
                None => (self.handle(&path, &body), String::new()),
            };
            let Some(status) = reply.status else { return };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            if stream.write_all(answer.as_bytes()).is_err() || self.tell(&body, reply.word).is_err() {
                return;
            }
        }
    }

    fn show(&self, name: &str) -> (Reply, String) {
        if let Some((status, body)) = self.shown.lock().unwrap().clone() {
            return (Reply::of(status), body);
        }
        match self.documents.lock().unwrap().get(name) {
            Some(document) => (Reply::of(200), document.to_string()),
            None => (Reply::of(404), String::new()),
        }
    }

    fn handle(&self, path: &str, body: &str) -> Reply {
        let call = Called { path: path.to_owned(), body: body.to_owned() };
        // Before the call can be seen: who sees it may change them for the next one.
        let manners = self.manners.lock().unwrap().clone();
        self.calls.lock().unwrap().push(call.clone());
        let mut reply = Reply { status: manners.status, word: None };
        let works = manners.status.is_some_and(|status| status < 300);
        match path {
            "/updateConfig" => {
                let fit = if works && !manners.lies { self.change(&call) } else { Fit::Done };
                match (manners.unfit, fit) {
                    (Unfit::Thrown, Fit::Wrong | Fit::Absent) => reply.status = Some(500),
                    (Unfit::Told, Fit::Wrong) => reply.word = Some("failure"),
                    (Unfit::Told, Fit::Absent) => reply.word = Some("unused"),
                    _ => reply.word = Some(manners.word),
                }
            }
            LOAD if !manners.loads => reply.status = Some(404),
            LOAD if manners.refuses.is_some_and(|text| body.contains(text)) => reply.status = Some(500),
            LOAD if works && !manners.lies => self.documents.lock().unwrap().load(body),
            _ => {}
        }
        let times = match manners.told {
            Told::Inside => 1,
            Told::Twice => 2,
            Told::After | Told::Never => 0,
        };
        for _ in 0..times {
            if self.tell(body, reply.word).is_err() {
                return Reply { status: None, word: None };
            }
        }
        std::thread::sleep(manners.thinks);
        Reply { word: reply.word.filter(|_| manners.told == Told::After), ..reply }
    }

    fn change(&self, call: &Called) -> Fit {
        let mut documents = self.documents.lock().unwrap();
        documents.change(&call.member("data-key"), &call.member("config-patch"))
    }

    /// Says that word about the call, if any. Fails where the program is killed: the call it made has ended as well.
    fn tell(&self, body: &str, word: Option<&str>) -> std::io::Result<()> {
        let Some(word) = word else { return Ok(()) };
        let body: Value = serde_json::from_str(body).unwrap();
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
