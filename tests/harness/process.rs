//! Child processes that end with the test, and the folders they work in.
//!
//! PostgreSQL refuses to run as root, so a harness started by root runs the servers as `postgres`.
//! The kernel ends each child when the thread that started it ends: also after kill -9 of the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Whether this process is root.
pub fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        let out = Command::new("id").arg("-u").output().expect("id -u");
        out.stdout.trim_ascii() == b"0"
    })
}

/// A program of the server's side: run as `postgres` when this process is root, sent `signal` when the test ends.
pub fn as_server(program: &Path, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.arg("--pdeathsig").arg(signal).arg(program);
    // Otherwise each error of the extension carries a Rust backtrace in its DETAIL.
    command.env_remove("RUST_BACKTRACE").env("LC_ALL", "C");
    // A folder that the other user may not enter is no current directory for it.
    command.current_dir("/");
    command
}

/// A program run as the test's own user, killed when the test ends.
pub fn as_client(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).env("LC_ALL", "C");
    command
}

/// Sends a signal, named as `kill` names it, to a child.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().expect("kill");
    assert!(status.success(), "kill -{name} {} failed", child.id());
}

/// Waits until a child has ended; `None` when it has not by then.
pub async fn wait_exit(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            return Some(status);
        }
        if Instant::now() > end {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The folder of PostgreSQL's programs, as `PG_CONFIG` (default `/usr/bin/pg_config`) names it.
pub fn bindir() -> PathBuf {
    static BINDIR: OnceLock<PathBuf> = OnceLock::new();
    BINDIR.get_or_init(|| pg_config("--bindir")).clone()
}

/// One answer of `pg_config`.
pub fn pg_config(what: &str) -> PathBuf {
    let program = std::env::var("PG_CONFIG").unwrap_or_else(|_| "/usr/bin/pg_config".into());
    let out = Command::new(&program).arg(what).output().unwrap_or_else(|e| panic!("{program} {what}: {e}"));
    PathBuf::from(String::from_utf8_lossy(&out.stdout).trim())
}

/// Runs a command to its end and panics with what it said when it fails.
pub fn run(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?} failed with {}: {stderr}", out.status);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A folder of its own, removed when dropped; kept and printed when the test fails under `PGRELAY_KEEP=1`.
pub struct TempFolder(PathBuf);

impl TempFolder {
    /// Made below `$TMPDIR`, or `/tmp`. The name is short: a socket's path has at most 107 bytes.
    pub fn new() -> TempFolder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let base = std::env::var("TMPDIR").unwrap_or_else(|_| "/tmp".into());
        loop {
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = PathBuf::from(&base).join(format!("pgr{}-{n}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return TempFolder(path),
                // Of a test that failed, whose process had the same number.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => panic!("cannot make {}: {e}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for TempFolder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var("PGRELAY_KEEP").is_ok_and(|v| v == "1") {
            eprintln!("kept: {}", self.0.display());
        } else if let Err(e) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {e}", self.0.display());
        }
    }
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
