//! Runs the embedded engine on a directory of its own and prints what became of the lines.

use std::io::Write;
use std::sync::Arc;

use embed::Shelf;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let shelf = Arc::new(Shelf::default());
    let report = embed::run(dir.path(), Arc::clone(&shelf), 1000).await?;
    let mut out = std::io::stdout();
    writeln!(out, "delivered {} lines, held {}, dropped {}", report.delivered, report.held, report.dropped)?;
    writeln!(out, "first: {:?}, last: {:?}", shelf.lines().first(), shelf.lines().last())?;
    Ok(())
}
