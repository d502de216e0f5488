//! The directory of the spool: whether it can be used, by whom it is used, and whether it has room.
//!
//! Left out: what is in it (`cim spool check`). The invariant: its lock is held for a moment only, so that a CIM that starts is
//! not in the way of it for longer than that.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use cim_core::settings::SpoolSettings;
use cim_spool::{FileLayer, RealFiles};

use super::directory::{self, Writable, bytes};
use super::finding::Finding;
use crate::control;

/// Findings about the spool.
pub(super) fn check(settings: &SpoolSettings) -> Vec<Finding> {
    let Some(dir) = &settings.dir else {
        let text = "there is none: what is not delivered is lost when the process ends";
        return vec![Finding::warn("spool", text).advice("set `dir` in [spool], or CIM__SPOOL__DIR")];
    };
    let check = format!("spool {}", dir.display());
    let elsewhere = "set `dir` in [spool], or CIM__SPOOL__DIR, to a directory that cim may write into";
    match directory::writable(dir) {
        Writable::No(why) => vec![Finding::fail(check, why).advice(elsewhere)],
        Writable::Later => vec![Finding::ok(check, "is not there yet; cim makes it")],
        Writable::Yes => vec![lock(check, dir), room(settings, dir), kind(dir)],
    }
}

fn lock(check: String, dir: &Path) -> Finding {
    match RealFiles.lock_dir(dir) {
        Ok(_) => Finding::ok(check, "can be written into, and no cim uses it"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            match UnixStream::connect(control::path(dir)) {
                Ok(_) => Finding::ok(check, "is used by a running cim"),
                Err(_) => Finding::fail(check, "is locked by a process that does not answer as cim does")
                    .advice("each cim needs a directory of its own; see who holds it with `fuser`"),
            }
        }
        Err(error) => Finding::fail(check, format!("cannot be locked: {error}"))
            .advice("use a file system with locks (flock)"),
    }
}

fn room(settings: &SpoolSettings, dir: &Path) -> Finding {
    let wanted = settings.most_bytes();
    let Some(free) = directory::free(dir) else {
        return Finding::skip("spool room", "the file system does not tell what is free");
    };
    let used = directory::used(dir);
    let text = format!("{} free, {} used, {} allowed by the limits", bytes(free), bytes(used), bytes(wanted));
    if free.saturating_add(used) >= wanted {
        return Finding::ok("spool room", text);
    }
    Finding::warn("spool room", format!("{text}: the disk is full before the limits are reached"))
        .advice("lower `max_bytes` in [spool.logs] and beside it, or give the volume more room")
}

fn kind(dir: &Path) -> Finding {
    match directory::file_system(dir) {
        None => Finding::skip("spool file system", "it is of a kind that is not known here"),
        Some((name, None)) => Finding::ok("spool file system", name),
        Some((name, Some(against))) => Finding::warn("spool file system", format!("{name}: {against}"))
            .advice("mount a volume at the directory of the spool"),
    }
}
