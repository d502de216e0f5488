//! How late the asking side itself is, so that a limit for an answer holds the program to account and not the machine.
//!
//! Owns an echo within the test process, which is asked over loopback all the time and costs nothing but being let run.
//! Left out: what is tolerable. Invariant: while the machine lets the process run, nothing is taken off an answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// What is known of the echo.
#[derive(Debug)]
struct State {
    /// When the next answer is due, or was.
    due: Instant,
    /// The latest one so far.
    latest: Duration,
}

/// An echo that is asked until it is dropped.
#[derive(Debug)]
pub struct Echo {
    state: Arc<Mutex<State>>,
    stop: Option<SyncSender<()>>,
    asking: Option<JoinHandle<()>>,
}

impl Echo {
    /// Begins to ask.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut asker = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        asker.set_nodelay(true).unwrap();
        let (mut echo, _) = listener.accept().unwrap();
        echo.set_nodelay(true).unwrap();
        std::thread::spawn(move || {
            let mut byte = [0];
            while echo.read_exact(&mut byte).is_ok() && echo.write_all(&byte).is_ok() {}
        });
        let state = Arc::new(Mutex::new(State { due: Instant::now(), latest: Duration::ZERO }));
        let (stop, stopped) = sync_channel(1);
        let known = Arc::clone(&state);
        let asking = std::thread::spawn(move || {
            let mut byte = [0];
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                asker.write_all(&byte).unwrap();
                asker.read_exact(&mut byte).unwrap();
                let mut state = known.lock().unwrap();
                state.latest = state.latest.max(state.due.elapsed());
                state.due = Instant::now() + PAUSE;
            }
        });
        Self { state, stop: Some(stop), asking: Some(asking) }
    }

    /// What the question brings, and how long it took, without what the echo was late meanwhile.
    pub fn time<T>(&self, ask: impl FnOnce() -> T) -> (T, Duration) {
        self.state().latest = Duration::ZERO;
        let asked = Instant::now();
        let answer = ask();
        let took = asked.elapsed();
        let state = self.state();
        // One that is on its way is late by now already.
        let late = state.latest.max(state.due.elapsed());
        (answer, took.saturating_sub(late))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(asking) = self.asking.take() {
            let _ = asking.join();
        }
    }
}
