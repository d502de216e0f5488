//! What the documentation promises: cited sections and linked files exist, and public async functions say what
//! happens when their future is dropped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every file below the root with that ending, build products and hidden folders left out.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources(ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root(), ending, &mut found);
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The number at the start of the text, such as `7.1`.
fn number(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

#[test]
fn cited_sections_exist() {
    let page = std::fs::read_to_string(root().join("docs/reference/wire-contract.md")).unwrap();
    let sections: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("##"))
        .map(|line| number(line.trim_start_matches(['#', ' '])))
        .collect();
    let mut seen = 0;
    for (path, text) in sources(".rs") {
        for line in text.lines().filter(|line| line.trim_start().starts_with("//")) {
            for (at, _) in line.match_indices('§') {
                let before = line[..at].trim_end();
                let cited = number(line[at..].trim_start_matches('§'));
                let followed = line[..at].contains("wire contract §")
                    && [",", "to", "and"].iter().any(|word| before.ends_with(word));
                assert!(
                    followed || before.ends_with("wire contract") || before.ends_with("RFC 9112"),
                    "{}: cites a document by section that readers cannot see: {line}\n\
                     cite docs/reference/wire-contract.md as `wire contract §{cited}`",
                    path.display()
                );
                assert!(
                    before.ends_with("RFC 9112") || sections.contains(&cited),
                    "{}: the wire contract has no §{cited}: {line}",
                    path.display()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} citations were read");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in sources(".md") {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if !file.is_empty() && !file.contains("://") && !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn public_async_functions_document_cancel_safety() {
    let mut silent = Vec::new();
    for (path, text) in
        sources(".rs").into_iter().filter(|(path, _)| path.components().any(|part| part.as_os_str() == "src"))
    {
        let mut documented = false;
        // What a trait says about cancel safety holds for all its methods.
        let (mut in_trait, mut of_trait) = (false, false);
        for (at, line) in text.lines().enumerate() {
            let code = line.trim_start();
            if code.starts_with("///") {
                documented |= code.ends_with("# Cancel safety");
                continue;
            }
            if line.starts_with("pub trait ") {
                (in_trait, of_trait) = (true, documented);
            } else if line == "}" {
                (in_trait, of_trait) = (false, false);
            }
            let public = code.starts_with("pub async fn ") || (in_trait && code.starts_with("async fn "));
            if public && !documented && !of_trait {
                silent.push(format!("{}:{}: {code}", path.display(), at + 1));
            }
            if !code.starts_with("#[") {
                documented = false;
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}
