//! An application that does as it was told last.
//!
//! Owns what it was handed, in order. Left out: moods (`judge`).

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cim_core::intake::Lane;
use cim_core::{Answer, Application, CallError, Component, Push, async_trait};

/// How a call is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Tells success, then answers 200.
    Works,
    /// Tells success, then does not answer.
    WorksAndHangs,
    /// Tells success, then refuses connections.
    WorksAndDies,
    /// Answers that status and tells nothing.
    Answers(u16),
    /// Refuses the connection.
    Away,
}

/// What is done when a change of that revision is handed over, before it is answered.
type Hook = Box<dyn FnMut(i32) + Send>;

struct State {
    manner: Manner,
    hook: Option<Hook>,
    handed_over: Vec<i32>,
    loads: usize,
    lane: Option<Lane>,
    shown: Vec<u8>,
    is_ill: bool,
}

/// The application.
#[derive(Clone)]
pub struct Obedient(Arc<Mutex<State>>);

impl Obedient {
    pub fn new(manner: Manner) -> Arc<Self> {
        let state = State {
            manner,
            hook: None,
            handed_over: Vec::new(),
            loads: 0,
            lane: None,
            shown: Vec::new(),
            is_ill: false,
        };
        Arc::new(Self(Arc::new(Mutex::new(state))))
    }

    /// Where results are published.
    pub fn connect(&self, lane: Lane) {
        self.state().lane = Some(lane);
    }

    pub fn behave(&self, manner: Manner) {
        self.state().manner = manner;
    }

    /// Calls that with each revision that is handed over.
    pub fn at_call(&self, hook: impl FnMut(i32) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// The revisions of the calls, in order.
    pub fn handed_over(&self) -> Vec<i32> {
        self.state().handed_over.clone()
    }

    /// What it answers to whoever reads its document.
    pub fn show(&self, document: &str) {
        self.state().shown = document.as_bytes().to_vec();
    }

    /// Whether it answers 503 to whoever looks at it.
    pub fn fall_ill(&self, is_ill: bool) {
        self.state().is_ill = is_ill;
    }

    /// How often it was handed the first configuration.
    pub fn loads(&self) -> usize {
        self.state().loads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn answer(&self, manner: Manner) -> Result<Answer, CallError> {
        let limit = Duration::from_secs(10);
        match manner {
            Manner::Works => Ok(Answer { status: 200, body: Vec::new() }),
            Manner::Answers(status) => Ok(Answer { status, body: Vec::new() }),
            Manner::Away | Manner::WorksAndDies => {
                Err(CallError::Unreachable("connection refused".to_owned()))
            }
            Manner::WorksAndHangs => {
                let answer = tokio::time::timeout(limit, std::future::pending()).await;
                answer.unwrap_or(Err(CallError::TimedOut(limit)))
            }
        }
    }
}

#[async_trait]
impl Component for Obedient {
    fn name(&self) -> &str {
        "application"
    }
}

#[async_trait]
impl Application for Obedient {
    async fn update_config(&self, push: &Push<'_>) -> Result<Answer, CallError> {
        let revision = push.revision.parse().unwrap();
        let hook = self.state().hook.take();
        if let Some(mut hook) = hook {
            hook(revision);
            self.state().hook = Some(hook);
        }
        let manner = {
            let mut state = self.state();
            state.handed_over.push(revision);
            let tells = matches!(state.manner, Manner::Works | Manner::WorksAndHangs | Manner::WorksAndDies);
            if let (true, Some(lane)) = (tells, &mut state.lane) {
                let text = format!(r#"{{"change-set-key":"{}","status":"success"}}"#, push.change_set_key);
                lane.config_result(text.as_bytes());
            }
            state.manner
        };
        self.answer(manner).await
    }

    async fn load_config(&self, _document: &[u8]) -> Result<Answer, CallError> {
        let manner = {
            let mut state = self.state();
            state.loads += 1;
            state.manner
        };
        self.answer(manner).await
    }

    async fn shutdown(&self) -> Result<Answer, CallError> {
        Ok(Answer { status: 200, body: Vec::new() })
    }

    async fn get(&self, _path: &str) -> Result<Answer, CallError> {
        let state = self.state();
        Ok(Answer { status: if state.is_ill { 503 } else { 200 }, body: state.shown.clone() })
    }
}
