//! `cim migrate`: the files of the original as a file for `--config`.
//!
//! Left out: what the members mean, and the form of the text. The invariant: files with a problem are not half migrated.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Answer;
use crate::backends;
use crate::exit::Failure;
use crate::settings::Migration;

/// `cim migrate`
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Migrate {
    /// CIM's own document of the original.
    #[arg(long, value_name = "FILE")]
    cim_json: Option<PathBuf>,
    /// The document that tells where the infrastructure is.
    #[arg(long, value_name = "FILE")]
    common_infra: Option<PathBuf>,
    /// With the defaults that the program has under the name `NatsSubFb`, as in a cluster.
    #[arg(long)]
    as_original: bool,
}

pub(super) fn answer(migrate: &Migrate) -> Result<Answer, Failure> {
    let Migrate { cim_json, common_infra, as_original } = migrate;
    let registry = backends::registry();
    let migration = Migration::of(cim_json.as_deref(), common_infra.as_deref(), *as_original, &registry)
        .map_err(Failure::cannot_start)?;
    let warnings: Vec<_> = migration.warnings.iter().map(ToString::to_string).collect();
    let comments: String = warnings.iter().map(|warning| format!("# warning: {warning}\n")).collect();
    let document = json!({ "settings": Value::Object(migration.sections.clone()), "warnings": warnings });
    Ok(Answer::done(format!("{comments}{}", migration.toml()), document))
}
