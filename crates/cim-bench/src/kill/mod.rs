//! The kill loop: SIGKILL at random moments under load, restart, and at the end the books of everybody.
//!
//! Leaves out how producers, servers and the checker work. Invariant: a message that a producer knows to be accepted is
//! either found in what the sink shows, or, when the sink shows nothing (`null`), proven to have reached the spool at
//! every kill and to have left it by delivery.

mod load;
mod plan;
mod report;
mod stage;
mod witness;

pub use plan::{KillPlan, KillSink};
pub use report::KillReport;

use std::time::{Duration, Instant};

use crate::error::{BenchError, Result};
use crate::noise::Noise;
use crate::server::Cim;
use load::Load;
use stage::Stage;
use witness::Witness;

/// Longest standstill while the last life drains.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);

/// Runs the plan. A broken promise is in the report, not an error.
///
/// # Errors
/// CIM does not start, does not drain, or a producer cannot reconnect.
pub fn kill_loop(plan: &KillPlan) -> Result<KillReport> {
    let work = tempfile::Builder::new()
        .prefix("cim-kill-")
        .tempdir_in(&plan.dir)
        .map_err(BenchError::io(format!("create a directory in {}", plan.dir.display())))?;
    let mut stage = Stage::new(plan, work.path())?;
    let mut noise = Noise::new(plan.seed);
    let mut report = KillReport::new(plan);
    let mut cim = stage.start()?;
    let mut witness = Witness::new(&stage);
    let mut load = Load::start(plan, stage.address())?;
    let started = Instant::now();
    for life in 0..plan.kills {
        let delay = Duration::from_millis(noise.between(plan.delay_ms.0, plan.delay_ms.1));
        let surge = noise.between(plan.surge_ms.0.saturating_mul(1000), plan.surge_ms.1.saturating_mul(1000));
        live(&mut cim, delay, &mut witness, &mut report)?;
        if surge > 0 {
            load.strike(Duration::from_micros(surge))?;
        }
        cim.child.kill()?;
        load.calm();
        let accepted = load.accepted();
        witness.after_kill(life, accepted, &mut report);
        drop(cim);
        let since = Instant::now();
        cim = stage.start()?;
        report.started(since.elapsed());
        witness.after_start(life, &cim.books()?, &mut report);
        load.rejoin()?;
    }
    report.loaded_seconds = started.elapsed().as_secs_f64();
    let ledgers = load.finish()?;
    stage.open_the_sink();
    let books = cim.drained(DRAIN_PATIENCE)?;
    report.note_books("last life", &books);
    report.balance(&books);
    cim.child.terminate(Duration::from_secs(20))?;
    witness.at_the_end(&ledgers, &mut report);
    drop(cim);
    report.sources(&ledgers);
    report.findings = stage.findings(&ledgers)?;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// One life between ready and the kill.
fn live(cim: &mut Cim, delay: Duration, witness: &mut Witness, report: &mut KillReport) -> Result<()> {
    let ready = Instant::now();
    std::thread::sleep(delay.saturating_sub(ready.elapsed()));
    if cim.child.has_ended() {
        return Err(BenchError::Unclean(format!("cim ended by itself: {}", cim.last_words())));
    }
    // A last look at what this life dropped, refused or lost; not when the delay is too short to be worth moving.
    if delay > Duration::from_millis(50) {
        match cim.books() {
            Ok(books) => report.note_books("a life", &books),
            Err(error) => report.violation(format!("no metrics under load: {}", error.chain())),
        }
    }
    witness.lived();
    Ok(())
}
