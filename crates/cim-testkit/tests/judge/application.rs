//! An application with moods: it answers well, badly, late or not at all, and tells its result as it likes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_core::intake::Lane;
use cim_core::{Answer, Application, CallError, Component, Push, async_trait};
use cim_testkit::Seeded;
use tokio::time::sleep;

/// What one call is met with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Tells success from inside the handler, then answers 200.
    Inside,
    /// Answers 200, then tells success.
    After,
    /// Tells success twice.
    Twice,
    /// Answers 200 and tells nothing.
    Silent,
    /// Answers 202 and tells success after a while.
    Deferred,
    /// Tells success, then does not answer in time.
    LateAnswer,
    /// Tells that the change is of no use.
    Unused,
    /// Answers that status, and tells nothing.
    Status(u16),
    /// Does not answer.
    Hangs,
    /// Refuses the connection.
    Away,
}

impl Mood {
    /// A bad mood passes: after three calls of a change the application does its work.
    pub fn healthy(random: &mut Seeded) -> Self {
        match random.below(14) {
            0..=3 => Self::Inside,
            4 => Self::After,
            5 => Self::Twice,
            6 => Self::Silent,
            7 => Self::Deferred,
            8 => Self::LateAnswer,
            9 => Self::Unused,
            10 => Self::Status(500),
            11 => Self::Status(404),
            12 => Self::Hangs,
            _ => Self::Away,
        }
    }

    /// Nothing ever works.
    pub fn broken(random: &mut Seeded) -> Self {
        [Self::Status(500), Self::Hangs, Self::Away, Self::Status(302)][random.below(4)]
    }

    fn is_bad(self) -> bool {
        matches!(self, Self::Status(_) | Self::Hangs | Self::Away)
    }
}

struct Inner {
    random: Seeded,
    mood: fn(&mut Seeded) -> Mood,
    handed_over: Vec<(String, i32)>,
    lane: Option<Lane>,
}

/// The application.
#[derive(Clone)]
pub struct Moody(Arc<Mutex<Inner>>);

impl Moody {
    pub fn new(random: Seeded, mood: fn(&mut Seeded) -> Mood) -> Arc<Self> {
        Arc::new(Self(Arc::new(Mutex::new(Inner { random, mood, handed_over: Vec::new(), lane: None }))))
    }

    /// Where results are published.
    pub fn connect(&self, lane: Lane) {
        self.0.lock().unwrap().lane = Some(lane);
    }

    /// Documents and revisions in the order of the calls.
    pub fn handed_over(&self) -> Vec<(String, i32)> {
        self.0.lock().unwrap().handed_over.clone()
    }

    fn take(&self, push: &Push<'_>) -> Mood {
        let mut inner = self.0.lock().unwrap();
        let call = (push.data_key.to_owned(), push.revision.parse().unwrap());
        inner.handed_over.push(call.clone());
        let calls = inner.handed_over.iter().filter(|known| **known == call).count();
        let choose = inner.mood;
        let mood = choose(&mut inner.random);
        let patience_is_over = calls > 3
            && mood.is_bad()
            && choose as usize == Mood::healthy as fn(&mut Seeded) -> Mood as usize;
        if patience_is_over { Mood::Inside } else { mood }
    }

    fn tell(&self, push: &Push<'_>, status: &str) {
        let text = format!(
            r#"{{"change-set-key":"{}","revision":"{}","status":"{status}"}}"#,
            push.change_set_key, push.revision
        );
        if let Some(lane) = &mut self.0.lock().unwrap().lane {
            lane.config_result(text.as_bytes());
        }
    }
}

#[async_trait]
impl Component for Moody {
    fn name(&self) -> &str {
        "application"
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);

#[async_trait]
impl Application for Moody {
    async fn update_config(&self, push: &Push<'_>) -> Result<Answer, CallError> {
        let answer = |status| Ok(Answer { status, body: Vec::new() });
        let mood = self.take(push);
        let pause = self.0.lock().unwrap().random.up_to(Duration::from_millis(300));
        sleep(pause).await;
        match mood {
            Mood::Inside => self.tell(push, "success"),
            Mood::Twice => {
                self.tell(push, "success");
                self.tell(push, "success");
            }
            Mood::Unused => self.tell(push, "unused"),
            Mood::LateAnswer => {
                self.tell(push, "success");
                sleep(TIMEOUT).await;
                return Err(CallError::TimedOut(TIMEOUT));
            }
            Mood::After | Mood::Deferred => {
                // The handler is done, and its result follows, which this future outlives in the simulation.
                let (this, key, revision) =
                    (self.clone(), push.change_set_key.to_owned(), push.revision.to_owned());
                let after = if mood == Mood::After { 50 } else { 4_000 };
                tokio::task::spawn(async move {
                    sleep(Duration::from_millis(after)).await;
                    let push = Push { change_set_key: &key, patch: b"", data_key: "", revision: &revision };
                    this.tell(&push, "success");
                });
                return answer(if mood == Mood::After { 200 } else { 202 });
            }
            Mood::Silent => {}
            Mood::Status(status) => return answer(status),
            Mood::Hangs => {
                sleep(TIMEOUT).await;
                return Err(CallError::TimedOut(TIMEOUT));
            }
            Mood::Away => return Err(CallError::Unreachable("connection refused".to_owned())),
        }
        answer(200)
    }

    async fn load_config(&self, _document: &[u8]) -> Result<Answer, CallError> {
        Ok(Answer { status: 200, body: Vec::new() })
    }

    async fn shutdown(&self) -> Result<Answer, CallError> {
        Ok(Answer { status: 200, body: Vec::new() })
    }

    async fn get(&self, _path: &str) -> Result<Answer, CallError> {
        Ok(Answer { status: 200, body: Vec::new() })
    }
}
