//! Certificates for a receiver with TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Signs certificates with the `openssl` program.
pub struct Authority {
    dir: PathBuf,
    name: &'static str,
}

impl Authority {
    pub fn new(dir: &Path, name: &'static str) -> Option<Self> {
        let subject = format!("/CN={name}");
        let made = openssl(
            dir,
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &subject,
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.pem"),
            ],
        );
        made.then(|| Self { dir: dir.to_owned(), name })
    }

    /// A certificate for that name, as `<path>.pem` and `<path>.key`.
    pub fn certificate(&self, dir: &Path, name: &str) -> PathBuf {
        let file = |ending: &str| format!("{name}.{ending}");
        std::fs::write(dir.join(file("ext")), format!("subjectAltName=DNS:{name}\n")).unwrap();
        assert!(openssl(
            dir,
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &file("key"),
                "-out",
                &file("csr")
            ]
        ));
        let (authority, key) =
            (self.dir.join(format!("{}.pem", self.name)), self.dir.join(format!("{}.key", self.name)));
        assert!(openssl(
            dir,
            &[
                "x509",
                "-req",
                "-in",
                &file("csr"),
                "-CA",
                authority.to_str().unwrap(),
                "-CAkey",
                key.to_str().unwrap(),
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &file("ext"),
                "-out",
                &file("pem")
            ]
        ));
        dir.join(name)
    }
}

fn openssl(dir: &Path, arguments: &[&str]) -> bool {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output();
    output.is_ok_and(|output| output.status.success())
}
