//! Certificates made for one test, by openssl.
//!
//! Owns an authority and what it signs, as PEM files. Left out: who uses them. Invariant: every key is fresh; nothing is
//! trusted outside the directory.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What `openssl ca` wants to know of an authority.
const CA: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = ca.index\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\n\
                  policy = names\n[names]\ncommonName = supplied\n";

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    certificate: PathBuf,
}

/// A certificate with its private key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key, PKCS #8 without a password.
    pub key: PathBuf,
}

impl Authority {
    /// A fresh authority in `dir`. `None` without openssl, after `skipped:` was said.
    #[must_use]
    pub fn new(dir: &Path) -> Option<Self> {
        if !crate::has_program("openssl") {
            cim_testkit::skipped("openssl is not installed: there are no certificates to test TLS with");
            return None;
        }
        std::fs::create_dir_all(dir).expect("a directory for certificates");
        let authority = Self { dir: dir.to_owned(), certificate: dir.join("ca.pem") };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        Some(authority)
    }

    /// The certificate to trust.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// A certificate for `localhost` and 127.0.0.1, valid for so many days from now; a negative number has expired.
    #[must_use]
    pub fn issue(&self, name: &str, days: i32) -> Identity {
        let identity = self.request(name);
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile names -out {name}.pem"
        ));
        identity
    }

    /// The same, valid in years to come and not yet.
    #[must_use]
    pub fn issue_too_early(&self, name: &str) -> Identity {
        let identity = self.request(name);
        // Only this command of openssl can put the begin of a certificate elsewhere than at this moment.
        std::fs::write(self.dir.join("ca.cnf"), CA).expect("the settings of the authority");
        std::fs::write(self.dir.join("ca.index"), "").expect("the list of certificates");
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem -extfile names \
             -startdate 20450101000000Z -enddate 20460101000000Z"
        ));
        identity
    }

    /// Makes a key, and the request for a certificate that this authority signs next.
    fn request(&self, name: &str) -> Identity {
        let names = self.dir.join("names");
        std::fs::write(&names, "subjectAltName=DNS:localhost,IP:127.0.0.1").expect("the names file");
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        Identity {
            certificate: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}.key")),
        }
    }

    fn openssl(&self, arguments: &str) {
        openssl(&self.dir, arguments);
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output =
        Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Identity {
    /// Key and certificate in one text, as a broker reads them.
    #[must_use]
    pub fn pem(&self) -> String {
        [&self.key, &self.certificate].map(|path| std::fs::read_to_string(path).expect("a PEM file")).concat()
    }

    /// A copy of its key, PKCS #8 under a password.
    #[must_use]
    pub fn locked_key(&self, password: &str) -> PathBuf {
        let locked = self.key.with_extension("locked");
        let (key, out) = (self.key.display(), locked.display());
        openssl(Path::new("."), &format!("pkcs8 -topk8 -in {key} -out {out} -passout pass:{password}"));
        locked
    }
}
