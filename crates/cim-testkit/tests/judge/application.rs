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
    fn is_bad(self) -> bool {
        matches!(self, Self::Status(_) | Self::Hangs | Self::Away)
    }
}

/// Which moods an application has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// A bad mood passes while there is time: no change has less than this.
    Healthy(Duration),
    /// Nothing ever works.
    Broken,
}

impl Temper {
    /// The mood for a call; `calls` were made of this change, this one among them.
    fn mood(self, random: &mut Seeded, calls: usize) -> Mood {
        let Self::Healthy(shortest) = self else {
            return [Mood::Status(500), Mood::Hangs, Mood::Away, Mood::Status(302)][random.below(4)];
        };
        // What lasts takes a part of the shortest lease, or is left to those who have longer ones.
        let (choices, bad) = match shortest.as_secs() {
            ..60 => (7, 0),
            60..180 => (10, 2),
            180.. => (14, 3),
        };
        let mood = match random.below(choices) {
            0..=1 => Mood::Inside,
            2 => Mood::After,
            3 => Mood::Twice,
            4 => Mood::Deferred,
            5 => Mood::LateAnswer,
            6 => Mood::Unused,
            7 => Mood::Status(500),
            8 => Mood::Status(404),
            9 => Mood::Away,
            10 => Mood::Silent,
            11 => Mood::Hangs,
            _ => Mood::Inside,
        };
        if mood.is_bad() && calls > bad { Mood::Inside } else { mood }
    }
}

struct Inner {
    random: Seeded,
    temper: Temper,
    handed_over: Vec<Handed>,
    lane: Option<Lane>,
    /// Counts its lives; `None` between two.
    life: Option<u32>,
    lives: u32,
}

/// A change that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Level and name of the document.
    pub document: String,
    /// Of the change.
    pub revision: i32,
}

/// The application.
#[derive(Clone)]
pub struct Moody(Arc<Mutex<Inner>>);

impl Moody {
    pub fn new(random: Seeded, temper: Temper) -> Arc<Self> {
        let inner = Inner { random, temper, handed_over: Vec::new(), lane: None, life: Some(0), lives: 0 };
        Arc::new(Self(Arc::new(Mutex::new(inner))))
    }

    /// Where results are published; nowhere while CIM is not there.
    pub fn connect(&self, lane: Option<Lane>) {
        self.0.lock().unwrap().lane = lane;
    }

    /// Dies: whatever it was doing is not done, and who calls it is refused.
    pub fn die(&self) {
        self.0.lock().unwrap().life = None;
    }

    /// Lives again, and knows nothing of its last life.
    pub fn revive(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.lives += 1;
        inner.life = Some(inner.lives);
    }

    /// Every change in the order of the calls.
    pub fn handed_over(&self) -> Vec<Handed> {
        self.0.lock().unwrap().handed_over.clone()
    }

    fn life(&self) -> Option<u32> {
        self.0.lock().unwrap().life
    }

    fn take(&self, push: &Push<'_>) -> Mood {
        let mut inner = self.0.lock().unwrap();
        let parts: Vec<&str> = push.change_set_key.split('/').collect();
        let call = Handed {
            document: format!("{}/{}", parts[4], parts[5]),
            revision: push.revision.parse().unwrap(),
        };
        inner.handed_over.push(call.clone());
        let calls = inner.handed_over.iter().filter(|known| **known == call).count();
        let temper = inner.temper;
        let mood = temper.mood(&mut inner.random, calls);
        crate::tell(&format!("{call:?} is met with {mood:?}"));
        mood
    }

    /// Tells a result, in that life only.
    fn tell(&self, life: u32, push: &Push<'_>, status: &str) {
        let text = format!(
            r#"{{"change-set-key":"{}","revision":"{}","status":"{status}"}}"#,
            push.change_set_key, push.revision
        );
        let mut inner = self.0.lock().unwrap();
        if inner.life == Some(life)
            && let Some(lane) = &mut inner.lane
        {
            lane.config_result(text.as_bytes());
        }
    }

    /// What the handler does in that mood, once it has thought.
    async fn handle(&self, life: u32, push: &Push<'_>, mood: Mood) -> Result<Answer, CallError> {
        let answer = |status| Ok(Answer { status, body: Vec::new() });
        match mood {
            Mood::Inside => self.tell(life, push, "success"),
            Mood::Twice => {
                self.tell(life, push, "success");
                self.tell(life, push, "success");
            }
            Mood::Unused => self.tell(life, push, "unused"),
            Mood::LateAnswer => {
                self.tell(life, push, "success");
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
                    this.tell(life, &push, "success");
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
        let gone = |what: &str| Err(CallError::Unreachable(what.to_owned()));
        let Some(life) = self.life() else { return gone("connection refused") };
        let mood = self.take(push);
        let pause = self.0.lock().unwrap().random.up_to(Duration::from_millis(300));
        sleep(pause).await;
        if self.life() != Some(life) {
            return gone("connection reset");
        }
        let answer = self.handle(life, push, mood).await;
        if self.life() == Some(life) { answer } else { gone("connection reset") }
    }

    async fn load_config(&self, _document: &[u8]) -> Result<Answer, CallError> {
        Ok(Answer { status: 200, body: Vec::new() })
    }

    async fn shutdown(&self) -> Result<Answer, CallError> {
        Ok(Answer { status: 200, body: Vec::new() })
    }

    async fn get(&self, _path: &str) -> Result<Answer, CallError> {
        if self.life().is_none() {
            return Err(CallError::Unreachable("connection refused".to_owned()));
        }
        Ok(Answer { status: 200, body: Vec::new() })
    }
}
