//! The applier as a process of its own, as it is delivered.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::package::Package;
use crate::process::{self, TempFolder, as_client, signal, wait_exit};
use crate::wait;

/// `pgrelay-applier run` for one source database. Dropping it kills it.
pub struct Applier {
    source: String,
    args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    folder: TempFolder,
    pub(crate) child: Option<Child>,
}

impl Applier {
    /// Starts it for a database; `args` come after `run --source DSN`.
    pub fn start(source: &Cluster, db: &str, args: &[&str]) -> Applier {
        Applier::start_with(source, db, args, &[])
    }

    /// As `start`, with variables in its environment.
    pub fn start_with(source: &Cluster, db: &str, args: &[&str], env: &[(&str, &str)]) -> Applier {
        Applier::start_for(&source.dsn(db), args, env)
    }

    /// Starts it with a connection string of the test's own.
    pub fn start_for(source: &str, args: &[&str], env: &[(&str, &str)]) -> Applier {
        let folder = TempFolder::new();
        let mut applier = Applier {
            source: source.to_string(),
            args: args.iter().map(|a| a.to_string()).collect(),
            env: env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            folder,
            child: None,
        };
        wait::add_log("applier", &applier.log());
        applier.spawn();
        applier
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).expect("open the applier's log");
        let mut command = as_client(&Package::from_env().applier());
        command.args(["run", "--source", &self.source]).args(&self.args).envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("clone a file")).stderr(log);
        self.child = Some(command.spawn().expect("start the applier"));
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM; returns how it ended, within 20 s.
    pub async fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the applier does not run");
        signal(&child, "TERM");
        match wait_exit(&mut child, Duration::from_secs(20)).await {
            Some(status) => status,
            None => {
                let _ = child.kill();
                panic!("the applier does not end:\n{}", self.log_tail())
            }
        }
    }

    /// Starts it again; kills it first when it still runs.
    pub fn restart(&mut self) {
        self.kill9();
        self.spawn();
    }

    /// SIGSTOP: it does nothing any more, and its connections stay open.
    pub fn freeze(&self) {
        signal(self.child.as_ref().expect("the applier does not run"), "STOP");
    }

    /// SIGCONT: it goes on with what it was doing.
    pub fn thaw(&self) {
        signal(self.child.as_ref().expect("the applier does not run"), "CONT");
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The most memory that it has had so far, in MB.
    pub fn peak_memory_mb(&self) -> u64 {
        let id = self.child.as_ref().expect("the applier does not run").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("read the applier's status");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        process::tail(&self.log(), 60)
    }

    /// The whole log.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("applier.log")
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- applier\n{}", self.log_tail());
        }
        wait::remove_log(&self.log());
    }
}
