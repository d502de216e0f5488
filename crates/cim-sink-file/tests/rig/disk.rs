//! A directory on a small disk that can be absent or full: the harness of the conformance suite.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use cim_core::{Class, Sink, async_trait};
use cim_sink_file::{FileDurability, FileSettings, FileSink};
use cim_testkit::{CannotExpress, Fault, Harness, Sample};

use super::{Mount, contents, identity};

#[derive(Debug)]
pub struct FileHarness {
    pub root: tempfile::TempDir,
    pub mount: Option<Mount>,
    durability: FileDurability,
}

impl FileHarness {
    pub fn new(durability: FileDurability) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mount = Mount::new(&root.path().join("fs"), "size=32m");
        Self { root, mount, durability }
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join("fs/logs")
    }

    pub fn settings(&self) -> FileSettings {
        FileSettings { dir: self.dir(), durability: self.durability, ..FileSettings::default() }
    }

    /// Takes all room but so many bytes, which pages of the file system may round up.
    pub fn fill(&self, but: u64) -> Result<(), CannotExpress> {
        let Some(mount) = &self.mount else {
            return Err(CannotExpress("mounting is not permitted, so no disk can be full".to_owned()));
        };
        let filler = fs::File::create(mount.0.join("filler")).unwrap();
        let mut size = 0;
        for step in [1 << 20, 64 << 10, 4 << 10] {
            while rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), size, step).is_ok() {
                size += step;
            }
        }
        filler.set_len(size - but).unwrap();
        Ok(())
    }
}

#[async_trait]
impl Harness for FileHarness {
    fn build(&self) -> Sink {
        Sink::both(Arc::new(FileSink::new("disk", &identity(), &self.settings())))
    }

    fn shown(&self, sample: &Sample, class: Class) -> Vec<u8> {
        if class == Class::Log {
            return [&sample.body, b"\n".as_slice()].concat();
        }
        let mut body = Vec::new();
        cim_wire::json::push_string(&sample.body, &mut body);
        let head =
            format!("{{\"eventName\":\"SampleRaised\",\"eventTime\":{},\"managedObject\":null,", sample.seq);
        let list = [b"\"additionalInfo\":[{\"name\":\"body\",\"value\":".as_slice(), &body, b"}],"].concat();
        let tail = format!(
            "\"sourceHeaders\":{{\"podId\":\"pod-1\",\"microservice\":\"\",\"nf\":\"\",\"nfPrefix\":\"ns1\",\
             \"nfType\":\"\",\"svcVersion\":\"\"}},\"containerId\":\"{}\"}}\n",
            sample.container
        );
        [head.as_bytes(), &list, tail.as_bytes()].concat()
    }

    async fn read(&self, class: Class) -> Vec<Vec<u8>> {
        let mut files = Vec::new();
        for dir in [self.dir(), self.root.path().join("fs/aside")] {
            for (name, content) in contents(&dir) {
                if name.ends_with(".jsonl") == (class == Class::Event) {
                    files.push(content);
                }
            }
        }
        files
    }

    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        match fault {
            Fault::Absent => {
                // A file stands where the directory should be.
                if self.dir().exists() {
                    fs::rename(self.dir(), self.root.path().join("fs/aside")).unwrap();
                }
                fs::write(self.dir(), b"").unwrap();
                Ok(())
            }
            // Two pages are left, so some of the 20 kB fit.
            Fault::CutMidBatch => self.fill(8 << 10),
            Fault::Stalled => Err(CannotExpress("a local disk cannot be made to hang".to_owned())),
        }
    }

    async fn heal(&self) {
        // Emptied first: a process that another test is just starting may hold the file open for a moment.
        let filler = self.root.path().join("fs/filler");
        let _ = fs::File::options().write(true).open(&filler).and_then(|file| file.set_len(0));
        let _ = fs::remove_file(filler);
        if self.dir().is_file() {
            fs::remove_file(self.dir()).unwrap();
            let aside = self.root.path().join("fs/aside");
            if aside.exists() {
                fs::rename(aside, self.dir()).unwrap();
            }
        }
    }
}
