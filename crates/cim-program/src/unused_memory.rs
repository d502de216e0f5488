//! Memory that only the start needed is given back.
//!
//! Most of a program is read once, at its start; a sidecar then idles beside its application for weeks with all of it in
//! its resident memory, because the kernel maps what is cached around each page that is touched. What is given back comes
//! from the page cache again when it is needed, and the kernel may give that memory to others meanwhile. The same is true of
//! what the allocator keeps of the start.
//!
//! Owns when that happens and which mappings it is about. The invariant: only mappings that hold nothing but what is in
//! their file are touched.

use std::ops::Range;
use std::time::Duration;
use std::{fs, io};

use cim_core::supervisor::{OnPanic, Supervisor};
use rustix::mm::{Advice, madvise};
use tokio::time::sleep;

/// When, after the time before: once the program is up, which touches most of it; when the registration of the application and the
/// first connections are over; and then again and again, for what is needed now and then. Some hundred page faults each time,
/// under a millisecond.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_secs(10), Duration::from_secs(600)];

/// Gives it back for as long as the process works.
pub fn follow(supervisor: &Supervisor) {
    supervisor.task("unused memory", OnPanic::Restart, || async {
        let [start, first, every] = PAUSES;
        for pause in [start, first].into_iter().chain(std::iter::repeat(every)) {
            sleep(pause).await;
            if let Err(error) = give_back() {
                tracing::debug!(%error, "pages of the program cannot be given back");
            }
            trim_heap();
        }
    });
}

/// # Errors
/// The system does not tell of the mappings, or refuses.
fn give_back() -> io::Result<()> {
    unaltered(&fs::read_to_string("/proc/self/smaps")?).into_iter().try_for_each(forget)
}

/// A part of a file in memory that cannot be written to through it.
struct Mapping<'s> {
    range: Range<usize>,
    file: &'s str,
    is_code: bool,
    /// No page of it differs from the file. After relocation, tables of addresses are as unwritable as code; they alone do.
    is_unaltered: bool,
}

/// Code, and what touches it of the same file, as far as it was never written to, from the text of `smaps`
/// (proc_pid_smaps(5)). A file that somebody reads by a mapping of his own, and may unmap at any time, touches no code.
fn unaltered(smaps: &str) -> Vec<Range<usize>> {
    let mut mappings: Vec<Mapping<'_>> = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("Anonymous:") => mappings
                .extend(current.take().map(|of| Mapping { is_unaltered: words.next() == Some("0"), ..of })),
            Some(first) if !first.ends_with(':') => current = mapping(first, words),
            _ => {}
        }
    }
    let touches = |one: &Mapping<'_>, code: &Mapping<'_>| {
        let (one_range, code_range) = (&one.range, &code.range);
        let is_beside = one_range.end == code_range.start || code_range.end == one_range.start;
        code.is_code && code.file == one.file && is_beside
    };
    let is_program = |one: &&Mapping<'_>| one.is_code || mappings.iter().any(|code| touches(one, code));
    let unaltered = mappings.iter().filter(|one| one.is_unaltered).filter(is_program);
    unaltered.map(|one| one.range.clone()).collect()
}

/// The mapping that a line describes, if it is a file's.
fn mapping<'s>(addresses: &str, mut words: impl Iterator<Item = &'s str>) -> Option<Mapping<'s>> {
    let rights = words.next().filter(|rights| matches!(*rights, "r--p" | "r-xp"))?;
    // Offset, device and inode stand between.
    let file = words.nth(3).filter(|path| path.starts_with('/'))?;
    let (start, end) = addresses.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    Some(Mapping { range, file, is_code: rights == "r-xp", is_unaltered: false })
}

#[allow(unsafe_code, reason = "no safe wrapper of this call exists; see the comment at the call")]
fn forget(mapping: Range<usize>) -> io::Result<()> {
    // SAFETY: the mapping is private, of a file, without a right to write and without a page of its own, so each of its
    // pages reads afterwards exactly as before (madvise(2), MADV_DONTNEED). It belongs to a program or library that is loaded,
    // and nothing here unloads one, so nobody else got these addresses since they were read.
    unsafe { madvise(std::ptr::without_provenance_mut(mapping.start), mapping.len(), Advice::LinuxDontNeed) }
        .map_err(Into::into)
}

/// Whole pages that nothing is allocated on.
#[allow(unsafe_code, reason = "a function of the C library; see the comment at the call")]
fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: any thread may call it at any time (malloc_trim(3), MT-Safe); it takes no pointer and nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_equals_its_file_is_found() {
        let smaps = "\
1000-2000 r--p 00000000 fe:00 77 /bin/cim\nAnonymous: 0 kB\n\
2000-3000 r-xp 00001000 fe:00 77 /bin/cim\nRss: 8 kB\nAnonymous: 0 kB\nVmFlags: rd ex mr mw me\n\
3000-4000 r--p 00003000 fe:00 77 /bin/cim\nRss: 4 kB\nAnonymous: 4 kB\n\
4000-5000 rw-p 00004000 fe:00 77 /bin/cim\nAnonymous: 0 kB\n\
5000-6000 r-xp 00000000 00:00 0\nAnonymous: 0 kB\n\
6000-7000 r-xp 00000000 00:00 0 [vdso]\nAnonymous: 0 kB\n\
7000-8000 r-xs 00000000 fe:00 78 /shared\nAnonymous: 0 kB\n\
9000-a000 r--p 00000000 fe:00 77 /bin/cim\nAnonymous: 0 kB\n\
a000-b000 r-xp 00000000 fe:00 79 /lib/with a space\nAnonymous: 0 kB\n\
b000-c000 r--p 00001000 fe:00 79 /lib/with a space\nAnonymous: 0 kB\n";
        assert_eq!(unaltered(smaps), [0x1000..0x2000, 0x2000..0x3000, 0xa000..0xb000, 0xb000..0xc000]);
        assert!(unaltered("").is_empty());
    }

    #[test]
    fn the_program_goes_on_with_fewer_pages() {
        let resident = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.trim_end_matches("kB").trim().parse::<u64>().unwrap()
        };
        // Other tests touch pages at the same time: three times they may be faster.
        let seen: Vec<_> = (0..3)
            .map(|_| {
                let before = resident();
                give_back().unwrap();
                (before, resident())
            })
            .collect();
        assert!(seen.iter().any(|(before, after)| after < before), "kB before and after: {seen:?}");
    }
}
