//! A configuration file as a value with places, whatever its format.
//!
//! Left out: what the value must look like. The invariant: a file is read whole or reported, with a line where the
//! parser knows it; it is never larger than [`MAX_BYTES`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::check::{article, kind};
use super::place::{Located, Place, Places};
use super::yaml_text::Parsed;
use super::{toml_text, yaml_text};

/// Largest configuration file that is read.
pub const MAX_BYTES: u64 = 1 << 20;
/// What is said of a JSON file without anything in it.
const EMPTY: &str = "the file is empty; remove it, or put `{}` there for the defaults";

/// One layer of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    /// What it is called in messages.
    pub name: String,
    /// The values.
    pub value: Map<String, Value>,
    /// Where they stand.
    pub places: Places,
}

/// Reads a configuration file; its extension tells the format.
///
/// # Errors
/// Every problem the parser can tell: unreadable file, unknown extension, syntax.
pub fn read(file: &Path) -> Result<Layer, Vec<Located>> {
    let text = text_of(file)?;
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let parsed = match extension.to_ascii_lowercase().as_str() {
        "toml" => toml_text::parse(&text, file)?,
        "yaml" | "yml" => yaml_text::parse(&text, file)?,
        "json" => json(&text, file)?,
        _ => {
            let message = "unknown kind of file; name it .toml, .yaml, .yml or .json";
            return Err(vec![Located::new(whole(file), "", message)]);
        }
    };
    layer(parsed, file)
}

/// Reads a JSON file that may begin with `//` comments, whatever its name.
///
/// # Errors
/// As for [`read`].
pub fn read_commented(file: &Path) -> Result<Layer, Vec<Located>> {
    let text = text_of(file)?;
    let head = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with("//");
    let comments = text.lines().take_while(head).count();
    // Empty lines instead, so that the numbers of the others stay right.
    let text = text.lines().enumerate().map(|(at, line)| if at < comments { "" } else { line });
    layer(json(&text.collect::<Vec<_>>().join("\n"), file)?, file)
}

fn whole(file: &Path) -> Place {
    Place::File { file: file.to_owned(), line: None }
}

fn layer((value, mut places): (Value, Places), file: &Path) -> Result<Layer, Vec<Located>> {
    places.note("", whole(file));
    match value {
        Value::Object(value) => Ok(Layer { name: file.display().to_string(), value, places }),
        Value::Null => Ok(Layer { name: file.display().to_string(), value: Map::new(), places }),
        other => {
            let message = format!("the file must hold a table of sections, found {}", article(kind(&other)));
            Err(vec![Located::new(whole(file), "", message)])
        }
    }
}

fn text_of(file: &Path) -> Result<String, Vec<Located>> {
    let at =
        |line, message: String| vec![Located::new(Place::File { file: file.to_owned(), line }, "", message)];
    let wrong = |error: io::Error| at(None, format!("cannot read the file: {error}{}", remedy(&error)));
    let mut bytes = Vec::new();
    File::open(file).map_err(wrong)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(at(
            None,
            format!("the file is larger than {} KiB; is it the right one?", MAX_BYTES >> 10),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let intact = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + intact.filter(|byte| **byte == b'\n').count();
        at(Some(line), "the file is not UTF-8 text; save it as UTF-8".to_owned())
    })
}

/// What to do about a file that cannot be read, if that is plain.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::IsADirectory => "; name a file (in Kubernetes, `subPath` of a mount picks one)",
        io::ErrorKind::PermissionDenied => "; let the user that runs cim read it",
        _ => "",
    }
}

/// The value comes from a strict JSON parser; the lines from the YAML one, of which JSON is a part.
fn json(text: &str, file: &Path) -> Result<(Value, Places), Vec<Located>> {
    let value = serde_json::from_str(text).map_err(|error| {
        let is_empty = text.trim().is_empty();
        let line = (!is_empty).then_some(error.line());
        let message = if is_empty { EMPTY.to_owned() } else { syntax(text, &error) };
        vec![Located::new(Place::File { file: file.to_owned(), line }, "", message)]
    })?;
    // Of what the YAML parser does not take, neither lines are known nor members that stand there several times.
    let Ok(Parsed { places, repeated, .. }) = yaml_text::read(text, file) else {
        return Ok((value, Places::default()));
    };
    if repeated.is_empty() { Ok((value, places)) } else { Err(repeated) }
}

/// What is wrong with JSON text, and what to do.
fn syntax(text: &str, error: &serde_json::Error) -> String {
    if text.starts_with('\u{feff}') {
        return "the file begins with a byte order mark; save it as UTF-8 without one".to_owned();
    }
    let message = error.to_string();
    let what = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    let advice =
        if error.is_eof() { "the file ends too early; put it there whole" } else { "correct it there" };
    format!("no JSON at column {}: {what}; {advice}", error.column())
}
