//! What a Debian package of pgrelay would install, in a folder: built once per test run by `make test`.

use std::path::PathBuf;

use crate::process;

/// The folder that `make package OUT=…` filled.
pub struct Package {
    root: PathBuf,
}

impl Package {
    /// From `PGRELAY_PACKAGE`; a test that needs it and does not find it fails.
    pub fn from_env() -> Package {
        match std::env::var("PGRELAY_PACKAGE") {
            Ok(root) if !root.is_empty() => Package { root: root.into() },
            _ => panic!("PGRELAY_PACKAGE is not set: run this test with `make test` or `make test TEST=name`"),
        }
    }

    /// The applier's program.
    pub fn applier(&self) -> PathBuf {
        self.root.join("usr/bin/pgrelay-applier")
    }

    /// Where a server looks for extensions.
    pub fn extensions(&self) -> PathBuf {
        let share = process::pg_config("--sharedir");
        self.root.join(share.strip_prefix("/").unwrap_or(&share)).join("extension")
    }

    /// Settings with which a server finds the extension here: nothing is written under /usr.
    pub fn conf(&self) -> String {
        let root = self.root.display();
        let lib = process::pg_config("--pkglibdir");
        let lib = lib.strip_prefix("/").unwrap_or(&lib).display();
        format!("extension_destdir = '{root}'\ndynamic_library_path = '{root}/{lib}:$libdir'\n")
    }
}
