//! What a Debian package of pgrelay would install, in a folder: built once per test run by `make test`.

use std::{path::PathBuf, process::Command};

use crate::process;

/// Set to `pgoutput`, the servers of all tests allow no other plugin, as they do where nobody has set anything.
const PLUGIN: &str = "PGRELAY_TEST_PLUGIN";

fn may_use_plugin() -> bool {
    std::env::var(PLUGIN).map_or(true, |plugin| plugin != "pgoutput")
}

/// Whether the server knows a setting: minor versions before August 2026 do not start with one that they lack.
fn has_setting(name: &str) -> bool {
    let postgres = process::pg_config("--bindir").join("postgres");
    let output = Command::new(postgres).arg("--describe-config").output().expect("postgres runs");
    String::from_utf8_lossy(&output.stdout).lines().any(|line| line.split('\t').next() == Some(name))
}

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
        let plugin = if may_use_plugin() && has_setting("output_plugin_libraries") {
            "output_plugin_libraries = 'pgoutput, test_decoding, pgrelay'\n"
        } else {
            ""
        };
        format!("extension_destdir = '{root}'\ndynamic_library_path = '{root}/{lib}:$libdir'\n{plugin}")
    }
}
