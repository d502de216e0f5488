//! One broker for a whole test program, behind one proxy that can fail: tests take turns.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cim_services::{Kafka, KafkaPlan, free_port};
use cim_testkit::ChaosProxy;

/// The broker and its proxy.
pub struct Target {
    pub kafka: Kafka,
    pub proxy: ChaosProxy,
}

/// `None` when Kafka is not installed, after `skipped:` was said.
pub fn target() -> Option<&'static Target> {
    static TARGET: OnceLock<Option<Target>> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let mut proxy = None;
        let plan = KafkaPlan::new().proxied(|broker| {
            let started = ChaosProxy::start_at(free_port().unwrap(), broker, 1).unwrap();
            let address = started.address();
            proxy = Some(started);
            address
        });
        let kafka = plan.start()?;
        Some(Target { kafka, proxy: proxy? })
    });
    target.as_ref()
}

/// The proxy is one for all.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
