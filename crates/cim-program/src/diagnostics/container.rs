//! Which container this process runs in, as far as the system tells.
//!
//! Left out: asking anybody. The invariant: what is told is the 64 hexadecimal digits of a container id, or nothing.

use std::path::Path;

/// Digits of a container id.
const DIGITS: usize = 64;
/// Files whose paths hold the id, with control groups of version 1 and of version 2.
const FILES: [&str; 2] = ["/proc/self/cgroup", "/proc/self/mountinfo"];

/// The id of the own container; `None` outside of one, or where the system does not show it.
pub(super) fn own() -> Option<String> {
    FILES.into_iter().find_map(|file| id(&std::fs::read_to_string(Path::new(file)).ok()?))
}

/// The first run of exactly so many hexadecimal digits that belongs to containers.
fn id(text: &str) -> Option<String> {
    let lines = text.lines().filter(|line| !line.contains("/sandboxes/") && !line.contains("/overlay"));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_hexdigit()));
    words.into_iter().find(|word| word.len() == DIGITS).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_wherever_the_runtime_puts_it() {
        let wanted = "0a".repeat(32);
        for line in [
            format!("11:memory:/kubepods/burstable/pod6e1e/{wanted}"),
            format!("0::/kubepods.slice/cri-containerd-{wanted}.scope"),
            format!("1 2 0:1 /var/lib/docker/containers/{wanted}/hostname /etc/hostname rw"),
            format!("1 2 0:1 /x/sandboxes/{}/resolv.conf /etc/x\n0::/{wanted}", "0b".repeat(32)),
        ] {
            assert_eq!(id(&line).as_deref(), Some(wanted.as_str()), "{line}");
        }
        for line in ["0::/", "", "0::/user.slice/abc", &"0".repeat(65)] {
            assert_eq!(id(line), None, "{line}");
        }
    }
}
