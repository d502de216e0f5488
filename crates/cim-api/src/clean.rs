//! Paths that are written in a roundabout way: `//metrics`, `/a/../metrics`.
//!
//! The original answers them with 301 to the clean one (wire contract §6). Left out: percent encoding, which is never
//! undone, so that a path means what it says. The invariant: a clean path starts with exactly one slash, so that no
//! redirect leads to another host.

/// The clean form of a path; `None` when it is clean, or none (`*`).
pub(crate) fn cleaned(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    let clean = format!("/{}{end}", parts.join("/"));
    (clean != path).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_dots_are_folded_and_a_slash_at_the_end_stays() {
        for (path, clean) in [
            ("//metrics", "/metrics"),
            ("/api/../api/v1/_operations/xgvela/register", "/api/v1/_operations/xgvela/register"),
            ("/./a//b/", "/a/b/"),
            ("/../..", "/"),
            ("//host.example/x", "/host.example/x"),
            ("/a/..", "/"),
            ("///", "/"),
        ] {
            assert_eq!(cleaned(path).as_deref(), Some(clean), "{path}");
            assert_eq!(cleaned(clean), None, "{clean}");
        }
        for path in ["", "*", "/", "/metrics", "/metrics/", "/...", "/%2e%2e/x", "/.well-known/x"] {
            assert_eq!(cleaned(path), None, "{path}");
        }
    }
}
